// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A lane in shared memory: lives of slots, streams, notices, sleep.

#include <errno.h>

#include "channel_tests.h"

static void test_a_connection_lives_and_ends(void **state)
{
	struct pair *pair = pair_create(4, 64);
	struct lane_slot slot;
	uint8_t data[16];

	(void)state;
	pair_open(pair, 2);
	lane_slot(pair->process, 2, &slot);
	assert_int_equal(slot.opened.listener, 3);
	assert_int_equal(slot.opened.remote.port, 40000);
	assert_int_equal(post_data(pair->daemon, 2, "hello", 5), 5);
	expect_news(pair->process, LANE_MOVED, 2);
	assert_int_equal(take(pair->process, 2, data, 16), 5);
	assert_memory_equal(data, "hello", 5);
	assert_int_equal(post_data(pair->process, 2, "you", 3), 3);
	assert_int_equal(post(pair->process, LANE_POST_END, 2), 0);
	expect_news(pair->daemon, LANE_MOVED, 2);
	lane_slot(pair->daemon, 2, &slot);
	assert_true(slot.ended && slot.came == 3 && !slot.closed);
	assert_int_equal(take(pair->daemon, 2, data, 16), 3);
	assert_int_equal(post_data(pair->process, 2, "late", 4), -EPIPE);
	assert_int_equal(post(pair->daemon, LANE_POST_CLOSE, 2), 0);
	assert_int_equal(post(pair->process, LANE_POST_CLOSE, 2), 0);
	lane_slot(pair->daemon, 2, &slot);
	assert_true(slot.closed && !slot.open);
	pair_destroy(pair);
}

static void test_the_next_life_knows_nothing_of_the_last(void **state)
{
	struct pair *pair = pair_create(2, 8);
	struct lane_slot slot;

	(void)state;
	for (unsigned life = 0; life < 100; life++) {
		pair_open(pair, 0);
		assert_int_equal(post_data(pair->daemon, 0, "unread", 6), 6);
		assert_int_equal(post_data(pair->process, 0, "unread too", 10), 10);
		post(pair->process, LANE_POST_CLOSE, 0);
		post(pair->daemon, LANE_POST_CLOSE, 0);
		for (struct lane_news news = {.what = LANE_MOVED}; news.what != LANE_NOTHING;)
			lane_poll(pair->daemon, &news);
		for (struct lane_news news = {.what = LANE_MOVED}; news.what != LANE_NOTHING;)
			lane_poll(pair->process, &news);
	}
	pair_open(pair, 0);
	lane_slot(pair->daemon, 0, &slot);
	assert_true(slot.came == 0 && slot.sent == 0 && !slot.closed && !slot.ended);
	lane_slot(pair->process, 0, &slot);
	assert_true(slot.came == 0 && slot.sent == 0 && !slot.closed && slot.open);
	pair_destroy(pair);
}

static void test_a_full_stream_takes_no_more_and_says_when_it_does(void **state)
{
	static uint8_t much[CHANNEL_STREAM + 1000];
	struct pair *pair = pair_create(2, 64);
	uint8_t some[5000];

	(void)state;
	pair_open(pair, 0);
	assert_int_equal(post_data(pair->daemon, 0, much, sizeof(much)), CHANNEL_STREAM);
	assert_int_equal(post_data(pair->daemon, 0, much, 1), 0);
	post(pair->daemon, LANE_POST_HUNGRY, 0);
	expect_news(pair->process, LANE_MOVED, 0);
	assert_int_equal(take(pair->process, 0, some, 5000), 5000);
	expect_news(pair->daemon, LANE_MOVED, 0);
	// A chunk was read to its end.
	assert_int_equal(post_data(pair->daemon, 0, much, 5000), CHANNEL_CHUNK);
	pair_destroy(pair);
}

// Two connections, and chunks for one of them.
static void test_who_finds_no_chunk_hears_when_there_is_one(void **state)
{
	static uint8_t much[CHANNEL_STREAM], back[CHANNEL_STREAM];
	struct pair *pair = pair_create(2, CHANNEL_CHUNKS);
	bool told = false;

	(void)state;
	pair_open(pair, 0);
	pair_open(pair, 1);
	assert_int_equal(post_data(pair->daemon, 0, much, sizeof(much)), CHANNEL_STREAM);
	assert_int_equal(post_data(pair->daemon, 1, much, 10), 0);
	expect_news(pair->process, LANE_MOVED, 0);
	assert_int_equal(take(pair->process, 0, back, sizeof(back)), CHANNEL_STREAM);
	for (unsigned i = 0; i < 4; i++) {
		struct lane_news news;

		lane_poll(pair->daemon, &news);
		told |= news.what == LANE_MOVED && news.slot == 1;
	}
	assert_true(told);
	assert_int_equal(post_data(pair->daemon, 1, much, 10), 10);
	pair_destroy(pair);
}

