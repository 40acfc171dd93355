// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A lane over either transport: lives of slots, streams, news, sleep.

#include <errno.h>

#include "channel_tests.h"

static void test_a_connection_lives_and_ends(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 4, 64);
	struct lane_slot slot;
	uint8_t data[16];

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
	pair_settle(pair);
	lane_slot(pair->daemon, 2, &slot);
	assert_true(slot.closed && !slot.open);
	pair_destroy(pair);
}

static void test_the_next_life_knows_nothing_of_the_last(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 8);
	struct lane_slot slot;

	for (unsigned life = 0; life < 100; life++) {
		pair_open(pair, 0);
		assert_int_equal(post_data(pair->daemon, 0, "unread", 6), 6);
		assert_int_equal(post_data(pair->process, 0, "unread too", 10), 10);
		post(pair->process, LANE_POST_CLOSE, 0);
		post(pair->daemon, LANE_POST_CLOSE, 0);
		pair_settle(pair);
	}
	pair_open(pair, 0);
	lane_slot(pair->daemon, 0, &slot);
	assert_true(slot.came == 0 && slot.sent == 0 && !slot.closed && !slot.ended);
	lane_slot(pair->process, 0, &slot);
	assert_true(slot.came == 0 && slot.sent == 0 && !slot.closed && slot.open);
	pair_destroy(pair);
}

static void test_a_connection_that_is_made_is_ready_once_it_stands(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 8);
	struct lane_slot slot;
	uint8_t data[16];

	for (unsigned life = 0; life < 3; life++) {
		pair_open(pair, 1);
		lane_slot(pair->process, 1, &slot);
		assert_true(slot.open && !slot.ready);
		assert_int_equal(post(pair->daemon, LANE_POST_READY, 1), 0);
		assert_int_equal(post_data(pair->daemon, 1, "first", 5), 5);
		expect_news(pair->process, LANE_MOVED, 1);
		lane_slot(pair->process, 1, &slot);
		assert_true(slot.ready && !slot.ended && !slot.closed);
		assert_int_equal(take(pair->process, 1, data, 16), 5);
		post(pair->process, LANE_POST_CLOSE, 1);
		post(pair->daemon, LANE_POST_CLOSE, 1);
		pair_settle(pair);
	}
	pair_destroy(pair);
}

static void test_a_connection_that_was_not_made_says_why(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 8);
	struct lane_slot slot;

	pair_open(pair, 1);
	assert_int_equal(lane_post(pair->daemon, &(struct lane_item){.what = LANE_POST_CLOSE,
							 .slot = 1,
							 .error = ECONNREFUSED}),
		0);
	expect_news(pair->process, LANE_MOVED, 1);
	lane_slot(pair->process, 1, &slot);
	assert_true(slot.closed && !slot.ready && slot.error == ECONNREFUSED);
	pair_destroy(pair);
}

static void test_a_full_stream_takes_no_more_and_says_when_it_does(void **state)
{
	static uint8_t much[CHANNEL_STREAM + 1000];
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 64);
	uint8_t some[5000];

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
	struct pair *pair = pair_create(*(enum transport *)*state, 2, CHANNEL_CHUNKS);

	pair_open(pair, 0);
	pair_open(pair, 1);
	assert_int_equal(post_data(pair->daemon, 0, much, sizeof(much)), CHANNEL_STREAM);
	assert_int_equal(post_data(pair->daemon, 1, much, 10), 0);
	expect_news(pair->process, LANE_MOVED, 0);
	assert_int_equal(take(pair->process, 0, back, sizeof(back)), CHANNEL_STREAM);
	expect_news(pair->daemon, LANE_MOVED, 1);
	assert_int_equal(post_data(pair->daemon, 1, much, 10), 10);
	pair_destroy(pair);
}

static void test_an_idle_connection_holds_no_chunk(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 64, 2);
	uint8_t back[8];

	for (uint32_t slot = 0; slot < 64; slot++) {
		pair_open(pair, slot);
		assert_int_equal(post_data(pair->daemon, slot, "octets", 6), 6);
		expect_news(pair->process, LANE_MOVED, slot);
		assert_int_equal(take(pair->process, slot, back, 8), 6);
		assert_true(lane_arm(pair->process));
		lane_disarm(pair->process);
		pair_settle(pair);
		lane_slot(pair->daemon, slot, &(struct lane_slot){0});
	}
	pair_destroy(pair);
}

