// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Connections that processes make, to where the configuration has it so. There is no offload on
// them: octets go between the slot and the pcb as they are. The slot begins with the SYN, and is
// told when the connection stands, or with which error it does not (RFC 9293 3.10.1, RFC 5461 4).
// Ports are drawn at random (RFC 6056 3.3.1) among those whose packets come to this worker.

#include <errno.h>

#include "attach/socket_flow.h"

// So much of what a process has written is queued for the peer; the rest stays in the lane.
#define SEND_BUFFER    (256u << 10)
#define SEND_LOW_WATER (128u << 10)
// Of a worker's connections, so many at most are one process's and do not stand yet.
#define CONNECTING_SHARE 4

static struct lane *lane_of(const struct socket_flow *flow)
{
	return flow->process->lane;
}

static void again(struct socket_flow *flow)
{
	if (!list_linked(&flow->link))
		list_append(&flow->sockets->ready, &flow->link);
}

// --- octets --------------------------------------------------------------------------------------

// The send queue is full, or there are no payloads: the rest waits.
uint64_t socket_outgoing_take(struct socket_flow *flow)
{
	struct lane_item taken = {.what = LANE_POST_TAKEN, .slot = flow->slot};
	struct lane_span spans[LANE_SPANS];
	struct lane_slot slot;
	unsigned count;
	int rc = 0;

	if (flow->state != SOCKET_CONNECTED || flow->down_dead)
		return 0;
	lane_slot(lane_of(flow), flow->slot, &slot); // looks anew
	count = lane_peek(lane_of(flow), flow->slot, 0, spans, LANE_SPANS);
	for (unsigned i = 0; i < count && rc == 0; i++) {
		rc = tcp_send_copy(flow->pcb, spans[i].data, spans[i].length);
		taken.octets += rc == 0 ? spans[i].length : 0;
	}
	if (taken.octets > 0)
		lane_post(lane_of(flow), &taken);
	if (rc == -ENOMEM) // nobody tells when there is some
		again(flow);
	return taken.octets;
}

// What has come goes as far as there is room, with word when there is more; the end behind it.
static void push(struct socket_flow *flow)
{
	struct lane *lane = lane_of(flow);
	bool asked = false;

	while (tcp_recv_readable(flow->pcb) > 0) {
		struct tcp_span spans[LANE_SPANS];
		uint32_t n = socket_post(
			lane, flow->slot, spans, tcp_recv_peek(flow->pcb, spans, LANE_SPANS));

		tcp_recv_consume(flow->pcb, n);
		if (n == 0 && asked)
			return;
		// Before the try that finds no room: what becomes free meanwhile is not missed.
		asked = n == 0;
		if (asked)
			lane_post(lane,
				&(struct lane_item){.what = LANE_POST_HUNGRY, .slot = flow->slot});
	}
	if (tcp_recv_eof(flow->pcb) && !flow->end_sent) {
		flow->end_sent = true;
		lane_post(lane, &(struct lane_item){.what = LANE_POST_END, .slot = flow->slot});
	}
}

// --- ends ----------------------------------------------------------------------------------------

// In its state it is not counted any more.
void socket_outgoing_forget(struct socket_flow *flow)
{
	uint64_t *outgoing = flow->sockets->counters.outgoing;

	if (flow->state == SOCKET_CONNECTED) {
		counter_add(&outgoing[SOCKETS_OUTGOING_CONNECTED], -1);
		return;
	}
	counter_add(&outgoing[SOCKETS_OUTGOING_CONNECTING], -1);
	if (flow->process != NULL)
		flow->process->connecting--;
}

// The process has closed its descriptor, or is gone: with a reset when it had not read everything
// (as Linux), or asked for one. What it wrote is in the queue.
static void close_pcb(struct socket_flow *flow, bool reset)
{
	struct tcp_pcb *pcb = flow->pcb;

	socket_flow_leave(flow, 0);
	if (reset)
		tcp_abort_after_send(pcb);
	else
		tcp_close(pcb);
}

// The peer is gone, and all that it had sent is with the process.
static void fail(struct socket_flow *flow, int error)
{
	struct tcp_pcb *pcb = flow->pcb;

	socket_flow_leave(flow, error);
	tcp_abort(pcb);
}

// The process has written its last, and whether it waits for the peer to read it is TCP's business
// from now on.
static void take_all(struct socket_flow *flow)
{
	tcp_set_send_buffer(flow->pcb, 0);
	while (socket_outgoing_take(flow) > 0)
		;
}

