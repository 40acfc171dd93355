// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Histograms against a sorted array, and the sizes of counter sets.

#include "base_tests.h"

#include "base/counters.h"
#include "base/histogram.h"
#include "base/random.h"

#include <stdlib.h>

static struct histogram h, other; // too large for a stack under ASan

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void test_an_empty_histogram_has_quantile_zero(void **state)
{
	histogram_init(&h);
	assert_int_equal(histogram_quantile(&h, 0), 0);
	assert_int_equal(histogram_quantile(&h, 1000), 0);
}

static void test_extremes_are_kept(void **state)
{
	const uint64_t values[] = {0, 1, 31, 32, 63, 64, 1ull << 32, UINT64_MAX};

	for (unsigned i = 0; i < sizeof(values) / sizeof(*values); i++) {
		histogram_init(&h);
		histogram_record(&h, values[i]);
		assert_int_equal(h.min, values[i]);
		assert_int_equal(h.max, values[i]);
		assert_int_equal(histogram_quantile(&h, 0), values[i]);
		assert_int_equal(histogram_quantile(&h, 1000), values[i]);
	}
}

static void test_quantiles_are_within_a_step_of_the_truth(void **state)
{
	enum { N = 5000 };
	static uint64_t values[N];
	struct random r;

	random_init(&r, 7);
	histogram_init(&h);
	histogram_init(&other);
	for (unsigned i = 0; i < N; i++) {
		values[i] = random_next(&r) >> random_below(&r, 64);
		histogram_record(i % 3 == 0 ? &other : &h, values[i]);
	}
	histogram_merge(&h, &other);
	qsort(values, N, sizeof(values[0]), by_value);
	assert_int_equal(h.count, N);
	assert_int_equal(h.min, values[0]);
	assert_int_equal(h.max, values[N - 1]);
	for (unsigned permille = 0; permille <= 1000; permille++) {
		unsigned rank = (N * permille + 999) / 1000;
		uint64_t truth = values[rank > 0 ? rank - 1 : 0];
		uint64_t answer = histogram_quantile(&h, permille);

		assert_true(answer >= truth);
		assert_true(answer - truth <= truth / 32);
	}
}

static void test_merging_an_empty_histogram_changes_nothing(void **state)
{
	histogram_init(&h);
	histogram_init(&other);
	histogram_record(&h, 5);
	histogram_merge(&h, &other);
	assert_int_equal(h.min, 5);
	assert_int_equal(h.count, 1);
	histogram_merge(&other, &h);
	assert_int_equal(other.min, 5);
	assert_int_equal(other.max, 5);
}

static void test_a_counter_set_knows_its_slots(void **state)
{
	const char *reasons[] = {"a", "b", "c"};
	const struct counter_family families[] = {
		{.name = "plain", .slots = 1},
		{.name = "labelled", .label = "reason", .values = reasons, .slots = 3},
	};
	uint64_t values[4] = {0};
	const struct counter_set set = {families, 2, values};

	assert_int_equal(counter_set_slots(&set), 4);
	counter_inc(&values[1]);
	counter_add(&values[1], 4);
	assert_int_equal(counter_read(&values[1]), 5);
	counter_set_to(&values[1], 2);
	assert_int_equal(counter_read(&values[1]), 2);
}

int test_base_histogram(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_histogram_has_quantile_zero),
		cmocka_unit_test(test_extremes_are_kept),
		cmocka_unit_test(test_quantiles_are_within_a_step_of_the_truth),
		cmocka_unit_test(test_merging_an_empty_histogram_changes_nothing),
		cmocka_unit_test(test_a_counter_set_knows_its_slots),
	};

	return cmocka_run_group_tests_name("histogram and counters", tests, NULL, NULL);
}
