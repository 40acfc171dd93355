// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A publisher's topic aliases: the table keeps references.

#include "session_tests.h"

#include "session/aliases.h"

static struct payload *topic(struct payload_pool *pool, uint8_t name)
{
	struct payload *payload = payload_alloc(pool, 1);

	payload->data[0] = name;
	payload->length = 1;
	return payload;
}

static void defined_anew_and_forgotten(void **state)
{
	const struct payload_pool_config config = {
		.count = {ALIASES_MAX + 8, 8, 8, 8}, .socket = -1};
	struct payload_pool_usage usage;
	struct payload_pool *pool;
	struct aliases aliases;

	assert_int_equal(payload_pool_create("aliases", &config, &pool), 0);
	aliases_init(&aliases);
	assert_null(aliases_find(&aliases, 1));
	for (unsigned i = 1; i <= ALIASES_MAX; i++) {
		assert_true(aliases_have_room(&aliases, (uint16_t)i));
		aliases_define(&aliases, (uint16_t)i, topic(pool, (uint8_t)i), false);
	}
	assert_false(aliases_have_room(&aliases, ALIASES_MAX + 1));
	assert_true(aliases_have_room(&aliases, 5));
	aliases_define(&aliases, 5, topic(pool, 'x'), true);
	assert_int_equal(aliases_find(&aliases, 5)->topic->data[0], 'x');
	assert_true(aliases_find(&aliases, 5)->broker_knows);
	assert_int_equal(aliases_find(&aliases, 6)->topic->data[0], 6);
	assert_false(aliases_find(&aliases, 6)->broker_knows);
	aliases_forget(&aliases, 6);
	assert_null(aliases_find(&aliases, 6));
	aliases_fini(&aliases);
	payload_pool_usage(pool, &usage);
	assert_int_equal(usage.in_use[0], 0);
	payload_pool_destroy(pool);
}

int test_aliases(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(defined_anew_and_forgotten)};

	return cmocka_run_group_tests_name("aliases", tests, NULL, NULL);
}
