// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Messages on their way, in one thread and counted down by two.

#include "bench_tests.h"

#include "bench/flight.h"

#include <pthread.h>
#include <stdatomic.h>

static void test_last_subscriber_completes_a_message(void **state)
{
	struct bench_flight flight;
	uint64_t issued_us = 0;

	bench_flight_init(&flight, 4);
	bench_flight_issue(&flight, 0, 2, 1000);
	assert_int_equal(bench_flight_arrive(&flight, 0, &issued_us), BENCH_FLIGHT_MORE);
	assert_int_equal(issued_us, 1000);
	assert_int_equal(bench_flight_arrive(&flight, 0, &issued_us), BENCH_FLIGHT_LAST);
	assert_int_equal(bench_flight_arrive(&flight, 0, &issued_us), BENCH_FLIGHT_UNKNOWN);
	assert_int_equal(bench_flight_arrive(&flight, 1, &issued_us), BENCH_FLIGHT_UNKNOWN);
	bench_flight_fini(&flight);
}

static void test_old_and_abandoned_messages_are_unknown(void **state)
{
	struct bench_flight flight;
	uint64_t issued_us = 7;

	bench_flight_init(&flight, 4);
	for (uint32_t n = 0; n < 5; n++)
		bench_flight_issue(&flight, n, 1, n);
	assert_int_equal(bench_flight_arrive(&flight, 0, &issued_us), BENCH_FLIGHT_UNKNOWN);
	assert_int_equal(issued_us, 7);
	assert_true(bench_flight_abandon(&flight, 1));
	assert_false(bench_flight_abandon(&flight, 1));
	assert_int_equal(bench_flight_arrive(&flight, 1, &issued_us), BENCH_FLIGHT_UNKNOWN);
	assert_int_equal(bench_flight_arrive(&flight, 4, &issued_us), BENCH_FLIGHT_LAST);
	assert_int_equal(issued_us, 4);
	bench_flight_fini(&flight);
}

#define RACED 20000u

struct race {
	struct bench_flight flight;
	_Atomic uint32_t issued;
	_Atomic uint32_t last, wrong;
};

static void *race_arrive(void *argument)
{
	struct race *race = argument;
	uint64_t issued_us;

	for (uint32_t n = 0; n < RACED; n++) {
		while (atomic_load(&race->issued) <= n)
			sched_yield();
		switch (bench_flight_arrive(&race->flight, n, &issued_us)) {
		case BENCH_FLIGHT_LAST:
			atomic_fetch_add(&race->last, 1);
			// fall through
		case BENCH_FLIGHT_MORE:
			if (issued_us != 3 * n)
				atomic_fetch_add(&race->wrong, 1);
			break;
		case BENCH_FLIGHT_UNKNOWN:
			atomic_fetch_add(&race->wrong, 1);
		}
	}
	return NULL;
}

static void test_exactly_one_of_two_threads_is_the_last(void **state)
{
	struct race race = {.issued = 0};
	pthread_t threads[2];

	bench_flight_init(&race.flight, RACED);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race_arrive, &race), 0);
	for (uint32_t n = 0; n < RACED; n++) {
		bench_flight_issue(&race.flight, n, 2, 3 * n);
		atomic_store(&race.issued, n + 1);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.last, RACED);
	assert_int_equal(race.wrong, 0);
	bench_flight_fini(&race.flight);
}

int test_bench_flight(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_subscriber_completes_a_message),
		cmocka_unit_test(test_old_and_abandoned_messages_are_unknown),
		cmocka_unit_test(test_exactly_one_of_two_threads_is_the_last),
	};

	return cmocka_run_group_tests_name("flight", tests, NULL, NULL);
}
