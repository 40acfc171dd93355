// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Noticing and repairing loss where the peer has no SACK: fast retransmit and fast recovery
// (RFC 5681 3.2, RFC 6582), limited transmit (RFC 3042). And what a timeout does to the
// windows, with SACK or without. What the window is worth is the congestion control's to
// say. Runs on the worker.

#include "tcp/ecn.h"
#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/stack.h"
#include "tcp/undo.h"

#define DUPLICATES 3 // RFC 5681 3.2

static void recovery_enter(struct tcp_pcb *pcb)
{
	uint32_t flight = pcb->snd_max - pcb->snd_una;

	if (!tcp_ecn_reduced(pcb))
		tcp_congestion(pcb)->lost(pcb, flight);
	tcp_ecn_reduction(pcb);
	pcb->recover = pcb->snd_max;
	pcb->cwnd = pcb->ssthresh + DUPLICATES * pcb->mss;
	pcb->flags &= ~(uint32_t)TCP_PCB_PARTIAL;
	pcb->flags |= TCP_PCB_RECOVERY | TCP_PCB_RESEND;
	tcp_rtt_retransmitted(pcb);
	tcp_count(pcb->stack, TCP_COUNTER_FAST_RETRANSMITS);
	tcp_timer_rexmit(pcb);
}

void tcp_recovery_duplicate(struct tcp_pcb *pcb)
{
	if (pcb->dupacks < UINT8_MAX)
		pcb->dupacks++;
	if (pcb->flags & TCP_PCB_RECOVERY)
		pcb->cwnd += pcb->mss; // a segment has left the network
	else if (pcb->dupacks == DUPLICATES &&
		 (seq_gt(pcb->snd_una, pcb->recover) || tcp_ecn_reduced(pcb)))
		recovery_enter(pcb);
	// Otherwise limited transmit: see tcp_recovery_window().
	tcp_pcb_mark_flush(pcb);
}

// RFC 6582 3.2 step 3.
static void recovery_acked(struct tcp_pcb *pcb, uint32_t acked)
{
	uint32_t flight = pcb->snd_max - pcb->snd_una;

	if (seq_ge(pcb->snd_una, pcb->recover)) {
		uint32_t pipe = (flight > pcb->mss ? flight : pcb->mss) + pcb->mss;

		pcb->cwnd = pipe < pcb->ssthresh ? pipe : pcb->ssthresh;
		pcb->flags &= ~(uint32_t)(TCP_PCB_RECOVERY | TCP_PCB_RESEND);
		tcp_timer_rexmit(pcb);
		return;
	}
	// A partial ACK: the next segment is missing too.
	pcb->flags |= TCP_PCB_RESEND;
	pcb->cwnd -= acked < pcb->cwnd - pcb->mss ? acked : pcb->cwnd - pcb->mss;
	if (acked >= pcb->mss)
		pcb->cwnd += pcb->mss;
	// "Impatient": many losses are better left to the timer than repaired one a round trip.
	if (!(pcb->flags & TCP_PCB_PARTIAL))
		tcp_timer_rexmit(pcb);
	pcb->flags |= TCP_PCB_PARTIAL;
}

void tcp_recovery_acked(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight)
{
	pcb->dupacks = 0;
	if (pcb->flags & TCP_PCB_RECOVERY) {
		recovery_acked(pcb, acked);
		return;
	}
	tcp_congestion(pcb)->acked(pcb, acked, flight);
	tcp_timer_rexmit(pcb);
}

static void windows_timeout(struct tcp_pcb *pcb)
{
	const struct tcp_congestion_ops *congestion = tcp_congestion(pcb);

	// A segment that is lost again says no more than the first time (RFC 5681 3.1, (4)).
	if (pcb->tries <= 1) {
		if (pcb->flags & TCP_PCB_SACK)
			tcp_undo_arm(pcb, true);
		congestion->lost(pcb, pcb->snd_max - pcb->snd_una);
		if (congestion->timeout)
			congestion->timeout(pcb);
		tcp_ecn_reduction(pcb);
	}
	pcb->cwnd = pcb->mss;
	pcb->recover = pcb->snd_max;
}

void tcp_recovery_timeout(struct tcp_pcb *pcb)
{
	if (!tcp_state_sends(pcb->state)) { // a SYN
		tcp_rtt_retransmitted(pcb);
		tcp_output_rewind(pcb);
		return;
	}
	windows_timeout(pcb);
	pcb->dupacks = 0;
	pcb->flags &= ~(uint32_t)(TCP_PCB_RECOVERY | TCP_PCB_RESEND);
	tcp_rtt_retransmitted(pcb);
	if (pcb->flags & TCP_PCB_SACK) {
		tcp_rack_timeout(pcb);
		pcb->flags |= TCP_PCB_RESEND;
		tcp_pcb_mark_flush(pcb);
	} else {
		tcp_output_rewind(pcb);
	}
}

uint32_t tcp_recovery_window(const struct tcp_pcb *pcb)
{
	if (!(pcb->flags & TCP_PCB_RECOVERY) && pcb->dupacks > 0 && pcb->dupacks < DUPLICATES)
		return pcb->cwnd + pcb->dupacks * pcb->mss;
	return pcb->cwnd;
}
