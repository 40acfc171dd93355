// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What good options become; bad ones are shown with a real mosquitto (tests/plugin).

#include "plugin_tests.h"

#include "plugin/options.h"

static void test_defaults_and_rounding(void **state)
{
	const struct options_pair pairs[] = {
		{"acl", "allow"}, {"address", "unix:/run/s"}, {"queue_bytes", "1048577"}};
	struct options options;
	char error[OPTIONS_ERROR_MAX];

	assert_int_equal(options_parse(pairs, 3, &options, error), 0);
	assert_true(options.acl_allow);
	assert_string_equal(options.address, "unix:/run/s");
	assert_string_equal(options.broker, "");
	assert_int_equal(options.queue_bytes, 1u << 21); // a power of two
	assert_int_equal(options.queue_events, 65536);
	assert_int_equal(options.readers_max, 16384);
	assert_null(options.tls_ca);
}

static void test_a_mistake_leaves_the_result_alone(void **state)
{
	const struct options_pair pairs[] = {{"acl", "maybe"}};
	struct options options = {.readers_max = 7};
	char error[OPTIONS_ERROR_MAX];

	assert_true(options_parse(pairs, 1, &options, error) < 0);
	assert_int_equal(options.readers_max, 7);
}

static void test_only_other_machines_need_tls(void **state)
{
	const char *local[] = {"127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/s"};
	const char *remote[] = {"10.0.0.1:1", "[2001:db8::1]:1", "127.example:1", "localhost.x:1"};
	struct options_pair pairs[] = {{"acl", "defer"}, {"address", ""}};
	struct options options;
	char error[OPTIONS_ERROR_MAX];

	for (unsigned i = 0; i < 4; i++) {
		pairs[1].value = local[i];
		assert_int_equal(options_parse(pairs, 2, &options, error), 0);
		pairs[1].value = remote[i];
		assert_true(options_parse(pairs, 2, &options, error) < 0);
	}
}

int test_plugin_options(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_and_rounding),
		cmocka_unit_test(test_a_mistake_leaves_the_result_alone),
		cmocka_unit_test(test_only_other_machines_need_tls),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
