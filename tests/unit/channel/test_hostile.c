// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A process that writes anything anywhere into what it shares: the daemon's side gives the lane up,
// and reads nothing outside of it (which the sanitizers would see).

#include "channel/layout.h"
#include "channel_tests.h"

#define SLOTS 4

// The header, the rings and the slots more often than the octets.
static size_t place(const struct layout *layout, size_t words)
{
	switch (rand() % 4) {
	case 0:
		return (size_t)rand() % (sizeof(struct channel_header) / 4);
	case 1:
		return (layout->slots + (size_t)rand() % (SLOTS * sizeof(struct channel_slot))) / 4;
	case 2:
		return (layout->notices[CHANNEL_PROCESS] +
			       (size_t)rand() % (layout->notices_size * 4)) /
		       4;
	default:
		return (size_t)rand() % words;
	}
}

// Everything a worker does with a lane.
static void use(struct lane *lane)
{
	static uint8_t data[CHANNEL_STREAM];
	struct lane_news news;

	for (unsigned i = 0; i < 64; i++) {
		lane_poll(lane, &news);
		if (news.what == LANE_NOTHING || news.what == LANE_BROKEN)
			break;
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		struct lane_slot state;

		lane_slot(lane, slot, &state);
		if (state.open) {
			take(lane, slot, data, sizeof(data));
			post_data(lane, slot, data, 5000);
			post(lane, LANE_POST_HUNGRY, slot);
		}
	}
}

static void test_any_word_may_be_anything(void **state)
{
	static const uint32_t values[] = {0, 1, 2, 16, 0x7fffffff, 0x80000000, 0xffffffff, 65537};
	struct pair *pair = pair_create(SHARED, SLOTS, 16);
	size_t words = pair->bytes / 4;
	uint32_t *memory = pair->memory;
	unsigned broken = 0;
	struct layout layout;

	(void)state;
	assert_true(layout_of(SLOTS, 16, &layout));
	srand(2);
	for (unsigned round = 0; round < 3000; round++) {
		struct lane_news news;

		pair_destroy(pair);
		pair = pair_create(SHARED, SLOTS, 16);
		memory = pair->memory;
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			pair_open(pair, slot);
			post_data(pair->process, slot, "0123456789", 10);
		}
		use(pair->daemon);
		for (unsigned i = 0; i < 1 + round % 8; i++)
			memory[place(&layout, words)] =
				rand() % 2 ? values[rand() % 8] : (uint32_t)rand();
		for (unsigned i = 0; i < 4; i++)
			use(pair->daemon);
		lane_poll(pair->daemon, &news);
		broken += news.what == LANE_BROKEN;
	}
	// Most of it is told from what may be; a lane that is still there has lost nothing but its
	// own.
	assert_true(broken > 100);
	pair_destroy(pair);
}

static void test_a_memory_that_is_no_lane_is_refused(void **state)
{
	struct pair *pair = pair_create(SHARED, SLOTS, 16);
	struct channel_header *header = pair->memory;
	struct lane *lane = NULL;

	(void)state;
	assert_true(shared_attach(pair->memory, pair->bytes - 4096, &lane) < 0);
	assert_true(shared_attach(pair->memory, 64, &lane) < 0);
	header->slots++;
	assert_true(shared_attach(pair->memory, pair->bytes, &lane) == 0 ||
		    header->slots * sizeof(struct channel_slot) > 4096);
	lane_destroy(lane);
	lane = NULL;
	header->slots = 1u << 30;
	assert_true(shared_attach(pair->memory, pair->bytes, &lane) < 0);
	header->slots = SLOTS;
	header->version++;
	assert_true(shared_attach(pair->memory, pair->bytes, &lane) < 0);
	assert_null(lane);
	pair_destroy(pair);
}

int test_hostile(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_word_may_be_anything),
		cmocka_unit_test(test_a_memory_that_is_no_lane_is_refused),
	};

	return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
