// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The timers of a connection: one wheel timer for two deadlines, the delayed ACK and one of
// {retransmission, persist, FIN-WAIT, TIME-WAIT, keep-alive}, of which only one can run. The wheel
// timer is never disarmed or put off: it fires early, finds nothing due and is armed anew,
// so an ACK that restarts the retransmission timer costs one store. Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/stack.h"

#include "base/assert.h"
#include "base/clock.h"

#define PROBE_SHIFT_MAX 16u

static void wheel_bring_forward(struct tcp_pcb *pcb, uint64_t deadline_us)
{
	if (!wheel_armed(&pcb->wheel) || deadline_us < pcb->wheel.deadline_us)
		wheel_arm(&pcb->stack->wheel, &pcb->wheel, deadline_us);
}

// Who waits for the peer, but not beyond the time that tcp_set_linger() gave a closed connection?
static bool lingers(const struct tcp_pcb *pcb, enum tcp_timer timer)
{
	return (pcb->flags & (TCP_PCB_LINGER | TCP_PCB_OWNED)) == TCP_PCB_LINGER &&
	       (timer == TCP_TIMER_REXMIT || timer == TCP_TIMER_PERSIST);
}

static int32_t linger_left_ms(const struct tcp_pcb *pcb)
{
	return (int32_t)(pcb->linger_until_ms - pcb->stack->now_ms);
}

void tcp_timer_set(struct tcp_pcb *pcb, enum tcp_timer timer, uint64_t delay_us)
{
	if (lingers(pcb, timer)) {
		int32_t left = linger_left_ms(pcb);
		uint64_t left_us = left > 0 ? (uint64_t)left * US_IN_MS : 0;

		if (delay_us > left_us)
			delay_us = left_us;
	}
	pcb->timer = (uint8_t)timer;
	pcb->timer_us = pcb->stack->now_us + delay_us;
	wheel_bring_forward(pcb, pcb->timer_us);
}

void tcp_timer_stop(struct tcp_pcb *pcb)
{
	pcb->timer = TCP_TIMER_NONE;
	pcb->timer_us = WHEEL_NEVER;
}

// RFC 1122 4.2.3.6. The deadline does not move when the peer is heard: an early expiry looks again.
void tcp_timer_idle(struct tcp_pcb *pcb)
{
	uint32_t since_ms = pcb->stack->now_ms - pcb->heard_ms;
	uint64_t due_ms = (pcb->keep_idle_s + (uint64_t)pcb->probes * pcb->keep_interval_s) * 1000;

	tcp_timer_stop(pcb);
	if (pcb->keep_idle_s == 0 ||
		(pcb->state != TCP_ESTABLISHED && pcb->state != TCP_FIN_WAIT_2 &&
			pcb->state != TCP_CLOSE_WAIT))
		return;
	tcp_timer_set(
		pcb, TCP_TIMER_KEEP_ALIVE, due_ms > since_ms ? (due_ms - since_ms) * US_IN_MS : 0);
}

// One of several that await an ACK becomes due earlier than what is set; what it does, in the end,
// is to set the retransmission timer again.
static void set_if_sooner(struct tcp_pcb *pcb, enum tcp_timer timer, uint64_t delay_us)
{
	if (pcb->stack->now_us + delay_us < pcb->timer_us)
		tcp_timer_set(pcb, timer, delay_us);
}

void tcp_timer_rexmit(struct tcp_pcb *pcb)
{
	uint64_t probe_us;

	if (pcb->snd_una == pcb->snd_max) {
		if (tcp_timer_awaits_ack(pcb))
			tcp_timer_idle(pcb);
		return;
	}
	tcp_timer_set(pcb, TCP_TIMER_REXMIT, tcp_rtt_timeout_us(pcb));
	probe_us = tcp_probe_delay_us(pcb);
	if (probe_us > 0)
		set_if_sooner(pcb, TCP_TIMER_PROBE, probe_us);
}

void tcp_timer_sent(struct tcp_pcb *pcb)
{
	uint64_t probe_us = tcp_probe_delay_us(pcb);

	if (probe_us == 0)
		return;
	// The retransmission timer runs from the first of what is under way (RFC 6298 5.1); behind
	// the probe it starts anew.
	if (pcb->timer == TCP_TIMER_PROBE)
		tcp_timer_set(pcb, TCP_TIMER_PROBE, probe_us);
	else if (pcb->timer == TCP_TIMER_REXMIT)
		set_if_sooner(pcb, TCP_TIMER_PROBE, probe_us);
}

