// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The life of a pcb: allocation, state, events, the way out. See the lifetime rules
// in pcb.h. Runs on the worker.

#include "tcp/pcb.h"

#include "base/assert.h"
#include "tcp/stack.h"

#include <rte_prefetch.h>

#include <string.h>

static bool half_open(const struct tcp_pcb *pcb)
{
	return (pcb->flags & TCP_PCB_PASSIVE) &&
	       (pcb->state == TCP_SYN_DEFERRED || pcb->state == TCP_SYN_RECEIVED);
}

static void state_count(struct tcp_stack *stack, uint8_t state, uint64_t delta)
{
	uint64_t *slot = &stack->counters[TCP_COUNTER_CONNECTIONS + state];

	counter_set_to(slot, *slot + delta);
}

static void connections_count(struct tcp_pcb *pcb, uint8_t from, uint8_t to)
{
	// A CLOSED pcb is no connection, though its user may still hold it.
	if (from != TCP_CLOSED)
		state_count(pcb->stack, from, (uint64_t)-1);
	if (to != TCP_CLOSED)
		state_count(pcb->stack, to, 1);
}

// With no pcb left, the oldest TIME-WAIT of nobody's gives way (RFC 9293 3.6.1 would have it wait,
// but refusing the living for the dead serves nobody).
static bool time_wait_recycle(struct tcp_stack *stack)
{
	if (list_empty(&stack->time_wait))
		return false;
	tcp_pcb_free(container_of(stack->time_wait.next, struct tcp_pcb, ready));
	tcp_count(stack, TCP_COUNTER_TIME_WAIT_RECYCLED);
	return true;
}

void tcp_prefetch(const struct tcp_pcb *pcb)
{
	for (unsigned offset = 0; offset < sizeof(*pcb); offset += 64)
		rte_prefetch0((const char *)pcb + offset);
}

struct tcp_pcb *tcp_pcb_alloc(struct tcp_stack *stack)
{
	struct tcp_pcb *pcb;

	if (list_empty(&stack->pcbs_free)) {
		if (stack->pcbs_fresh < stack->config.connections_max)
			pcb = &stack->pcbs[stack->pcbs_fresh++];
		else if (time_wait_recycle(stack))
			pcb = container_of(list_pop(&stack->pcbs_free), struct tcp_pcb, flush);
		else
			return NULL;
	} else {
		pcb = container_of(list_pop(&stack->pcbs_free), struct tcp_pcb, flush);
	}
	memset(pcb, 0, sizeof(*pcb));
	pcb->stack = stack;
	list_init(&pcb->flush);
	list_init(&pcb->ready);
	wheel_timer_init(&pcb->wheel);
	pcb->timer_us = WHEEL_NEVER;
	pcb->congestion = (uint8_t)stack->config.congestion;
	tcp_rtt_init(pcb);
	tcp_set_keep_alive(pcb, &stack->config.keep_alive);
	stack->pcbs_used++;
	return pcb;
}

// A listener stays in memory, CLOSED and of nobody's, while it has children.
static void listener_put(struct tcp_pcb *listener)
{
	listener->children--;
	if (listener->children == 0 && listener->state == TCP_CLOSED &&
		!(listener->flags & TCP_PCB_OWNED))
		tcp_pcb_free(listener);
}

static void twin_part(struct tcp_pcb *pcb)
{
	if (pcb->twin_index)
		tcp_pcb_at(pcb->stack, pcb->twin_index)->twin_index = 0;
	pcb->twin_index = 0;
}

static void pcb_release(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;

	tcp_table_remove(pcb);
	tcp_timer_stop(pcb);
	pcb->delack_us = 0;
	pcb->flags &= ~(uint32_t)(TCP_PCB_ACK_OWED | TCP_PCB_ACK_NOW);
	wheel_disarm(&stack->wheel, &pcb->wheel);
	tcp_flight_drop(pcb);
	tcp_sendq_clear(&stack->pieces, &pcb->sendq);
	tcp_reassembly_clear(pcb);
	if (pcb->flags & TCP_PCB_PATH_OPEN) {
		net_path_close(&pcb->path);
		pcb->flags &= ~(uint32_t)TCP_PCB_PATH_OPEN;
	}
	tcp_pcb_set_state(pcb, TCP_CLOSED);
}