static void run_connected(struct socket_flow *flow)
{
	struct lane_slot slot;

	socket_outgoing_take(flow);
	push(flow);
	lane_slot(lane_of(flow), flow->slot, &slot);
	if (slot.closed && slot.came > 0) {
		take_all(flow);
		lane_slot(lane_of(flow), flow->slot, &slot);
	}
	if (slot.closed && flow->down_dead) {
		fail(flow, flow->error);
	} else if (slot.closed && slot.came == 0) {
		close_pcb(
			flow, slot.error != 0 || slot.sent > 0 || tcp_recv_readable(flow->pcb) > 0);
	} else if (flow->down_dead && tcp_recv_readable(flow->pcb) == 0) {
		fail(flow, flow->error);
	} else if (slot.ended && slot.came == 0 && !flow->up_ended) {
		flow->up_ended = true;
		tcp_shutdown(flow->pcb);
	}
}

void socket_outgoing_run(struct socket_flow *flow)
{
	struct lane_slot slot;

	if (flow->state == SOCKET_CONNECTED) {
		run_connected(flow);
		return;
	}
	lane_slot(lane_of(flow), flow->slot, &slot);
	if (slot.closed)
		fail(flow, 0);
}

// As the kernel ends what a dead process had open.
void socket_outgoing_orphan(struct socket_flow *flow)
{
	struct socket_process *process = flow->process;
	struct lane_slot slot = {0};
	bool reset = process->broken;

	if (!reset) {
		take_all(flow);
		lane_slot(process->lane, flow->slot, &slot);
		reset = slot.sent > 0 || slot.came > 0 || tcp_recv_readable(flow->pcb) > 0;
	}
	process->flows[flow->slot] = NULL;
	flow->process = NULL;
	close_pcb(flow, reset && flow->state == SOCKET_CONNECTED);
}

// An orderly stop. What the process wrote is sent; what was never read is nobody's.
void socket_outgoing_drain(struct socket_flow *flow)
{
	if (flow->state == SOCKET_CONNECTING) {
		fail(flow, ENETDOWN);
		return;
	}
	take_all(flow);
	push(flow);
	tcp_recv_consume(flow->pcb, tcp_recv_readable(flow->pcb));
	close_pcb(flow, false);
}

// --- events --------------------------------------------------------------------------------------

static int unreachable_error(const struct tcp_pcb *pcb)
{
	static const int errors[] = {
		[TCP_UNREACHABLE_HOST] = EHOSTUNREACH,
		[TCP_UNREACHABLE_NET] = ENETUNREACH,
		[TCP_UNREACHABLE_PORT] = ECONNREFUSED,
		[TCP_UNREACHABLE_PROTOCOL] = ENOPROTOOPT,
		[TCP_UNREACHABLE_PROHIBITED] = EACCES,
	};

	return errors[tcp_pcb_unreachable(pcb)];
}

static void could_not(struct socket_flow *flow, uint32_t events)
{
	uint64_t *failed = flow->sockets->counters.outgoing_failed;
	int error = ECONNREFUSED;

	if (events & TCP_EVENT_UNREACHABLE)
		error = unreachable_error(flow->pcb);
	else if (events & TCP_EVENT_TIMEOUT)
		error = ETIMEDOUT;
	counter_inc(&failed[error == ECONNREFUSED ? SOCKETS_FAILED_REFUSED
			    : error == ETIMEDOUT  ? SOCKETS_FAILED_TIMEOUT
						  : SOCKETS_FAILED_UNREACHABLE]);
	fail(flow, error);
}

static void stands(struct socket_flow *flow)
{
	socket_outgoing_forget(flow);
	flow->state = SOCKET_CONNECTED;
	counter_inc(&flow->sockets->counters.outgoing[SOCKETS_OUTGOING_CONNECTED]);
	counter_inc(&flow->sockets->counters.connected);
	tcp_set_send_buffer(flow->pcb, SEND_BUFFER);
	tcp_set_low_water(flow->pcb, SEND_LOW_WATER);
	lane_post(lane_of(flow), &(struct lane_item){.what = LANE_POST_READY, .slot = flow->slot});
}

void socket_outgoing_event(struct socket_flow *flow, uint32_t events)
{
	bool over = (events & TCP_EVENTS_TERMINAL) != 0;

	if (flow->state == SOCKET_CONNECTING && (events & TCP_EVENT_ESTABLISHED))
		stands(flow);
	if (flow->state == SOCKET_CONNECTING) {
		if (over)
			could_not(flow, events);
		return;
	}
	if (over) {
		flow->down_dead = true;
		// Linux, of a reset in CLOSE_WAIT.
		flow->error = (events & TCP_EVENT_TIMEOUT) ? ETIMEDOUT
			      : flow->end_sent		   ? EPIPE
							   : ECONNRESET;
	}
	run_connected(flow);
}

