// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Markers: what is written is read, and nothing else is.

#include "base_tests.h"

#include "base/marker.h"

#include <errno.h>
#include <string.h>

static const uint8_t key[MARKER_KEY_SIZE] = {3, 1, 4, 1, 5, 9};

static void test_what_is_written_is_read(void **state)
{
	for (unsigned kind = MARKER_JOIN; kind <= MARKER_SKIP; kind++) {
		for (unsigned count = 0; count <= MARKER_EXCEPT_MAX; count += 16) {
			struct marker in = {.kind = kind,
				.token = 0x0123456789abcdefull + kind,
				.except_count = (uint8_t)count};
			struct marker out;
			uint8_t bytes[MARKER_SIZE_MAX];
			size_t length;

			for (unsigned i = 0; i < count; i++)
				in.except[i] = ~(uint64_t)i;
			length = marker_encode(key, &in, bytes);
			assert_int_equal(length, 20 + 8 * count);
			assert_int_equal(marker_decode(key, bytes, length, &out), 0);
			assert_int_equal(out.kind, in.kind);
			assert_int_equal(out.token, in.token);
			assert_int_equal(out.except_count, count);
			assert_memory_equal(out.except, in.except, 8 * count);
		}
	}
}

static void test_a_changed_bit_or_another_length_is_refused(void **state)
{
	struct marker in = {.kind = MARKER_SKIP, .token = 7, .except_count = 2, .except = {1, 2}};
	uint8_t bytes[MARKER_SIZE_MAX + 1] = {0};
	size_t length = marker_encode(key, &in, bytes);
	struct marker out = {.token = 99};

	for (unsigned bit = 0; bit < 8 * length; bit++) {
		bytes[bit / 8] ^= 1u << bit % 8;
		assert_int_equal(marker_decode(key, bytes, length, &out), -EBADMSG);
		bytes[bit / 8] ^= 1u << bit % 8;
	}
	for (size_t other = 0; other <= MARKER_SIZE_MAX + 1; other++)
		if (other != length)
			assert_int_equal(marker_decode(key, bytes, other, &out), -EBADMSG);
	assert_int_equal(out.token, 99);
	assert_int_equal(marker_decode(key, bytes, length, &out), 0);
}

static void test_another_key_is_refused(void **state)
{
	const uint8_t other[MARKER_KEY_SIZE] = {3, 1, 4, 1, 5, 8};
	struct marker in = {.kind = MARKER_JOIN, .token = 7}, out;
	uint8_t bytes[MARKER_SIZE_MAX];
	size_t length = marker_encode(key, &in, bytes);

	assert_int_equal(marker_decode(other, bytes, length, &out), -EBADMSG);
}

// Authentic, and from a version that says more.
static void test_an_unknown_kind_is_refused(void **state)
{
	struct marker in = {.kind = MARKER_SKIP + 1}, out;
	uint8_t bytes[MARKER_SIZE_MAX];

	assert_int_equal(marker_decode(key, bytes, marker_encode(key, &in, bytes), &out), -EBADMSG);
	in.kind = 0;
	assert_int_equal(marker_decode(key, bytes, marker_encode(key, &in, bytes), &out), -EBADMSG);
}

int test_base_marker(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_a_changed_bit_or_another_length_is_refused),
		cmocka_unit_test(test_another_key_is_refused),
		cmocka_unit_test(test_an_unknown_kind_is_refused),
	};

	return cmocka_run_group_tests_name("marker", tests, NULL, NULL);
}
