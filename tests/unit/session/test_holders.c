// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who has a key: of all joins the latest ones are known, and two tables that have been told the
// same say the same.

#include "session_tests.h"

#include "base/random.h"
#include "session/holders.h"

static void test_the_latest_joins_are_known(void **state)
{
	struct holders *holders;

	assert_int_equal(holders_create("holders", 1024, &holders), 0);
	assert_int_equal(holders_find(holders, 1), -1);
	assert_int_equal(holders_find(holders, 0), -1);
	for (uint64_t key = 1; key <= 100000; key++) {
		holders_set(holders, key, key % 3);
		assert_int_equal(holders_find(holders, key), key % 3);
		if (key > 1)
			assert_int_equal(holders_find(holders, key - 1), (key - 1) % 3);
	}
	assert_int_equal(holders_find(holders, 1), -1);
	holders_set(holders, 100000, 7);
	assert_int_equal(holders_find(holders, 100000), 7);
	holders_forget(holders);
	assert_int_equal(holders_find(holders, 100000), -1);
	holders_destroy(holders);
	(void)state;
}

static void test_who_has_been_told_the_same_says_the_same(void **state)
{
	struct holders *a, *b;
	struct random r;
	unsigned known = 0;

	random_init(&r, 1);
	assert_int_equal(holders_create("a", 64, &a), 0);
	assert_int_equal(holders_create("b", 64, &b), 0);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t key = 1 + random_below(&r, 200), asked = 1 + random_below(&r, 200);
		unsigned worker = random_below(&r, 16);

		holders_set(a, key, worker);
		holders_find(a, asked); // who asks changes nothing
		holders_set(b, key, worker);
		for (asked = 0; asked <= 200; asked++) {
			assert_int_equal(holders_find(a, asked), holders_find(b, asked));
			known += holders_find(a, asked) >= 0;
		}
	}
	assert_true(known > 10000u * 32);
	holders_destroy(a);
	holders_destroy(b);
	(void)state;
}

int test_holders(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_latest_joins_are_known),
		cmocka_unit_test(test_who_has_been_told_the_same_says_the_same),
	};

	return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
