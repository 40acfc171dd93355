// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Segment arrival from SYN-RECEIVED on: RFC 9293 3.10.7.4, its steps in its order, with
// PAWS (RFC 7323 5.3) and the blind-attack defences (RFC 5961) where they belong. The
// fifth step is input_ack.c, the seventh and eighth are input_text.c.
// Runs on the worker.

#include "tcp/input.h"

#include "base/assert.h"
#include "net/net.h"
#include "tcp/ecn.h"
#include "tcp/sack.h"
#include "tcp/stack.h"

// RFC 7323 5.5: a connection idle for longer has an outdated TS.Recent.
#define TS_RECENT_AGE_MS (24u * 86400u * 1000u)

// What nearly all segments are: next in sequence, within the window, nothing but ACK (and PSH), its
// timestamp not in the past. Such a segment passes the first four steps.
static bool expected(const struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	const uint8_t special = TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_FIN | TCP_FLAG_ACK;

	return pcb->state == TCP_ESTABLISHED && (seg->flags & special) == TCP_FLAG_ACK &&
	       seg->seq == pcb->rcv_nxt && seg->length <= pcb->rcv_adv - pcb->rcv_nxt &&
	       (!(pcb->flags & TCP_PCB_TIMESTAMPS) ||
		       ((seg->options.present & TCP_OPTION_TIMESTAMPS) &&
			       seq_ge(seg->options.tsval, pcb->ts_recent)));
}

// RFC 7323 5.3 R1 and 3.2. False: dropped.
static bool step_paws(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	if (!(pcb->flags & TCP_PCB_TIMESTAMPS) || (seg->flags & TCP_FLAG_RST))
		return true;
	if (!(seg->options.present & TCP_OPTION_TIMESTAMPS)) {
		// The peer of a connection that only we remember: it gets its challenge ACK.
		if (seg->flags & TCP_FLAG_SYN)
			return true;
		tcp_count_drop(pcb->stack, TCP_DROP_NO_TIMESTAMP);
		return false;
	}
	if (seq_ge(seg->options.tsval, pcb->ts_recent) ||
		pcb->stack->now_ms - pcb->ts_recent_ms > TS_RECENT_AGE_MS)
		return true;
	tcp_count_drop(pcb->stack, TCP_DROP_OLD_TIMESTAMP);
	tcp_pcb_ack_now(pcb);
	return false;
}

// Does the segment overlap the window? A segment without length may also stand at its right edge:
// that is where a peer is that has filled it.
static bool in_window(const struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	uint32_t span = tcp_segment_span(seg);
	uint32_t last = seg->seq + span - (span > 0);

	if (span == 0)
		return seq_ge(seg->seq, pcb->rcv_nxt) && seq_le(seg->seq, pcb->rcv_adv);
	// With a closed window the ACK of what stands at RCV.NXT is taken; its text will not be.
	return seq_ge(last, pcb->rcv_nxt) &&
	       (seq_lt(seg->seq, pcb->rcv_adv) || seg->seq == pcb->rcv_nxt);
}

// Both ends may have probed a closed window at once, each with an octet that the other took: until
// one has heard of that, the ACKs of both stand before what is expected, and neither would.
static bool probes_crossed(const struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	const uint8_t special = TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_FIN | TCP_FLAG_ACK;

	return tcp_state_sends(pcb->state) && (seg->flags & special) == TCP_FLAG_ACK &&
	       seg->seq + 1 == pcb->rcv_nxt && seg->length <= 1 && seq_gt(seg->ack, pcb->snd_nxt) &&
	       seq_le(seg->ack, pcb->snd_max);
}

