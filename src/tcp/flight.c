// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The flight's record: appending what is sent, marking what is SACKed or lost, giving up
// what is acknowledged. See flight.h. RFC 6675 3 and 4, RFC 8985 5.1. Runs on the worker.

#include "tcp/flight.h"

#include "base/assert.h"
#include "tcp/pcb.h"
#include "tcp/rack.h"
#include "tcp/stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Transmissions within this part of a round trip share a range (with the later time, which makes
// their loss be noticed later, never earlier).
#define COALESCE_SHIFT 4

int tcp_flight_pool_init(struct tcp_flight_pool *pool, uint32_t count)
{
	*pool = (struct tcp_flight_pool){0};
	// Not zeroed on purpose: pages are touched when they are first needed.
	pool->flights = malloc((size_t)count * sizeof(*pool->flights));
	pool->free = malloc((size_t)count * sizeof(*pool->free));
	return pool->flights && pool->free ? 0 : -ENOMEM;
}

void tcp_flight_pool_fini(struct tcp_flight_pool *pool)
{
	free(pool->flights);
	free(pool->free);
	*pool = (struct tcp_flight_pool){0};
}

uint32_t tcp_flight_start(const struct tcp_pcb *pcb, const struct tcp_flight *f, uint32_t i)
{
	return i == 0 ? pcb->snd_una : f->ranges[f->first + i - 1].end;
}

static uint32_t now_of(const struct tcp_pcb *pcb)
{
	return (uint32_t)pcb->stack->now_us;
}

struct tcp_flight *tcp_flight_get(struct tcp_pcb *pcb)
{
	struct tcp_flight_pool *pool = &pcb->stack->flights;
	struct tcp_flight *f = tcp_flight_find(pcb);
	uint32_t index;

	if (f)
		return f;
	// One a pcb: there is always one left.
	index = pool->free_count > 0 ? pool->free[--pool->free_count] : pool->fresh++;
	pcb->flight = index + 1;
	f = &pool->flights[index];
	memset(f, 0, offsetof(struct tcp_flight, ranges));
	if (pcb->snd_nxt != pcb->snd_una) {
		f->count = 1;
		f->since_us = pcb->sent_us;
		f->ranges[0] = (struct tcp_range){.end = pcb->snd_nxt, .sent_us = pcb->sent_us};
	}
	return f;
}

void tcp_flight_drop(struct tcp_pcb *pcb)
{
	struct tcp_flight_pool *pool = &pcb->stack->flights;

	if (!pcb->flight)
		return;
	pool->free[pool->free_count++] = pcb->flight - 1;
	pcb->flight = 0;
}

// Makes one of ranges i and i + 1. A mark that only one has is forgotten: what is not SACKed for
// certain may be sent again, what is not lost for certain is still under way.
static void merge(const struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t i)
{
	struct tcp_range *a = tcp_flight_range(f, i);
	struct tcp_range *b = a + 1;
	uint32_t both = a->marks & b->marks;
	const struct {
		const struct tcp_range *range;
		uint32_t length;
	} parts[2] = {
		{a, a->end - tcp_flight_start(pcb, f, i)},
		{b, b->end - a->end},
	};

	for (unsigned k = 0; k < 2; k++) {
		uint32_t gone = parts[k].range->marks & ~both;

		if (gone & TCP_RANGE_SACKED) {
			f->sacked -= parts[k].length;
			tcp_count(pcb->stack, TCP_COUNTER_SACKS_FORGOTTEN);
		}
		f->lost -= gone & TCP_RANGE_LOST ? parts[k].length : 0;
	}
	if ((int32_t)(b->sent_us - a->sent_us) < 0)
		b->sent_us = a->sent_us;
	b->marks = both | ((a->marks | b->marks) & TCP_RANGE_RESENT);
	// The lower ones move up: there are fewer of those that last.
	memmove(tcp_flight_range(f, 1), tcp_flight_range(f, 0), i * sizeof(*a));
	f->first++;
	f->count--;
}

// The pair that can be merged at the least cost: of the same kind and sent at about the same time,
// or else the last, which will be acknowledged last.
static uint32_t least_pair(struct tcp_flight *f)
{
	uint32_t best = f->count - 2;
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; i + 1 < f->count; i++) {
		const struct tcp_range *a = tcp_flight_range(f, i);
		const struct tcp_range *b = a + 1;
		int32_t apart = (int32_t)(b->sent_us - a->sent_us);
		uint32_t cost = (uint32_t)(apart < 0 ? -apart : apart);

		if (a->marks == b->marks && cost < least) {
			least = cost;
			best = i;
		}
	}
	return best;
}

// Room for n more ranges, behind the last one.
static void reserve(const struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t n)
{
	while (f->count + n > TCP_RANGES)
		merge(pcb, f, least_pair(f));
	if (f->first + f->count + n > TCP_RANGES) {
		memmove(f->ranges, tcp_flight_range(f, 0), f->count * sizeof(f->ranges[0]));
		f->first = 0;
	}
}

