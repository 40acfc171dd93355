// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Messages say whose they are, and show every byte that changed.

#include "bench_tests.h"

#include "base/random.h"
#include "bench/stamp.h"

#include <stdbool.h>
#include <string.h>

#define SIZE_MAX_TESTED 4099

static void test_message_of_every_size_is_read_as_written(void **state)
{
	static const uint32_t sizes[] = {
		0, 1, 2, 3, 4, 5, 8, 16, 31, 32, 33, 39, 40, 41, 64, 1000, SIZE_MAX_TESTED};
	uint8_t message[SIZE_MAX_TESTED];

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct bench_stamp stamp = {7, 100000 + i, 123456789}, read;

		bench_stamp_write(&stamp, message, sizes[i]);
		assert_true(bench_stamp_read(message, sizes[i], 7, 100000 + i, &read));
		assert_int_equal(read.publisher, 7);
		assert_int_equal(read.sequence, 100000 + i);
		assert_int_equal(read.issued_us, sizes[i] < BENCH_STAMP_SIZE ? 0 : 123456789);
	}
}

static void test_any_flipped_bit_of_a_whole_stamp_is_found(void **state)
{
	static const uint32_t sizes[] = {32, 33, 47, 64, 257};
	uint8_t message[257];

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct bench_stamp stamp = {3, 42, 1000}, read;

		bench_stamp_write(&stamp, message, sizes[i]);
		for (uint32_t bit = 0; bit < sizes[i] * 8; bit++) {
			message[bit / 8] ^= 1 << bit % 8;
			assert_false(bench_stamp_read(message, sizes[i], 3, 42, &read));
			message[bit / 8] ^= 1 << bit % 8;
		}
		assert_true(bench_stamp_read(message, sizes[i], 3, 42, &read));
	}
}

static void test_cut_swapped_and_foreign_bytes_are_found(void **state)
{
	struct bench_stamp stamp = {1, 2, 3}, other = {1, 3, 3}, read;
	uint8_t message[256], foreign[256], byte;

	bench_stamp_write(&stamp, message, sizeof(message));
	assert_false(bench_stamp_read(message, sizeof(message) - 1, 1, 2, &read));
	assert_false(bench_stamp_read(message, sizeof(message) - 8, 1, 2, &read));

	// Two words change places.
	bench_stamp_write(&stamp, message, sizeof(message));
	memcpy(foreign, message, sizeof(message));
	memcpy(message + 64, foreign + 72, 8);
	memcpy(message + 72, foreign + 64, 8);
	assert_false(bench_stamp_read(message, sizeof(message), 1, 2, &read));

	// The tail of the next message.
	bench_stamp_write(&stamp, message, sizeof(message));
	bench_stamp_write(&other, foreign, sizeof(foreign));
	memcpy(message + 128, foreign + 128, 128);
	assert_false(bench_stamp_read(message, sizeof(message), 1, 2, &read));

	// A short message's pattern.
	bench_stamp_write(&stamp, message, 16);
	byte = message[10];
	message[10] = (uint8_t)(byte + 1);
	assert_false(bench_stamp_read(message, 16, 1, 2, &read));
	message[10] = byte;
	assert_true(bench_stamp_read(message, 16, 1, 2, &read));
	assert_false(bench_stamp_read(message, 16, 2, 2, &read)); // another publisher's
}

static void test_short_message_is_the_nearest_to_the_expected_one(void **state)
{
	static const struct {
		uint32_t size, sequence, expected, read;
	} table[] = {
		{1, 300, 300, 300}, // as expected
		{1, 300, 295, 300}, // a few were lost
		{1, 300, 310, 300}, // late
		{1, 300, 200, 300}, // 100 lost
		{1, 300, 150, 44},  // 150 lost: one byte cannot tell
		{1, 5, 0, 5},
		{1, 250, 0, 250}, // there is nothing below zero
		{2, 70000, 50000, 70000},
		{3, 17000000, 16900000, 17000000},
		{4, 4000000000u, 5, 4000000000u}, // four bytes are all of it
		{31, 4000000000u, 5, 4000000000u},
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct bench_stamp stamp = {9, table[i].sequence, 0}, read;
		uint8_t message[31];

		bench_stamp_write(&stamp, message, table[i].size);
		assert_true(bench_stamp_read(message, table[i].size, 9, table[i].expected, &read));
		assert_int_equal(read.sequence, table[i].read);
	}
}

static void test_random_bytes_are_no_message(void **state)
{
	struct bench_stamp read;
	struct random random;
	uint64_t message[8];

	random_init(&random, 1);
	for (unsigned i = 0; i < 10000; i++) {
		for (unsigned j = 0; j < 8; j++)
			message[j] = random_next(&random);
		assert_false(bench_stamp_read(
			(uint8_t *)message, 16 + random_below(&random, 49), 0, 0, &read));
	}
}

int test_bench_stamp(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message_of_every_size_is_read_as_written),
		cmocka_unit_test(test_any_flipped_bit_of_a_whole_stamp_is_found),
		cmocka_unit_test(test_cut_swapped_and_foreign_bytes_are_found),
		cmocka_unit_test(test_short_message_is_the_nearest_to_the_expected_one),
		cmocka_unit_test(test_random_bytes_are_no_message),
	};

	return cmocka_run_group_tests_name("stamp", tests, NULL, NULL);
}
