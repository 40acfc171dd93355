// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The timer wheel against a naive twin: an array of deadlines that is searched. Both see the same
// random arms, disarms and advances; seeds are printed when they disagree.

#include "base_tests.h"

#include "base/random.h"
#include "base/wheel.h"

#include <string.h>
#include <time.h>

#define TIMERS	64
#define HOUR_US (3600ull * 1000000)

static struct wheel w;

// The twin: a deadline a timer, WHEEL_NEVER when it is not armed.
static struct wheel_timer timers[TIMERS];
static uint64_t deadlines[TIMERS];

static void both_init(uint64_t now_us)
{
	wheel_init(&w, now_us);
	for (unsigned i = 0; i < TIMERS; i++) {
		wheel_timer_init(&timers[i]);
		deadlines[i] = WHEEL_NEVER;
	}
}

static void both_arm(unsigned i, uint64_t deadline_us)
{
	wheel_arm(&w, &timers[i], deadline_us);
	deadlines[i] = deadline_us;
}

static void both_disarm(unsigned i)
{
	wheel_disarm(&w, &timers[i]);
	deadlines[i] = WHEEL_NEVER;
}

static uint64_t twin_next(void)
{
	uint64_t next = WHEEL_NEVER;

	for (unsigned i = 0; i < TIMERS; i++)
		if (deadlines[i] < next)
			next = deadlines[i];
	return next;
}

// Advances the wheel; every timer it fires must be due, and none that is due may stay.
static void both_advance(uint64_t now_us)
{
	struct wheel_timer *t;

	wheel_advance(&w, now_us);
	wheel_check(&w);
	while ((t = wheel_pop(&w)) != NULL) {
		assert_true(deadlines[t - timers] <= now_us);
		assert_false(wheel_armed(t));
		deadlines[t - timers] = WHEEL_NEVER;
	}
	assert_true(twin_next() > now_us);
}

// A distance of any magnitude: some within the tick, some beyond the wheel's span.
static uint64_t random_distance(struct random *r)
{
	return random_next(r) >> (64 - 1 - random_below(r, 44));
}

static void random_step(struct random *r, uint64_t *now_us)
{
	unsigned i = random_below(r, TIMERS);

	switch (random_below(r, 8)) {
	case 0:
	case 1:
	case 2:
		both_arm(i, *now_us + random_distance(r));
		break;
	case 3: // as a retransmission timer does: a little later than before
		if (deadlines[i] != WHEEL_NEVER)
			both_arm(i, deadlines[i] + random_below(r, 3000));
		break;
	case 4: // in the past
		both_arm(i, *now_us - random_below(r, 5000));
		break;
	case 5:
		both_disarm(i);
		break;
	case 6:
		*now_us += random_below(r, 2500);
		both_advance(*now_us);
		break;
	default:
		if (random_below(r, 4) == 0)
			*now_us += random_distance(r);
		else if (twin_next() != WHEEL_NEVER && twin_next() > *now_us)
			*now_us = twin_next() - random_below(r, 2);
		both_advance(*now_us);
	}
}

static void test_the_wheel_fires_as_its_naive_twin(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct random r;
		uint64_t now_us;

		random_init(&r, seed);
		// Half of the runs begin shortly before the 32 bits of the wheel wrap.
		now_us = (seed % 2 ? 0xfffffff0ull * 1000 : 1000) + 10000 +
			 random_distance(&r) % 65536;
		both_init(now_us);
		for (unsigned step = 0; step < 500; step++) {
			uint64_t next;

			random_step(&r, &now_us);
			wheel_check(&w);
			next = wheel_next_us(&w);
			if (next > twin_next() && next > now_us)
				fail_msg("seed %lu step %u: next expiry too late",
					(unsigned long)seed, step);
			assert_int_equal(next == WHEEL_NEVER, twin_next() == WHEEL_NEVER);
		}
	}
}

static void test_a_timer_never_fires_early_nor_a_call_late(void **state)
{
	both_init(5000);
	both_arm(0, 7300);
	wheel_advance(&w, 7299);
	assert_null(wheel_pop(&w));
	assert_int_equal(wheel_next_us(&w), 7300);
	wheel_advance(&w, 7300);
	assert_int_equal(wheel_next_us(&w), 7300);
	assert_ptr_equal(wheel_pop(&w), &timers[0]);
	assert_null(wheel_pop(&w));
	assert_int_equal(wheel_next_us(&w), WHEEL_NEVER);
}

static void test_a_past_deadline_waits_for_the_next_advance(void **state)
{
	both_init(5000);
	both_arm(0, 100);
	assert_null(wheel_pop(&w));
	wheel_advance(&w, 5000);
	assert_ptr_equal(wheel_pop(&w), &timers[0]);
}

static void test_rearming_later_moves_nothing(void **state)
{
	const struct list *place;

	both_init(0);
	both_arm(0, 200 * 1000);
	place = timers[0].link.prev;
	for (uint64_t us = 201 * 1000; us < 1000 * 1000; us += 1000)
		both_arm(0, us);
	assert_ptr_equal(timers[0].link.prev, place);
	both_advance(900 * 1000);
	assert_true(wheel_armed(&timers[0]));
	both_arm(0, 950 * 1000);
	both_advance(950 * 1000);
	assert_false(wheel_armed(&timers[0]));
}

static void test_an_expired_timer_can_be_armed_again_or_disarmed(void **state)
{
	both_init(0);
	both_arm(0, 1000);
	both_arm(1, 1000);
	wheel_advance(&w, 2000);
	both_arm(0, 9000);
	both_disarm(1);
	wheel_check(&w);
	assert_null(wheel_pop(&w));
	assert_int_equal(w.armed, 1);
	both_advance(9000);
	assert_int_equal(w.armed, 0);
}

static void test_disarming_an_idle_timer_is_harmless(void **state)
{
	both_init(0);
	both_disarm(3);
	both_disarm(3);
	wheel_check(&w);
	assert_int_equal(w.armed, 0);
}

static void test_time_does_not_go_back(void **state)
{
	both_init(10 * 1000);
	both_arm(0, 20 * 1000);
	wheel_advance(&w, 5 * 1000);
	assert_int_equal(w.now_us, 10 * 1000);
	wheel_check(&w);
}

// Ten thousand advances of an hour each: minutes if every tick were visited.
static void test_a_jump_of_hours_walks_no_slots(void **state)
{
	struct timespec t0, t1;
	uint64_t now_us = 1;

	both_init(now_us);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < 10000; i++) {
		wheel_arm(&w, &timers[0], now_us + 30 * HOUR_US);
		wheel_arm(&w, &timers[1], now_us + 999);
		now_us += HOUR_US;
		wheel_advance(&w, now_us);
		assert_ptr_equal(wheel_pop(&w), &timers[1]);
		assert_null(wheel_pop(&w));
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	wheel_check(&w);
	assert_true(t1.tv_sec - t0.tv_sec < 5);
}

int test_base_wheel(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_wheel_fires_as_its_naive_twin),
		cmocka_unit_test(test_a_timer_never_fires_early_nor_a_call_late),
		cmocka_unit_test(test_a_past_deadline_waits_for_the_next_advance),
		cmocka_unit_test(test_rearming_later_moves_nothing),
		cmocka_unit_test(test_an_expired_timer_can_be_armed_again_or_disarmed),
		cmocka_unit_test(test_disarming_an_idle_timer_is_harmless),
		cmocka_unit_test(test_time_does_not_go_back),
		cmocka_unit_test(test_a_jump_of_hours_walks_no_slots),
	};

	return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