static void append(struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t end)
{
	uint32_t now = now_of(pcb);
	struct tcp_range *last = f->count > 0 ? tcp_flight_range(f, f->count - 1) : NULL;

	if (last && last->marks == 0 &&
		(last->sent_us == now || now - f->since_us < pcb->srtt_us >> COALESCE_SHIFT)) {
		last->end = end;
		last->sent_us = now;
		return;
	}
	reserve(pcb, f, 1);
	f->ranges[f->first + f->count++] = (struct tcp_range){.end = end, .sent_us = now};
	f->since_us = now;
}

// Makes a range begin at `seq` and returns its index (`count`: seq is the end). There is room.
static uint32_t split(const struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t seq)
{
	uint32_t start = pcb->snd_una;
	struct tcp_range *range;
	uint32_t i;

	for (i = 0; i < f->count; i++) {
		range = tcp_flight_range(f, i);
		if (seq_le(seq, start))
			return i;
		if (seq_lt(seq, range->end))
			break;
		start = range->end;
	}
	if (i == f->count)
		return i;
	memmove(range + 1, range, (f->count - i) * sizeof(*range));
	range->end = seq;
	f->count++;
	return i + 1;
}

// The marks that tell of a loss or a delivery are taken off; `length` octets had them.
static void unmark(struct tcp_flight *f, struct tcp_range *range, uint32_t length)
{
	f->sacked -= range->marks & TCP_RANGE_SACKED ? length : 0;
	f->lost -= range->marks & TCP_RANGE_LOST ? length : 0;
	range->marks &= TCP_RANGE_RESENT;
}

static void resent(struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t seq, uint32_t end)
{
	uint32_t i, j;

	reserve(pcb, f, 2);
	i = split(pcb, f, seq);
	j = split(pcb, f, end);
	for (; i < j; i++) {
		struct tcp_range *range = tcp_flight_range(f, i);

		unmark(f, range, range->end - tcp_flight_start(pcb, f, i));
		range->marks = TCP_RANGE_RESENT;
		f->undo.resent += range->end - tcp_flight_start(pcb, f, i);
		range->sent_us = now_of(pcb);
	}
	f->resent = true;
}

void tcp_flight_sent(struct tcp_pcb *pcb, uint32_t seq, uint32_t end)
{
	struct tcp_flight *f = tcp_flight_find(pcb);

	if (seq != pcb->snd_nxt) {
		resent(pcb, tcp_flight_get(pcb), seq, end);
		return;
	}
	if (!f) {
		if (pcb->snd_nxt == pcb->snd_una || pcb->sent_us == now_of(pcb))
			return; // all of one time
		f = tcp_flight_get(pcb);
	}
	append(pcb, f, end);
}

void tcp_flight_acked(struct tcp_pcb *pcb, uint32_t ack)
{
	struct tcp_flight *f = tcp_flight_find(pcb);
	uint32_t start = pcb->snd_una;

	if (!f) {
		if (pcb->snd_nxt != pcb->snd_una)
			tcp_rack_min_rtt(pcb, now_of(pcb) - pcb->sent_us);
		return;
	}
	while (f->count > 0 && seq_lt(start, ack)) {
		struct tcp_range *range = tcp_flight_range(f, 0);
		uint32_t end = seq_lt(range->end, ack) ? range->end : ack;

		if (!(range->marks & TCP_RANGE_SACKED)) {
			f->delivered += end - start;
			f->undo.original += range->marks & TCP_RANGE_RESENT ? 0 : end - start;
			tcp_rack_delivered(pcb, f, range, end);
		}
		if (end == range->end) {
			unmark(f, range, end - start);
			f->first++;
			f->count--;
		} else {
			f->sacked -= range->marks & TCP_RANGE_SACKED ? end - start : 0;
			f->lost -= range->marks & TCP_RANGE_LOST ? end - start : 0;
		}
		start = end;
	}
	if (seq_le(f->cursor_seq, ack))
		f->cursor.piece = NULL;
	// A probe still has to be answered, and this ACK may undo a recovery.
	if (f->count == 0 && !f->probe && !f->undo.armed)
		tcp_flight_drop(pcb);
}

// SACKed neighbours of [i, j) are one range: their times do not matter any more.
static void merge_sacked(struct tcp_pcb *pcb, struct tcp_flight *f, uint32_t i, uint32_t j)
{
	for (uint32_t k = j < f->count ? j : f->count - 1; k > 0 && k + 1 > i; k--)
		if (tcp_flight_range(f, k)->marks & tcp_flight_range(f, k - 1)->marks &
			TCP_RANGE_SACKED)
			merge(pcb, f, k - 1);
}

