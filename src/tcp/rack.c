// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// RACK (RFC 8985 5 and 6): a segment is lost when one sent later has arrived and a
// reordering window has passed. Runs on the worker.

#include "tcp/rack.h"

#include "base/clock.h"
#include "tcp/flight.h"
#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/stack.h"

// Before reordering has been seen this many segments SACKed are proof of a loss (RFC 5681 3.2).
#define DUPLICATES 3u
// 6.2 step 4: a widened window lasts for this many recoveries.
#define PERSIST_MAX    16u
#define MULTIPLIER_MAX 255u

static uint32_t now_of(const struct tcp_pcb *pcb)
{
	return (uint32_t)pcb->stack->now_us;
}

void tcp_rack_min_rtt(struct tcp_pcb *pcb, uint32_t rtt_us)
{
	if (rtt_us == 0)
		rtt_us = 1;
	if (pcb->min_rtt_us == 0 || rtt_us < pcb->min_rtt_us)
		pcb->min_rtt_us = rtt_us;
}

// The timestamps of an adopted connection are not our clock's.
void tcp_rack_input(struct tcp_pcb *pcb, const struct tcp_segment *seg)
{
	struct tcp_flight *f = tcp_flight_find(pcb);

	if (f)
		f->echo =
			(pcb->flags & (TCP_PCB_TIMESTAMPS | TCP_PCB_ADOPTED)) == TCP_PCB_TIMESTAMPS
				? seg->options.tsecr
				: 0;
}

// Is the peer's answer one to an earlier transmission than the last (6.2, step 2)?
static bool answers_earlier(
	const struct tcp_pcb *pcb, const struct tcp_flight *f, const struct tcp_range *range)
{
	uint32_t age_us = now_of(pcb) - range->sent_us;
	uint32_t sent = tcp_pcb_timestamp(pcb) - age_us / US_IN_MS;

	if (f->echo != 0 && seq_lt(f->echo, sent))
		return true;
	return age_us < pcb->min_rtt_us; // it came back too soon
}

// RACK_sent_after(): in doubt the sequence number decides.
static bool sent_after(uint32_t us1, uint32_t end1, uint32_t us2, uint32_t end2)
{
	return us1 == us2 ? seq_gt(end1, end2) : (int32_t)(us1 - us2) > 0;
}

void tcp_rack_delivered(
	struct tcp_pcb *pcb, struct tcp_flight *f, const struct tcp_range *range, uint32_t end)
{
	uint32_t rtt = now_of(pcb) - range->sent_us;

	if (range->marks & TCP_RANGE_RESENT) {
		if (answers_earlier(pcb, f, range))
			return;
	} else {
		tcp_rack_min_rtt(pcb, rtt);
		// Text behind it has arrived before it.
		if (f->sacked > 0 && seq_lt(end, f->fack))
			pcb->flags |= TCP_PCB_REORDERED;
	}
	f->rack_rtt_us = rtt;
	if (f->rack_valid && !sent_after(range->sent_us, end, f->rack_us, f->rack_end))
		return;
	f->rack_valid = true;
	f->rack_us = range->sent_us;
	f->rack_end = end;
}

void tcp_rack_dsack(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_find(pcb);

	// At most once a round trip.
	if (f && f->dsack_pending && seq_lt(pcb->snd_una, f->dsack_round))
		return;
	if (f) {
		f->dsack_pending = true;
		f->dsack_round = pcb->snd_nxt;
	}
	if (pcb->reo_wnd_mult < MULTIPLIER_MAX)
		pcb->reo_wnd_mult++;
	pcb->reo_wnd_persist = PERSIST_MAX;
}

void tcp_rack_recovered(struct tcp_pcb *pcb)
{
	if (pcb->reo_wnd_persist > 0 && --pcb->reo_wnd_persist == 0)
		pcb->reo_wnd_mult = 0;
}

// RACK_update_reo_wnd(); reo_wnd_mult counts from 0.
static uint32_t reordering_window_us(const struct tcp_pcb *pcb, const struct tcp_flight *f)
{
	uint64_t wnd = (uint64_t)(pcb->reo_wnd_mult + 1) * pcb->min_rtt_us / 4;

	if (!(pcb->flags & TCP_PCB_REORDERED) &&
		((pcb->flags & TCP_PCB_RECOVERY) || f->sacked > (DUPLICATES - 1) * pcb->mss))
		return 0;
	return wnd < pcb->srtt_us ? (uint32_t)wnd : pcb->srtt_us;
}

uint32_t tcp_rack_detect(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_find(pcb);
	uint32_t start = pcb->snd_una;
	uint32_t wait = 0;
	uint32_t limit;

	// As long as all was sent in order and nothing SACKed, everything left was sent later.
	if (!f || !f->rack_valid || (f->sacked == 0 && !f->resent))
		return 0;
	limit = f->rack_rtt_us + reordering_window_us(pcb, f);
	for (uint32_t i = 0; i < f->count; i++) {
		struct tcp_range *range = tcp_flight_range(f, i);
		uint32_t length = range->end - start;
		uint32_t age = now_of(pcb) - range->sent_us;

		start = range->end;
		if (range->marks & (TCP_RANGE_SACKED | TCP_RANGE_LOST) ||
			!sent_after(f->rack_us, f->rack_end, range->sent_us, range->end))
			continue;
		if (age >= limit)
			tcp_flight_lose(f, range, length);
		else if (limit - age > wait)
			wait = limit - age;
	}
	return wait;
}

void tcp_rack_timeout(struct tcp_pcb *pcb)
{
	struct tcp_flight *f;
	uint32_t start = pcb->snd_una;
	uint32_t limit;

	if (pcb->snd_nxt == pcb->snd_una)
		return;
	f = tcp_flight_get(pcb);
	f->probe = false;
	// The peer threw away what it had SACKed (RFC 2018 8), or may have.
	if ((tcp_flight_range(f, 0)->marks & TCP_RANGE_SACKED) || pcb->tries > 1)
		tcp_flight_unsack(pcb);
	if (tcp_flight_range(f, 0)->end - start > pcb->mss)
		tcp_flight_split_head(pcb, pcb->mss);
	limit = (f->rack_valid ? f->rack_rtt_us : pcb->srtt_us) + reordering_window_us(pcb, f);
	for (uint32_t i = 0; i < f->count; i++) {
		struct tcp_range *range = tcp_flight_range(f, i);
		uint32_t length = range->end - start;

		start = range->end;
		if (!(range->marks & (TCP_RANGE_SACKED | TCP_RANGE_LOST)) &&
			(i == 0 || now_of(pcb) - range->sent_us >= limit))
			tcp_flight_lose(f, range, length);
	}
}
