// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Slabs: objects come zeroed, are told apart, and can be walked by index.

#include "base_tests.h"

#include "base/random.h"
#include "base/slab.h"

#include <string.h>

#define COUNT 37
#define SIZE  40

static void test_taken_objects_are_zeroed_and_apart(void **state)
{
	struct slab *slab;
	uint8_t *objects[COUNT];

	assert_int_equal(slab_create("slab", COUNT, SIZE, &slab), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			objects[i] = slab_take(slab);
			assert_non_null(objects[i]);
			for (unsigned b = 0; b < SIZE; b++)
				assert_int_equal(objects[i][b], 0);
			memset(objects[i], 1 + (int)i, SIZE);
		}
		assert_null(slab_take(slab));
		for (unsigned i = 0; i < COUNT; i++) {
			assert_int_equal(objects[i][0], 1 + i);
			assert_int_equal(objects[i][SIZE - 1], 1 + i);
			slab_give(slab, objects[i]);
		}
		assert_int_equal(slab_used(slab), 0);
	}
	slab_destroy(slab);
	slab_destroy(NULL);
}

static void test_a_walk_finds_what_is_taken(void **state)
{
	void *taken[COUNT] = {NULL}; // by index
	struct slab *slab;
	struct random r;
	uint32_t used = 0;

	random_init(&r, 11);
	assert_int_equal(slab_create("slab", COUNT, SIZE, &slab), 0);
	for (unsigned step = 0; step < 2000; step++) {
		uint32_t i = random_below(&r, COUNT);

		if (taken[i] != NULL) {
			slab_give(slab, taken[i]);
			taken[i] = NULL;
			used--;
		} else {
			void *object = slab_take(slab);

			assert_non_null(object);
			assert_null(taken[slab_index(slab, object)]);
			taken[slab_index(slab, object)] = object;
			used++;
		}
		assert_int_equal(slab_used(slab), used);
		for (uint32_t at = 0; at < slab_count(slab); at++)
			assert_ptr_equal(slab_at(slab, at), taken[at]);
	}
	slab_destroy(slab);
}

int test_base_slab(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken_objects_are_zeroed_and_apart),
		cmocka_unit_test(test_a_walk_finds_what_is_taken),
	};

	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
