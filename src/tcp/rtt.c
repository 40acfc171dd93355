// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Round-trip time and RTO (RFC 6298): one octet a window is timed in microseconds; after a
// retransmission, where Karn's rule forbids that, timestamps (RFC 7323 4) help out.
// Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/clock.h"

#define BACKOFF_MAX 16u

void tcp_rtt_init(struct tcp_pcb *pcb)
{
	pcb->rto_us = pcb->stack->config.rto_initial_us;
}

void tcp_rtt_start(struct tcp_pcb *pcb, uint32_t seq)
{
	if (pcb->flags & TCP_PCB_TIMING)
		return;
	pcb->flags |= TCP_PCB_TIMING;
	pcb->rtt_seq = seq;
	pcb->rtt_us = (uint32_t)pcb->stack->now_us;
}

void tcp_rtt_retransmitted(struct tcp_pcb *pcb)
{
	pcb->flags &= ~(uint32_t)TCP_PCB_TIMING;
	pcb->flags |= TCP_PCB_KARN;
}

// RFC 6298 (2.2) and (2.3); G is rto_min, so that a delayed ACK never looks like a loss.
static void sample(struct tcp_pcb *pcb, uint32_t r_us)
{
	const struct tcp_config *config = &pcb->stack->config;
	uint64_t rto;

	if (r_us == 0)
		r_us = 1;
	if (pcb->srtt_us == 0) {
		pcb->srtt_us = r_us;
		pcb->rttvar_us = r_us / 2;
	} else {
		int64_t error = (int64_t)r_us - pcb->srtt_us;
		int64_t deviation = error < 0 ? -error : error;

		pcb->rttvar_us = (uint32_t)(pcb->rttvar_us + (deviation - pcb->rttvar_us) / 4);
		pcb->srtt_us = (uint32_t)(pcb->srtt_us + error / 8);
	}
	rto = 4ull * pcb->rttvar_us;
	if (rto < config->rto_min_us)
		rto = config->rto_min_us;
	rto += pcb->srtt_us;
	pcb->rto_us = rto < config->rto_max_us ? (uint32_t)rto : config->rto_max_us;
	pcb->backoff = 0;
	pcb->flags &= ~(uint32_t)TCP_PCB_KARN;
}

void tcp_rtt_acked(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	uint64_t elapsed;

	if (pcb->flags & TCP_PCB_TIMING) {
		if (seq_le(seg->ack, pcb->rtt_seq))
			return;
		pcb->flags &= ~(uint32_t)TCP_PCB_TIMING;
		elapsed = (uint32_t)pcb->stack->now_us - pcb->rtt_us;
	} else if ((pcb->flags & (TCP_PCB_KARN | TCP_PCB_TIMESTAMPS | TCP_PCB_ADOPTED)) ==
			   (TCP_PCB_KARN | TCP_PCB_TIMESTAMPS) &&
		   seg->options.tsecr != 0) {
		uint32_t ms = pcb->stack->now_ms + pcb->ts_offset - seg->options.tsecr;

		elapsed = ms * US_IN_MS;
	} else {
		return;
	}
	// More than this is an echo of something we never sent.
	if (elapsed <= 2ull * pcb->stack->config.rto_max_us)
		sample(pcb, (uint32_t)elapsed);
}

uint64_t tcp_rtt_timeout_us(const struct tcp_pcb *pcb)
{
	uint64_t max = pcb->stack->config.rto_max_us;
	unsigned shift = pcb->backoff < BACKOFF_MAX ? pcb->backoff : BACKOFF_MAX;
	uint64_t rto = (uint64_t)pcb->rto_us << shift;

	return rto < max ? rto : max;
}
