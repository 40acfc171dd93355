// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The timers of a connection: one wheel timer for two deadlines, the delayed ACK and one of
// {retransmission, persist, FIN-WAIT, TIME-WAIT}, of which only one can run. The wheel
// timer is never disarmed or put off: it fires early, finds nothing due and is armed anew,
// so an ACK that restarts the retransmission timer costs one store. Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/stack.h"

#include "base/assert.h"

#define PROBE_SHIFT_MAX 16u

static void wheel_bring_forward(struct tcp_pcb *pcb, uint64_t deadline_us)
{
	if (!wheel_armed(&pcb->wheel) || deadline_us < pcb->wheel.deadline_us)
		wheel_arm(&pcb->stack->wheel, &pcb->wheel, deadline_us);
}

void tcp_timer_set(struct tcp_pcb *pcb, enum tcp_timer timer, uint64_t delay_us)
{
	pcb->timer = (uint8_t)timer;
	pcb->timer_us = pcb->stack->now_us + delay_us;
	wheel_bring_forward(pcb, pcb->timer_us);
}

void tcp_timer_stop(struct tcp_pcb *pcb)
{
	pcb->timer = TCP_TIMER_NONE;
	pcb->timer_us = WHEEL_NEVER;
}

void tcp_timer_rexmit(struct tcp_pcb *pcb)
{
	if (pcb->snd_una != pcb->snd_max)
		tcp_timer_set(pcb, TCP_TIMER_REXMIT, tcp_rtt_timeout_us(pcb));
	else if (pcb->timer == TCP_TIMER_REXMIT)
		tcp_timer_stop(pcb);
}

void tcp_timer_delack(struct tcp_pcb *pcb)
{
	if (pcb->delack_us != WHEEL_NEVER)
		return;
	pcb->delack_us = pcb->stack->now_us + pcb->stack->config.delayed_ack_us;
	wheel_bring_forward(pcb, pcb->delack_us);
}

// Nobody answers any more.
static void give_up(struct tcp_pcb *pcb)
{
	bool connecting = pcb->state == TCP_SYN_SENT || pcb->state == TCP_SYN_RECEIVED;

	// A peer that is there after all, only deaf, is not left hanging.
	if (!connecting)
		tcp_emit_reset(pcb);
	tcp_pcb_finish(pcb, TCP_EVENT_TIMEOUT);
}

// RFC 6298 (5.4) to (5.7); false when the pcb is done.
static void rexmit_expired(struct tcp_pcb *pcb)
{
	const struct tcp_config *config = &pcb->stack->config;
	bool connecting = pcb->state == TCP_SYN_SENT || pcb->state == TCP_SYN_RECEIVED;

	if (pcb->state == TCP_SYN_SENT && net_path_error(&pcb->path)) {
		tcp_pcb_finish(pcb, TCP_EVENT_UNREACHABLE);
		return;
	}
	if (pcb->tries >= (connecting ? config->syn_retries : config->retries)) {
		give_up(pcb);
		return;
	}
	pcb->tries++;
	if (pcb->backoff < UINT8_MAX)
		pcb->backoff++;
	if (connecting)
		pcb->flags |= TCP_PCB_SYN_LOST;
	tcp_count(pcb->stack, TCP_COUNTER_TIMEOUTS);
	tcp_recovery_timeout(pcb);
	tcp_output_rewind(pcb);
	tcp_timer_rexmit(pcb);
}

// A closed window is probed for ever while the peer answers (RFC 9293 3.8.6.1), except by those
// whose user is gone: nothing else would ever end them.
static void persist_expired(struct tcp_pcb *pcb)
{
	const struct tcp_config *config = &pcb->stack->config;
	bool orphan = !(pcb->flags & TCP_PCB_OWNED);
	unsigned shift;
	uint64_t delay;

	if (pcb->tries >= config->retries || (orphan && pcb->probes >= config->retries)) {
		give_up(pcb);
		return;
	}
	pcb->tries++;
	if (pcb->probes < UINT8_MAX)
		pcb->probes++;
	shift = pcb->probes < PROBE_SHIFT_MAX ? pcb->probes : PROBE_SHIFT_MAX;
	delay = (uint64_t)pcb->rto_us << shift;
	tcp_timer_set(
		pcb, TCP_TIMER_PERSIST, delay < config->rto_max_us ? delay : config->rto_max_us);
	tcp_output_probe(pcb);
}

static void timer_expired(struct tcp_pcb *pcb)
{
	enum tcp_timer timer = pcb->timer;

	tcp_timer_stop(pcb);
	switch (timer) {
	case TCP_TIMER_REXMIT:
		rexmit_expired(pcb);
		break;
	case TCP_TIMER_PERSIST:
		persist_expired(pcb);
		break;
	case TCP_TIMER_FIN_WAIT:
	case TCP_TIMER_TIME_WAIT:
		tcp_pcb_finish(pcb, 0);
		break;
	case TCP_TIMER_NONE:
		break;
	}
}

void tcp_timer_fire(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;
	uint64_t next;

	if (pcb->delack_us <= stack->now_us) {
		pcb->delack_us = WHEEL_NEVER;
		if (pcb->flags & TCP_PCB_ACK_OWED)
			tcp_pcb_ack_now(pcb);
	}
	if (pcb->timer_us <= stack->now_us) {
		timer_expired(pcb);
		if (pcb->state == TCP_CLOSED) // it may be free by now: free pcbs are CLOSED too
			return;
	}
	next = pcb->delack_us < pcb->timer_us ? pcb->delack_us : pcb->timer_us;
	if (next != WHEEL_NEVER)
		wheel_bring_forward(pcb, next);
}
