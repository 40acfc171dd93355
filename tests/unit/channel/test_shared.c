// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is of a lane in shared memory alone: waking costs a system call, and is done once.

#include "channel_tests.h"

static void test_who_sleeps_is_woken_once(void **state)
{
	struct pair *pair = pair_create(SHARED, 2, 8);

	(void)state;
	pair_open(pair, 0);
	assert_int_equal(pair->wakes, 0);
	assert_true(lane_arm(pair->process));
	post_data(pair->daemon, 0, "a", 1);
	post_data(pair->daemon, 0, "b", 1);
	assert_int_equal(pair->wakes, 1);
	assert_false(lane_arm(pair->process));
	expect_news(pair->process, LANE_MOVED, 0);
	assert_true(lane_arm(pair->process));
	lane_disarm(pair->process);
	post_data(pair->daemon, 0, "c", 1);
	assert_int_equal(pair->wakes, 1);
	pair_destroy(pair);
}

int test_shared(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_sleeps_is_woken_once),
	};

	return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