void tcp_timer_reorder(struct tcp_pcb *pcb, uint32_t delay_us)
{
	if (tcp_timer_awaits_ack(pcb))
		set_if_sooner(pcb, TCP_TIMER_REORDER, delay_us);
}

uint64_t tcp_timer_delack_us(const struct tcp_pcb *pcb)
{
	uint64_t now_us = pcb->stack->now_us;

	if (pcb->delack_us == 0)
		return WHEEL_NEVER;
	return now_us + (uint64_t)(int64_t)(int32_t)(pcb->delack_us - (uint32_t)now_us);
}

void tcp_timer_delack(struct tcp_pcb *pcb)
{
	uint32_t due_us = (uint32_t)pcb->stack->now_us + pcb->stack->config.delayed_ack_us;

	if (pcb->delack_us != 0)
		return;
	pcb->delack_us = due_us ? due_us : UINT32_MAX; // 0 means that none is due
	wheel_bring_forward(pcb, tcp_timer_delack_us(pcb));
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

static uint32_t syn_retries(const struct tcp_pcb *pcb)
{
	return pcb->flags & TCP_PCB_PASSIVE ? pcb->stack->config.syn_retries : pcb->syn_retries;
}

// RFC 6298 (5.4) to (5.7); false when the pcb is done.
static void rexmit_expired(struct tcp_pcb *pcb)
{
	const struct tcp_config *config = &pcb->stack->config;
	bool connecting = pcb->state == TCP_SYN_SENT || pcb->state == TCP_SYN_RECEIVED;

	if (pcb->state == TCP_SYN_SENT && net_path_error(&pcb->path)) {
		pcb->unreachable = TCP_UNREACHABLE_HOST;
		tcp_pcb_finish(pcb, TCP_EVENT_UNREACHABLE);
		return;
	}
	if (pcb->tries >= (connecting ? syn_retries(pcb) : config->retries)) {
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

// RFC 1122 4.2.3.6.
static void keep_alive_expired(struct tcp_pcb *pcb)
{
	uint32_t silent_ms = pcb->stack->now_ms - pcb->heard_ms;

	if (silent_ms < pcb->keep_idle_s * 1000u) {
		pcb->probes = 0;
	} else if (pcb->probes >= pcb->keep_probes) {
		give_up(pcb);
		return;
	} else {
		pcb->probes++;
		tcp_emit_keep_alive(pcb);
	}
	tcp_timer_idle(pcb);
}

static void timer_expired(struct tcp_pcb *pcb)
{
	enum tcp_timer timer = pcb->timer;

	tcp_timer_stop(pcb);
	if (lingers(pcb, timer) && linger_left_ms(pcb) <= 0) {
		give_up(pcb);
		return;
	}
	switch (timer) {
	case TCP_TIMER_REXMIT:
		rexmit_expired(pcb);
		break;
	case TCP_TIMER_PROBE:
		tcp_timer_set(pcb, TCP_TIMER_REXMIT, tcp_rtt_timeout_us(pcb));
		tcp_probe_expired(pcb);
		break;
	case TCP_TIMER_REORDER:
		tcp_recovery_reorder_expired(pcb);
		break;
	case TCP_TIMER_PERSIST:
		persist_expired(pcb);
		break;
	case TCP_TIMER_FIN_WAIT:
	case TCP_TIMER_TIME_WAIT:
		tcp_pcb_finish(pcb, 0);
		break;
	case TCP_TIMER_KEEP_ALIVE:
		keep_alive_expired(pcb);
		break;
	case TCP_TIMER_NONE:
		break;
	}
}

void tcp_timer_fire(struct tcp_pcb *pcb)
{
	struct tcp_stack *stack = pcb->stack;
	uint64_t delack_us = tcp_timer_delack_us(pcb);
	uint64_t next;

	if (delack_us <= stack->now_us) {
		pcb->delack_us = 0;
		if (pcb->flags & TCP_PCB_ACK_OWED)
			tcp_pcb_ack_now(pcb);
	}
	if (pcb->timer_us <= stack->now_us) {
		timer_expired(pcb);
		if (pcb->state == TCP_CLOSED) // it may be free by now: free pcbs are CLOSED too
			return;
	}
	delack_us = tcp_timer_delack_us(pcb);
	next = delack_us < pcb->timer_us ? delack_us : pcb->timer_us;
	if (next != WHEEL_NEVER)
		wheel_bring_forward(pcb, next);
}
