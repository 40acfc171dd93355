// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Packet identifiers against a naive twin: who has which of the 65,536.

#include "session_tests.h"

#include <errno.h>
#include <string.h>

#include "base/random.h"
#include "session/identifiers.h"

enum { FREE, OURS, BROKERS };

struct twin {
	uint8_t owner[65536];
	unsigned ours, brokers;
};

static uint16_t some(struct random *rng, const struct twin *twin, uint8_t owner)
{
	uint16_t at = (uint16_t)random_below(rng, 65536);

	while (twin->owner[at] != owner)
		at++;
	return at;
}

static void take(struct identifiers *ids, struct twin *twin)
{
	uint16_t id = identifiers_take(ids, false);

	if (id == 0) { // the window is used up, behind one that is not acknowledged
		assert_true(twin->ours > 0 && ids->span == IDENTIFIERS_WINDOW);
		return;
	}
	assert_int_equal(twin->owner[id], FREE);
	twin->owner[id] = OURS;
	twin->ours++;
}

static void give(struct identifiers *ids, struct twin *twin, struct random *rng)
{
	// The oldest more often than others, as clients do.
	uint16_t id = random_below(rng, 4) > 0 ? ids->first : some(rng, twin, OURS);

	assert_true(identifiers_ours(ids, id));
	identifiers_give(ids, id);
	twin->owner[id] = FREE;
	twin->ours--;
}

static void broker_take(struct identifiers *ids, struct twin *twin, uint16_t id)
{
	int rc = identifiers_broker_take(ids, id);

	if (twin->owner[id] == OURS) {
		assert_int_equal(rc, -EBUSY);
	} else if (twin->owner[id] == BROKERS) {
		assert_int_equal(rc, 0); // once more
	} else if (twin->brokers == IDENTIFIERS_BROKER) {
		assert_int_equal(rc, -ENOSPC);
	} else {
		assert_int_equal(rc, 0);
		twin->owner[id] = BROKERS;
		twin->brokers++;
	}
}

static void nobody_gets_what_another_has(void **state)
{
	static struct twin twin;
	struct identifiers ids;
	struct random rng;
	uint16_t broker = 1;

	for (uint64_t seed = 0; seed < 8; seed++) {
		unsigned greed = 1 + seed % 4;

		memset(&twin, 0, sizeof(twin));
		random_init(&rng, seed);
		identifiers_init(&ids, (uint16_t)random_below(&rng, 65536), broker);
		for (unsigned step = 0; step < 8000; step++) {
			unsigned what = random_below(&rng, 10);

			if (what < 2 + greed)
				take(&ids, &twin);
			else if (what < 7 && twin.ours > 0)
				give(&ids, &twin, &rng);
			else if (what < 8)
				// Anywhere, or where it hurts.
				broker_take(&ids, &twin, 1 + (uint16_t)random_below(&rng, 65535));
			else if (what < 9)
				broker_take(&ids, &twin,
					(uint16_t)(ids.first + ids.span + random_below(&rng, 4)) |
						1);
			else if (twin.brokers > 0) {
				uint16_t id = some(&rng, &twin, BROKERS);

				identifiers_broker_give(&ids, id);
				twin.owner[id] = FREE;
				twin.brokers--;
			}
			identifiers_check(&ids);
			assert_int_equal(ids.inflight, twin.ours);
			assert_int_equal(identifiers_empty(&ids), twin.ours + twin.brokers == 0);
		}
	}
}

static void all_are_used_before_one_comes_back(void **state)
{
	struct identifiers ids;
	uint16_t first = 0;

	identifiers_init(&ids, 0, 0);
	for (unsigned i = 0; i < 65535; i++) {
		uint16_t id = identifiers_take(&ids, false);

		assert_int_not_equal(id, 0);
		first = i == 0 ? id : first;
		assert_true(i == 0 || id != first);
		identifiers_check(&ids);
		identifiers_give(&ids, id);
	}
	assert_int_equal(identifiers_take(&ids, false), first);
}

static void begins_far_from_the_broker(void **state)
{
	static const struct {
		uint16_t next, broker, first;
	} cases[] = {
		{0, 0, 32768}, {5, 4, 32772}, // too near ahead
		{5, 6, 32774},		      // too near behind
		{40000, 4, 40000},	      // far enough: goes on
		{60000, 10000, 42768},	      // the broker is coming
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct identifiers ids;

		identifiers_init(&ids, cases[i].next, cases[i].broker);
		assert_int_equal(identifiers_take(&ids, false), cases[i].first);
	}
}

int test_identifiers(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_gets_what_another_has),
		cmocka_unit_test(all_are_used_before_one_comes_back),
		cmocka_unit_test(begins_far_from_the_broker),
	};

	return cmocka_run_group_tests_name("identifiers", tests, NULL, NULL);
}
