// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is sent, when, and how much at once: SYN, text and FIN from SND.NXT on, within the
// peer's window and the network's; Nagle and the sender's silly window avoidance
// (RFC 9293 3.7.4 and 3.8.6.2.1), window probes (3.8.6.1). Sending below SND.MAX is
// retransmission and needs nothing special: segments are always built from the queue.
// Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/assert.h"

// The connection moves on behind what was just sent at SND.NXT.
static void sent(struct tcp_pcb *pcb, const struct tcp_emission *e)
{
	struct tcp_stack *stack = pcb->stack;
	uint32_t start = pcb->snd_nxt;

	if (e->length > 0)
		tcp_sendq_advance(&pcb->sendq, e->from, e->length);
	pcb->snd_nxt += e->length + ((e->flags & (TCP_FLAG_SYN | TCP_FLAG_FIN)) != 0);
	if (seq_ge(start, pcb->snd_max)) {
		tcp_rtt_start(pcb, start);
	} else {
		pcb->retransmits++;
		tcp_count(stack, TCP_COUNTER_RETRANSMITS);
	}
	if (seq_gt(pcb->snd_nxt, pcb->snd_max)) {
		pcb->bytes_out += e->length;
		pcb->snd_max = pcb->snd_nxt;
	}
	pcb->sent_us = stack->now_us;
	pcb->probes = 0;
	if (pcb->timer != TCP_TIMER_REXMIT) {
		pcb->tries = 0;
		tcp_timer_rexmit(pcb);
	}
}

static bool send_syn(struct tcp_pcb *pcb)
{
	struct tcp_emission e = {.seq = pcb->iss, .flags = TCP_FLAG_SYN, .control = true};

	if (pcb->snd_nxt != pcb->iss) // it is under way; an ACK may be owed to a repeated SYN
		return true;
	if (pcb->state == TCP_SYN_RECEIVED)
		e.flags |= TCP_FLAG_ACK;
	if (!tcp_emit(pcb, &e))
		return false;
	sent(pcb, &e);
	return true;
}

