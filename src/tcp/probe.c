// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Tail loss probes (RFC 8985 7): when the last of a flight gets lost, nothing that is sent
// later could tell. Two round trips of silence are then answered with one more segment,
// whose ACK tells. Runs on the worker.

#include "base/clock.h"
#include "tcp/flight.h"
#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

// The ACK of a single segment may be delayed (7.2: TLP.max_ack_delay).
#define ACK_DELAY_MAX_US (200 * US_IN_MS)
// Below this, host and timer delays are taken for losses (RFC 8985 9.3 leaves the floor to us).
#define DELAY_MIN_US (10 * US_IN_MS)
// Without a sample of the round trip (7.2). Shorter than the timeout only where a SYN was lost.
#define DELAY_UNKNOWN_US (1 * US_IN_S)

uint64_t tcp_probe_delay_us(const struct tcp_pcb *pcb)
{
	const struct tcp_flight *f = tcp_flight_find(pcb);
	uint64_t delay = 2ull * pcb->srtt_us;

	if (!(pcb->flags & TCP_PCB_SACK) || (pcb->flags & TCP_PCB_RECOVERY) || pcb->backoff > 0 ||
		pcb->snd_nxt == pcb->snd_una || !tcp_state_sends(pcb->state))
		return 0;
	if (f && (f->probe || f->sacked > 0 || f->lost > 0))
		return 0;
	if (pcb->srtt_us == 0)
		return DELAY_UNKNOWN_US;
	if (delay < DELAY_MIN_US)
		delay = DELAY_MIN_US;
	if (pcb->snd_nxt - pcb->snd_una <= pcb->mss)
		delay += ACK_DELAY_MAX_US;
	return delay;
}

void tcp_probe_expired(struct tcp_pcb *pcb)
{
	uint32_t before = pcb->snd_nxt;
	struct tcp_flight *f;
	bool resent = false;

	if (pcb->snd_nxt == pcb->snd_una)
		return;
	if (!tcp_output_new_segment(pcb)) {
		resent = true;
		if (!tcp_output_last_segment(pcb))
			return; // no frame: the retransmission timer is still there
		tcp_rtt_retransmitted(pcb);
	}
	f = tcp_flight_get(pcb);
	f->probe = true;
	f->probe_resent = resent && pcb->snd_nxt == before;
	f->probe_end = pcb->snd_nxt;
	tcp_count(pcb->stack, TCP_COUNTER_TAIL_PROBES);
}

bool tcp_probe_answered(struct tcp_pcb *pcb, const struct tcp_segment *seg, uint32_t acked,
	const struct tcp_sack_news *news)
{
	struct tcp_flight *f = tcp_flight_find(pcb);
	bool repaired = false;

	if (!f || !f->probe || seq_lt(seg->ack, f->probe_end))
		return false;
	// The second copy was reported as a duplicate, or drew an ACK of nothing new: the first one
	// had arrived as well.
	if (!f->probe_resent || (news->dsack && news->dsack_end == f->probe_end))
		f->probe = false;
	else if (seq_gt(seg->ack, f->probe_end))
		repaired = true;
	else if (acked == 0 && seg->length == 0 && !news->blocks)
		f->probe = false;
	f->probe = f->probe && !repaired;
	if (!f->probe && f->count == 0)
		tcp_flight_drop(pcb);
	return repaired;
}
