// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The fifth step of segment arrival, "check the ACK field" (RFC 9293 3.10.7.4, RFC 5961 5):
// what is acknowledged leaves the queue, windows and timers follow, our FIN moves the
// state on. Runs on the worker.

#include "tcp/input.h"

#include "base/assert.h"
#include "net/net.h"
#include "tcp/ecn.h"
#include "tcp/flight.h"
#include "tcp/rack.h"
#include "tcp/stack.h"

// `recover` is kept this close behind SND.UNA: sequence numbers 2^31 apart cannot be compared.
#define RECOVER_BEHIND (1u << 30)

// False: not an ACK that this connection could be sent.
static bool acceptable(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	// RFC 5961 5.2: up to one window of old ACKs.
	if (seq_le(seg->ack, pcb->snd_max) && seq_ge(seg->ack, pcb->snd_una - pcb->snd_wnd_max))
		return true;
	tcp_count_drop(pcb->stack, TCP_DROP_BAD_ACK);
	tcp_challenge_ack(pcb);
	return false;
}

void tcp_input_timestamp(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	if (!(pcb->flags & TCP_PCB_TIMESTAMPS) || !(seg->options.present & TCP_OPTION_TIMESTAMPS))
		return;
	// Not only when it becomes TS.Recent, which waits for what is not acknowledged yet.
	if ((pcb->flags & TCP_PCB_ADOPTED) && pcb->twin_index)
		tcp_adopted_clock(tcp_pcb_at(pcb->stack, pcb->twin_index), seg->options.tsval);
	// Either it is newer, or PAWS has let it pass because TS.Recent was outdated.
	if (seq_le(seg->seq, pcb->last_ack_sent)) {
		pcb->ts_recent = seg->options.tsval;
		pcb->ts_recent_ms = pcb->stack->now_ms;
	}
}

// Our SYN is acknowledged by a peer whose own SYN we have answered.
static bool syn_received_acked(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	if (seq_le(seg->ack, pcb->iss) || seq_gt(seg->ack, pcb->snd_max)) {
		tcp_count_drop(pcb->stack, TCP_DROP_BAD_ACK);
		tcp_emit_reset_to(pcb->stack, &pcb->path, seg);
		return false;
	}
	pcb->snd_una = pcb->snd_nxt = seg->ack;
	pcb->snd_wnd = (uint32_t)seg->wnd << pcb->snd_wscale;
	pcb->snd_wnd_max = pcb->snd_wnd;
	pcb->snd_wl1 = seg->seq;
	pcb->snd_wl2 = seg->ack;
	tcp_input_timestamp(pcb, seg);
	tcp_rtt_acked(pcb, seg);
	tcp_timer_rexmit(pcb);
	net_path_confirm(&pcb->path, pcb->stack->now_us);
	tcp_pcb_established(pcb);
	return true;
}

// RFC 5681 2: a duplicate ACK. Probes of a closed window are no segments whose loss it could tell.
static bool duplicate(const struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	return seg->ack == pcb->snd_una && seg->length == 0 && !(seg->flags & TCP_FLAG_FIN) &&
	       tcp_timer_awaits_ack(pcb) && ((uint32_t)seg->wnd << pcb->snd_wscale) == pcb->snd_wnd;
}

// An ACK of something new is newer than all before, also when its sequence number is not (a FIN
// sent again): the RFC's rule alone would carry the old window over to the new SND.UNA.
static void window_update(struct tcp_pcb *pcb, const struct tcp_segment *seg, bool advanced)
{
	if (!advanced && !seq_lt(pcb->snd_wl1, seg->seq) &&
		!(pcb->snd_wl1 == seg->seq && seq_le(pcb->snd_wl2, seg->ack)))
		return;
	pcb->snd_wnd = (uint32_t)seg->wnd << pcb->snd_wscale;
	if (pcb->snd_wnd > pcb->snd_wnd_max)
		pcb->snd_wnd_max = pcb->snd_wnd;
	pcb->snd_wl1 = seg->seq;
	pcb->snd_wl2 = seg->ack;
}