static void test_an_idle_connection_holds_no_chunk(void **state)
{
	struct pair *pair = pair_create(64, 2);
	uint8_t back[8];

	(void)state;
	for (uint32_t slot = 0; slot < 64; slot++) {
		pair_open(pair, slot);
		assert_int_equal(post_data(pair->daemon, slot, "octets", 6), 6);
		expect_news(pair->process, LANE_MOVED, slot);
		assert_int_equal(take(pair->process, slot, back, 8), 6);
		lane_slot(pair->daemon, slot, &(struct lane_slot){0});
	}
	pair_destroy(pair);
}

static void test_who_sleeps_is_woken_once(void **state)
{
	struct pair *pair = pair_create(2, 8);

	(void)state;
	pair_open(pair, 0);
	assert_int_equal(pair->wakes, 0);
	assert_true(lane_arm(pair->process));
	post_data(pair->daemon, 0, "a", 1);
	post_data(pair->daemon, 0, "b", 1);
	assert_int_equal(pair->wakes, 1);
	assert_false(lane_arm(pair->process));
	expect_news(pair->process, LANE_MOVED, 0);
	expect_news(pair->process, LANE_NOTHING, 0);
	assert_true(lane_arm(pair->process));
	lane_disarm(pair->process);
	post_data(pair->daemon, 0, "c", 1);
	assert_int_equal(pair->wakes, 1);
	pair_destroy(pair);
}

static void test_messages_wait_their_turn(void **state)
{
	struct channel_message message = {.kind = CHANNEL_UNLISTEN};
	const struct lane_item item = {.what = LANE_POST_MESSAGE, .message = &message};
	struct pair *pair = pair_create(2, 8);
	uint32_t sent = 0, came = 0;

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		struct lane_news news;

		for (;; sent++) {
			message.unlisten.listener = sent;
			if (lane_post(pair->process, &item) == -EAGAIN)
				break;
		}
		for (lane_poll(pair->daemon, &news); news.what == LANE_MESSAGE; came++) {
			assert_int_equal(news.message.unlisten.listener, came);
			lane_poll(pair->daemon, &news);
		}
		assert_int_equal(came, sent);
	}
	assert_true(sent > 10000);
	pair_destroy(pair);
}

// Both directions of many connections against plain counters: octet n of a stream is a function of
// n.
#define SLOTS 8

struct twin {
	uint32_t sent[2], taken[2];
};

static uint8_t octet(unsigned side, uint32_t slot, uint32_t n)
{
	return (uint8_t)(n * 31 + slot * 7 + side * 101 + (n >> 8));
}

static void twin_send(struct lane *lane, struct twin *twin, unsigned side, uint32_t slot)
{
	static uint8_t data[CHANNEL_STREAM];
	uint32_t wanted = (uint32_t)rand() % (rand() % 8 ? 300 : CHANNEL_STREAM);
	int rc;

	for (uint32_t i = 0; i < wanted; i++)
		data[i] = octet(side, slot, twin->sent[side] + i);
	rc = post_data(lane, slot, data, wanted);
	assert_true(rc >= 0 && (uint32_t)rc <= wanted);
	twin->sent[side] += (uint32_t)rc;
	assert_true(twin->sent[side] - twin->taken[side] <= CHANNEL_STREAM);
}

static void twin_take(struct lane *lane, struct twin *twin, unsigned from, uint32_t slot)
{
	static uint8_t data[CHANNEL_STREAM];
	uint32_t n = take(lane, slot, data, (uint32_t)rand() % CHANNEL_STREAM);

	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(data[i], octet(from, slot, twin->taken[from] + i));
	twin->taken[from] += n;
}

static void drain_news(struct lane *lane)
{
	struct lane_news news;

	do {
		lane_poll(lane, &news);
		assert_int_not_equal(news.what, LANE_BROKEN);
	} while (news.what != LANE_NOTHING);
}

static void test_streams_are_what_was_written(void **state)
{
	struct pair *pair = pair_create(SLOTS, 40);
	struct lane *lanes[2] = {pair->daemon, pair->process};
	struct twin twins[SLOTS] = {0};

	(void)state;
	srand(1);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		pair_open(pair, slot);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned side = (unsigned)rand() % 2;
		uint32_t slot = (uint32_t)rand() % SLOTS;

		drain_news(lanes[side]);
		if (rand() % 2)
			twin_send(lanes[side], &twins[slot], side, slot);
		else
			twin_take(lanes[side], &twins[slot], !side, slot);
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		for (unsigned side = 0; side < 2; side++) {
			drain_news(lanes[!side]);
			while (twins[slot].taken[side] != twins[slot].sent[side])
				twin_take(lanes[!side], &twins[slot], side, slot);
			assert_true(twins[slot].sent[side] > 10 * CHANNEL_STREAM);
		}
	pair_destroy(pair);
}

int test_shared(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_connection_lives_and_ends),
		cmocka_unit_test(test_the_next_life_knows_nothing_of_the_last),
		cmocka_unit_test(test_a_full_stream_takes_no_more_and_says_when_it_does),
		cmocka_unit_test(test_who_finds_no_chunk_hears_when_there_is_one),
		cmocka_unit_test(test_an_idle_connection_holds_no_chunk),
		cmocka_unit_test(test_who_sleeps_is_woken_once),
		cmocka_unit_test(test_messages_wait_their_turn),
		cmocka_unit_test(test_streams_are_what_was_written),
	};

	return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
