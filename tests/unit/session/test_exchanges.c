// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Exchanges under way between a publisher and its broker.

#include "session_tests.h"

#include "session/exchanges.h"

static void begun_and_ended(void **state)
{
	struct exchanges exchanges;

	exchanges_init(&exchanges);
	assert_true(exchanges_settled(&exchanges));
	exchanges_begin(&exchanges, 7, false);
	exchanges_begin(&exchanges, 8, true);
	exchanges_begin(&exchanges, 7, true); // sent again: the exchange it was
	assert_false(exchanges_late(&exchanges, 7));
	assert_true(exchanges_late(&exchanges, 8));
	assert_false(exchanges_late(&exchanges, 9));
	exchanges_end(&exchanges, 9); // harmless
	exchanges_end(&exchanges, 7);
	assert_false(exchanges_settled(&exchanges));
	exchanges_end(&exchanges, 8);
	assert_true(exchanges_settled(&exchanges));
}

static void more_than_fit_never_settle(void **state)
{
	struct exchanges exchanges;

	exchanges_init(&exchanges);
	for (unsigned id = 1; id <= EXCHANGES_MAX; id++)
		exchanges_begin(&exchanges, (uint16_t)id, false);
	assert_true(exchanges_full(&exchanges));
	exchanges_begin(&exchanges, EXCHANGES_MAX + 1, false);
	for (unsigned id = 1; id <= EXCHANGES_MAX + 1; id++)
		exchanges_end(&exchanges, (uint16_t)id);
	assert_int_equal(exchanges.count, 0);
	assert_false(exchanges_settled(&exchanges));
}

int test_exchanges(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begun_and_ended),
		cmocka_unit_test(more_than_fit_never_settle),
	};

	return cmocka_run_group_tests_name("exchanges", tests, NULL, NULL);
}
