// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// When a worker naps, and for how long at least.

#include "daemon/idle.h"

#include "daemon_tests.h"

#include "base/clock.h"

#define NEVER UINT64_MAX

static void spinning_comes_before_napping(void **state)
{
	struct idle idle;

	idle_init(&idle, false, 1, 1000);
	assert_false(idle_turn(&idle, true, 2000, NEVER));
	assert_false(idle_turn(&idle, false, 2040, NEVER));
	assert_true(idle_turn(&idle, false, 2060, NEVER));
}

static void who_shares_a_core_does_not_spin(void **state)
{
	struct idle idle;

	idle_init(&idle, false, 2, 1000);
	assert_false(idle_turn(&idle, true, 2000, NEVER));
	assert_true(idle_turn(&idle, false, 2001, NEVER));
}

static uint64_t nap_us(unsigned sharing)
{
	const uint64_t quiet_us = 10 * US_IN_S;
	struct idle idle;
	uint64_t begin_us;

	idle_init(&idle, false, sharing, 0);
	begin_us = clock_now_us();
	assert_true(idle_turn(&idle, false, quiet_us, NEVER));
	return clock_now_us() - begin_us;
}

static void who_shares_a_core_naps_longer(void **state)
{
	assert_true(nap_us(1) >= 249);
	assert_true(nap_us(4) >= 999);
}

static void nobody_naps_who_is_due_or_busy(void **state)
{
	struct idle idle;

	idle_init(&idle, false, 2, 1000);
	assert_false(idle_turn(&idle, false, 5000, 5000));
	idle_init(&idle, true, 1, 1000);
	assert_false(idle_turn(&idle, false, 5000, NEVER));
}

int test_daemon_idle(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spinning_comes_before_napping),
		cmocka_unit_test(who_shares_a_core_does_not_spin),
		cmocka_unit_test(who_shares_a_core_naps_longer),
		cmocka_unit_test(nobody_naps_who_is_due_or_busy),
	};

	return cmocka_run_group_tests_name("daemon: idle", tests, NULL, NULL);
}
