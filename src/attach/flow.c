// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What happens to a flow, event by event, however its legs came about. Ends of streams are
// carried through per direction, after everything queued: a FIN becomes a FIN, a reset a
// reset.

#include "attach/flow.h"

#include <errno.h>

#include "base/assert.h"
#include "base/clock.h"
#include "net/address.h"

// The broker has closed and the client does not: so long an orphaned connection lives in Linux too.
#define LINGER_US (60 * US_IN_S)

static struct flow *flow_of(const struct client *client)
{
	return offload_client_link(client);
}

static const struct offload_broker_config *flow_config(const struct flow *flow)
{
	return &flow->stack->config->brokers[flow->broker];
}

// --- the broker's leg, as the offload uses it ----------------------------------------------------

static unsigned link_peek(struct client *client, struct tcp_span *ret_spans, unsigned max)
{
	return tcp_recv_peek(flow_of(client)->up.pcb, ret_spans, max);
}

static void link_consume(struct client *client, uint32_t n)
{
	tcp_recv_consume(flow_of(client)->up.pcb, n);
}

static bool link_eof(const struct client *client)
{
	return tcp_recv_eof(flow_of(client)->up.pcb);
}

static int link_send(struct client *client, const struct tcp_piece *pieces, unsigned count)
{
	return tcp_send(flow_of(client)->up.pcb, pieces, count);
}

static int link_send_copy(struct client *client, const void *data, size_t length)
{
	return tcp_send_copy(flow_of(client)->up.pcb, data, length);
}

static uint64_t link_queued(const struct client *client)
{
	return tcp_send_queued(flow_of(client)->up.pcb);
}

static void link_describe(
	const struct client *client, struct net_endpoint *ret_local, const char **ret_state)
{
	struct tcp_info info;

	tcp_pcb_info(flow_of(client)->up.pcb, &info);
	*ret_local = info.local;
	*ret_state = tcp_state_name(info.state);
}

// --- ends ----------------------------------------------------------------------------------------

// The legs have been given back to TCP by now.
static void flow_free(struct flow *flow)
{
	if (flow->client != NULL)
		offload_client_close(flow->client);
	if (flow->passages != NULL)
		slab_give(flow->stack->passages, flow->passages);
	wheel_disarm(&flow->stack->timers, &flow->timer);
	flow->stack->freed++;
	slab_give(flow->stack->flows, flow);
}

void flow_abort(struct flow *flow)
{
	struct tcp_pcb *down = flow->down.pcb, *up = flow->up.pcb;

	flow_free(flow);
	tcp_abort(down);
	if (up != NULL)
		tcp_abort(up);
}

static void flow_refuse(struct flow *flow, enum stack_refusal reason)
{
	counter_inc(&flow->stack->counters.refused[reason]);
	flow_abort(flow);
}

static void flow_close(struct flow *flow)
{
	struct tcp_pcb *down = flow->down.pcb, *up = flow->up.pcb;

	flow_free(flow);
	tcp_close(down);
	tcp_close(up);
}

// One side was reset, or is dead: what it has sent goes on, then the other side is reset too.
static void open_terminal(struct flow *flow, bool is_down)
{
	struct tcp_pcb *dead = is_down ? flow->down.pcb : flow->up.pcb;
	struct tcp_pcb *other = is_down ? flow->up.pcb : flow->down.pcb;

	counter_inc(
		&flow->stack->counters.resets[is_down ? STACK_RESET_CLIENT : STACK_RESET_BROKER]);
	if (!is_down)
		offload_client_broker_gone(flow->client);
	flow_free(flow);
	tcp_abort(dead);
	tcp_abort_after_send(other);
}

// --- acknowledgements from end to end ------------------------------------------------------------

static void link_consumed(struct client *client)
{
	passage_note(&flow_of(client)->passages->up, offload_client_beyond(client, true));
}

static void link_consume_held(struct client *client, uint32_t n)
{
	link_consume(client, n);
	passage_note(&flow_of(client)->passages->down, offload_client_beyond(client, false));
}

