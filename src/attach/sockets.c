// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// All of them together: memory, counters, and a turn.

#include "attach/sockets.h"

#include <rte_malloc.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "attach/socket_flow.h"
#include "base/assert.h"

static const char *const refusal_names[SOCKETS_REFUSALS] = {
	[SOCKETS_REFUSED_FULL] = "full",
	[SOCKETS_REFUSED_DRAINING] = "draining",
};

static const char *const reset_names[SOCKETS_RESETS] = {
	[SOCKETS_RESET_CLIENT] = "client",
	[SOCKETS_RESET_BROKER] = "broker",
	[SOCKETS_RESET_OFFRAMP] = "offramp",
};

static const char *const datagram_names[SOCKET_DATAGRAM_WAYS] = {
	[SOCKET_DATAGRAM_RECEIVED] = "received",
	[SOCKET_DATAGRAM_SENT] = "sent",
};

static const char *const failure_names[SOCKETS_FAILURES] = {
	[SOCKETS_FAILED_REFUSED] = "refused",
	[SOCKETS_FAILED_TIMEOUT] = "timeout",
	[SOCKETS_FAILED_UNREACHABLE] = "unreachable",
	[SOCKETS_FAILED_HERE] = "not_tried",
};

static const char *const outgoing_names[SOCKETS_OUTGOINGS] = {
	[SOCKETS_OUTGOING_CONNECTING] = "connecting",
	[SOCKETS_OUTGOING_CONNECTED] = "connected",
};

static const struct counter_family families[] = {
	{"connections_accepted_total", "clients connected to their broker", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"connections_refused_total", "clients refused, by the reason why", "reason", refusal_names,
		SOCKETS_REFUSALS, COUNTER_MONOTONIC},
	{"connections_reset_total", "connections that were reset, by who began", "by", reset_names,
		SOCKETS_RESETS, COUNTER_MONOTONIC},
	{"datagrams_lost_total", "ICMP and UDP of programs that went no further", "direction",
		datagram_names, SOCKET_DATAGRAM_WAYS, COUNTER_MONOTONIC},
	{"processes", "processes whose sockets live here", NULL, NULL, 1, COUNTER_GAUGE},
	{"processes_broken_total", "processes that wrote what they never may", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"process_wakes_total", "times a sleeping process was woken", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"outgoing_connected_total", "connections that processes made", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"outgoing_failed_total", "connections that processes could not make, by the reason why",
		"reason", failure_names, SOCKETS_FAILURES, COUNTER_MONOTONIC},
	{"outgoing_connections", "connections that processes made, by state", "state",
		outgoing_names, SOCKETS_OUTGOINGS, COUNTER_GAUGE},
};

static_assert(
	sizeof(struct sockets_counters) ==
		sizeof(uint64_t) * (1 + SOCKETS_REFUSALS + SOCKETS_RESETS + SOCKET_DATAGRAM_WAYS +
					   3 + 1 + SOCKETS_FAILURES + SOCKETS_OUTGOINGS),
	"a family a field, in order");

int sockets_create(const struct offload_config *config, struct offload *offload, struct net *net,
	struct tcp_stack *tcp, struct payload_pool *payloads, uint64_t now_us,
	struct sockets **ret_sockets)
{
	struct sockets *sockets = rte_zmalloc("sockets", sizeof(*sockets), 64);
	int rc = -ENOMEM;

	if (sockets == NULL)
		return -ENOMEM;
	sockets->config = config;
	sockets->offload = offload;
	sockets->net = net;
	sockets->tcp = tcp;
	sockets->payloads = payloads;
	sockets->now_us = now_us;
	list_init(&sockets->waiting);
	list_init(&sockets->ready);
	socket_datagrams_init(sockets);
	wheel_init(&sockets->timers, now_us);
	sockets->listeners =
		rte_zmalloc("listeners", sizeof(struct tcp_pcb *) * config->brokers_count, 0);
	sockets->turns = rte_zmalloc("turns", sizeof(unsigned) * config->brokers_count, 0);
	sockets->standing = rte_zmalloc("standing", sizeof(uint32_t) * config->brokers_count, 0);
	if (sockets->listeners == NULL || sockets->turns == NULL || sockets->standing == NULL)
		goto err;
	rc = slab_create(
		"socket flows", config->clients_max, sizeof(struct socket_flow), &sockets->flows);
	if (rc < 0)
		goto err;
	*ret_sockets = sockets;
	return 0;
err:
	sockets_destroy(sockets);
	return rc;
}

