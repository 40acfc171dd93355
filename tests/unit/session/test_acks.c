// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The order of PUBACKs against a naive twin: a plain list.

#include "session_tests.h"

#include <string.h>

#include "base/random.h"
#include "session/acks.h"

struct twin {
	struct {
		uint16_t id;
		uint8_t reason, type;
		bool passed;
	} list[ACKS_MAX];
	unsigned count;
};

static void twin_remove(struct twin *twin, unsigned i)
{
	memmove(&twin->list[i], &twin->list[i + 1], (--twin->count - i) * sizeof(twin->list[0]));
}

static bool twin_broker(struct twin *twin, uint16_t id)
{
	for (unsigned i = 0; i < twin->count; i++) {
		if (!twin->list[i].passed || twin->list[i].id != id)
			continue;
		twin_remove(twin, i);
		return true;
	}
	return false;
}

static void agrees_with_a_list(void **state)
{
	struct acks acks;
	struct twin twin = {.count = 0};
	struct random rng;

	random_init(&rng, 1);
	acks_init(&acks);
	for (unsigned step = 0; step < 200000; step++) {
		uint16_t id = (uint16_t)random_below(&rng, 40), got_id;
		uint8_t reason = (uint8_t)random_below(&rng, 3), got_reason, got_type;
		unsigned what = random_below(&rng, 10);

		if (what < 6 && !acks_full(&acks)) {
			bool passed = what < 3;

			twin.list[twin.count].id = id;
			twin.list[twin.count].reason = reason;
			twin.list[twin.count++].passed = passed;
			if (passed)
				acks_passed(&acks, id);
			else
				acks_captured(&acks, id, (uint8_t)(4 + id % 2), reason);
		} else {
			assert_int_equal(acks_broker(&acks, id), twin_broker(&twin, id));
		}
		// Bursts between flushes, so that it fills up now and then.
		if (step / 1000 % 2 == 0)
			continue;
		while (acks_next(&acks, &got_id, &got_type, &got_reason)) {
			assert_true(twin.count > 0 && !twin.list[0].passed);
			assert_int_equal(got_id, twin.list[0].id);
			assert_int_equal(got_type, 4 + got_id % 2);
			assert_int_equal(got_reason, twin.list[0].reason);
			twin_remove(&twin, 0);
		}
		assert_true(twin.count == 0 || twin.list[0].passed);
		assert_int_equal(acks_empty(&acks), twin.count == 0);
	}
}

static void full_means_full(void **state)
{
	struct acks acks;
	uint16_t id;
	uint8_t reason, type;

	acks_init(&acks);
	for (unsigned i = 0; i < ACKS_MAX; i++) {
		assert_false(acks_full(&acks));
		if (i == 0)
			acks_passed(&acks, 1);
		else
			acks_captured(&acks, (uint16_t)(i + 1), 4, 0);
	}
	assert_true(acks_full(&acks));
	assert_false(acks_next(&acks, &id, &type, &reason));
	assert_false(acks_broker(&acks, 2)); // captured: not the broker's
	assert_true(acks_broker(&acks, 1));
	for (unsigned i = 1; i < ACKS_MAX; i++) {
		assert_true(acks_next(&acks, &id, &type, &reason));
		assert_int_equal(id, i + 1);
	}
	assert_true(acks_empty(&acks));
}

int test_acks(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_list),
		cmocka_unit_test(full_means_full),
	};

	return cmocka_run_group_tests_name("acks", tests, NULL, NULL);
}