// A run of the client has ended: also ends of streams, and what is not consumed yet.
static void passages_note(struct flow *flow)
{
	if (flow->passages == NULL)
		return;
	flow->passages->up.ended = flow->down_ended;
	flow->passages->down.ended = flow->up_ended;
	passage_note(&flow->passages->up, offload_client_beyond(flow->client, true));
	passage_note(&flow->passages->down, offload_client_beyond(flow->client, false));
}

// Nothing is left that one side would have to be told of the other.
static bool passages_settled(const struct flow *flow)
{
	return flow->passages == NULL ||
	       (passage_settled(&flow->passages->up) && passage_settled(&flow->passages->down));
}

// --- ends of streams -----------------------------------------------------------------------------

// Carries the ends of streams from one leg to the other once everything before them has gone. Last
// in every run of the client: the flow may be gone afterwards.
static void link_moved(struct client *client)
{
	struct flow *flow = flow_of(client);

	if (offload_client_failed(client)) {
		counter_inc(&flow->stack->counters.resets[STACK_RESET_OFFRAMP]);
		flow_abort(flow);
		return;
	}
	if (flow->down_dead && !offload_client_crossing(client)) {
		open_terminal(flow, true);
		return;
	}
	if (!flow->down_ended && tcp_recv_eof(flow->down.pcb) && offload_client_read(client)) {
		flow->down_ended = true;
		offload_client_gone(client);
		tcp_shutdown(flow->up.pcb);
	}
	if (!flow->up_ended && tcp_recv_eof(flow->up.pcb) && offload_client_broker_read(client)) {
		flow->up_ended = true;
		offload_client_broker_gone(client);
		tcp_shutdown(flow->down.pcb);
		wheel_arm(&flow->stack->timers, &flow->timer, flow->stack->now_us + LINGER_US);
	}
	passages_note(flow);
	if (flow->down_ended && flow->up_ended && passages_settled(flow))
		flow_close(flow);
}

static const struct broker_link_ops early_ops = {
	.peek = link_peek,
	.consume = link_consume,
	.eof = link_eof,
	.send = link_send,
	.send_copy = link_send_copy,
	.queued = link_queued,
	.describe = link_describe,
	.moved = link_moved,
};

static const struct broker_link_ops end_to_end_ops = {
	.peek = link_peek,
	.consume = link_consume_held,
	.consumed = link_consumed,
	.eof = link_eof,
	.send = link_send,
	.send_copy = link_send_copy,
	.queued = link_queued,
	.describe = link_describe,
	.moved = link_moved,
};

// --- opening -------------------------------------------------------------------------------------

// From the client's own port, from the first of our addresses where it is free.
static int connect_same_port(struct flow *flow)
{
	const struct offload_broker_config *config = flow_config(flow);
	const struct tcp_connect_options *options = &flow->stack->connect;
	struct net_endpoint local = {.port = tcp_pcb_remote(flow->down.pcb).port};
	int rc = -EADDRINUSE;

	for (unsigned i = 0; i < config->sources_count && rc == -EADDRINUSE; i++) {
		local.address = config->sources[i];
		// What looks like another worker's would go there.
		if (options->port_suits != NULL &&
			!options->port_suits(options->port_ctx, &local, &config->address))
			continue;
		rc = tcp_connect(flow->stack->tcp, &local, &config->address, options, &flow->up,
			&flow->up.pcb);
	}
	return rc;
}

static int connect_any_port(struct flow *flow)
{
	const struct offload_broker_config *config = flow_config(flow);
	struct net_endpoint local = {.port = 0};
	int rc = -EADDRINUSE;

	for (unsigned i = 0; i < config->sources_count && rc == -EADDRINUSE; i++) {
		local.address = config->sources[i];
		rc = tcp_connect(flow->stack->tcp, &local, &config->address, &flow->stack->connect,
			&flow->up, &flow->up.pcb);
	}
	if (rc == 0)
		counter_inc(&flow->stack->counters.other_port);
	flow->other_port = true;
	return rc;
}

