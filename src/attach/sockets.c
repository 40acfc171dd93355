// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Processes, what they listen on, their slots, and a turn.

#include "attach/sockets.h"

#include <rte_malloc.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach/socket_flow.h"
#include "base/assert.h"

// News of one process dealt with in a turn at most.
#define NEWS_MAX 1024

static const char *const refusal_names[SOCKETS_REFUSALS] = {
	[SOCKETS_REFUSED_FULL] = "full",
	[SOCKETS_REFUSED_DRAINING] = "draining",
};

static const char *const reset_names[SOCKETS_RESETS] = {
	[SOCKETS_RESET_CLIENT] = "client",
	[SOCKETS_RESET_BROKER] = "broker",
	[SOCKETS_RESET_OFFRAMP] = "offramp",
};

static const char *const echo_names[SOCKET_ECHO_WAYS] = {
	[SOCKET_ECHO_RECEIVED] = "received",
	[SOCKET_ECHO_SENT] = "sent",
};

static const struct counter_family families[] = {
	{"connections_accepted_total", "clients connected to their broker", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"connections_refused_total", "clients refused, by the reason why", "reason", refusal_names,
		SOCKETS_REFUSALS, COUNTER_MONOTONIC},
	{"connections_reset_total", "connections that were reset, by who began", "by", reset_names,
		SOCKETS_RESETS, COUNTER_MONOTONIC},
	{"echoes_lost_total", "ICMP echo of programs that went no further", "direction", echo_names,
		SOCKET_ECHO_WAYS, COUNTER_MONOTONIC},
	{"processes", "processes whose sockets live here", NULL, NULL, 1, COUNTER_GAUGE},
	{"processes_broken_total", "processes that wrote what they never may", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"process_wakes_total", "times a sleeping process was woken", NULL, NULL, 1,
		COUNTER_MONOTONIC},
};

static_assert(
	sizeof(struct sockets_counters) ==
		sizeof(uint64_t) * (1 + SOCKETS_REFUSALS + SOCKETS_RESETS + SOCKET_ECHO_WAYS + 3),
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

// --- slots ---------------------------------------------------------------------------------------

uint32_t socket_slot_take(struct socket_process *process)
{
	ASSERT(process->free_count > 0);
	return process->free_slots[--process->free_count];
}

void socket_slot_settle(struct socket_process *process, uint32_t slot)
{
	struct lane_slot state;

	lane_slot(process->lane, slot, &state);
	if (!state.closed)
		return;
	process->flows[slot] = NULL;
	process->free_slots[process->free_count++] = slot;
	process->sockets->look = true;
}

// --- listening -----------------------------------------------------------------------------------

static struct socket_listener *listener_of(
	struct socket_process *process, unsigned broker, bool with_room)
{
	if (process->lane == NULL || process->broken || (with_room && process->free_count == 0))
		return NULL;
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++)
		if (process->listeners[i].used && process->listeners[i].broker == broker)
			return &process->listeners[i];
	return NULL;
}

struct socket_process *sockets_listener(
	struct sockets *sockets, unsigned broker, uint32_t *ret_number)
{
	for (unsigned i = 1; i <= SOCKETS_PROCESSES_MAX; i++) {
		unsigned n = (sockets->turns[broker] + i) % SOCKETS_PROCESSES_MAX;
		const struct socket_listener *listener =
			listener_of(&sockets->processes[n], broker, true);

		if (listener == NULL || !listener->accepts)
			continue;
		sockets->turns[broker] = n;
		*ret_number = listener->number;
		return &sockets->processes[n];
	}
	return NULL;
}

uint32_t sockets_backlog(const struct sockets *sockets, unsigned broker)
{
	uint32_t backlog = 0;

	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		const struct socket_listener *listener =
			listener_of((struct socket_process *)&sockets->processes[i], broker, false);

		if (listener != NULL && listener->backlog > backlog)
			backlog = listener->backlog;
	}
	return backlog;
}

static bool anybody_listens(struct sockets *sockets, unsigned broker)
{
	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++)
		if (listener_of(&sockets->processes[i], broker, false) != NULL)
			return true;
	return false;
}

