// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Random numbers and SipHash, the latter against the vectors of its paper's appendix.

#include "base_tests.h"

#include "base/random.h"

#include <string.h>

static void test_a_seed_gives_one_sequence(void **state)
{
	struct random a, b, c;
	int differ = 0;

	random_init(&a, 0);
	random_init(&b, 0);
	random_init(&c, 1);
	for (int i = 0; i < 1000; i++) {
		uint64_t x = random_next(&a);

		assert_int_equal(x, random_next(&b));
		differ += x != random_next(&c);
	}
	assert_int_equal(differ, 1000);
}

static void test_below_is_bounded_and_even(void **state)
{
	const uint32_t bounds[] = {1, 2, 3, 7, 100};
	struct random r;

	random_init(&r, 42);
	for (unsigned b = 0; b < sizeof(bounds) / sizeof(*bounds); b++) {
		unsigned seen[100] = {0}, draws = 2000 * bounds[b];

		for (unsigned i = 0; i < draws; i++) {
			uint32_t x = random_below(&r, bounds[b]);

			assert_true(x < bounds[b]);
			seen[x]++;
		}
		// 2000 expected; 300 is more than six standard deviations.
		for (unsigned x = 0; x < bounds[b]; x++)
			assert_in_range(seen[x], 1700, 2300);
	}
	assert_true(random_below(&r, UINT32_MAX) < UINT32_MAX);
}

static void test_siphash_gives_the_published_values(void **state)
{
	const struct {
		size_t length;
		uint64_t hash;
	} vectors[] = {
		{0, 0x726fdb47dd0e0e31ull},
		{1, 0x74f839c593dc67fdull},
		{7, 0xab0200f58b01d137ull},
		{8, 0x93f5f5799a932462ull},
		{15, 0xa129ca6149be45e5ull},
	};
	uint8_t key[16], data[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = data[i] = i;
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(*vectors); i++)
		assert_int_equal(siphash_2_4(key, data, vectors[i].length), vectors[i].hash);
}

static void test_siphash_needs_no_alignment(void **state)
{
	uint8_t key[16] = {1}, data[32];
	uint64_t aligned, shifted;

	for (uint8_t i = 0; i < 19; i++)
		data[i] = i;
	aligned = siphash_2_4(key, data, 19);
	memmove(data + 1, data, 19);
	shifted = siphash_2_4(key, data + 1, 19);
	assert_int_equal(aligned, shifted);
}

int test_base_random(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_seed_gives_one_sequence),
		cmocka_unit_test(test_below_is_bounded_and_even),
		cmocka_unit_test(test_siphash_gives_the_published_values),
		cmocka_unit_test(test_siphash_needs_no_alignment),
	};

	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