static enum stack_refusal refusal_of(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return STACK_REFUSED_PORTS;
	case -EHOSTUNREACH:
	case -EADDRNOTAVAIL:
		return STACK_REFUSED_UNREACHABLE;
	default:
		return STACK_REFUSED_FULL;
	}
}

void flow_open(struct stack *stack, unsigned broker, struct tcp_pcb *pcb, bool late)
{
	struct flow *flow = stack->draining ? NULL : slab_take(stack->flows);
	int rc;

	if (flow == NULL) {
		counter_inc(&stack->counters.refused[stack->draining ? STACK_REFUSED_DRAINING
								     : STACK_REFUSED_FULL]);
		tcp_abort(pcb);
		return;
	}
	flow->stack = stack;
	flow->broker = broker;
	flow->state = late ? FLOW_LATE : FLOW_OPENING;
	flow->down = (struct leg){flow, pcb};
	flow->up = (struct leg){flow, NULL};
	wheel_timer_init(&flow->timer);
	tcp_pcb_set_user(pcb, &flow->down);
	rc = connect_same_port(flow);
	if (rc == -EADDRINUSE)
		rc = connect_any_port(flow);
	if (rc < 0) {
		flow_refuse(flow, refusal_of(rc));
		return;
	}
	wheel_arm(&stack->timers, &flow->timer,
		stack->now_us + flow_config(flow)->connect_timeout_us);
}

// The broker's leg could not be opened.
static void opening_failed(struct flow *flow, uint32_t events)
{
	struct tcp_pcb *up = flow->up.pcb;

	// The client's port may be in a TIME-WAIT of the broker that does not give way: once more
	// from another. Where nobody listens this is refused just as quickly.
	if ((events & TCP_EVENT_REFUSED) && !flow->other_port) {
		flow->up.pcb = NULL;
		tcp_abort(up);
		if (connect_any_port(flow) == 0)
			return;
	}
	offload_broker_reachable(flow->stack->offload, flow->broker, false);
	flow_refuse(flow, (events & (TCP_EVENT_REFUSED | TCP_EVENT_RESET))
				  ? STACK_REFUSED_BROKER
				  : STACK_REFUSED_UNREACHABLE);
}

// Client and broker are connected: the offload takes over. False: it has no room.
static bool legs_join(struct flow *flow)
{
	bool end_to_end = flow_config(flow)->ack == OFFLOAD_ACK_END_TO_END;
	struct stack *stack = flow->stack;

	if (end_to_end && (flow->passages = slab_take(stack->passages)) == NULL)
		return false;
	flow->client = offload_client_open(stack->offload, flow->broker, flow->down.pcb,
		end_to_end ? &end_to_end_ops : &early_ops, flow);
	if (flow->client == NULL)
		return false;
	if (end_to_end) {
		passage_init(&flow->passages->up, flow->down.pcb, flow->up.pcb);
		passage_init(&flow->passages->down, flow->up.pcb, flow->down.pcb);
	}
	flow->state = FLOW_OPEN;
	counter_inc(&stack->counters.accepted);
	tcp_set_no_delay(flow->down.pcb, true);
	tcp_set_low_water(flow->up.pcb, OFFLOAD_LINK_LOW_WATER);
	return true;
}

static void both_stand(struct flow *flow)
{
	if (!legs_join(flow)) {
		flow_refuse(flow, STACK_REFUSED_FULL);
		return;
	}
	wheel_disarm(&flow->stack->timers, &flow->timer);
	tcp_confirm(flow->up.pcb);
	offload_client_run(flow->client);
}

int stack_adopt(struct stack *stack, unsigned broker, struct tcp_pcb *down, struct tcp_pcb *up)
{
	struct flow *flow = stack->draining ? NULL : slab_take(stack->flows);

	if (flow == NULL)
		return -ENOMEM;
	flow->stack = stack;
	flow->broker = broker;
	flow->down = (struct leg){flow, down};
	flow->up = (struct leg){flow, up};
	wheel_timer_init(&flow->timer);
	if (!legs_join(flow)) {
		if (flow->passages != NULL)
			slab_give(stack->passages, flow->passages);
		slab_give(stack->flows, flow);
		return -ENOMEM;
	}
	tcp_pcb_set_user(down, &flow->down);
	tcp_pcb_set_user(up, &flow->up);
	tcp_set_no_delay(up, true);
	offload_broker_reachable(stack->offload, broker, true);
	return 0;
}

