// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What all congestion controls share (RFC 5681 3.1), and which there are.
// Runs on the worker.

#include "tcp/congestion.h"

#include "base/assert.h"
#include "tcp/pcb.h"
#include "tcp/tcp.h"

static const struct tcp_congestion_ops *const table[TCP_CONGESTIONS] = {
	[TCP_CONGESTION_CUBIC] = &tcp_congestion_cubic,
	[TCP_CONGESTION_NEWRENO] = &tcp_congestion_newreno,
};

const struct tcp_congestion_ops *tcp_congestion(const struct tcp_pcb *pcb)
{
	return table[pcb->congestion];
}

const char *tcp_congestion_name(enum tcp_congestion congestion)
{
	ASSERT(congestion < TCP_CONGESTIONS);
	return table[congestion]->name;
}

void tcp_set_congestion(struct tcp_pcb *pcb, enum tcp_congestion congestion)
{
	ASSERT(congestion < TCP_CONGESTIONS);
	if (pcb->congestion == congestion)
		return;
	pcb->congestion = (uint8_t)congestion;
	table[congestion]->init(pcb);
}

uint32_t tcp_congestion_initial_window(const struct tcp_pcb *pcb)
{
	uint32_t mss = pcb->mss;
	uint32_t bytes = 2 * mss > 14600 ? 2 * mss : 14600;

	if (pcb->flags & TCP_PCB_SYN_LOST)
		return mss;
	return 10 * mss < bytes ? 10 * mss : bytes;
}

bool tcp_congestion_unused(const struct tcp_pcb *pcb, uint32_t flight)
{
	return flight + 2u * pcb->mss < pcb->cwnd || pcb->cwnd >= TCP_CWND_MAX;
}

bool tcp_congestion_slow_start(struct tcp_pcb *pcb, uint32_t acked)
{
	if (pcb->cwnd >= pcb->ssthresh)
		return false;
	pcb->cwnd += acked < 2u * pcb->mss ? acked : 2u * pcb->mss;
	return true;
}
