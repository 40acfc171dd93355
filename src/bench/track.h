// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which messages of one publisher (on one topic) one subscriber has seen: exact,
// and four words as long as they come in order.
//
//      seen           gap      seen    gap   seen      not yet
//    |------------|..........|------|......|--------|- - -
//    0                                               next
//
// One thread, the subscriber's.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bench_gap {
	uint32_t first, end; // sequence numbers [first, end) have not arrived
};

struct bench_track {
	uint32_t next; // the highest number seen, plus one
	uint32_t gaps_count, gaps_capacity;
	struct bench_gap *gaps; // ascending, disjoint, not touching, none empty, all below next
};

enum bench_track_verdict {
	BENCH_TRACK_IN_ORDER,
	BENCH_TRACK_AHEAD,     // the first time, but those before it are missing
	BENCH_TRACK_LATE,      // the first time, after a later one: reordered
	BENCH_TRACK_DUPLICATE, // seen before
};

// A zeroed struct is an empty track.
void bench_track_fini(struct bench_track *track);
enum bench_track_verdict bench_track_see(struct bench_track *track, uint32_t sequence);
// How many of the numbers [0, sent) have not been seen.
uint64_t bench_track_missing(const struct bench_track *track, uint32_t sent);
// Asserts the invariants above.
void bench_track_check(const struct bench_track *track);