// The queue gives up what is acknowledged; returns whether our FIN was, too.
static bool queue_acked(struct tcp_pcb *pcb, uint32_t acked)
{
	struct tcp_sendq *q = &pcb->sendq;
	uint64_t before = q->bytes;
	bool fin = acked > before;

	tcp_sendq_drop(&pcb->stack->pieces, q, fin ? before : acked);
	if (before > pcb->low_water && q->bytes <= pcb->low_water)
		tcp_pcb_raise(pcb, TCP_EVENT_WRITABLE);
	return fin;
}

// Our FIN is acknowledged. False when that was all.
static bool fin_acked(struct tcp_pcb *pcb)
{
	switch (pcb->state) {
	case TCP_FIN_WAIT_1:
		tcp_pcb_set_state(pcb, TCP_FIN_WAIT_2);
		if (!(pcb->flags & TCP_PCB_OWNED))
			tcp_timer_set(pcb, TCP_TIMER_FIN_WAIT, pcb->stack->config.fin_wait_us);
		else
			tcp_timer_idle(pcb);
		return true;
	case TCP_CLOSING:
		tcp_pcb_enter_time_wait(pcb);
		return true;
	case TCP_LAST_ACK:
		if (tcp_pcb_holds(pcb)) { // it will ask once more
			tcp_pcb_enter_time_wait(pcb);
			return true;
		}
		tcp_pcb_finish(pcb, 0);
		return false;
	default:
		return true;
	}
}

// SND.UNA moves on. False when the connection ended with it.
static bool una_advance(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	uint32_t acked = seg->ack - pcb->snd_una;
	uint32_t flight = pcb->snd_max - pcb->snd_una;
	bool fin;

	if (pcb->flags & TCP_PCB_SACK)
		tcp_flight_acked(pcb, seg->ack);
	pcb->snd_una = seg->ack;
	pcb->snd_nxt = seq_max(pcb->snd_nxt, seg->ack);
	fin = queue_acked(pcb, acked);
	if (pcb->flags & TCP_PCB_MANUAL_ACK)
		tcp_pcb_raise(pcb, TCP_EVENT_ACKNOWLEDGED);
	pcb->tries = 0;
	pcb->progress_ms = pcb->stack->now_ms;
	tcp_rtt_acked(pcb, seg);
	if (seq_gt(pcb->snd_una - RECOVER_BEHIND, pcb->recover))
		pcb->recover = pcb->snd_una - RECOVER_BEHIND;
	if (pcb->flags & TCP_PCB_SACK)
		tcp_recovery_sack(pcb, seg, acked, flight);
	else
		tcp_recovery_acked(pcb, acked, flight);
	if ((pcb->flags & TCP_PCB_ECN) && (seg->flags & TCP_FLAG_ECE))
		tcp_ecn_echoed(pcb, flight);
	net_path_confirm(&pcb->path, pcb->stack->now_us);
	if (fin && !fin_acked(pcb))
		return false;
	if (pcb->timer == TCP_TIMER_PERSIST && !tcp_output_waits(pcb))
		tcp_timer_idle(pcb);
	return true;
}

bool tcp_input_ack(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	uint32_t wnd = pcb->snd_wnd;
	bool advanced;

	if (pcb->state == TCP_SYN_RECEIVED)
		return syn_received_acked(pcb, seg);
	if (!acceptable(pcb, seg))
		return false;
	tcp_input_timestamp(pcb, seg);
	pcb->heard_ms = pcb->stack->now_ms;
	if (pcb->timer == TCP_TIMER_PERSIST) // the peer lives
		pcb->tries = 0;
	if (pcb->flags & TCP_PCB_SACK)
		tcp_rack_input(pcb, seg);
	advanced = seq_gt(seg->ack, pcb->snd_una);
	if (advanced) {
		if (!una_advance(pcb, seg))
			return false;
		if (tcp_state_sends(pcb->state))
			tcp_pcb_mark_flush(pcb);
	} else if (pcb->flags & TCP_PCB_SACK) {
		tcp_recovery_sack(pcb, seg, 0, pcb->snd_max - pcb->snd_una);
	} else if (duplicate(pcb, seg)) {
		tcp_recovery_duplicate(pcb);
	}
	if (seq_ge(seg->ack, pcb->snd_una))
		window_update(pcb, seg, advanced);
	if (pcb->snd_wnd > wnd && tcp_state_sends(pcb->state))
		tcp_pcb_mark_flush(pcb);
	return true;
}
