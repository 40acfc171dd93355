// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is sent, when, and how much at once: SYN, text and FIN from SND.NXT on, within the
// peer's window and the network's; Nagle and the sender's silly window avoidance
// (RFC 9293 3.7.4 and 3.8.6.2.1), window probes (3.8.6.1). Sending below SND.MAX is
// retransmission and needs nothing special: segments are always built from the queue.
// Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/flight.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/assert.h"

// Text that one IP packet carries at most: headers with all their options stay below 64 KiB too.
#define TSO_MAX (UINT16_MAX - 60u - TCP_HEADER_MAX)
// What a device cuts at once: more than this would come out of it as a burst that few queues take,
// and net_tap does not.
#define TSO_SEGMENTS 64u

static uint32_t span_of(const struct tcp_emission *e)
{
	return e->length + ((e->flags & (TCP_FLAG_SYN | TCP_FLAG_FIN)) != 0);
}

static void flight_sent(struct tcp_pcb *pcb, uint32_t seq, uint32_t end)
{
	struct tcp_flight *f;

	tcp_flight_sent(pcb, seq, end);
	f = tcp_flight_find(pcb);
	if (f)
		f->prr_out += end - seq;
}

// The connection moves on behind what was just sent at SND.NXT.
static void sent(struct tcp_pcb *pcb, const struct tcp_emission *e)
{
	struct tcp_stack *stack = pcb->stack;
	uint32_t start = pcb->snd_nxt;

	if ((pcb->flags & TCP_PCB_SACK) && tcp_state_sends(pcb->state))
		flight_sent(pcb, start, start + span_of(e));
	if (e->length > 0)
		tcp_sendq_advance(&pcb->sendq, e->from, e->length);
	pcb->snd_nxt += span_of(e);
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
	pcb->sent_us = (uint32_t)stack->now_us;
	pcb->probes = 0;
	if (!tcp_timer_awaits_ack(pcb)) {
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
	if (length >= pcb->mss || fin)
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

// One segment; of what was never sent as many as an IP packet holds where the device cuts them
// (TSO).
static uint32_t frame_limit(const struct tcp_pcb *pcb)
{
	if (!net_path_takes_tso(&pcb->path) || seq_lt(pcb->snd_nxt, pcb->snd_max))
		return pcb->mss;
	return min_u32(TSO_MAX, TSO_SEGMENTS * pcb->mss);
}

// Text (and FIN) at SND.NXT as far as `room` goes; what it is made of.
static struct tcp_emission text_at_next(const struct tcp_pcb *pcb, uint32_t room)
{
	uint64_t unsent = tcp_sendq_unsent(&pcb->sendq);
	uint32_t limit = min_u32(room, frame_limit(pcb));
	uint32_t length = unsent < limit ? (uint32_t)unsent : limit;
	struct tcp_emission e = {
		.seq = pcb->snd_nxt,
		.length = length > pcb->mss ? length / pcb->mss * pcb->mss : length,
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

	if (pcb->snd_una != pcb->snd_max ||
		(uint32_t)pcb->stack->now_us - pcb->sent_us < pcb->rto_us)
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

// Octets that the peer's window and the network's have room for.
static uint32_t room(const struct tcp_pcb *pcb)
{
	uint32_t in_flight = pcb->snd_nxt - pcb->snd_una;
	uint32_t peers = pcb->snd_wnd > in_flight ? pcb->snd_wnd - in_flight : 0;
	uint32_t pipe = tcp_flight_pipe(pcb);
	uint32_t networks = tcp_recovery_window(pcb);

	return min_u32(peers, networks > pipe ? networks - pipe : 0);
}

static bool lost_waits(const struct tcp_pcb *pcb)
{
	const struct tcp_flight *f = tcp_flight_find(pcb);

	return f && f->lost > 0 && !tcp_undo_asks(f);
}

static bool send_text(struct tcp_pcb *pcb)
{
	bool any = false;

	if (!tcp_output_waits(pcb))
		return true;
	idle_restart(pcb);
	if (lost_waits(pcb)) // it goes first
		return true;
	for (;;) {
		uint32_t in_flight = pcb->snd_nxt - pcb->snd_una;
		struct tcp_emission e = text_at_next(pcb, room(pcb));

		if (!worth_sending(pcb, e.length, in_flight, (e.flags & TCP_FLAG_FIN) != 0))
			break;
		if (!tcp_emit(pcb, &e))
			return false;
		sent(pcb, &e);
		any = true;
	}
	if (any)
		tcp_timer_sent(pcb);
	// With nothing under way no ACK will come that opens the window: it must be asked for.
	if (pcb->snd_nxt == pcb->snd_una && pcb->timer != TCP_TIMER_PERSIST &&
		tcp_output_waits(pcb)) {
		pcb->tries = pcb->probes = 0;
		tcp_timer_set(pcb, TCP_TIMER_PERSIST, tcp_rtt_timeout_us(pcb));
	}
	return true;
}

// One segment of [seq, end), which was sent before, from `from` in the queue; ret_span: its length,
// FIN included.
static bool resend(
	struct tcp_pcb *pcb, uint32_t seq, uint32_t end, struct tcp_cursor from, uint32_t *ret_span)
{
	uint64_t queued = pcb->sendq.bytes - (seq - pcb->snd_una); // 0 when only our FIN is left
	uint32_t length = min_u32(end - seq, pcb->mss);
	struct tcp_emission e = {.seq = seq, .from = from, .flags = TCP_FLAG_ACK};

	e.length = queued < length ? (uint32_t)queued : length;
	if (e.length == queued && end - seq > queued)
		e.flags |= TCP_FLAG_FIN;
	*ret_span = span_of(&e);
	if (!tcp_emit(pcb, &e))
		return false;
	pcb->flags &= ~(uint32_t)TCP_PCB_RESEND;
	pcb->retransmits++;
	tcp_count(pcb->stack, TCP_COUNTER_RETRANSMITS);
	return true;
}

// The first segment again, whatever the windows say (RFC 6582 3.2: fast retransmit).
static bool resend_first(struct tcp_pcb *pcb)
{
	uint32_t span;

	return resend(pcb, pcb->snd_una, pcb->snd_max, tcp_sendq_first(&pcb->sendq), &span);
}

// What is lost, from below (RFC 6675 5, (C)), as the window allows; the first segment after a loss
// was noticed goes out in any case.
static bool resend_lost(struct tcp_pcb *pcb)
{
	uint32_t seq, length, span;

	while (tcp_flight_next_lost(pcb, &seq, &length)) {
		if (!(pcb->flags & TCP_PCB_RESEND) &&
			tcp_flight_pipe(pcb) + min_u32(length, pcb->mss) > pcb->cwnd)
			break;
		if (!resend(pcb, seq, seq + length, tcp_flight_cursor(pcb, seq), &span))
			return false;
		flight_sent(pcb, seq, seq + span);
		pcb->sent_us = (uint32_t)pcb->stack->now_us;
	}
	pcb->flags &= ~(uint32_t)TCP_PCB_RESEND;
	return true;
}

bool tcp_output_last_segment(struct tcp_pcb *pcb)
{
	uint32_t seq = pcb->snd_nxt - min_u32(pcb->snd_nxt - pcb->snd_una, pcb->mss);
	uint32_t span;

	if (!resend(pcb, seq, pcb->snd_nxt, tcp_flight_cursor(pcb, seq), &span))
		return false;
	flight_sent(pcb, seq, seq + span);
	pcb->sent_us = (uint32_t)pcb->stack->now_us;
	return true;
}

bool tcp_output_new_segment(struct tcp_pcb *pcb)
{
	uint32_t in_flight = pcb->snd_nxt - pcb->snd_una;
	struct tcp_emission e;

	if (!tcp_output_waits(pcb) || pcb->snd_wnd <= in_flight || tcp_flight_pipe(pcb) > pcb->cwnd)
		return false;
	e = text_at_next(pcb, min_u32(pcb->snd_wnd - in_flight, pcb->mss));
	if (span_of(&e) == 0 || !tcp_emit(pcb, &e))
		return false;
	sent(pcb, &e);
	return true;
}

// New text instead of what seems lost (RFC 5682). False when there is none to send: it was not the
// time to ask.
static bool ask(struct tcp_pcb *pcb)
{
	uint32_t before = pcb->snd_nxt;

	send_text(pcb);
	tcp_undo_asked(tcp_flight_find(pcb), pcb->snd_nxt != before);
	return tcp_undo_asks(tcp_flight_find(pcb));
}

bool tcp_output(struct tcp_pcb *pcb)
{
	if (pcb->state == TCP_SYN_SENT || pcb->state == TCP_SYN_RECEIVED)
		return send_syn(pcb);
	if (!tcp_state_sends(pcb->state))
		return true;
	if (tcp_undo_asks(tcp_flight_find(pcb)) && ask(pcb))
		return true;
	if (pcb->flags & TCP_PCB_SACK) {
		if (!resend_lost(pcb))
			return false;
	} else if ((pcb->flags & TCP_PCB_RESEND) && !resend_first(pcb)) {
		return false;
	}
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
		e = text_at_next(pcb, min_u32(pcb->snd_wnd, pcb->mss));
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
