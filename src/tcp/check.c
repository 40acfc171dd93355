// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Invariants, for tests and fuzzers: what must hold between any two calls.

#include "tcp/chunk.h"
#include "tcp/pcb.h"
#include "tcp/stack.h"

#include "base/assert.h"

static void sequence_check(const struct tcp_pcb *pcb)
{
	uint32_t in_flight = pcb->snd_nxt - pcb->snd_una;

	ASSERT(seq_le(pcb->snd_una, pcb->snd_nxt));
	ASSERT(seq_le(pcb->snd_nxt, pcb->snd_max));
	ASSERT(seq_le(pcb->rcv_nxt, pcb->rcv_adv + 1)); // a FIN may stand on the right edge
	if (pcb->state < TCP_ESTABLISHED) {
		ASSERT(pcb->sendq.sent == 0);
		return;
	}
	ASSERT(in_flight == pcb->sendq.sent ||
		((pcb->flags & TCP_PCB_FIN_QUEUED) && in_flight == pcb->sendq.sent + 1 &&
			pcb->sendq.sent == pcb->sendq.bytes));
	ASSERT(seq_le(pcb->last_ack_sent, tcp_pcb_ack(pcb)) &&
		seq_le(tcp_pcb_ack(pcb), pcb->rcv_nxt));
	ASSERT(pcb->recvq.held == 0 || (pcb->flags & TCP_PCB_MANUAL_ACK));
	ASSERT(pcb->mss > 0 && pcb->cwnd >= pcb->mss);
}

static void early_check(const struct tcp_pcb *pcb)
{
	const struct tcp_recvq *q = &pcb->recvq;
	uint32_t count = 0;

	for (const struct tcp_chunk *c = q->early; c; c = c->next) {
		ASSERT(c->length > 0);
		ASSERT(!c->next || seq_le(c->seq + c->length, c->next->seq));
		ASSERT(seq_le(c->seq + c->length, pcb->rcv_adv));
		count++;
	}
	ASSERT(count == q->early_count);
}

static void timer_check(const struct tcp_pcb *pcb)
{
	uint64_t delack_us = tcp_timer_delack_us(pcb);
	uint64_t next = delack_us < pcb->timer_us ? delack_us : pcb->timer_us;

	ASSERT((pcb->timer == TCP_TIMER_NONE) == (pcb->timer_us == WHEEL_NEVER));
	if (next != WHEEL_NEVER)
		ASSERT(wheel_armed(&pcb->wheel) && pcb->wheel.deadline_us <= next);
	if (pcb->state == TCP_TIME_WAIT)
		ASSERT(pcb->timer == TCP_TIMER_TIME_WAIT);
	// Whoever waits for an ACK has a timer that makes it happen.
	if (pcb->snd_nxt != pcb->snd_una && pcb->state >= TCP_SYN_SENT)
		ASSERT(tcp_timer_awaits_ack(pcb));
	// What is not sent has a reason to be sent later: a flush, an ACK to come, or a probe.
	if (tcp_state_sends(pcb->state) && pcb->sendq.bytes > 0)
		ASSERT((pcb->timer != TCP_TIMER_NONE && pcb->timer != TCP_TIMER_KEEP_ALIVE) ||
			list_linked(&pcb->flush));
}

static void membership_check(const struct tcp_pcb *pcb)
{
	bool orphan = !(pcb->flags & TCP_PCB_OWNED);

	ASSERT((pcb->state != TCP_CLOSED) == ((pcb->flags & TCP_PCB_HASHED) != 0));
	if (pcb->state == TCP_CLOSED) {
		// An orphan would be free.
		ASSERT(!orphan || ((pcb->flags & TCP_PCB_LISTENER) && pcb->children > 0));
		ASSERT(pcb->sendq.bytes == 0 && pcb->timer == TCP_TIMER_NONE);
	} else if (orphan) {
		ASSERT(list_linked(&pcb->ready) == (pcb->state == TCP_TIME_WAIT));
	}
	if (!orphan)
		ASSERT(list_linked(&pcb->ready) == (pcb->events != 0));
	if (pcb->recvq.borrowed || tcp_pcb_owes_ack(pcb))
		ASSERT(list_linked(&pcb->flush) || pcb->delack_us != 0);
}

void tcp_pcb_check(const struct tcp_pcb *pcb)
{
	membership_check(pcb);
	tcp_sendq_check(&pcb->sendq);
	tcp_recvq_check(pcb);
	if (pcb->state == TCP_CLOSED || pcb->state == TCP_LISTEN)
		return;
	sequence_check(pcb);
	tcp_flight_check(pcb);
	early_check(pcb);
	timer_check(pcb);
}

static uint32_t list_length(const struct list *head)
{
	uint32_t n = 0;

	list_for_each (node, head)
		n++;
	return n;
}

void tcp_stack_check(const struct tcp_stack *stack)
{
	uint32_t used = 0;
	uint32_t half_open = 0;
	uint32_t pieces = 0;
	uint32_t flush = 0;
	uint32_t ready = 0;
	uint64_t states[TCP_STATES] = {0};

	for (uint32_t i = 0; i < stack->pcbs_fresh; i++) {
		const struct tcp_pcb *pcb = &stack->pcbs[i];

		if (!pcb->stack)
			continue;
		tcp_pcb_check(pcb);
		used++;
		pieces += pcb->sendq.pieces;
		flush += list_linked(&pcb->flush);
		ready += list_linked(&pcb->ready);
		half_open += (pcb->flags & TCP_PCB_PASSIVE) &&
			     (pcb->state == TCP_SYN_DEFERRED || pcb->state == TCP_SYN_RECEIVED);
		states[pcb->state] += pcb->state != TCP_CLOSED;
	}
	ASSERT(used == stack->pcbs_used);
	ASSERT(used + list_length(&stack->pcbs_free) == stack->pcbs_fresh);
	ASSERT(pieces == stack->pieces.pieces && pieces <= stack->pieces.pieces_max);
	ASSERT(flush == list_length(&stack->flush));
	ASSERT(ready == list_length(&stack->ready) + list_length(&stack->time_wait));
	ASSERT(half_open == stack->half_open);
	for (unsigned s = 0; s < TCP_STATES; s++)
		ASSERT(stack->counters[TCP_COUNTER_CONNECTIONS + s] == states[s]);
	tcp_table_check(stack);
}
