// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Explicit congestion notification (RFC 3168 6.1): negotiation, echo, reaction. Offered only
// when configured; accepted by default, as everybody does. Runs on the worker.

#include "tcp/ecn.h"

#include "net/net.h"
#include "tcp/input.h"
#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"
#include "tcp/undo.h"

#define SETUP (TCP_FLAG_ECE | TCP_FLAG_CWR)

// A SYN that got lost may have done so because of these flags (6.1.1.1).
static bool offers(const struct tcp_pcb *pcb)
{
	return pcb->stack->config.ecn == TCP_ECN_ACTIVE && !(pcb->flags & TCP_PCB_SYN_LOST);
}

uint8_t tcp_ecn_syn_flags(const struct tcp_pcb *pcb, uint8_t flags)
{
	if (flags & TCP_FLAG_ACK)
		return pcb->flags & TCP_PCB_ECN ? TCP_FLAG_ECE : 0;
	return offers(pcb) ? SETUP : 0;
}

void tcp_ecn_learn_syn(struct tcp_pcb *pcb, const struct tcp_segment *syn)
{
	uint8_t flags = syn->flags & SETUP;
	bool accepted;

	if (syn->flags & TCP_FLAG_ACK)
		accepted = flags == TCP_FLAG_ECE && offers(pcb);
	else
		accepted = flags == SETUP && pcb->stack->config.ecn != TCP_ECN_OFF;
	if (accepted)
		pcb->flags |= TCP_PCB_ECN;
}

void tcp_ecn_input(struct tcp_pcb *pcb, const struct tcp_arrival *a)
{
	if (a->seg.flags & TCP_FLAG_CWR)
		pcb->flags &= ~(uint32_t)TCP_PCB_ECE;
	// Pure ACKs are not to be marked (6.1.4); who does so all the same is not believed.
	if (a->delivery->ecn == TCP_ECN_CE && a->seg.length > 0)
		pcb->flags |= TCP_PCB_ECE;
}

bool tcp_ecn_reduced(const struct tcp_pcb *pcb)
{
	return (pcb->flags & TCP_PCB_REDUCED) && seq_lt(pcb->snd_una, pcb->recover);
}

void tcp_ecn_reduction(struct tcp_pcb *pcb)
{
	pcb->flags &= ~(uint32_t)TCP_PCB_REDUCED;
	if (pcb->flags & TCP_PCB_ECN)
		pcb->flags |= TCP_PCB_CWR;
}

void tcp_ecn_echoed(struct tcp_pcb *pcb, uint32_t flight)
{
	// `recover` stands for any reduction: by loss, by a timeout, or by ECN.
	if ((pcb->flags & TCP_PCB_RECOVERY) || seq_le(pcb->snd_una, pcb->recover))
		return;
	tcp_undo_disarm(pcb);
	tcp_congestion(pcb)->lost(pcb, flight);
	pcb->cwnd = pcb->ssthresh;
	pcb->recover = pcb->snd_max;
	pcb->flags |= TCP_PCB_CWR | TCP_PCB_REDUCED;
	tcp_count(pcb->stack, TCP_COUNTER_ECN_REDUCTIONS);
}

uint8_t tcp_ecn_flags(struct tcp_pcb *pcb, uint32_t seq, uint32_t length, uint8_t *ret_ecn)
{
	uint8_t flags = pcb->flags & TCP_PCB_ECE ? TCP_FLAG_ECE : 0;

	// New text only: neither retransmissions (6.1.5) nor probes of a closed window (6.1.6).
	if (length == 0 || seq_lt(seq, pcb->snd_max) || pcb->snd_wnd == 0)
		return flags;
	*ret_ecn = TCP_ECN_ECT0;
	if (pcb->flags & TCP_PCB_CWR) {
		flags |= TCP_FLAG_CWR;
		pcb->flags &= ~(uint32_t)TCP_PCB_CWR;
	}
	return flags;
}