void tcp_flight_sack(struct tcp_pcb *pcb, uint32_t start, uint32_t end)
{
	struct tcp_flight *f = tcp_flight_get(pcb);
	uint32_t i, j;

	for (i = 0; i < f->count; i++)
		if (seq_gt(tcp_flight_range(f, i)->end, start))
			break;
	if (i < f->count && (tcp_flight_range(f, i)->marks & TCP_RANGE_SACKED) &&
		seq_ge(tcp_flight_range(f, i)->end, end))
		return; // known already: blocks are repeated
	reserve(pcb, f, 2);
	i = split(pcb, f, start);
	j = split(pcb, f, end);
	for (uint32_t k = i; k < j; k++) {
		struct tcp_range *range = tcp_flight_range(f, k);
		uint32_t length = range->end - tcp_flight_start(pcb, f, k);

		if (range->marks & TCP_RANGE_SACKED)
			continue;
		f->delivered += length;
		f->undo.original += range->marks & TCP_RANGE_RESENT ? 0 : length;
		tcp_rack_delivered(pcb, f, range, range->end);
		unmark(f, range, length);
		range->marks |= TCP_RANGE_SACKED;
		f->fack = f->sacked == 0 ? range->end : seq_max(f->fack, range->end);
		f->sacked += length;
	}
	merge_sacked(pcb, f, i, j);
}

void tcp_flight_unsack(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_get(pcb);

	for (uint32_t i = 0; i < f->count; i++)
		tcp_flight_range(f, i)->marks &= ~(uint32_t)TCP_RANGE_SACKED;
	f->sacked = 0;
}

void tcp_flight_lose(struct tcp_flight *f, struct tcp_range *range, uint32_t length)
{
	DASSERT(!(range->marks & (TCP_RANGE_SACKED | TCP_RANGE_LOST)));
	range->marks |= TCP_RANGE_LOST;
	f->lost += length;
}

void tcp_flight_lose_all(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_get(pcb);

	for (uint32_t i = 0; i < f->count; i++) {
		struct tcp_range *range = tcp_flight_range(f, i);

		if (!(range->marks & (TCP_RANGE_SACKED | TCP_RANGE_LOST)))
			tcp_flight_lose(f, range, range->end - tcp_flight_start(pcb, f, i));
	}
}

void tcp_flight_unlose(struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_get(pcb);

	for (uint32_t i = 0; i < f->count; i++)
		tcp_flight_range(f, i)->marks &= ~(uint32_t)TCP_RANGE_LOST;
	f->lost = 0;
}

void tcp_flight_split_head(struct tcp_pcb *pcb, uint32_t length)
{
	struct tcp_flight *f = tcp_flight_get(pcb);

	reserve(pcb, f, 1);
	split(pcb, f, pcb->snd_una + length);
}

bool tcp_flight_next_lost(const struct tcp_pcb *pcb, uint32_t *ret_seq, uint32_t *ret_length)
{
	struct tcp_flight *f = tcp_flight_find(pcb);

	if (!f || f->lost == 0)
		return false;
	for (uint32_t i = 0; i < f->count; i++)
		if (tcp_flight_range(f, i)->marks & TCP_RANGE_LOST) {
			*ret_seq = tcp_flight_start(pcb, f, i);
			*ret_length = tcp_flight_range(f, i)->end - *ret_seq;
			return true;
		}
	return false;
}

struct tcp_cursor tcp_flight_cursor(struct tcp_pcb *pcb, uint32_t seq)
{
	struct tcp_flight *f = tcp_flight_get(pcb);
	struct tcp_cursor cursor = tcp_sendq_first(&pcb->sendq);
	uint32_t from = pcb->snd_una;

	// Strictly beyond SND.UNA: so the octet before it, and its piece, are still there.
	if (f->cursor.piece && seq_gt(f->cursor_seq, pcb->snd_una) && seq_le(f->cursor_seq, seq)) {
		cursor = f->cursor;
		from = f->cursor_seq;
	}
	f->cursor = tcp_sendq_skip(cursor, seq - from);
	f->cursor_seq = seq;
	return f->cursor;
}

uint32_t tcp_flight_pipe(const struct tcp_pcb *pcb)
{
	const struct tcp_flight *f = tcp_flight_find(pcb);
	uint32_t in_flight = pcb->snd_nxt - pcb->snd_una;

	return f ? in_flight - f->sacked - f->lost : in_flight;
}

void tcp_flight_check(const struct tcp_pcb *pcb)
{
	struct tcp_flight *f = tcp_flight_find(pcb);
	uint32_t start = pcb->snd_una;
	uint32_t sacked = 0;
	uint32_t lost = 0;

	ASSERT(f || (pcb->flags & (TCP_PCB_SACK | TCP_PCB_RECOVERY)) !=
			    (TCP_PCB_SACK | TCP_PCB_RECOVERY));
	if (!f)
		return;
	ASSERT(pcb->flags & TCP_PCB_SACK);
	ASSERT(f->first + f->count <= TCP_RANGES);
	ASSERT(f->count > 0 || f->probe);
	for (uint32_t i = 0; i < f->count; i++) {
		const struct tcp_range *range = tcp_flight_range(f, i);
		uint32_t length = range->end - start;

		ASSERT(seq_gt(range->end, start));
		ASSERT((~range->marks & (TCP_RANGE_SACKED | TCP_RANGE_LOST)) != 0);
		sacked += range->marks & TCP_RANGE_SACKED ? length : 0;
		lost += range->marks & TCP_RANGE_LOST ? length : 0;
		start = range->end;
	}
	ASSERT(start == pcb->snd_nxt);
	ASSERT(sacked == f->sacked && lost == f->lost);
}
