// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker's loop: ports and other workers → net → tcp → attach and offload → tcp →
// ports, with one `now` a turn.

#include "daemon/worker_state.h"

#include <rte_mbuf.h>

#include "attach/monitor.h"
#include "attach/sockets.h"
#include "attach/stack.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/wheel.h"
#include "control/config.h"
#include "daemon/gauges.h"
#include "daemon/steering.h"
#include "net/bridge.h"
#include "net/bridged.h"
#include "offload/offload.h"
#include "port/port.h"
#include "tcp/tcp.h"

#define BURST	      BRIDGED_BURST
#define TURN_FRAMES   2048 // taken from one port or worker in one turn at most
#define MAILBOX_BURST 8
// After the last connection has ended its FINs still need to be answered.
#define LAST_WORDS_US (1 * US_IN_S)

void worker_port_tx(void *ctx, struct rte_mbuf *m)
{
	struct worker_port *port = ctx;

	port_tx(port->port, port->queue, m);
}

// --- receiving -----------------------------------------------------------------------------------

// Frames of one burst become segments.
static unsigned poll_burst(struct worker *worker, struct worker_port *wp, uint64_t now_us)
{
	struct rte_mbuf *frames[BURST];
	struct net_delivery deliveries[BURST];
	unsigned count = port_rx(wp->port, wp->queue, frames, BURST), delivered;

	if (count == 0)
		return 0;
	if (worker->monitor != NULL) {
		monitor_input(worker->monitor, &wp->netif, frames, count, now_us);
		return count;
	}
	if (worker->bridged != NULL)
		delivered = bridged_input(
			worker->bridged, wp->netif.index, frames, count, now_us, deliveries);
	else
		delivered = net_input(worker->net, &wp->netif, frames, count, now_us, deliveries);
	if (worker->steering != NULL)
		delivered = steering_sort(worker->steering, worker->index, deliveries, delivered);
	tcp_input_burst(worker->tcp, deliveries, delivered);
	return count;
}

// Takes what has arrived: after a large fan-out, acknowledgements come by the thousand, and what
// stays in the port's ring is lost when the ring is full.
static unsigned poll_port(struct worker *worker, struct worker_port *wp, uint64_t now_us)
{
	unsigned total = 0, count;

	do {
		count = poll_burst(worker, wp, now_us);
		total += count;
	} while (count == BURST && total < TURN_FRAMES);
	return total;
}

// What was sent to addresses of ours before this turn.
static unsigned poll_loop(struct worker *worker, uint64_t now_us)
{
	struct net_delivery deliveries[BURST];
	unsigned total = 0, count, left;

	do {
		count = net_looped(worker->net, deliveries, BURST, now_us);
		left = count;
		if (worker->steering != NULL)
			left = steering_sort(worker->steering, worker->index, deliveries, count);
		tcp_input_burst(worker->tcp, deliveries, left);
		total += count;
	} while (count == BURST && total < TURN_FRAMES);
	return total;
}

// What another worker has received for this one, or heard.
static void take_packets(
	struct worker *worker, struct net_delivery *packets, unsigned count, uint64_t now_us)
{
	unsigned segments = 0;

	for (unsigned i = 0; i < count; i++) {
		struct net_delivery *packet = &packets[i];

		packet->netif = &worker->ports[packet->netif->index].netif;
		if (packet->kind == STEERING_HEARD)
			net_hear(worker->net, packet->netif, packet->m, now_us);
		else if (packet->kind == NET_DELIVERY_ICMP || packet->kind == NET_DELIVERY_UDP)
			sockets_datagram(worker->sockets, packet);
		else
			packets[segments++] = *packet;
	}
	tcp_input_burst(worker->tcp, packets, segments);
}

static unsigned poll_packets(struct worker *worker, unsigned other, uint64_t now_us)
{
	struct net_delivery packets[BURST];
	unsigned total = 0, count;

	do {
		count = steering_take(worker->steering, worker->index, other, packets, BURST);
		take_packets(worker, packets, count, now_us);
		total += count;
	} while (count == BURST && total < TURN_FRAMES);
	return total;
}

// Monitor mode: what another worker has received of this one's connections.
static unsigned poll_handed(struct worker *worker, unsigned other, uint64_t now_us)
{
	struct monitor_frame frames[BURST];
	unsigned total = 0, count;

	do {
		count = steering_handed(worker->steering, worker->index, other, frames, BURST);
		monitor_take(worker->monitor, frames, count, now_us);
		total += count;
	} while (count == BURST && total < TURN_FRAMES);
	return total;
}

static unsigned poll_workers(struct worker *worker, uint64_t now_us)
{
	unsigned total = 0;

	for (unsigned other = 0; other < worker->config->workers; other++)
		if (other == worker->index)
			continue;
		else if (worker->monitor != NULL)
			total += poll_handed(worker, other, now_us);
		else
			total += poll_packets(worker, other, now_us);
	return total;
}

// Sends what workers without a queue want sent.
static unsigned send_for(struct worker *worker, unsigned other)
{
	struct rte_mbuf *frames[BURST];
	unsigned total = 0, count;

	do {
		count = steering_frames(worker->steering, worker->index, other, frames, BURST);
		for (unsigned i = 0; i < count; i++)
			worker_port_tx(&worker->ports[frames[i]->port], frames[i]);
		total += count;
	} while (count == BURST && total < TURN_FRAMES);
	return total;
}

static unsigned send_for_workers(struct worker *worker)
{
	unsigned total = 0;

	for (unsigned other = 0; other < worker->config->workers; other++)
		if (other != worker->index)
			total += send_for(worker, other);
	return total;
}