static void opening_event(struct flow *flow, bool is_down, uint32_t events)
{
	if (events & TCP_EVENTS_TERMINAL) {
		if (is_down)
			flow_abort(flow); // the client has given up
		else
			opening_failed(flow, events);
		return;
	}
	if (is_down || !(events & TCP_EVENT_ESTABLISHED))
		return;
	offload_broker_reachable(flow->stack->offload, flow->broker, true);
	if (flow->state == FLOW_LATE) {
		both_stand(flow);
	} else {
		flow->state = FLOW_ACCEPTED;
		tcp_accept(flow->down.pcb);
	}
}

static void accepted_event(struct flow *flow, bool is_down, uint32_t events)
{
	if (events & TCP_EVENTS_TERMINAL)
		flow_abort(flow);
	else if (is_down && (events & TCP_EVENT_ESTABLISHED))
		both_stand(flow);
}

// --- events --------------------------------------------------------------------------------------

void flow_event(struct flow *flow, bool is_down, uint32_t events)
{
	const struct stack *stack = flow->stack;
	uint64_t freed = stack->freed;

	if (flow->passages != NULL && (events & TCP_EVENT_ACKNOWLEDGED)) {
		passage_carry(is_down ? &flow->passages->down : &flow->passages->up);
		events &= ~(uint32_t)TCP_EVENT_ACKNOWLEDGED;
		// Nothing else has happened, and nobody waits for this to end.
		if (events == 0 && !(flow->down_ended && flow->up_ended))
			return;
	}
	switch (flow->state) {
	case FLOW_OPENING:
	case FLOW_LATE:
		opening_event(flow, is_down, events);
		return;
	case FLOW_ACCEPTED:
		accepted_event(flow, is_down, events);
		return;
	case FLOW_OPEN:
		break;
	}
	offload_client_run(flow->client);
	// The flow may be gone by now.
	if (!(events & TCP_EVENTS_TERMINAL) || freed != stack->freed)
		return;
	// What follows messages that are on their way to other workers has not been read.
	if (is_down && offload_client_crossing(flow->client))
		flow->down_dead = true;
	else
		open_terminal(flow, is_down);
}

void flow_timeout(struct flow *flow)
{
	switch (flow->state) {
	case FLOW_OPENING:
	case FLOW_LATE:
		offload_broker_reachable(flow->stack->offload, flow->broker, false);
		flow_refuse(flow, STACK_REFUSED_UNREACHABLE);
		break;
	case FLOW_ACCEPTED:
		flow_abort(flow);
		break;
	case FLOW_OPEN:
		// Who has not heard yet gives up by itself, as would the end it waits for.
		if (passages_settled(flow))
			flow_close(flow);
		else
			wheel_arm(&flow->stack->timers, &flow->timer,
				flow->stack->now_us + LINGER_US);
		break;
	}
}

// A client of which something was not taken is told so by a reset: an ACK would say the contrary.
static void drain_end_to_end(struct flow *flow)
{
	struct tcp_pcb *down = flow->down.pcb, *up = flow->up.pcb;
	bool all = passage_settled(&flow->passages->up);

	flow_free(flow);
	if (all)
		tcp_close(down);
	else
		tcp_abort(down);
	tcp_close(up);
}

void flow_drain(struct flow *flow)
{
	if (flow->state != FLOW_OPEN) {
		flow_refuse(flow, STACK_REFUSED_DRAINING);
		return;
	}
	if (!offload_client_drained(flow->client) || link_queued(flow->client) > 0)
		return;
	if (flow->passages != NULL) {
		drain_end_to_end(flow);
		return;
	}
	// What the client sent and was never acknowledged is nobody's any more; unread it would
	// turn the close into a reset.
	tcp_recv_consume(flow->down.pcb, tcp_recv_readable(flow->down.pcb));
	flow_close(flow);
}
