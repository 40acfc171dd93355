// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What was seen, against a twin that remembers every number by itself.

#include "bench_tests.h"

#include "base/random.h"
#include "bench/track.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS 512u

struct twin {
	bool seen[NUMBERS];
	uint32_t next;
};

static enum bench_track_verdict twin_see(struct twin *twin, uint32_t sequence)
{
	enum bench_track_verdict verdict = BENCH_TRACK_IN_ORDER;

	if (twin->seen[sequence])
		return BENCH_TRACK_DUPLICATE;
	if (sequence > twin->next)
		verdict = BENCH_TRACK_AHEAD;
	else if (sequence < twin->next)
		verdict = BENCH_TRACK_LATE;
	twin->seen[sequence] = true;
	if (sequence >= twin->next)
		twin->next = sequence + 1;
	return verdict;
}

static uint64_t twin_missing(const struct twin *twin, uint32_t sent)
{
	uint64_t missing = 0;

	for (uint32_t n = 0; n < sent; n++)
		missing += !twin->seen[n];
	return missing;
}

static void see_and_compare(struct bench_track *track, struct twin *twin, uint32_t sequence)
{
	assert_int_equal(bench_track_see(track, sequence), twin_see(twin, sequence));
	bench_track_check(track);
}

static void test_in_order_needs_no_memory(void **state)
{
	struct bench_track track = {0};

	for (uint32_t n = 0; n < 100000; n++)
		assert_int_equal(bench_track_see(&track, n), BENCH_TRACK_IN_ORDER);
	assert_null(track.gaps);
	assert_int_equal(bench_track_missing(&track, 100000), 0);
	assert_int_equal(bench_track_missing(&track, 100010), 10);
	bench_track_fini(&track);
}

static void test_each_anomaly_has_its_verdict(void **state)
{
	static const struct {
		uint32_t sequence;
		enum bench_track_verdict verdict;
		uint64_t missing; // of the first ten
	} steps[] = {
		{0, BENCH_TRACK_IN_ORDER, 9},
		{0, BENCH_TRACK_DUPLICATE, 9},
		{4, BENCH_TRACK_AHEAD, 8},
		{2, BENCH_TRACK_LATE, 7}, // splits the gap
		{2, BENCH_TRACK_DUPLICATE, 7},
		{1, BENCH_TRACK_LATE, 6}, // closes its left part
		{4, BENCH_TRACK_DUPLICATE, 6},
		{5, BENCH_TRACK_IN_ORDER, 5},
		{9, BENCH_TRACK_AHEAD, 4},
		{6, BENCH_TRACK_LATE, 3}, // from the front
		{8, BENCH_TRACK_LATE, 2}, // from the end
		{7, BENCH_TRACK_LATE, 1},
		{3, BENCH_TRACK_LATE, 0},
		{3, BENCH_TRACK_DUPLICATE, 0},
	};
	struct bench_track track = {0};

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_int_equal(bench_track_see(&track, steps[i].sequence), steps[i].verdict);
		assert_int_equal(bench_track_missing(&track, 10), steps[i].missing);
		bench_track_check(&track);
	}
	assert_int_equal(track.gaps_count, 0);
	bench_track_fini(&track);
}

// Numbers that mostly go up, with losses, repeats and swaps of a rate that differs by seed.
static void run_against_twin(uint64_t seed)
{
	struct bench_track track = {0};
	struct twin twin = {0};
	struct random random;
	uint32_t next = 0, disorder;

	random_init(&random, seed);
	disorder = 1 + random_below(&random, 50);
	while (next < NUMBERS) {
		if (random_below(&random, 100) >= disorder)
			see_and_compare(&track, &twin, next++);
		else if (random_below(&random, 2))
			next += 1 + random_below(&random, 8);
		else
			see_and_compare(&track, &twin, random_below(&random, next + 1));
	}
	for (uint32_t sent = 0; sent <= NUMBERS; sent++)
		assert_int_equal(bench_track_missing(&track, sent), twin_missing(&twin, sent));
	bench_track_fini(&track);
}

static void test_agrees_with_its_naive_twin(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		run_against_twin(seed);
}

int test_bench_track(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order_needs_no_memory),
		cmocka_unit_test(test_each_anomaly_has_its_verdict),
		cmocka_unit_test(test_agrees_with_its_naive_twin),
	};

	return cmocka_run_group_tests_name("track", tests, NULL, NULL);
}