// Who waited for a process waits in vain: the listening socket is closed.
static void stop_listening(struct sockets *sockets, unsigned broker)
{
	if (sockets->listeners[broker] == NULL || anybody_listens(sockets, broker))
		return;
	tcp_close(sockets->listeners[broker]);
	sockets->listeners[broker] = NULL;
	offload_broker_reachable(sockets->offload, broker, false);
	for (uint32_t i = 0; i < slab_count(sockets->flows); i++) {
		struct socket_flow *flow = slab_at(sockets->flows, i);

		if (flow != NULL && flow->broker == broker && flow->process == NULL &&
			flow->state < SOCKET_OPEN)
			socket_flow_abort(flow);
	}
}

static bool same_place(
	const struct channel_endpoint *wanted, bool ipv6_only, const struct net_endpoint *listen)
{
	static const uint8_t any[16];
	bool ipv4 = net_address_is_ipv4(&listen->address);
	unsigned length = wanted->ipv6 ? 16 : 4;

	if (wanted->port != listen->port)
		return false;
	// The unspecified IPv6 address takes IPv4 too, unless it was asked not to (RFC 3493 5.3).
	if (memcmp(wanted->address, any, length) == 0)
		return ipv4 ? !wanted->ipv6 || !ipv6_only : wanted->ipv6;
	if (ipv4 == wanted->ipv6)
		return false;
	return memcmp(wanted->address,
		       ipv4 ? (const uint8_t *)&listen->address.words[3] : listen->address.bytes,
		       length) == 0;
}

static struct socket_listener *listener_place(
	struct socket_process *process, uint32_t number, unsigned broker)
{
	struct socket_listener *place = NULL;

	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++) {
		struct socket_listener *listener = &process->listeners[i];

		if (listener->used && listener->number == number && listener->broker == broker)
			return listener;
		if (!listener->used && place == NULL)
			place = listener;
	}
	return place;
}

static int listen_at(
	struct socket_process *process, unsigned broker, const struct channel_message *message)
{
	struct sockets *sockets = process->sockets;
	struct socket_listener *listener =
		listener_place(process, message->listen.listener, broker);
	int rc = 0;

	if (listener == NULL)
		return ENOBUFS;
	if (sockets->listeners[broker] == NULL)
		rc = tcp_listen(sockets->tcp, &sockets->config->brokers[broker].listen, NULL,
			&sockets->listeners[broker]);
	if (rc < 0)
		return -rc;
	*listener = (struct socket_listener){
		.number = message->listen.listener,
		.broker = broker,
		.backlog = message->listen.backlog,
		.accepts = message->listen.accepts,
		.used = true,
	};
	sockets->look = true;
	return 0;
}

// An address that stands for several configured ones listens on all of them.
static int do_listen(struct socket_process *process, const struct channel_message *message)
{
	const struct offload_config *config = process->sockets->config;
	int error = EADDRNOTAVAIL;

	for (unsigned i = 0; i < config->brokers_count; i++) {
		int rc;

		if (!same_place(&message->listen.endpoint, message->listen.ipv6_only,
			    &config->brokers[i].listen))
			continue;
		rc = listen_at(process, i, message);
		error = rc == 0 || error == EADDRNOTAVAIL ? rc : error;
	}
	return error;
}

static void unlisten(struct socket_process *process, uint32_t number)
{
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++) {
		struct socket_listener *listener = &process->listeners[i];

		if (!listener->used || listener->number != number)
			continue;
		listener->used = false;
		stop_listening(process->sockets, listener->broker);
	}
}

// --- messages ------------------------------------------------------------------------------------

static void set_option(struct socket_flow *flow, const struct channel_message *message)
{
	static const struct tcp_keep_alive off = {.interval_s = 75, .probes = 9};
	int value = message->option.value;

	switch (message->option.option) {
	case CHANNEL_NO_DELAY:
		// What is delivered is gathered by turns; holding it back longer helps nobody.
		return;
	case CHANNEL_LINGER:
		tcp_set_linger(flow->pcb, value);
		return;
	case CHANNEL_KEEP_ALIVE:
		flow->keeps_alive = value != 0;
		break;
	case CHANNEL_KEEP_IDLE:
		flow->keep_alive.idle_s = (uint32_t)value;
		break;
	case CHANNEL_KEEP_INTERVAL:
		flow->keep_alive.interval_s = (uint32_t)value;
		break;
	case CHANNEL_KEEP_COUNT:
		flow->keep_alive.probes = (uint32_t)value;
		break;
	case CHANNEL_OPTIONS:
		return;
	}
	tcp_set_keep_alive(flow->pcb, flow->keeps_alive ? &flow->keep_alive : &off);
}

