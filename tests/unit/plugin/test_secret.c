// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Keys from one thread to another.

#include "plugin_tests.h"

#include "plugin/secret.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

static size_t made_under(uint8_t byte, uint8_t out[MARKER_SIZE_MAX])
{
	uint8_t key[MARKER_KEY_SIZE];

	memset(key, byte, sizeof(key));
	return marker_encode(key, &(struct marker){.kind = MARKER_JOIN, .token = byte}, out);
}

static void set(struct secret *secret, uint8_t byte)
{
	uint8_t key[MARKER_KEY_SIZE];

	memset(key, byte, sizeof(key));
	secret_set(secret, key);
}

static void test_the_latest_key_and_the_one_before_are_good(void **state)
{
	struct secret secret = {0};
	uint8_t bytes[MARKER_SIZE_MAX];
	struct marker marker;
	size_t length = made_under(0, bytes);

	assert_int_equal(secret_decode(&secret, bytes, length, &marker), 0); // no key is no key
	for (uint8_t latest = 1; latest <= 5; latest++) {
		set(&secret, latest);
		assert_int_equal(secret_epoch(&secret), latest);
		for (uint8_t key = 0; key <= 6; key++) {
			uint64_t epoch;

			length = made_under(key, bytes);
			epoch = secret_decode(&secret, bytes, length, &marker);
			assert_int_equal(
				epoch, key > 0 && (key == latest || key + 1 == latest) ? key : 0);
			if (epoch)
				assert_int_equal(marker.token, key);
		}
	}
}

static void *change(void *arg)
{
	for (unsigned i = 0; i < 100000; i++) {
		set(arg, (uint8_t)(1 + i % 2));
		sched_yield();
	}
	return NULL;
}

// Two keys take turns: both are good at any time, and half of one with half of the other never.
static void test_no_half_of_a_key_is_seen(void **state)
{
	struct secret secret = {0};
	uint8_t bytes[MARKER_SIZE_MAX];
	size_t length;
	pthread_t thread;
	struct marker marker;

	set(&secret, 2);
	set(&secret, 1);
	assert_int_equal(pthread_create(&thread, NULL, change, &secret), 0);
	length = made_under(1, bytes);
	for (unsigned i = 0; i < 100000; i++)
		assert_true(secret_decode(&secret, bytes, length, &marker) > 0);
	pthread_join(thread, NULL);
}

int test_plugin_secret(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_latest_key_and_the_one_before_are_good),
		cmocka_unit_test(test_no_half_of_a_key_is_seen),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