static void test_a_slow_reader_holds_up_nobody_else(void **state)
{
	static uint8_t much[CHANNEL_STREAM], back[CHANNEL_STREAM];
	struct pair *pair = pair_create(*(enum transport *)*state, 3, 4 * CHANNEL_CHUNKS);

	for (uint32_t slot = 0; slot < 3; slot++)
		pair_open(pair, slot);
	assert_int_equal(post_data(pair->daemon, 0, much, sizeof(much)), CHANNEL_STREAM);
	for (unsigned round = 0; round < 100; round++) {
		assert_int_equal(post_data(pair->daemon, 1, much, sizeof(much)), CHANNEL_STREAM);
		assert_int_equal(post_data(pair->daemon, 0, much, 1), 0);
		pair_settle(pair);
		assert_int_equal(take(pair->process, 1, back, sizeof(back)), CHANNEL_STREAM);
		assert_int_equal(post_data(pair->process, 1, "done", 4), 4);
		pair_settle(pair);
		assert_int_equal(take(pair->daemon, 1, back, sizeof(back)), 4);
	}
	assert_int_equal(take(pair->process, 0, back, sizeof(back)), CHANNEL_STREAM);
	pair_destroy(pair);
}

// It makes a reset of the end.
static void test_what_was_not_read_is_known_at_the_end(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 8);
	struct lane_slot slot;
	uint8_t data[16];

	for (uint32_t i = 0; i < 2; i++) {
		pair_open(pair, i);
		assert_int_equal(post_data(pair->daemon, i, "0123456789", 10), 10);
	}
	pair_settle(pair);
	take(pair->process, 0, data, 4);
	take(pair->process, 1, data, 10);
	for (uint32_t i = 0; i < 2; i++)
		post(pair->process, LANE_POST_CLOSE, i);
	pair_settle(pair);
	lane_slot(pair->daemon, 0, &slot);
	assert_true(slot.closed && slot.sent == 6);
	lane_slot(pair->daemon, 1, &slot);
	assert_true(slot.closed && slot.sent == 0);
	pair_destroy(pair);
}

static void test_who_sleeps_is_woken(void **state)
{
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 8);
	uint8_t data[8];

	pair_open(pair, 0);
	for (unsigned round = 0; round < 3; round++) {
		assert_true(lane_arm(pair->process));
		assert_false(pair_is_awake(pair));
		post_data(pair->daemon, 0, "a", 1);
		post_data(pair->daemon, 0, "b", 1);
		assert_true(pair_is_awake(pair));
		lane_disarm(pair->process);
		expect_news(pair->process, LANE_MOVED, 0);
		assert_int_equal(take(pair->process, 0, data, 8), 2);
		expect_news(pair->process, LANE_NOTHING, 0);
	}
	pair_destroy(pair);
}

static void test_messages_wait_their_turn(void **state)
{
	struct channel_message message = {.kind = CHANNEL_UNLISTEN};
	const struct lane_item item = {.what = LANE_POST_MESSAGE, .message = &message};
	struct pair *pair = pair_create(*(enum transport *)*state, 2, 8);
	uint32_t sent = 0, came = 0;

	for (unsigned round = 0; round < 50; round++) {
		for (;; sent++) {
			message.unlisten.listener = sent;
			if (lane_post(pair->process, &item) == -EAGAIN)
				break;
		}
		for (unsigned looks = 0; came < sent && looks < 100000; looks++) {
			struct lane_news news;

			lane_poll(pair->daemon, &news);
			if (news.what == LANE_MESSAGE)
				assert_int_equal(news.message.unlisten.listener, came++);
			else
				expect_news(pair->process, LANE_NOTHING, 0);
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
	struct pair *pair = pair_create(*(enum transport *)*state, SLOTS, 40);
	struct lane *lanes[2] = {pair->daemon, pair->process};
	struct twin twins[SLOTS] = {0};

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

#define OVER(over, test)                                                          \
	{                                                                         \
#test " (" #over ")", test, NULL, NULL, (void *)&(enum transport) \
		{                                                                 \
			over                                                      \
		}                                                                 \
	}
#define OVER_BOTH(test) OVER(SHARED, test), OVER(STREAM, test)

int test_lane(void)
{
	const struct CMUnitTest tests[] = {
		OVER_BOTH(test_a_connection_lives_and_ends),
		OVER_BOTH(test_the_next_life_knows_nothing_of_the_last),
		OVER_BOTH(test_a_connection_that_is_made_is_ready_once_it_stands),
		OVER_BOTH(test_a_connection_that_was_not_made_says_why),
		OVER_BOTH(test_a_full_stream_takes_no_more_and_says_when_it_does),
		OVER_BOTH(test_who_finds_no_chunk_hears_when_there_is_one),
		OVER_BOTH(test_an_idle_connection_holds_no_chunk),
		OVER_BOTH(test_a_slow_reader_holds_up_nobody_else),
		OVER_BOTH(test_what_was_not_read_is_known_at_the_end),
		OVER_BOTH(test_who_sleeps_is_woken),
		OVER_BOTH(test_messages_wait_their_turn),
		OVER_BOTH(test_streams_are_what_was_written),
	};

	return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