// NULL: the connection is no more, or never was.
static struct socket_flow *flow_at(const struct socket_process *process, uint32_t slot)
{
	if (slot >= process->lane->slots || process->flows[slot] == SOCKET_SLOT_LEFT)
		return NULL;
	return process->flows[slot];
}

// As Linux numbers states in struct tcp_info.
static uint8_t state_number(enum tcp_state state)
{
	static const uint8_t numbers[] = {
		[TCP_CLOSED] = 7,
		[TCP_LISTEN] = 10,
		[TCP_SYN_DEFERRED] = 3,
		[TCP_SYN_SENT] = 2,
		[TCP_SYN_RECEIVED] = 3,
		[TCP_ESTABLISHED] = 1,
		[TCP_FIN_WAIT_1] = 4,
		[TCP_FIN_WAIT_2] = 5,
		[TCP_CLOSE_WAIT] = 8,
		[TCP_CLOSING] = 11,
		[TCP_LAST_ACK] = 9,
		[TCP_TIME_WAIT] = 6,
	};

	return numbers[state];
}

static void tell_info(struct socket_process *process, const struct channel_message *message)
{
	struct channel_message answer = {.call = message->call, .kind = CHANNEL_INFO_IS};
	const struct socket_flow *flow = flow_at(process, message->info.slot);
	struct tcp_info info;

	answer.info_is.state = state_number(TCP_CLOSED);
	if (flow != NULL && flow->pcb != NULL) {
		tcp_pcb_info(flow->pcb, &info);
		answer.info_is.state = state_number(info.state);
		answer.info_is.mss = info.mss;
		answer.info_is.cwnd = info.cwnd;
		answer.info_is.rtt_us = info.srtt_us;
		answer.info_is.rtt_var_us = info.rttvar_us;
		answer.info_is.retransmits = info.retransmits;
		answer.info_is.unacked = info.queued;
	}
	lane_post(
		process->lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &answer});
}

void socket_done(struct socket_process *process, uint32_t call, int error)
{
	const struct channel_message answer = {
		.call = call,
		.kind = CHANNEL_DONE,
		.done.error = (uint16_t)error,
	};

	lane_post(
		process->lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &answer});
}

static struct net_address address_of(const struct channel_endpoint *endpoint)
{
	struct net_address address;
	uint32_t ipv4;

