// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// NewReno's window: RFC 5681 3.1 and 3.2. Runs on the worker.

#include "tcp/congestion.h"
#include "tcp/pcb.h"

static void newreno_init(struct tcp_pcb *pcb)
{
	pcb->congestion_state.newreno.bytes_acked = 0;
}

static void newreno_acked(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight)
{
	uint32_t *bytes_acked = &pcb->congestion_state.newreno.bytes_acked;

	if (tcp_congestion_unused(pcb, flight) || tcp_congestion_slow_start(pcb, acked))
		return;
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
