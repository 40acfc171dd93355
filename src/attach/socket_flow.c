// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What happens to a flow. Ends of streams are carried through as the kernel would: a close is a
// FIN, or a reset where something had not been read.

#include "attach/socket_flow.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/payload.h"

// So much of what a process has written waits here at most; the rest stays in its stream.
#define IN_MAX (256u << 10)
// The process has closed and the client does not: so long an orphaned connection lives in Linux
// too.
#define LINGER_US (60 * US_IN_S)

static struct socket_flow *flow_of(const struct client *client)
{
	return offload_client_link(client);
}

static struct lane *lane_of(const struct socket_flow *flow)
{
	return flow->process->lane;
}

// A process that is gone has closed everything.
static void slot_of(const struct socket_flow *flow, struct lane_slot *ret_slot)
{
	if (flow->process != NULL)
		lane_slot(lane_of(flow), flow->slot, ret_slot);
	else
		*ret_slot = (struct lane_slot){.ended = true, .closed = true, .error = flow->error};
}

// Comes round again in the next turn.
static void again(struct socket_flow *flow)
{
	if (!list_linked(&flow->link))
		list_append(&flow->sockets->ready, &flow->link);
}

// --- to the process ------------------------------------------------------------------------------

uint32_t socket_post(struct lane *lane, uint32_t slot, const struct tcp_span *spans, unsigned count)
{
	struct lane_span data[LANE_SPANS];
	struct lane_item item = {.what = LANE_POST_DATA, .slot = slot, .spans = data};
	int rc;

	for (; item.spans_count < count && item.spans_count < LANE_SPANS; item.spans_count++) {
		const struct tcp_span *span = &spans[item.spans_count];

		data[item.spans_count] = (struct lane_span){span->data, span->length};
	}
	rc = lane_post(lane, &item);
	return rc > 0 ? (uint32_t)rc : 0;
}

// Asking comes before the try that finds no room: what becomes free in between is seen by one of
// the two.
void socket_push(struct lane *lane, uint32_t slot, struct bytes *bytes)
{
	bool asked = false;

	while (bytes->length > 0) {
		struct tcp_span spans[LANE_SPANS];
		uint32_t n = socket_post(lane, slot, spans, bytes_peek(bytes, spans, LANE_SPANS));

		bytes_consume(bytes, n);
		if (n == 0 && asked)
			return;
		asked = n == 0;
		if (asked)
			lane_post(
				lane, &(struct lane_item){.what = LANE_POST_HUNGRY, .slot = slot});
	}
}

// What waits goes as far as there is room; the end behind it.
static void push(struct socket_flow *flow)
{
	if (flow->process == NULL)
		return;
	socket_push(lane_of(flow), flow->slot, &flow->out);
	if (flow->down_ended && !flow->end_sent && flow->out.length == 0) {
		flow->end_sent = true;
		lane_post(lane_of(flow),
			&(struct lane_item){.what = LANE_POST_END, .slot = flow->slot});
	}
}

static int send_spans(struct socket_flow *flow, const struct tcp_span *spans, unsigned count)
{
	struct lane_slot slot;
	int rc;

	slot_of(flow, &slot);
	if (slot.closed)
		return -EPIPE;
	rc = bytes_append(&flow->out, spans, count);
	if (rc == 0)
		push(flow);
	return rc;
}

static int link_send(struct client *client, const struct tcp_piece *pieces, unsigned count)
{
	struct tcp_span spans[64];
	unsigned n = 0;

	ASSERT(count <= 64);
	for (unsigned i = 0; i < count; i++) {
		const struct tcp_piece *piece = &pieces[i];

		if (piece->length == 0)
			continue;
		if (piece->offset == TCP_PIECE_INLINE)
			spans[n++] = (struct tcp_span){piece->bytes, piece->length};
		else
			spans[n++] = (struct tcp_span){
				piece->payload->data + piece->offset, piece->length};
	}
	return send_spans(flow_of(client), spans, n);
}

static int link_send_copy(struct client *client, const void *data, size_t length)
{
	const struct tcp_span span = {data, (uint32_t)length};

	return send_spans(flow_of(client), &span, 1);
}

static uint64_t link_queued(const struct client *client)
{
	const struct socket_flow *flow = flow_of(client);
	struct lane_slot slot;

	slot_of(flow, &slot);
	return flow->out.length + slot.sent;
}

// --- from the process ----------------------------------------------------------------------------

static uint32_t take_span(struct socket_flow *flow, const struct lane_span *span)
{
	uint32_t done = 0;

	while (done < span->length) {
		uint32_t left = span->length - done, room;
		uint8_t *to = bytes_room(&flow->in, left, &room);

		if (to == NULL)
			break;
		room = room < left ? room : left;
		memcpy(to, (const uint8_t *)span->data + done, room);
		bytes_add(&flow->in, room);
		done += room;
	}
	return done;
}