// Is a segment with this much text worth sending now?
static bool worth_sending(const struct tcp_pcb *pcb, uint32_t length, uint32_t in_flight, bool fin)
{
	if (length == pcb->mss || fin)
		return true;
	if (length == 0)
		return false;
	if (seq_le(pcb->snd_nxt + length, pcb->snd_max)) // it was worth it before
		return true;
	if (length == tcp_sendq_unsent(&pcb->sendq))
		return in_flight == 0 || (pcb->flags & TCP_PCB_NO_DELAY); // Nagle
	return length >= pcb->snd_wnd_max / 2;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

// Text (and FIN) at SND.NXT as far as `room` goes; what it is made of.
static struct tcp_emission text_at_next(const struct tcp_pcb *pcb, uint32_t room)
{
	uint64_t unsent = tcp_sendq_unsent(&pcb->sendq);
	uint32_t limit = min_u32(room, pcb->mss);
	struct tcp_emission e = {
		.seq = pcb->snd_nxt,
		.length = unsent < limit ? (uint32_t)unsent : limit,
		.from = tcp_sendq_next(&pcb->sendq),
		.flags = TCP_FLAG_ACK,
	};

	if (e.length == unsent) {
		if (unsent > 0)
			e.flags |= TCP_FLAG_PSH;
		if ((pcb->flags & TCP_PCB_FIN_QUEUED) && !tcp_pcb_fin_is_behind(pcb) &&
			room > e.length)
			e.flags |= TCP_FLAG_FIN;
	}
	return e;
}

// After an idle time the network is unknown again (RFC 5681 4.1).
static void idle_restart(struct tcp_pcb *pcb)
{
	uint32_t initial;

	if (pcb->snd_una != pcb->snd_max || pcb->sent_us == 0 ||
		pcb->stack->now_us - pcb->sent_us < pcb->rto_us)
		return;
	initial = tcp_congestion_initial_window(pcb);
	if (pcb->cwnd > initial)
		pcb->cwnd = initial;
}

bool tcp_output_waits(const struct tcp_pcb *pcb)
{
	if (!tcp_state_sends(pcb->state))
		return false;
	return tcp_sendq_unsent(&pcb->sendq) > 0 ||
	       ((pcb->flags & TCP_PCB_FIN_QUEUED) && !tcp_pcb_fin_is_behind(pcb));
}

static bool send_text(struct tcp_pcb *pcb)
{
	uint32_t wnd;

	if (!tcp_output_waits(pcb))
		return true;
	idle_restart(pcb);
	wnd = min_u32(pcb->snd_wnd, tcp_recovery_window(pcb));
	for (;;) {
		uint32_t in_flight = pcb->snd_nxt - pcb->snd_una;
		struct tcp_emission e = text_at_next(pcb, wnd > in_flight ? wnd - in_flight : 0);

		if (!worth_sending(pcb, e.length, in_flight, (e.flags & TCP_FLAG_FIN) != 0))
			break;
		if (!tcp_emit(pcb, &e))
			return false;
		sent(pcb, &e);
	}
	// With nothing under way no ACK will come that opens the window: it must be asked for.
	if (pcb->snd_nxt == pcb->snd_una && pcb->timer != TCP_TIMER_PERSIST &&
		tcp_output_waits(pcb)) {
		pcb->tries = pcb->probes = 0;
		tcp_timer_set(pcb, TCP_TIMER_PERSIST, tcp_rtt_timeout_us(pcb));
	}
	return true;
}

// The first segment again, whatever the windows say (RFC 6582 3.2: fast retransmit).
static bool resend_first(struct tcp_pcb *pcb)
{
	uint32_t outstanding = pcb->snd_max - pcb->snd_una;
	uint64_t queued = pcb->sendq.bytes;
	uint32_t length = min_u32(outstanding, pcb->mss);
	struct tcp_emission e = {
		.seq = pcb->snd_una,
		.from = tcp_sendq_first(&pcb->sendq),
		.flags = TCP_FLAG_ACK,
	};

	e.length = queued < length ? (uint32_t)queued : length;
	if (e.length == queued && outstanding > queued)
		e.flags |= TCP_FLAG_FIN;
	if (!tcp_emit(pcb, &e))
		return false;
	pcb->flags &= ~(uint32_t)TCP_PCB_RESEND;
	pcb->retransmits++;
	tcp_count(pcb->stack, TCP_COUNTER_RETRANSMITS);
	return true;
}

bool tcp_output(struct tcp_pcb *pcb)
{
	if (pcb->state == TCP_SYN_SENT || pcb->state == TCP_SYN_RECEIVED)
		return send_syn(pcb);
	if (!tcp_state_sends(pcb->state))
		return true;
	if ((pcb->flags & TCP_PCB_RESEND) && !resend_first(pcb))
		return false;
	return send_text(pcb);
}

void tcp_output_rewind(struct tcp_pcb *pcb)
{
	pcb->snd_nxt = pcb->snd_una;
	tcp_sendq_rewind(&pcb->sendq);
	tcp_pcb_mark_flush(pcb);
}

void tcp_output_probe(struct tcp_pcb *pcb)
{
	struct tcp_emission e;

	tcp_count(pcb->stack, TCP_COUNTER_ZERO_WINDOW_PROBES);
	if (pcb->snd_wnd > 0) {
		// The override timeout of RFC 9293 3.8.6.2.1: small, but all that is allowed.
		e = text_at_next(pcb, pcb->snd_wnd);
		if (tcp_emit(pcb, &e))
			sent(pcb, &e);
		return;
	}
	// SND.NXT stays: whether the octet was taken is for the peer's ACK to tell.
	e = text_at_next(pcb, 1);
	if (!tcp_emit(pcb, &e))
		return;
	pcb->snd_max = seq_max(pcb->snd_max, pcb->snd_una + 1);
}
