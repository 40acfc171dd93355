// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Loss recovery with SACK: RFC 6675's phases and pipe, with RACK (RFC 8985) to tell what is
// lost and proportional rate reduction (RFC 6937) to pace its repair. NextSeg()'s rules (3)
// and (4), guesses at what RACK finds out by time, have no counterpart.
// Runs on the worker.

#include "tcp/ecn.h"
#include "tcp/flight.h"
#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/sack.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

// RFC 6937 3, with the bound of its section 3.1: slow start's pace, but only while nothing more
// turns out to be lost.
static void reduce_in_proportion(
	struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t delivered, bool progress)
{
	uint32_t pipe = tcp_flight_pipe(pcb);
	int64_t allowed;

	f->prr_delivered += delivered;
	if (pipe > pcb->ssthresh) {
		allowed =
			(int64_t)(((uint64_t)f->prr_delivered * pcb->ssthresh + f->prr_flight - 1) /
				  f->prr_flight) -
			f->prr_out;
	} else {
		allowed = (int64_t)f->prr_delivered - f->prr_out;
		if (allowed < delivered)
			allowed = delivered;
		allowed += progress ? pcb->mss : 0;
		if (allowed > pcb->ssthresh - pipe)
			allowed = pcb->ssthresh - pipe;
	}
	// The fast retransmit itself is always due.
	if ((pcb->flags & TCP_PCB_RESEND) && allowed < pcb->mss)
		allowed = pcb->mss;
	pcb->cwnd = pipe + (allowed > 0 ? (uint32_t)allowed : 0);
	if (pcb->cwnd < pcb->mss)
		pcb->cwnd = pcb->mss;
}

static void recovery_enter(struct tcp_pcb *pcb, struct tcp_flight *f)
{
	uint32_t flight = pcb->snd_max - pcb->snd_una;

	if (tcp_ecn_reduced(pcb)) {
		tcp_undo_disarm(pcb);
	} else {
		tcp_undo_arm(pcb, false);
		tcp_congestion(pcb)->lost(pcb, flight);
	}
	tcp_ecn_reduction(pcb);
	pcb->recover = pcb->snd_max;
	f->prr_delivered = f->prr_out = 0;
	f->prr_flight = flight;
	pcb->flags |= TCP_PCB_RECOVERY | TCP_PCB_RESEND;
	tcp_rtt_retransmitted(pcb);
	tcp_count(pcb->stack, TCP_COUNTER_FAST_RETRANSMITS);
	tcp_timer_rexmit(pcb);
}

static void recovery_leave(struct tcp_pcb *pcb)
{
	pcb->cwnd = pcb->ssthresh;
	pcb->flags &= ~(uint32_t)(TCP_PCB_RECOVERY | TCP_PCB_RESEND);
	tcp_rack_recovered(pcb);
}

// A loss that the probe has repaired is one all the same (RFC 8985 7.4.2).
static void probe_repaired(struct tcp_pcb *pcb, uint32_t flight)
{
	if (tcp_ecn_reduced(pcb))
		return;
	tcp_congestion(pcb)->lost(pcb, flight);
	tcp_ecn_reduction(pcb);
	pcb->cwnd = pcb->ssthresh;
}

// What RACK says now, and what follows from it.
static void detect(struct tcp_pcb *pcb, uint32_t delivered, bool progress)
{
	struct tcp_flight *f = tcp_flight_find(pcb);
	uint32_t lost = f ? f->lost : 0;
	uint32_t wait = tcp_rack_detect(pcb);

	if (f && f->lost > 0 && !(pcb->flags & TCP_PCB_RECOVERY) &&
		(seq_ge(pcb->snd_una, pcb->recover) || tcp_ecn_reduced(pcb)))
		recovery_enter(pcb, f);
	// RFC 6675 5.1: after a timeout there is no other recovery up to `recover`; what is lost
	// once more goes out in slow start.
	if (f && (pcb->flags & TCP_PCB_RECOVERY) && (delivered > 0 || f->lost > lost))
		reduce_in_proportion(pcb, f, delivered, progress && f->lost <= lost);
	if (wait > 0)
		tcp_timer_reorder(pcb, wait);
}

// NULL when there is nothing under way any more.
static struct tcp_flight *flight_keep(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_find(pcb);

	if (!f || f->count > 0 || f->probe)
		return f;
	tcp_flight_drop(pcb);
	return NULL;
}

void tcp_recovery_sack(
	struct tcp_pcb *pcb, const struct tcp_segment *seg, uint32_t acked, uint32_t flight)
{
	struct tcp_sack_news news;
	struct tcp_flight *f;
	uint32_t delivered;

	tcp_sack_learn(pcb, seg, &news);
	f = tcp_flight_find(pcb);
	delivered = f ? f->delivered : acked;
	if (f)
		f->delivered = 0;
	if (tcp_probe_answered(pcb, seg, acked, &news))
		probe_repaired(pcb, flight);
	tcp_undo_input(pcb, seg, acked, &news);
	f = flight_keep(pcb);
	if ((pcb->flags & TCP_PCB_RECOVERY) && seq_ge(pcb->snd_una, pcb->recover))
		recovery_leave(pcb);
	else if (acked > 0 && !(pcb->flags & TCP_PCB_RECOVERY))
		tcp_congestion(pcb)->acked(pcb, acked, flight);
	// With something SACKed, RACK knows more than a probe could find out (RFC 8985 7.2).
	if (acked > 0 || (pcb->timer == TCP_TIMER_PROBE && f && f->sacked > 0))
		tcp_timer_rexmit(pcb);
	detect(pcb, delivered, acked > 0);
	if (acked > 0 || delivered > 0)
		tcp_pcb_mark_flush(pcb);
}

void tcp_recovery_reorder_expired(struct tcp_pcb *pcb)
{
	tcp_timer_rexmit(pcb);
	detect(pcb, 0, false);
	tcp_pcb_mark_flush(pcb);
}
