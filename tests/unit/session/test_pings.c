// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "session_tests.h"

#include "session/pings.h"

static void answered_in_order(void **state)
{
	struct pings pings = {0};
	uint32_t sent = 0, answered = 0;

	for (unsigned round = 0; round < 100; round++) {
		while (!pings_full(&pings))
			pings_sent(&pings, sent++);
		assert_int_equal(sent - answered, PINGS_MAX);
		for (unsigned i = 0; i <= round % PINGS_MAX; i++) {
			assert_int_equal(pings_first(&pings), answered);
			assert_int_equal(pings_answered(&pings), answered++);
		}
	}
}

static void an_answer_nobody_asked_for_is_the_clients(void **state)
{
	struct pings pings = {0};

	assert_int_equal(pings_first(&pings), PING_CLIENT);
	assert_int_equal(pings_answered(&pings), PING_CLIENT);
	pings_sent(&pings, PING_KEEP_ALIVE);
	assert_int_equal(pings_answered(&pings), PING_KEEP_ALIVE);
	assert_int_equal(pings_answered(&pings), PING_CLIENT);
}

int test_pings(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answered_in_order),
		cmocka_unit_test(an_answer_nobody_asked_for_is_the_clients),
	};

	return cmocka_run_group_tests_name("pings", tests, NULL, NULL);
}
