// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Merging counter sets.

#include "tests.h"

#include "control/counters_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const reasons_a[] = {"no_route", "bad_sum"};
static const char *const reasons_b[] = {"tx_full", "bad_sum"};
static const struct counter_family families_a[] = {
	{"dropped_total", "Dropped.", "reason", reasons_a, 2, COUNTER_MONOTONIC},
	{"connections", "Clients.", NULL, NULL, 1, COUNTER_GAUGE},
};
static const struct counter_family families_b[] = {
	{"resets_total", NULL, NULL, NULL, 1, COUNTER_MONOTONIC},
	{"dropped_total", "Dropped.", "reason", reasons_b, 2, COUNTER_MONOTONIC},
	{"connections", "Clients.", NULL, NULL, 1, COUNTER_GAUGE},
};
static const uint64_t values_a[] = {1, 2, 30};
static const uint64_t values_b[] = {400, 5000, UINT64_C(1) << 40, 7};

static void assert_counter(
	const Offramp__V1__CounterFamily *family, size_t i, const char *label_value, uint64_t value)
{
	assert_in_range(i, 0, family->n_counters - 1);
	assert_string_equal(family->counters[i]->label_value, label_value);
	assert_int_equal(family->counters[i]->value, value);
}

static void families_of_one_name_become_one(void **state)
{
	struct counter_set a = {families_a, 2, values_a}, b = {families_b, 3, values_b};
	Offramp__V1__CountersResponse *merged = counters_merge_create();

	(void)state;
	assert_int_equal(counters_merge_add(merged, &a), 0);
	assert_int_equal(counters_merge_add(merged, &b), 0);
	assert_int_equal(merged->n_families, 3);

	assert_string_equal(merged->families[0]->name, "dropped_total");
	assert_string_equal(merged->families[0]->label, "reason");
	assert_int_equal(merged->families[0]->n_counters, 3);
	assert_counter(merged->families[0], 0, "no_route", 1);
	assert_counter(merged->families[0], 1, "bad_sum", 2 + (UINT64_C(1) << 40));
	assert_counter(merged->families[0], 2, "tx_full", 5000);

	assert_string_equal(merged->families[1]->name, "connections");
	assert_string_equal(merged->families[1]->label, "");
	assert_int_equal(merged->families[1]->kind, OFFRAMP__V1__COUNTER_KIND__COUNTER_KIND_GAUGE);
	assert_counter(merged->families[1], 0, "", 37);

	assert_string_equal(merged->families[2]->help, "");
	assert_counter(merged->families[2], 0, "", 400);
	counters_merge_destroy(merged);
}

static void nothing_gives_an_empty_table(void **state)
{
	struct counter_set none = {0};
	Offramp__V1__CountersResponse *merged = counters_merge_create();

	(void)state;
	assert_int_equal(counters_merge_add(merged, &none), 0);
	assert_int_equal(merged->n_families, 0);
	counters_merge_destroy(merged);
	counters_merge_destroy(NULL);
}

int test_counters(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_of_one_name_become_one),
		cmocka_unit_test(nothing_gives_an_empty_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
