// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// NewReno's window (RFC 5681 3.1 and 3.2, RFC 6582) and the initial window of RFC 6928.
// Runs on the worker.

#include "tcp/congestion.h"
#include "tcp/pcb.h"

#define CWND_MAX (1u << 30)

uint32_t tcp_congestion_initial_window(const struct tcp_pcb *pcb)
{
	uint32_t mss = pcb->mss;
	uint32_t bytes = 2 * mss > 14600 ? 2 * mss : 14600;

	if (pcb->flags & TCP_PCB_SYN_LOST)
		return mss;
	return 10 * mss < bytes ? 10 * mss : bytes;
}

static void newreno_init(struct tcp_pcb *pcb)
{
	pcb->congestion_state.newreno.bytes_acked = 0;
}

static void newreno_acked(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight)
{
	uint32_t *bytes_acked = &pcb->congestion_state.newreno.bytes_acked;

	// A window that was not used says nothing about the network (RFC 7661 1).
	if (flight + 2u * pcb->mss < pcb->cwnd || pcb->cwnd >= CWND_MAX)
		return;
	if (pcb->cwnd < pcb->ssthresh) {
		// Slow start; two segments an ACK at most (RFC 3465 2.3).
		pcb->cwnd += acked < 2u * pcb->mss ? acked : 2u * pcb->mss;
		return;
	}
	*bytes_acked += acked;
	if (*bytes_acked >= pcb->cwnd) {
		*bytes_acked -= pcb->cwnd;
		pcb->cwnd += pcb->mss;
	}
}

static void newreno_lost(struct tcp_pcb *pcb, uint32_t flight)
{
	uint32_t least = 2u * pcb->mss;

	pcb->ssthresh = flight / 2 > least ? flight / 2 : least;
	pcb->congestion_state.newreno.bytes_acked = 0;
}

const struct tcp_congestion_ops tcp_congestion_newreno = {
	.name = "newreno",
	.init = newreno_init,
	.acked = newreno_acked,
	.lost = newreno_lost,
};