// First, check sequence number. False: answered with an ACK and dropped.
static bool step_sequence(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	if (in_window(pcb, seg) || ((seg->flags & TCP_FLAG_RST) && seg->seq == tcp_pcb_ack(pcb)))
		return true;
	tcp_count_drop(pcb->stack, TCP_DROP_OUT_OF_WINDOW);
	if (seg->flags & TCP_FLAG_RST)
		return false;
	// An echo of a peer's first SYN would make it measure a second, and keep its timer at three
	// from then on: the last one is echoed, by the ACK that is held, or by a SYN-ACK at once. A
	// client that has not got that yet would learn nothing from an ACK.
	if ((pcb->flags & TCP_PCB_HOLD_ACK) && (seg->flags & TCP_FLAG_SYN) &&
		seg->seq + 1 == pcb->rcv_nxt) {
		tcp_input_timestamp(pcb, seg);
		return false;
	}
	if (pcb->state == TCP_SYN_RECEIVED && (seg->flags & TCP_FLAG_SYN) && seg->seq == pcb->irs) {
		tcp_input_timestamp(pcb, seg);
		tcp_rtt_retransmitted(pcb);
		tcp_output_rewind(pcb);
		return false;
	}
	// Two confused ends could answer pure ACKs with pure ACKs for ever.
	if (seg->length > 0 && seq_le(seg->seq + seg->length, pcb->rcv_nxt))
		tcp_sack_duplicate(pcb, seg->seq, seg->seq + seg->length);
	if (tcp_segment_span(seg) == 0)
		tcp_challenge_ack(pcb);
	else
		tcp_pcb_ack_now(pcb);
	// Its FIN again: our ACK of it was lost (RFC 9293 3.10.7.4, eighth, TIME-WAIT).
	if (pcb->state == TCP_TIME_WAIT && (seg->flags & TCP_FLAG_FIN))
		tcp_timer_set(pcb, TCP_TIMER_TIME_WAIT, pcb->stack->config.time_wait_us);
	if (probes_crossed(pcb, seg))
		tcp_input_ack(pcb, seg);
	return false;
}

// Second, check the RST bit (RFC 5961 3.2): only the exact sequence number ends a connection, or
// what a peer without the connection makes of our ACK.
static bool step_reset(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	bool refused = pcb->state == TCP_SYN_RECEIVED && !(pcb->flags & TCP_PCB_PASSIVE);

	if (!(seg->flags & TCP_FLAG_RST))
		return true;
	if (seg->seq != pcb->rcv_nxt && seg->seq != tcp_pcb_ack(pcb)) {
		tcp_count_drop(pcb->stack, TCP_DROP_BAD_RST);
		tcp_challenge_ack(pcb);
		return false;
	}
	tcp_count(pcb->stack, TCP_COUNTER_RESETS_RECEIVED);
	tcp_pcb_finish(pcb, pcb->state == TCP_TIME_WAIT ? 0
			    : refused			? TCP_EVENT_REFUSED
							: TCP_EVENT_RESET);
	return false;
}

// Fourth, check the SYN bit (RFC 5961 4.2).
static bool step_syn(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	if (!(seg->flags & TCP_FLAG_SYN))
		return true;
	tcp_count_drop(pcb->stack, TCP_DROP_UNEXPECTED);
	// "Return to LISTEN": the half-open connection is forgotten.
	if (pcb->state == TCP_SYN_RECEIVED && (pcb->flags & TCP_PCB_PASSIVE))
		tcp_pcb_finish(pcb, TCP_EVENT_RESET);
	else
		tcp_challenge_ack(pcb);
	return false;
}

static bool steps_before_ack(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	if (!step_paws(pcb, seg) || !step_sequence(pcb, seg) || !step_reset(pcb, seg) ||
		!step_syn(pcb, seg))
		return false;
	if (seg->flags & TCP_FLAG_ACK)
		return true;
	tcp_count_drop(pcb->stack, TCP_DROP_UNEXPECTED);
	return false;
}

// In a simultaneous open the SYN comes once more, with the ACK of ours (RFC 9293 3.5, figure 8):
// only that is news.
static void crossed_syn_strip(const struct tcp_pcb *pcb, struct tcp_segment *seg)
{
	const uint8_t both = TCP_FLAG_SYN | TCP_FLAG_ACK;

	if (pcb->state == TCP_SYN_RECEIVED && !(pcb->flags & TCP_PCB_PASSIVE) &&
		(seg->flags & both) == both && seg->seq == pcb->irs) {
		seg->flags &= (uint8_t)~TCP_FLAG_SYN;
		seg->seq++;
	}
}

void tcp_input_synchronized(struct tcp_pcb *pcb, struct tcp_arrival *a)
{
	struct tcp_segment *seg = &a->seg;

	crossed_syn_strip(pcb, seg);
	if (!expected(pcb, seg) && !steps_before_ack(pcb, seg))
		return;
	if (pcb->flags & TCP_PCB_ECN)
		tcp_ecn_input(pcb, a);
	if (!tcp_input_ack(pcb, seg))
		return;
	// Sixth, the URG bit: urgent data stay in line (RFC 6093 6), there is nothing to do.
	if (seg->length > 0 || (seg->flags & TCP_FLAG_FIN))
		tcp_input_text(pcb, a);
}
