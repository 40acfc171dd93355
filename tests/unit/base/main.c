// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Starts an EAL without hugepages, then runs the groups.

#include "base_tests.h"

#include "base/clock.h"

#include <rte_eal.h>

#include <stdio.h>
#include <time.h>

static int start_eal(void)
{
	char *arguments[] = {"base", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error", NULL};

	return rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments);
}

static void test_clock_runs_at_the_speed_of_the_system_clock(void **state)
{
	struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
	struct timespec t0, t1;
	uint64_t start_us, passed_us, expected_us;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	start_us = clock_now_us();
	nanosleep(&nap, NULL);
	passed_us = clock_now_us() - start_us;
	clock_gettime(CLOCK_MONOTONIC, &t1);
	expected_us =
		(uint64_t)((t1.tv_sec - t0.tv_sec) * 1000000 + (t1.tv_nsec - t0.tv_nsec) / 1000);
	assert_true(passed_us >= 20 * US_IN_MS);
	assert_true(passed_us <= expected_us + expected_us / 100 + 10);
}

int main(void)
{
	const struct CMUnitTest clock_tests[] = {
		cmocka_unit_test(test_clock_runs_at_the_speed_of_the_system_clock),
	};
	int failed = 0;

	if (start_eal() < 0) {
		fprintf(stderr, "EAL does not start\n");
		return 1;
	}
	failed += cmocka_run_group_tests_name("clock", clock_tests, NULL, NULL);
	failed += test_base_list();
	failed += test_base_log();
	failed += test_base_random();
	failed += test_base_histogram();
	failed += test_base_slab();
	failed += test_base_sum();
	failed += test_base_wheel();
	failed += test_base_marker();
	failed += test_base_payload();
	failed += test_base_mailbox();
	failed += test_base_crossing();
	rte_eal_cleanup();
	return failed != 0;
}
