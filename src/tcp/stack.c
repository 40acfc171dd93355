// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One worker's stack: creation, the turn's time, the flush. Runs on the worker.

#include "tcp/stack.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/random.h"
#include "tcp/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ACKS_AT_ONCE 2 // RFC 9293 3.8.6.3: at least every second segment
// A connection on which we have sent text within this time is a conversation.
#define INTERACTIVE_US (200 * US_IN_MS)

void tcp_config_init(struct tcp_config *config)
{
	*config = (struct tcp_config){
		.connections_max = 16384,
		.pieces_max = 1 << 20,
		.receive_buffer = 256 << 10,
		.backlog = 1024,
		.rto_min_us = 200 * US_IN_MS,
		.rto_max_us = 60 * US_IN_S,
		.rto_initial_us = 1 * US_IN_S,
		.syn_retries = 6,
		.retries = 15,
		.time_wait_us = 60 * US_IN_S,
		.fin_wait_us = 60 * US_IN_S,
		.delayed_ack_us = 40 * US_IN_MS,
		.reference_least = 2048,
		.connect_retries = 1,
		.resets_per_s = 1000,
		.challenge_acks_per_s = 1000,
		.congestion = TCP_CONGESTION_CUBIC,
		.ecn = TCP_ECN_PASSIVE,
		.sack = true,
		.timestamps = true,
		.syn_cookies = true,
		.keep_alive = {.idle_s = 0, .interval_s = 75, .probes = 9},
	};
}

bool tcp_limit_take(struct tcp_limit *limit, uint64_t now_us)
{
	if (now_us - limit->since_us >= US_IN_S) {
		limit->since_us = now_us;
		limit->used = 0;
	}
	if (limit->used >= limit->per_s)
		return false;
	limit->used++;
	return true;
}

static void time_set(struct tcp_stack *stack, uint64_t now_us)
{
	stack->now_us = now_us;
	stack->now_ms = (uint32_t)(now_us / US_IN_MS);
}

// The smallest shift with which a 16-bit field can express the whole buffer (RFC 7323 2.2).
static uint8_t wscale_for(uint32_t receive_buffer)
{
	uint8_t shift = 0;

	while (shift < TCP_WSCALE_MAX && (UINT64_C(65535) << shift) < receive_buffer)
		shift++;
	return shift;
}

static int tables_init(struct tcp_stack *stack)
{
	const struct tcp_config *config = &stack->config;
	uint64_t key[2] = {random_next(stack->rng), random_next(stack->rng)};
	size_t size = (size_t)config->connections_max * sizeof(struct tcp_pcb);
	int err;

	// Not zeroed on purpose: pages are touched when they are first needed.
	stack->pcbs = aligned_alloc(_Alignof(struct tcp_pcb), size);
	if (!stack->pcbs)
		return -ENOMEM;
	err = tcp_table_init(&stack->table, config->connections_max, (const uint8_t *)key);
	if (err)
		return err;
	err = tcp_flight_pool_init(&stack->flights, config->connections_max);
	if (err)
		return err;
	return tcp_piece_pool_init(&stack->pieces, config->pieces_max, config->connections_max);
}

int tcp_stack_create(const char *name, const struct tcp_config *config, struct net *net,
	struct payload_pool *payloads, struct random *rng, uint64_t now_us,
	struct tcp_stack **ret_stack)
{
	struct tcp_stack *stack = calloc(1, sizeof(*stack));
	int err;

	if (!stack)
		return -ENOMEM;
	stack->config = *config;
	stack->net = net;
	stack->payloads = payloads;
	stack->rng = rng;
	time_set(stack, now_us);
	list_init(&stack->ready);
	list_init(&stack->flush);
	list_init(&stack->time_wait);
	list_init(&stack->pcbs_free);
	wheel_init(&stack->wheel, now_us);
	stack->resets.per_s = config->resets_per_s;
	stack->challenges.per_s = config->challenge_acks_per_s;
	stack->rcv_wscale = wscale_for(config->receive_buffer);
	// RFC 4987 3.6: cookies need not survive a restart.
	for (unsigned i = 0; i < sizeof(stack->cookie_secret); i++)
		stack->cookie_secret[i] = config->secret[i] ^ (uint8_t)random_next(rng);
	err = tables_init(stack);
	if (err) {
		tcp_stack_destroy(stack);
		return err;
	}
	*ret_stack = stack;
	return 0;
}