// --- opening -------------------------------------------------------------------------------------

static bool is_ours(const struct sockets *sockets, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	const struct sockets_outgoing *outgoing = &sockets->outgoing;

	return outgoing->is_ours == NULL || outgoing->is_ours(outgoing->ctx, local, remote);
}

// Nobody connects to himself.
static bool port_suits(
	void *ctx, const struct net_endpoint *local, const struct net_endpoint *remote)
{
	return !net_endpoint_equal(local, remote) && is_ours(ctx, local, remote);
}

static int endpoints_of(const struct sockets *sockets, const struct channel_message *message,
	struct net_endpoint *ret_local, struct net_endpoint *ret_remote)
{
	const struct channel_endpoint *local = &message->connect.local;

	*ret_remote = socket_endpoint_from(&message->connect.remote);
	*ret_local = socket_endpoint_from(local);
	if (sockets->outgoing.may == NULL ||
		!sockets->outgoing.may(sockets->outgoing.ctx, &ret_remote->address))
		return EACCES;
	if (net_address_is_link_local(&ret_remote->address))
		return ENETUNREACH;
	if (socket_address_is_any(&ret_local->address)) {
		if (net_source_select(sockets->net, &ret_remote->address, &ret_local->address) < 0)
			return ENETUNREACH;
	} else if (local->ipv6 != message->connect.remote.ipv6 ||
		   !net_address_is_local(sockets->net, &ret_local->address)) {
		return ENXIO;
	}
	if (ret_local->port == 0)
		return 0;
	if (net_endpoint_equal(ret_local, ret_remote))
		return EADDRNOTAVAIL;
	return is_ours(sockets, ret_local, ret_remote) ? 0 : EXDEV;
}

static int connect_error(int rc)
{
	switch (rc) {
	case -EADDRINUSE: // of the four numbers together
		return EADDRNOTAVAIL;
	case -EHOSTUNREACH:
		return ENETUNREACH;
	case -ENOMEM:
		return ENOBUFS;
	default:
		return -rc;
	}
}

static void begin(struct socket_process *process, struct socket_flow *flow, uint32_t number)
{
	const struct net_endpoint local = tcp_pcb_local(flow->pcb),
				  remote = tcp_pcb_remote(flow->pcb);
	const struct lane_opened opened = {
		.kind = CHANNEL_STREAM_SLOT,
		.listener = number,
		.local = socket_endpoint_to(&local),
		.remote = socket_endpoint_to(&remote),
	};

	flow->process = process;
	flow->slot = socket_slot_take(process);
	process->flows[flow->slot] = flow;
	process->connecting++;
	counter_inc(&process->sockets->counters.outgoing[SOCKETS_OUTGOING_CONNECTING]);
	lane_post(process->lane,
		&(struct lane_item){.what = LANE_POST_OPEN, .slot = flow->slot, .opened = &opened});
}

static int open_flow(struct socket_process *process, const struct channel_message *message,
	const struct net_endpoint *local, const struct net_endpoint *remote)
{
	struct sockets *sockets = process->sockets;
	const struct tcp_connect_options options = {
		.no_delay = true,
		.port_suits = port_suits,
		.port_ctx = sockets,
		.syn_retries = message->connect.attempts,
	};
	struct socket_flow *flow;
	int rc;

	if (process->connecting >= sockets->config->clients_max / CONNECTING_SHARE + 1)
		return EAGAIN;
	flow = process->free_count > 0 ? slab_take(sockets->flows) : NULL;
	if (flow == NULL)
		return ENOBUFS;
	socket_flow_init(sockets, flow, SOCKET_CONNECTING);
	rc = tcp_connect(sockets->tcp, local, remote, &options, flow, &flow->pcb);
	if (rc < 0) {
		slab_give(sockets->flows, flow);
		return connect_error(rc);
	}
	begin(process, flow, message->connect.socket);
	return 0;
}

int socket_outgoing_open(struct socket_process *process, const struct channel_message *message)
{
	struct sockets *sockets = process->sockets;
	struct net_endpoint local, remote;
	int error = sockets->draining ? ENETDOWN : endpoints_of(sockets, message, &local, &remote);

	if (error == 0)
		error = open_flow(process, message, &local, &remote);
	if (error != 0 && error != EXDEV && error != ENXIO) // it is tried elsewhere
		counter_inc(&sockets->counters.outgoing_failed[SOCKETS_FAILED_HERE]);
	return error;
}