void sockets_destroy(struct sockets *sockets)
{
	if (sockets == NULL)
		return;
	for (uint32_t i = 0; sockets->flows != NULL && i < slab_count(sockets->flows); i++) {
		struct socket_flow *flow = slab_at(sockets->flows, i);

		if (flow != NULL)
			socket_flow_abort(flow);
	}
	for (unsigned i = 0; sockets->listeners != NULL && i < sockets->config->brokers_count; i++)
		if (sockets->listeners[i] != NULL)
			tcp_close(sockets->listeners[i]);
	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		free(sockets->processes[i].flows);
		free(sockets->processes[i].free_slots);
	}
	slab_destroy(sockets->flows);
	rte_free(sockets->standing);
	rte_free(sockets->turns);
	rte_free(sockets->listeners);
	rte_free(sockets);
}

void sockets_allow_outgoing(struct sockets *sockets, const struct sockets_outgoing *outgoing)
{
	sockets->outgoing = *outgoing;
}

// --- a turn --------------------------------------------------------------------------------------

unsigned sockets_receive(struct sockets *sockets)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		struct socket_process *process = &sockets->processes[i];

		if (process->lane == NULL || process->ended)
			continue;
		count += socket_process_receive(process);
		if (!process->broken && !process->gone)
			continue;
		// Control takes the rest away, and knows of heirs.
		counter_add(&sockets->counters.broken, process->broken);
		if (process->broken)
			socket_process_end(process);
		else
			socket_process_bequeath(process);
	}
	// What there was no room, or no time, for.
	count += socket_datagrams_go_on(sockets);
	list_for_each (link, &sockets->ready) {
		count += socket_flow_take(container_of(link, struct socket_flow, link)) > 0;
	}
	return count;
}

static unsigned listener_broker(const struct sockets *sockets, const struct tcp_pcb *listener)
{
	for (unsigned i = 0; i < sockets->config->brokers_count; i++)
		if (sockets->listeners[i] == listener)
			return i;
	ASSERT(!"a listener of ours");
	return 0;
}

static void tcp_happened(struct sockets *sockets, struct tcp_pcb *pcb, uint32_t events)
{
	if (!(events & (TCP_EVENT_SYN | TCP_EVENT_COOKIE)))
		socket_flow_event(tcp_pcb_user(pcb), events);
	else if (events & TCP_EVENTS_TERMINAL) // it has changed its mind already
		tcp_abort(pcb);
	else
		socket_flow_open(sockets, listener_broker(sockets, tcp_pcb_listener(pcb)), pcb,
			(events & TCP_EVENT_COOKIE) != 0);
}

static void run_ready(struct sockets *sockets)
{
	struct list now;

	list_init(&now);
	list_move_all(&sockets->ready, &now);
	while (!list_empty(&now)) {
		struct list *link = now.next;

		list_remove(link);
		socket_flow_run(container_of(link, struct socket_flow, link));
	}
}

static void drain_flows(struct sockets *sockets)
{
	for (uint32_t i = 0; i < slab_count(sockets->flows); i++) {
		struct socket_flow *flow = slab_at(sockets->flows, i);

		if (flow != NULL)
			socket_flow_drain(flow);
	}
}

void sockets_run(struct sockets *sockets, uint64_t now_us)
{
	struct wheel_timer *timer;
	struct tcp_pcb *pcb;
	uint32_t events;

	sockets->now_us = now_us;
	while ((pcb = tcp_ready_next(sockets->tcp, &events)) != NULL)
		tcp_happened(sockets, pcb, events);
	run_ready(sockets);
	wheel_advance(&sockets->timers, now_us);
	while ((timer = wheel_pop(&sockets->timers)) != NULL)
		socket_flow_timeout(container_of(timer, struct socket_flow, timer));
	if (sockets->look) {
		sockets->look = false;
		socket_flows_place(sockets);
	}
	if (sockets->draining)
		drain_flows(sockets);
}

void sockets_flush(struct sockets *sockets)
{
	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		struct socket_process *process = &sockets->processes[i];

		if (!process->wake_wanted)
			continue;
		process->wake_wanted = false;
		counter_inc(&sockets->counters.wakes);
		process->wake(process->wake_ctx);
	}
}

uint64_t sockets_next_deadline(const struct sockets *sockets)
{
	if (!list_empty(&sockets->ready) || !list_empty(&sockets->datagrams_more) || sockets->look)
		return sockets->now_us;
	return wheel_next_us(&sockets->timers);
}

void sockets_drain(struct sockets *sockets)
{
	sockets->draining = true;
	offload_drain(sockets->offload);
}

bool sockets_drained(const struct sockets *sockets)
{
	return slab_used(sockets->flows) == 0;
}

struct pool_usage sockets_usage(const struct sockets *sockets)
{
	return slab_usage(sockets->flows);
}

struct counter_set sockets_counters(const struct sockets *sockets)
{
	static const struct sockets_counters none;

	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = (const uint64_t *)(sockets != NULL ? &sockets->counters : &none),
	};
}
