// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Payload pools: classes, references, exhaustion, the books.

#include "base_tests.h"

#include "base/payload.h"
#include "base/random.h"

#include <errno.h>
#include <string.h>

static struct payload_pool *pool_create(const char *name, const uint32_t count[PAYLOAD_CLASSES])
{
	struct payload_pool_config config = {.socket = -1};
	struct payload_pool *pool = NULL;

	memcpy(config.count, count, sizeof(config.count));
	assert_int_equal(payload_pool_create(name, &config, &pool), 0);
	return pool;
}

static void test_the_smallest_fitting_class_serves(void **state)
{
	const struct {
		uint32_t size;
		unsigned class;
	} cases[] = {{0, 0}, {160, 0}, {161, 1}, {992, 1}, {993, 2}, {4064, 2}, {4065, 3},
		{PAYLOAD_LARGEST, 3}};
	struct payload_pool *pool = pool_create("fit", (uint32_t[]){4, 4, 4, 4});

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct payload *p = payload_alloc(pool, cases[i].size);

		assert_non_null(p);
		assert_int_equal(p->class, cases[i].class);
		assert_true(p->capacity >= cases[i].size);
		assert_int_equal(p->length, 0);
		assert_int_equal(p->refs, 1);
		memset(p->data, 0xa5, p->capacity);
		payload_put(p);
	}
	payload_pool_check(pool);
	payload_pool_destroy(pool);
}

static void test_a_larger_class_helps_out_and_gets_its_own_back(void **state)
{
	struct payload_pool *pool = pool_create("help", (uint32_t[]){1, 0, 1, 0});
	struct payload_pool_usage usage;
	struct payload *small = payload_alloc(pool, 10), *helper = payload_alloc(pool, 10);

	assert_int_equal(small->class, 0);
	assert_int_equal(helper->class, 2);
	assert_null(payload_alloc(pool, 10));
	payload_put(helper);
	payload_pool_usage(pool, &usage);
	assert_int_equal(usage.in_use[0], 1);
	assert_int_equal(usage.in_use[2], 0);
	assert_null(payload_alloc(pool, 5000));
	helper = payload_alloc(pool, 1000);
	assert_int_equal(helper->class, 2);
	payload_put(helper);
	payload_put(small);
	payload_pool_check(pool);
	payload_pool_destroy(pool);
}

static void test_the_last_reference_frees(void **state)
{
	struct payload_pool *pool = pool_create("refs", (uint32_t[]){1, 0, 0, 0});
	struct payload *p = payload_alloc(pool, 1);

	for (unsigned i = 0; i < 100000; i++)
		payload_get(p); // more than 16 bits hold
	for (unsigned i = 0; i < 100000; i++)
		payload_put(p);
	assert_null(payload_alloc(pool, 1));
	payload_put(p);
	p = payload_alloc(pool, 1);
	assert_non_null(p);
	payload_put(p);
	payload_pool_destroy(pool);
}

static void test_pressure_is_the_share_of_bytes(void **state)
{
	struct payload_pool *pool = pool_create("press", (uint32_t[]){0, 0, 0, 4});
	struct payload *held[4];

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(payload_pool_pressure(pool), i * 250);
		held[i] = payload_alloc(pool, 1);
	}
	assert_int_equal(payload_pool_pressure(pool), 1000);
	for (unsigned i = 0; i < 4; i++)
		payload_put(held[i]);
	assert_int_equal(payload_pool_pressure(pool), 0);
	payload_pool_destroy(pool);
}

static void test_the_books_hold_under_random_use(void **state)
{
	struct payload_pool *pool = pool_create("random", (uint32_t[]){700, 30, 7, 3});
	struct payload *held[800] = {NULL};
	struct random r;
	unsigned refused = 0;

	random_init(&r, 3);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = random_below(&r, 800);

		if (held[i] != NULL) {
			payload_put(held[i]);
			held[i] = NULL;
		} else {
			held[i] = payload_alloc(
				pool, random_below(&r, 1 + (160u << random_below(&r, 7))));
			refused += held[i] == NULL;
		}
		if (step % 64 == 0)
			payload_pool_check(pool);
	}
	assert_true(refused > 0);
	for (unsigned i = 0; i < 800; i++)
		if (held[i] != NULL)
			payload_put(held[i]);
	payload_pool_check(pool);
	payload_pool_destroy(pool);
}

static void test_what_does_not_fit_into_memory_is_refused(void **state)
{
	struct payload_pool_config config = {.count = {100, 0, 0, 1u << 20}, .socket = -1};
	struct payload_pool *pool = NULL;

	assert_int_equal(payload_pool_create("huge", &config, &pool), -ENOMEM);
	assert_null(pool);
	config.count[3] = 0;
	assert_int_equal(payload_pool_create("a name longer than a pool's may be", &config, &pool),
		-ENAMETOOLONG);
	assert_null(pool);
	payload_pool_destroy(pool_create("huge", config.count)); // the name is free again
}

int test_base_payload(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_smallest_fitting_class_serves),
		cmocka_unit_test(test_a_larger_class_helps_out_and_gets_its_own_back),
		cmocka_unit_test(test_the_last_reference_frees),
		cmocka_unit_test(test_pressure_is_the_share_of_bytes),
		cmocka_unit_test(test_the_books_hold_under_random_use),
		cmocka_unit_test(test_what_does_not_fit_into_memory_is_refused),
	};

	return cmocka_run_group_tests_name("payload", tests, NULL, NULL);
}