void tcp_pcb_free(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;
	struct tcp_pcb *listener;

	if (pcb->flags & TCP_PCB_ADOPTED)
		twin_part(pcb);
	listener = tcp_pcb_at(stack, pcb->listener_index);
	pcb_release(pcb);
	tcp_recvq_clear(pcb);
	list_remove(&pcb->ready);
	list_remove(&pcb->flush);
	pcb->flags &= TCP_PCB_LISTENER;
	if (pcb->flags && pcb->children > 0)
		return;
	pcb->listener_index = 0;
	pcb->stack = NULL; // marks it free, for tcp_stack_check()
	list_append(&stack->pcbs_free, &pcb->flush);
	stack->pcbs_used--;
	if (listener)
		listener_put(listener);
}

void tcp_pcb_set_endpoints(
	struct tcp_pcb *pcb, const struct net_endpoint *local, const struct net_endpoint *remote)
{
	pcb->path.local = local->address;
	pcb->local_port = local->port;
	pcb->path.remote = remote->address;
	pcb->remote_port = remote->port;
}

void tcp_pcb_set_state(struct tcp_pcb *pcb, enum tcp_state state)
{
	pcb->stack->half_open -= half_open(pcb);
	connections_count(pcb, pcb->state, state);
	pcb->state = state;
	pcb->stack->half_open += half_open(pcb);
}

void tcp_pcb_raise(struct tcp_pcb *pcb, uint32_t events)
{
	if (!(pcb->flags & TCP_PCB_OWNED))
		return;
	pcb->events |= (uint16_t)events;
	if (pcb->events && !list_linked(&pcb->ready))
		list_append(&pcb->stack->ready, &pcb->ready);
}

void tcp_pcb_finish(struct tcp_pcb *pcb, uint32_t events)
{
	if (!(pcb->flags & TCP_PCB_OWNED)) {
		tcp_pcb_free(pcb);
		return;
	}
	pcb_release(pcb);
	// What was received can still be read, so what is borrowed has to be settled in time.
	if (!pcb->recvq.borrowed)
		list_remove(&pcb->flush);
	tcp_pcb_raise(pcb, events);
}

void tcp_pcb_disown(struct tcp_pcb *pcb)
{
	ASSERT(pcb->flags & TCP_PCB_OWNED);
	pcb->flags &= ~(uint32_t)TCP_PCB_OWNED;
	pcb->events = 0;
	list_remove(&pcb->ready);
	if (pcb->state == TCP_TIME_WAIT)
		list_append(&pcb->stack->time_wait, &pcb->ready);
}

void tcp_pcb_enter_time_wait(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;

	tcp_pcb_set_state(pcb, TCP_TIME_WAIT);
	tcp_timer_set(pcb, TCP_TIMER_TIME_WAIT, stack->config.time_wait_us);
	if (!(pcb->flags & TCP_PCB_OWNED)) {
		list_remove(&pcb->ready);
		list_append(&stack->time_wait, &pcb->ready);
	}
}

void tcp_pcb_mark_flush(struct tcp_pcb *pcb)
{
	if (!list_linked(&pcb->flush))
		list_append(&pcb->stack->flush, &pcb->flush);
}

void tcp_pcb_ack_now(struct tcp_pcb *pcb)
{
	pcb->flags |= TCP_PCB_ACK_NOW;
	tcp_pcb_mark_flush(pcb);
}

void tcp_pcb_established(struct tcp_pcb *pcb)
{
	pcb->cwnd = tcp_congestion_initial_window(pcb);
	pcb->ssthresh = UINT32_MAX / 2; // RFC 5681 3.1: arbitrarily high
	pcb->progress_ms = pcb->stack->now_ms;
	pcb->tries = 0;
	pcb->probes = 0;
	pcb->reo_wnd_persist = 0;
	pcb->heard_ms = pcb->stack->now_ms;
	tcp_rtt_established(pcb);
	tcp_congestion(pcb)->init(pcb);
	tcp_pcb_set_state(pcb, pcb->flags & TCP_PCB_FIN_QUEUED ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED);
	if (pcb->timer == TCP_TIMER_NONE)
		tcp_timer_idle(pcb);
	tcp_pcb_raise(pcb, TCP_EVENT_ESTABLISHED);
	tcp_pcb_mark_flush(pcb);
}