static uint64_t take(struct socket_flow *flow)
{
	struct lane_item taken = {.what = LANE_POST_TAKEN, .slot = flow->slot};
	struct lane_span spans[LANE_SPANS];
	struct lane_slot slot;
	unsigned count;

	slot_of(flow, &slot); // looks anew
	count = lane_peek(lane_of(flow), flow->slot, 0, spans, LANE_SPANS);
	for (unsigned i = 0; i < count; i++) {
		uint32_t n = take_span(flow, &spans[i]);

		taken.octets += n;
		if (n < spans[i].length) // no memory
			break;
	}
	if (taken.octets > 0)
		lane_post(lane_of(flow), &taken);
	return taken.octets;
}

uint64_t socket_flow_take(struct socket_flow *flow)
{
	if (socket_state_is_outgoing(flow->state))
		return socket_outgoing_take(flow);
	return flow->process != NULL && flow->in.length < IN_MAX ? take(flow) : 0;
}

static unsigned link_peek(struct client *client, struct tcp_span *ret_spans, unsigned max)
{
	return bytes_peek(&flow_of(client)->in, ret_spans, max);
}

static void link_consume(struct client *client, uint32_t n)
{
	bytes_consume(&flow_of(client)->in, n);
}

static bool nothing_follows(const struct socket_flow *flow, struct lane_slot *ret_slot)
{
	slot_of(flow, ret_slot);
	return ret_slot->ended && ret_slot->came == 0;
}

static bool link_eof(const struct client *client)
{
	struct lane_slot slot;

	return nothing_follows(flow_of(client), &slot);
}

// The broker's side is the process's own end: to it the connection is the client's.
static void link_describe(
	const struct client *client, struct net_endpoint *ret_local, const char **ret_state)
{
	*ret_local = tcp_pcb_remote(flow_of(client)->pcb);
	*ret_state = "ATTACHED";
}

// --- ends ----------------------------------------------------------------------------------------

static void flow_free(struct socket_flow *flow)
{
	if (flow->client != NULL)
		offload_client_close(flow->client);
	bytes_clear(&flow->in);
	bytes_clear(&flow->out);
	list_remove(&flow->link);
	wheel_disarm(&flow->sockets->timers, &flow->timer);
	if (flow->state == SOCKET_STANDING)
		flow->sockets->standing[flow->broker]--;
	if (socket_state_is_outgoing(flow->state))
		socket_outgoing_forget(flow);
	flow->sockets->freed++;
	flow->sockets->look = true;
	slab_give(flow->sockets->flows, flow);
}

void socket_flow_leave(struct socket_flow *flow, int error)
{
	struct socket_process *process = flow->process;
	uint32_t slot = flow->slot;

	flow_free(flow);
	if (process == NULL)
		return;
	process->flows[slot] = SOCKET_SLOT_LEFT;
	lane_post(process->lane,
		&(struct lane_item){.what = LANE_POST_CLOSE, .slot = slot, .error = error});
	socket_slot_settle(process, slot);
}

void socket_flow_abort(struct socket_flow *flow)
{
	struct tcp_pcb *pcb = flow->pcb;

	socket_flow_leave(flow, ECONNRESET);
	if (pcb != NULL)
		tcp_abort(pcb);
}

static void refuse(struct socket_flow *flow, enum sockets_refusal reason)
{
	counter_inc(&flow->sockets->counters.refused[reason]);
	socket_flow_abort(flow);
}

// The client is gone: what it sent before goes on, then the process hears why.
static void client_gone(struct socket_flow *flow, int error)
{
	struct tcp_pcb *pcb = flow->pcb;

	// Linux, of a reset in CLOSE_WAIT.
	if (flow->down_ended && error == ECONNRESET)
		error = EPIPE;
	offload_client_close(flow->client);
	flow->client = NULL;
	flow->pcb = NULL;
	flow->state = SOCKET_ENDING;
	flow->error = error;
	tcp_abort(pcb);
	push(flow);
	if (flow->out.length == 0)
		socket_flow_leave(flow, error);
}

// The process has closed its descriptor: with a reset when it had not read everything (as Linux),
// or asked for one.
static void process_closed(struct socket_flow *flow, const struct lane_slot *slot)
{
	bool reset = slot->error != 0 || slot->sent > 0 || flow->out.length > 0;
	struct tcp_pcb *pcb = flow->pcb;

	if (reset)
		counter_inc(&flow->sockets->counters.resets[SOCKETS_RESET_BROKER]);
	socket_flow_leave(flow, 0);
	if (reset)
		tcp_abort_after_send(pcb);
	else
		tcp_close(pcb);
}

