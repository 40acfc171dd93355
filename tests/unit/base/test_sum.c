// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ones'-complement sums against a naive twin, and the sums that payloads remember.

#include "base_tests.h"

#include "base/payload.h"
#include "base/random.h"
#include "base/sum.h"

#include <string.h>

#define LENGTH 4000u

// RFC 1071 4.1, two bytes at a time.
static uint16_t naive(const uint8_t *data, size_t length)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++) {
		uint8_t pair[2] = {0};
		uint16_t word;

		pair[i & 1] = data[i];
		memcpy(&word, pair, sizeof(word));
		sum += word;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

// Zero has two forms.
static void assert_same_sum(uint16_t a, uint16_t b)
{
	assert_int_equal(a % 0xffff, b % 0xffff);
}

static void fill(uint8_t *data, size_t length, struct random *rng)
{
	for (size_t i = 0; i < length; i++)
		data[i] = random_next(rng) % 4 == 0 ? 0xff : (uint8_t)random_next(rng);
}

static void test_any_bytes_sum_like_the_naive_twin(void **state)
{
	static uint8_t data[LENGTH];
	struct random rng;

	random_init(&rng, 1);
	fill(data, LENGTH, &rng);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(sum_bytes(data + i % 17, i), naive(data + i % 17, i));
	assert_int_equal(sum_bytes(data, LENGTH), naive(data, LENGTH));
	memset(data, 0xff, LENGTH);
	assert_int_equal(sum_bytes(data, LENGTH), 0xffff);
	memset(data, 0, LENGTH);
	assert_int_equal(sum_bytes(data, LENGTH), 0);
	assert_int_equal(sum_bytes(data, 0), 0);
}

static void test_wide_sums_fold_without_losing_a_carry(void **state)
{
	const uint64_t cases[] = {0, 1, 0xffff, 0x10000, 0x1ffff, UINT32_MAX, UINT64_C(1) << 32,
		UINT64_MAX, UINT64_MAX - 1, UINT64_C(0xffff0000ffff0000)};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(sum_fold(cases[i]) == 0, cases[i] == 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(sum_fold(cases[i]) % 0xffff, cases[i] % 0xffff);
}

static void test_parts_add_up_and_come_off_again(void **state)
{
	uint8_t data[200];
	struct random rng;

	random_init(&rng, 2);
	fill(data, sizeof(data), &rng);
	for (uint32_t cut = 0; cut <= sizeof(data); cut++) {
		uint16_t first = sum_bytes(data, cut);
		uint16_t second = sum_at(sum_bytes(data + cut, sizeof(data) - cut), cut);
		uint16_t whole = sum_add(first, second);

		assert_same_sum(whole, naive(data, sizeof(data)));
		assert_same_sum(sum_subtract(whole, first), second);
	}
}

// Ranges of all kinds, also while the payload grows; referred to by one or by many.
static void test_a_payload_knows_the_sum_of_any_range(void **state)
{
	const struct payload_pool_config config = {.count = {0, 0, 4, 0}, .socket = -1};
	struct payload_pool *pool;
	struct payload *p;
	struct random rng;

	random_init(&rng, 3);
	assert_int_equal(payload_pool_create("sums", &config, &pool), 0);
	for (uint32_t refs = 1; refs <= 2; refs++) {
		p = payload_alloc(pool, LENGTH);
		fill(p->data, LENGTH, &rng);
		for (p->refs = refs; p->length < LENGTH;) {
			p->length += 1 + (uint32_t)(random_next(&rng) % 200);
			if (p->length > LENGTH)
				p->length = LENGTH;
			for (unsigned i = 0; i < 20; i++) {
				uint32_t from = (uint32_t)(random_next(&rng) % p->length);
				uint32_t n = (uint32_t)(random_next(&rng) % (p->length - from)) + 1;

				assert_same_sum(payload_sum(p, from, n), naive(p->data + from, n));
			}
			assert_same_sum(payload_sum(p, 0, p->length), naive(p->data, p->length));
		}
		p->refs = 1;
		payload_put(p);
	}
	payload_pool_destroy(pool);
}

int test_base_sum(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_bytes_sum_like_the_naive_twin),
		cmocka_unit_test(test_wide_sums_fold_without_losing_a_carry),
		cmocka_unit_test(test_parts_add_up_and_come_off_again),
		cmocka_unit_test(test_a_payload_knows_the_sum_of_any_range),
	};

	return cmocka_run_group_tests_name("sum", tests, NULL, NULL);
}