	if (endpoint->ipv6) {
		memcpy(address.bytes, endpoint->address, sizeof(address.bytes));
		return address;
	}
	memcpy(&ipv4, endpoint->address, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

static void tell_route(struct socket_process *process, const struct channel_message *message)
{
	struct channel_message answer = {.call = message->call, .kind = CHANNEL_ROUTE_IS};
	const struct net_address remote = address_of(&message->route.remote);
	struct net_way way;
	int rc = net_way_find(process->sockets->net, &remote, &way);

	if (rc == 0) {
		answer.route_is.own = way.own;
		answer.route_is.general = way.general;
		answer.route_is.mtu = way.mtu;
		answer.route_is.longest =
			way.echo_max < CHANNEL_DATAGRAM_MAX ? way.echo_max : CHANNEL_DATAGRAM_MAX;
		answer.route_is.local.ipv6 = !net_address_is_ipv4(&way.local);
		if (answer.route_is.local.ipv6)
			memcpy(answer.route_is.local.address, way.local.bytes, 16);
		else
			memcpy(answer.route_is.local.address, &way.local.words[3], 4);
	}
	answer.route_is.error = (uint16_t)-rc;
	lane_post(
		process->lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &answer});
}

static void take_message(struct socket_process *process, const struct channel_message *message)
{
	struct socket_flow *flow;

	switch (message->kind) {
	case CHANNEL_LISTEN:
		socket_done(process, message->call, do_listen(process, message));
		break;
	case CHANNEL_UNLISTEN:
		unlisten(process, message->unlisten.listener);
		break;
	case CHANNEL_OPTION:
		flow = flow_at(process, message->option.slot);
		if (flow != NULL && flow->pcb != NULL)
			set_option(flow, message);
		break;
	case CHANNEL_INFO:
		tell_info(process, message);
		break;
	case CHANNEL_ROUTE:
		tell_route(process, message);
		break;
	default: // a daemon's own
		process->broken = true;
		break;
	}
}

// --- news ----------------------------------------------------------------------------------------

static void receive_slot(struct socket_process *process, uint32_t slot)
{
	struct socket_flow *flow = process->flows[slot];
	struct socket_echo *echo;

	if (flow == SOCKET_SLOT_LEFT) {
		socket_slot_settle(process, slot);
		return;
	}
	if (flow == NULL) {
		echo = socket_echo_at(process, slot);
		if (echo != NULL) // else a notice of a life that is over
			socket_echo_take(echo);
		return;
	}
	socket_flow_take(flow);
	if (!list_linked(&flow->link))
		list_append(&process->sockets->ready, &flow->link);
}

static unsigned receive(struct socket_process *process)
{
	struct lane_news news;
	unsigned count = 0;

	for (; count < NEWS_MAX && !process->broken && !process->gone; count++) {
		lane_poll(process->lane, &news);
		switch (news.what) {
		case LANE_NOTHING:
			return count;
		case LANE_MESSAGE:
			take_message(process, &news.message);
			break;
		case LANE_MOVED:
			receive_slot(process, news.slot);
			break;
		case LANE_GONE:
			__atomic_store_n(&process->gone, true, __ATOMIC_RELAXED);
			return count;
		case LANE_OPENED:
		case LANE_BROKEN:
			__atomic_store_n(&process->broken, true, __ATOMIC_RELAXED);
			break;
		}
	}
	return count;
}

// --- processes -----------------------------------------------------------------------------------

int sockets_attach(struct sockets *sockets, const struct sockets_process *from)
{
	uint32_t slots = from->lane->slots;

	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		struct socket_process *process = &sockets->processes[i];

		if (process->lane != NULL)
			continue;
		*process = (struct socket_process){
			.sockets = sockets,
			.wake = from->wake,
			.wake_ctx = from->wake_ctx,
			.flows = calloc(slots, sizeof(struct socket_flow *)),
			.free_slots = calloc(slots, sizeof(uint32_t)),
		};
		if (process->flows == NULL || process->free_slots == NULL) {
			free(process->flows);
			free(process->free_slots);
			*process = (struct socket_process){0};
			return -ENOMEM;
		}
		// The first slots are given away first: memory that was touched is used again.
		while (process->free_count < slots) {
			process->free_slots[process->free_count] = slots - 1 - process->free_count;
			process->free_count++;
		}
		process->lane = from->lane;
		sockets->counters.processes++;
		return (int)i;
	}
	return -ENOSPC;
}

static void end_process(struct sockets *sockets, struct socket_process *process)
{
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++)
		if (process->listeners[i].used)
			unlisten(process, process->listeners[i].number);
	for (uint32_t i = 0; i < slab_count(sockets->flows); i++) {
		struct socket_flow *flow = slab_at(sockets->flows, i);

		if (flow != NULL && flow->process == process)
			socket_flow_orphan(flow);
	}
	socket_echoes_forget(process);
}

// What it wrote before it ended is its will, within reason.
static void hear_out(struct socket_process *process)
{
	for (unsigned i = 0; i < 64 && !process->ended && receive(process) == NEWS_MAX; i++)
		;
}

void sockets_detach(struct sockets *sockets, unsigned number)
{
	struct socket_process *process = &sockets->processes[number];

	hear_out(process);
	end_process(sockets, process);
	free(process->flows);
	free(process->free_slots);
	*process = (struct socket_process){0};
	counter_add(&sockets->counters.processes, -1);
}

bool sockets_is_broken(const struct sockets *sockets, unsigned number)
{
	return __atomic_load_n(&sockets->processes[number].broken, __ATOMIC_RELAXED);
}

bool sockets_is_gone(const struct sockets *sockets, unsigned number)
{
	return __atomic_load_n(&sockets->processes[number].gone, __ATOMIC_RELAXED);
}

void sockets_wake(struct sockets *sockets, unsigned number)
{
	sockets->processes[number].wake_wanted = true;
}

// --- a turn --------------------------------------------------------------------------------------

unsigned sockets_receive(struct sockets *sockets)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		struct socket_process *process = &sockets->processes[i];

		if (process->lane == NULL || process->ended)
			continue;
		count += receive(process);
		if (!process->broken && !process->gone)
			continue;
		// Control takes the rest away.
		process->ended = true;
		counter_add(&sockets->counters.broken, process->broken);
		end_process(sockets, process);
	}
	// What there was no room, or no time, for.
	count += socket_echoes_go_on(sockets);
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
	if (!list_empty(&sockets->ready) || sockets->echoes_wait)
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