// Both have ended; the process may keep its descriptor as long as it likes.
static void both_ended(struct socket_flow *flow)
{
	struct tcp_pcb *pcb = flow->pcb;

	socket_flow_leave(flow, 0);
	tcp_close(pcb);
}

static void carry_up(struct socket_flow *flow)
{
	flow->down_ended = true;
	offload_client_gone(flow->client);
	push(flow);
}

// Last in every run of the client: the flow may be gone afterwards.
static void link_moved(struct client *client)
{
	struct socket_flow *flow = flow_of(client);
	struct lane_slot slot;

	if (offload_client_failed(client)) {
		counter_inc(&flow->sockets->counters.resets[SOCKETS_RESET_OFFRAMP]);
		socket_flow_abort(flow);
		return;
	}
	if (flow->down_dead && !offload_client_crossing(client)) {
		client_gone(flow, ECONNRESET);
		return;
	}
	if (!flow->down_ended && tcp_recv_eof(flow->pcb) && offload_client_read(client))
		carry_up(flow);
	if (nothing_follows(flow, &slot) && offload_client_broker_read(client)) {
		if (!flow->up_ended) {
			flow->up_ended = true;
			offload_client_broker_gone(client);
		}
		if (slot.closed) {
			process_closed(flow, &slot);
			return;
		}
		tcp_shutdown(flow->pcb);
	}
	if (flow->down_ended && flow->end_sent && flow->up_ended)
		both_ended(flow);
	else if (slot.closed && !wheel_armed(&flow->timer))
		wheel_arm(&flow->sockets->timers, &flow->timer, flow->sockets->now_us + LINGER_US);
	else if (slot.came > 0 && flow->in.length < IN_MAX)
		again(flow); // there is more than has been taken
}

static const struct broker_link_ops socket_link_ops = {
	.peek = link_peek,
	.consume = link_consume,
	.eof = link_eof,
	.send = link_send,
	.send_copy = link_send_copy,
	.queued = link_queued,
	.describe = link_describe,
	.moved = link_moved,
};

// --- opening -------------------------------------------------------------------------------------

struct channel_endpoint socket_endpoint_to(const struct net_endpoint *from)
{
	struct channel_endpoint to = {.port = from->port};

	to.ipv6 = !net_address_is_ipv4(&from->address);
	if (to.ipv6)
		memcpy(to.address, from->address.bytes, 16);
	else
		memcpy(to.address, &from->address.words[3], 4);
	return to;
}

// False: nobody takes it yet.
static bool give_to_process(struct socket_flow *flow)
{
	const struct net_endpoint local = tcp_pcb_local(flow->pcb),
				  remote = tcp_pcb_remote(flow->pcb);
	struct sockets *sockets = flow->sockets;
	struct lane_opened opened = {
		.kind = CHANNEL_STREAM_SLOT,
		.local = socket_endpoint_to(&local),
		.remote = socket_endpoint_to(&remote),
	};
	struct socket_process *process = sockets_listener(sockets, flow->broker, &opened.listener);

	if (process == NULL)
		return false;
	flow->client = offload_client_open(
		sockets->offload, flow->broker, flow->pcb, &socket_link_ops, flow);
	if (flow->client == NULL)
		return false;
	flow->process = process;
	flow->slot = socket_slot_take(process);
	process->flows[flow->slot] = flow;
	flow->state = SOCKET_OPEN;
	sockets->standing[flow->broker]--;
	list_remove(&flow->link);
	counter_inc(&sockets->counters.accepted);
	tcp_set_no_delay(flow->pcb, true);
	lane_post(process->lane,
		&(struct lane_item){.what = LANE_POST_OPEN, .slot = flow->slot, .opened = &opened});
	offload_broker_reachable(sockets->offload, flow->broker, true);
	offload_client_run(flow->client);
	return true;
}

// As the kernel: the handshake is answered while the listening socket's queue has room. Handshakes
// that nobody completes take none of it: TCP bounds them, and answers with cookies beyond.
static void answer(struct socket_flow *flow)
{
	const struct sockets *sockets = flow->sockets;

	if (sockets->standing[flow->broker] > sockets_backlog(sockets, flow->broker))
		return;
	flow->state = SOCKET_SHAKING;
	tcp_accept(flow->pcb);
}

// The handshake is complete. Nobody overtakes who stands there already: what has changed for them
// is looked at later in the turn.
static void stand(struct socket_flow *flow)
{
	flow->state = SOCKET_STANDING;
	if (++flow->sockets->standing[flow->broker] == 1)
		give_to_process(flow);
}