static uint64_t attach_next_deadline(const struct worker *worker)
{
	return worker->sockets != NULL ? sockets_next_deadline(worker->sockets)
				       : stack_next_deadline(worker->stack);
}

static void attach_run(struct worker *worker, uint64_t now_us)
{
	if (worker->sockets != NULL)
		sockets_run(worker->sockets, now_us);
	else
		stack_run(worker->stack, now_us);
}

static uint64_t next_deadline(const struct worker *worker)
{
	uint64_t deadlines[] = {
		tcp_next_deadline(worker->tcp),
		net_next_deadline(worker->net),
		attach_next_deadline(worker),
		worker->monitor != NULL ? monitor_next_deadline(worker->monitor) : WHEEL_NEVER,
		offload_next_deadline(worker->offload),
		worker->update_us,
	};
	uint64_t next = WHEEL_NEVER;

	for (unsigned i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++)
		next = deadlines[i] < next ? deadlines[i] : next;
	return next;
}

static unsigned turn(struct worker *worker, uint64_t now_us)
{
	unsigned work = 0;

	tcp_advance(worker->tcp, now_us);
	offload_advance(worker->offload, now_us);
	if (worker->bridge != NULL)
		bridge_listen(worker->bridge, now_us);
	for (unsigned i = 0; i < worker->ports_count; i++)
		if (worker->ports[i].own)
			work += poll_port(worker, &worker->ports[i], now_us);
	if (worker->steering != NULL)
		work += poll_workers(worker, now_us);
	if (worker->sockets != NULL)
		work += poll_loop(worker, now_us) + sockets_receive(worker->sockets);
	// After receiving and before acting on it: what has caused something received comes first.
	work += offload_hear(worker->offload);
	attach_run(worker, now_us);
	offload_run(worker->offload);
	if (worker->sockets != NULL)
		sockets_flush(worker->sockets);
	tcp_flush(worker->tcp);
	if (now_us >= net_next_deadline(worker->net))
		net_timers(worker->net, now_us);
	if (worker->monitor != NULL && now_us >= monitor_next_deadline(worker->monitor))
		monitor_timers(worker->monitor, now_us);
	if (worker->steering != NULL)
		work += send_for_workers(worker);
	for (unsigned i = 0; i < worker->ports_count; i++)
		if (worker->ports[i].own)
			port_flush(worker->ports[i].port, worker->ports[i].queue);
	return work + offload_learn(worker->offload);
}

static void update_gauges(struct worker *worker, uint64_t now_us)
{
	if (now_us < worker->update_us)
		return;
	worker->update_us = now_us + US_IN_S / 4;
	offload_counters_update(worker->offload);
	gauges_update(worker->gauges);
}

// A turn without work is looking around, not being busy.
static void load_add(struct load *load, bool worked, uint64_t begin_us, uint64_t now_us)
{
	uint64_t passed_us = now_us - load->since_us;

	if (worked)
		load->busy_us += now_us - begin_us;
	if (passed_us < US_IN_S)
		return;
	counter_set_to(&load->permille, load->busy_us * 1000 / passed_us);
	load->since_us = now_us;
	load->busy_us = 0;
}

static void attach_drain(struct worker *worker)
{
	if (worker->sockets != NULL)
		sockets_drain(worker->sockets);
	else
		stack_drain(worker->stack);
}

static bool attach_drained(const struct worker *worker)
{
	return worker->sockets != NULL ? sockets_drained(worker->sockets)
				       : stack_drained(worker->stack);
}

// Everything that was owed is delivered and said: the worker may go, but others may need it to
// receive and send.
static void drain(struct worker *worker, uint64_t now_us)
{
	if (!worker->draining) {
		worker->draining = true;
		attach_drain(worker);
	}
	if (!attach_drained(worker))
		return;
	if (worker->drained_us == 0)
		worker->drained_us = now_us;
	if (now_us - worker->drained_us >= LAST_WORDS_US)
		__atomic_store_n(&worker->drained, 1, __ATOMIC_RELEASE);
}

static bool may_go_on(struct worker *worker, uint64_t now_us)
{
	uint32_t order = __atomic_load_n(&worker->order, __ATOMIC_ACQUIRE);

	if (order == WORKER_DRAIN)
		drain(worker, now_us);
	return order != WORKER_STOP;
}

// Workers on this one's core.
static unsigned sharing(const struct worker *worker)
{
	const struct config *config = worker->config;
	unsigned count = 0;

	for (unsigned i = 0; i < config->workers; i++)
		count += config->worker_cores[i] == config->worker_cores[worker->index];
	return count;
}

int worker_run(void *arg)
{
	struct worker *worker = arg;
	uint64_t now_us = clock_now_us();

	idle_init(&worker->idle, worker->config->idle == CONFIG_IDLE_BUSY, sharing(worker), now_us);
	worker->load.since_us = now_us;
	while (may_go_on(worker, now_us)) {
		uint64_t begin_us = now_us;
		unsigned work = turn(worker, now_us);

		work += mailbox_run(worker->mailbox, MAILBOX_BURST);
		update_gauges(worker, now_us);
		now_us = clock_now_us();
		load_add(&worker->load, work > 0, begin_us, now_us);
		if (idle_turn(&worker->idle, work > 0, now_us, next_deadline(worker)))
			now_us = clock_now_us();
	}
	return 0;
}

void worker_order(struct worker *worker, enum worker_order order)
{
	__atomic_store_n(&worker->order, (uint32_t)order, __ATOMIC_RELEASE);
}

bool worker_drained(const struct worker *worker)
{
	return __atomic_load_n(&worker->drained, __ATOMIC_ACQUIRE) != 0;
}
