// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which messages one subscriber has seen of one publisher; one thread.

#include "bench/track.h"

#include "base/assert.h"
#include "bench/memory.h"

#include <stdlib.h>
#include <string.h>

void bench_track_fini(struct bench_track *track)
{
	free(track->gaps);
	memset(track, 0, sizeof(*track));
}

static void gap_insert(struct bench_track *track, uint32_t at, uint32_t first, uint32_t end)
{
	if (track->gaps_count == track->gaps_capacity) {
		track->gaps_capacity = track->gaps_capacity ? track->gaps_capacity * 2 : 4;
		track->gaps = bench_memory_resize(
			track->gaps, track->gaps_capacity, sizeof(*track->gaps));
	}
	memmove(track->gaps + at + 1, track->gaps + at,
		(track->gaps_count - at) * sizeof(*track->gaps));
	track->gaps[at] = (struct bench_gap){first, end};
	track->gaps_count++;
}

static void gap_remove(struct bench_track *track, uint32_t at)
{
	track->gaps_count--;
	memmove(track->gaps + at, track->gaps + at + 1,
		(track->gaps_count - at) * sizeof(*track->gaps));
}

// Index of the first gap that ends behind the number.
static uint32_t gap_find(const struct bench_track *track, uint32_t sequence)
{
	uint32_t low = 0, high = track->gaps_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (track->gaps[middle].end <= sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// A number below next arrives: it fills a hole, or it was seen before.
static enum bench_track_verdict track_fill(struct bench_track *track, uint32_t sequence)
{
	uint32_t at = gap_find(track, sequence);
	struct bench_gap *gap;

	if (at == track->gaps_count || track->gaps[at].first > sequence)
		return BENCH_TRACK_DUPLICATE;
	gap = &track->gaps[at];
	if (gap->first == sequence && gap->end == sequence + 1) {
		gap_remove(track, at);
	} else if (gap->first == sequence) {
		gap->first++;
	} else if (gap->end == sequence + 1) {
		gap->end--;
	} else {
		uint32_t end = gap->end;

		gap->end = sequence;
		gap_insert(track, at + 1, sequence + 1, end);
	}
	return BENCH_TRACK_LATE;
}

enum bench_track_verdict bench_track_see(struct bench_track *track, uint32_t sequence)
{
	if (__builtin_expect(sequence == track->next, 1)) {
		track->next++;
		return BENCH_TRACK_IN_ORDER;
	}
	if (sequence < track->next)
		return track_fill(track, sequence);
	gap_insert(track, track->gaps_count, track->next, sequence);
	track->next = sequence + 1;
	return BENCH_TRACK_AHEAD;
}

uint64_t bench_track_missing(const struct bench_track *track, uint32_t sent)
{
	uint64_t missing = sent > track->next ? sent - track->next : 0;

	for (uint32_t i = 0; i < track->gaps_count && track->gaps[i].first < sent; i++) {
		uint32_t end = track->gaps[i].end < sent ? track->gaps[i].end : sent;

		missing += end - track->gaps[i].first;
	}
	return missing;
}

void bench_track_check(const struct bench_track *track)
{
	ASSERT(track->gaps_count <= track->gaps_capacity);
	for (uint32_t i = 0; i < track->gaps_count; i++) {
		ASSERT(track->gaps[i].first < track->gaps[i].end);
		ASSERT(track->gaps[i].end < track->next);
		ASSERT(i == 0 || track->gaps[i - 1].end < track->gaps[i].first);
	}
}