void socket_flow_init(
	struct sockets *sockets, struct socket_flow *flow, enum socket_flow_state state)
{
	flow->sockets = sockets;
	flow->state = state;
	flow->keep_alive = (struct tcp_keep_alive){7200, 75, 9};
	bytes_init(&flow->in, sockets->payloads);
	bytes_init(&flow->out, sockets->payloads);
	wheel_timer_init(&flow->timer);
	list_init(&flow->link);
}

void socket_flow_open(struct sockets *sockets, unsigned broker, struct tcp_pcb *pcb, bool standing)
{
	struct socket_flow *flow = sockets->draining ? NULL : slab_take(sockets->flows);

	if (flow == NULL) {
		counter_inc(&sockets->counters.refused[sockets->draining ? SOCKETS_REFUSED_DRAINING
									 : SOCKETS_REFUSED_FULL]);
		tcp_abort(pcb);
		return;
	}
	socket_flow_init(sockets, flow, SOCKET_KNOCKING);
	flow->broker = broker;
	flow->pcb = pcb;
	list_append(&sockets->waiting, &flow->link);
	tcp_pcb_set_user(pcb, flow);
	if (standing)
		stand(flow);
	else
		answer(flow);
}

void socket_flows_place(struct sockets *sockets)
{
	list_for_each_safe (link, &sockets->waiting) {
		struct socket_flow *flow = container_of(link, struct socket_flow, link);

		if (flow->state == SOCKET_KNOCKING)
			answer(flow);
		else if (flow->state == SOCKET_STANDING)
			give_to_process(flow);
	}
}

// --- events --------------------------------------------------------------------------------------

void socket_flow_event(struct socket_flow *flow, uint32_t events)
{
	const struct sockets *sockets = flow->sockets;
	uint64_t freed = sockets->freed;

	if (socket_state_is_outgoing(flow->state)) {
		socket_outgoing_event(flow, events);
		return;
	}
	if (flow->state != SOCKET_OPEN) {
		if (events & TCP_EVENTS_TERMINAL)
			socket_flow_abort(flow); // nobody has heard of it yet
		else if (flow->state == SOCKET_SHAKING && (events & TCP_EVENT_ESTABLISHED))
			stand(flow);
		return;
	}
	offload_client_run(flow->client);
	// The flow may be gone by now.
	if (!(events & TCP_EVENTS_TERMINAL) || freed != sockets->freed)
		return;
	counter_inc(&flow->sockets->counters.resets[SOCKETS_RESET_CLIENT]);
	// What follows messages that are on their way to other workers has not been read.
	if (offload_client_crossing(flow->client))
		flow->down_dead = true;
	else
		client_gone(flow, (events & TCP_EVENT_TIMEOUT) ? ETIMEDOUT : ECONNRESET);
}

void socket_flow_run(struct socket_flow *flow)
{
	struct lane_slot slot;

	if (socket_state_is_outgoing(flow->state)) {
		socket_outgoing_run(flow);
		return;
	}
	push(flow);
	if (flow->state == SOCKET_OPEN) {
		offload_client_run(flow->client);
		return;
	}
	slot_of(flow, &slot);
	if (flow->out.length == 0 || slot.closed)
		socket_flow_leave(flow, flow->error);
}

void socket_flow_timeout(struct socket_flow *flow)
{
	socket_flow_abort(flow);
}

// As the kernel ends what a dead process had open: what it wrote goes out, unread octets make a
// reset of it.
void socket_flow_orphan(struct socket_flow *flow)
{
	struct socket_process *process = flow->process;
	struct lane_slot slot;

	if (socket_state_is_outgoing(flow->state)) {
		socket_outgoing_orphan(flow);
		return;
	}
	slot_of(flow, &slot);
	if (slot.sent > 0 || flow->out.length > 0 || process->broken)
		flow->error = ECONNRESET;
	while (!process->broken && take(flow) > 0)
		;
	bytes_clear(&flow->out);
	process->flows[flow->slot] = NULL;
	flow->process = NULL;
	if (flow->state == SOCKET_OPEN)
		offload_client_run(flow->client);
	else
		flow_free(flow);
}

void socket_flow_drain(struct socket_flow *flow)
{
	if (socket_state_is_outgoing(flow->state)) {
		socket_outgoing_drain(flow);
		return;
	}
	if (flow->state == SOCKET_ENDING)
		return;
	if (flow->state != SOCKET_OPEN) {
		refuse(flow, SOCKETS_REFUSED_DRAINING);
		return;
	}
	if (!offload_client_drained(flow->client) || flow->out.length > 0)
		return;
	// What the client sent and was never acknowledged is nobody's any more; unread it would
	// turn the close into a reset.
	tcp_recv_consume(flow->pcb, tcp_recv_readable(flow->pcb));
	both_ended(flow);
}
