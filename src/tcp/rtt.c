// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Round-trip time and RTO (RFC 6298): one octet a window is timed in microseconds; after a
// retransmission, where Karn's rule forbids that, timestamps (RFC 7323 4) help out. Of a handshake
// they are believed only where they tell which SYN was answered. Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

#include "base/clock.h"

#define BACKOFF_MAX 16u
// RFC 6298 (5.7): what a lost SYN without a sample leaves at least.
#define AFTER_SYN_LOSS_US (3 * US_IN_S)
// How much later than a client's SYN ours is repeated, as a part of the timeout.
#define CLIENT_FIRST 8

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

// A peer that got our first SYN echoes that one's time with every SYN-ACK it sends (Linux does),
// and one that got our first SYN-ACK with every ACK: after its answers were lost, this tells how
// long we have waited and nothing of the path. Only the echo of the last one sent measures
// something.
static bool echoes_earlier_syn(const struct tcp_pcb *pcb, uint32_t ms)
{
	uint32_t since_us = (uint32_t)pcb->stack->now_us - pcb->sent_us;

	return pcb->state < TCP_ESTABLISHED && ms > since_us / US_IN_MS + 1;
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

		if (echoes_earlier_syn(pcb, ms))
			return;
		elapsed = ms * US_IN_MS;
	} else {
		return;
	}
	// More than this is an echo of something we never sent.
	if (elapsed <= 2ull * pcb->stack->config.rto_max_us)
		sample(pcb, (uint32_t)elapsed);
}

void tcp_rtt_established(struct tcp_pcb *pcb)
{
	uint32_t max = pcb->stack->config.rto_max_us;
	uint32_t least = AFTER_SYN_LOSS_US < max ? AFTER_SYN_LOSS_US : max;

	if (pcb->srtt_us != 0 || !(pcb->flags & TCP_PCB_SYN_LOST))
		return;
	pcb->backoff = 0;
	if (pcb->rto_us < least)
		pcb->rto_us = least;
}

// A client waits for our SYN-ACK, or for the connection behind it, whose last ACK is held, and
// sends its own SYN again after a second. Our timer is a little slower than that: to a client that
// has sent only one SYN an answer after a second would be a round trip of a second, and its timer
// would stand at three from then on; the answer to its second SYN measures the path.
static bool client_is_first(const struct tcp_pcb *pcb)
{
	return (pcb->state == TCP_SYN_RECEIVED && (pcb->flags & TCP_PCB_PASSIVE)) ||
	       (pcb->state == TCP_SYN_SENT && (pcb->flags & TCP_PCB_HOLD_ACK));
}

uint64_t tcp_rtt_timeout_us(const struct tcp_pcb *pcb)
{
	uint64_t max = pcb->stack->config.rto_max_us;
	unsigned shift = pcb->backoff < BACKOFF_MAX ? pcb->backoff : BACKOFF_MAX;
	uint64_t rto = (uint64_t)pcb->rto_us << shift;

	if (client_is_first(pcb))
		rto += rto / CLIENT_FIRST;
	return rto < max ? rto : max;
}