void tcp_stack_destroy(struct tcp_stack *stack)
{
	if (!stack)
		return;
	// A listener that comes before its children goes with the last of them.
	for (uint32_t i = 0; i < stack->pcbs_fresh; i++)
		if (stack->pcbs[i].stack)
			tcp_pcb_free(&stack->pcbs[i]);
	ASSERT(stack->pcbs_used == 0);
	ASSERT(stack->pieces.pieces == 0 && stack->pieces.used == 0);
	ASSERT(stack->flights.free_count == stack->flights.fresh);
	tcp_flight_pool_fini(&stack->flights);
	tcp_piece_pool_fini(&stack->pieces);
	tcp_table_fini(&stack->table);
	free(stack->pcbs);
	free(stack);
}

void tcp_advance(struct tcp_stack *stack, uint64_t now_us)
{
	struct wheel_timer *timer;

	time_set(stack, now_us);
	wheel_advance(&stack->wheel, now_us);
	while ((timer = wheel_pop(&stack->wheel)))
		tcp_timer_fire(container_of(timer, struct tcp_pcb, wheel));
}

// May the ACK wait for text that takes it along? Not for long: every second segment draws one. And
// not when nothing of ours can be expected: a peer that pushes small messages at us, with Nagle's
// algorithm on, holds the next one back until this one is acknowledged (Linux does the same).
static bool ack_may_wait(const struct tcp_pcb *pcb)
{
	bool pushed = (pcb->flags & TCP_PCB_PUSHED) && pcb->unread == 0;

	if ((pcb->flags & TCP_PCB_ACK_NOW) || pcb->rcv_segs >= ACKS_AT_ONCE)
		return false;
	return !pushed || (uint32_t)pcb->stack->now_us - pcb->sent_us < INTERACTIVE_US;
}

// An ACK that no segment with text has carried. False when no frame was free.
static bool ack_flush(struct tcp_pcb *pcb)
{
	if (pcb->flags & TCP_PCB_HOLD_ACK) {
		pcb->flags &= ~(uint32_t)(TCP_PCB_ACK_OWED | TCP_PCB_ACK_NOW);
		pcb->dupacks_due = 0;
		return true;
	}
	if (ack_may_wait(pcb)) {
		tcp_timer_delack(pcb);
		return true;
	}
	// Each segment out of order has one of its own: the peer counts them (RFC 5681 4.2).
	for (; pcb->dupacks_due > 1; pcb->dupacks_due--)
		if (!tcp_emit_ack(pcb))
			return false;
	pcb->dupacks_due = 0;
	return tcp_emit_ack(pcb);
}

// False when it has to come back: no frame was free.
static bool pcb_flush(struct tcp_pcb *pcb)
{
	bool done = true;

	tcp_text_settle(pcb);
	if (pcb->state == TCP_CLOSED || pcb->state == TCP_LISTEN)
		return true;
	if (pcb->state != TCP_SYN_DEFERRED)
		done = tcp_output(pcb);
	// Whether or not there was a frame for text: the reserved ones are for this.
	if (tcp_pcb_owes_ack(pcb) &&
		(pcb->state >= TCP_ESTABLISHED || (pcb->state == TCP_SYN_RECEIVED && done)))
		done = ack_flush(pcb) && done;
	return done;
}

void tcp_flush(struct tcp_stack *stack)
{
	struct list again;
	struct list *node;

	list_init(&again);
	while ((node = list_pop(&stack->flush))) {
		bool done;

		// In another order than the wire's they may have left the cache by now.
		if (!list_empty(&stack->flush))
			tcp_prefetch(container_of(stack->flush.next, struct tcp_pcb, flush));
		done = pcb_flush(container_of(node, struct tcp_pcb, flush));
		list_remove(node); // what it marked itself for has been done
		if (!done)
			list_append(&again, node);
		else
			tcp_abort_if_sent(container_of(node, struct tcp_pcb, flush));
	}
	if (!list_empty(&again))
		tcp_count(stack, TCP_COUNTER_NO_FRAME);
	while ((node = list_pop(&again)))
		list_append(&stack->flush, node);
	counter_set_to(&stack->counters[TCP_COUNTER_PIECES], stack->pieces.pieces);
}

uint64_t tcp_next_deadline(const struct tcp_stack *stack)
{
	if (!list_empty(&stack->flush) || !list_empty(&stack->ready))
		return stack->now_us;
	return wheel_next_us(&stack->wheel);
}

struct tcp_pcb *tcp_ready_next(struct tcp_stack *stack, uint32_t *ret_events)
{
	struct list *node = list_pop(&stack->ready);
	struct tcp_pcb *pcb;

	if (!node)
		return NULL;
	pcb = container_of(node, struct tcp_pcb, ready);
	*ret_events = pcb->events;
	pcb->events = 0;
	return pcb;
}
