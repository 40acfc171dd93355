// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is of a lane over a stream socket alone: the heartbeat, a socket that takes nothing, frames
// that no honest side writes.

#include <sys/socket.h>
#include <unistd.h>

#include "channel/frame.h"
#include "channel_tests.h"

static enum lane_what last_news(struct lane *lane)
{
	struct lane_news news;

	do
		lane_poll(lane, &news);
	while (news.what == LANE_MOVED || news.what == LANE_MESSAGE || news.what == LANE_OPENED);
	return news.what;
}

// --- the heartbeat -------------------------------------------------------------------------------

static void test_who_has_nothing_to_say_says_so(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 8);

	(void)state;
	for (unsigned second = 0; second < 100; second++) {
		pair_now_us += 1000000;
		assert_int_equal(last_news(pair->daemon), LANE_NOTHING);
		assert_int_equal(last_news(pair->process), LANE_NOTHING);
	}
	pair_destroy(pair);
}

static void test_who_is_silent_is_gone_in_time(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 8);
	unsigned seconds = 0;

	(void)state;
	pair_open(pair, 0);
	post_data(pair->process, 0, "will", 4);
	for (; last_news(pair->daemon) == LANE_NOTHING; seconds++)
		pair_now_us += 1000000;
	assert_in_range(seconds, PAIR_SILENCE_US / 1000000, PAIR_SILENCE_US / 1000000 + 2);
	assert_int_equal(last_news(pair->daemon), LANE_GONE);
	pair_destroy(pair);
}

// A process that was stopped finds what was said meanwhile; so does one that had other things to
// do.
static void test_who_did_not_look_blames_nobody(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 8);

	(void)state;
	pair_now_us += 100 * PAIR_SILENCE_US;
	assert_int_equal(last_news(pair->daemon), LANE_NOTHING);
	assert_int_equal(last_news(pair->process), LANE_NOTHING);
	pair_destroy(pair);
}

static void test_what_was_written_before_the_end_is_read(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 64);
	static uint8_t much[CHANNEL_STREAM], back[CHANNEL_STREAM];

	(void)state;
	pair_open(pair, 0);
	assert_int_equal(post_data(pair->process, 0, much, sizeof(much)), CHANNEL_STREAM);
	post(pair->process, LANE_POST_END, 0);
	lane_destroy(pair->process);
	pair->process = NULL;
	last_news(pair->daemon);
	assert_int_equal(last_news(pair->daemon), LANE_GONE);
	assert_int_equal(take(pair->daemon, 0, back, sizeof(back)), CHANNEL_STREAM);
	pair_destroy(pair);
}

// --- a socket that takes nothing -----------------------------------------------------------------

// Of forty connections nobody reads; what cannot be written waits within bounds, and all arrives.
static void test_a_full_socket_refuses_octets_and_nothing_else(void **state)
{
	enum { SLOTS = 40 };
	static uint8_t much[CHANNEL_STREAM], back[CHANNEL_STREAM];
	struct pair *pair = pair_create(STREAM, SLOTS, SLOTS * CHANNEL_CHUNKS);
	uint32_t sent[SLOTS] = {0}, came[SLOTS] = {0}, all = 0;
	bool refused = false;

	(void)state;
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		pair_open(pair, slot);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		sent[slot] = (uint32_t)post_data(pair->daemon, slot, much, sizeof(much));
		refused |= sent[slot] < sizeof(much);
	}
	assert_true(refused && stream_lane_waits(pair->daemon));
	for (unsigned round = 0; round < 10000 && all < SLOTS; round++) {
		pair_settle(pair);
		all = 0;
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			came[slot] += take(pair->process, slot, back, sizeof(back));
			if (sent[slot] < sizeof(much))
				sent[slot] += (uint32_t)post_data(pair->daemon, slot,
					much + sent[slot], (uint32_t)sizeof(much) - sent[slot]);
			if (sent[slot] == sizeof(much) && !(came[slot] < sizeof(much))) {
				post(pair->daemon, LANE_POST_END, slot);
				all++;
			}
		}
	}
	assert_int_equal(all, SLOTS);
	pair_settle(pair);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		struct lane_slot ended;

		lane_slot(pair->process, slot, &ended);
		assert_true(ended.ended);
	}
	pair_destroy(pair);
}

// --- frames that no honest side writes -----------------------------------------------------------

// Slot 0 has a life of generation 1, in which the process has sent nothing.
static const struct {
	const char *why;
	struct frame_head head;
	unsigned octets;
} lies[] = {
	{"a kind that is none", {.kind = FRAME_KINDS}, 0},
	{"something reserved", {.kind = FRAME_BEAT, .reserved = 1}, 0},
	{"a flag that is none", {.kind = FRAME_END, .flags = 1, .generation = 1}, 0},
	{"a slot that is none", {.kind = FRAME_END, .slot = 2, .generation = 1}, 0},
	{"a slot of nothing", {.kind = FRAME_BEAT, .slot = 1}, 0},
	{"a slot that never lived", {.kind = FRAME_END, .slot = 1, .generation = 1}, 0},
	{"no life", {.kind = FRAME_END}, 0},
	{"a life to come", {.kind = FRAME_END, .generation = 2}, 0},
	{"an opening", {.kind = FRAME_OPEN, .generation = 2, .value = 56}, 56},
	{"a process that makes connections stand", {.kind = FRAME_READY, .generation = 1}, 0},
	{"no octets", {.kind = FRAME_DATA, .generation = 1}, 0},
	{"too many octets", {.kind = FRAME_DATA, .generation = 1, .value = FRAME_DATA_MAX + 1}, 0},
	{"taken and never sent", {.kind = FRAME_TAKEN, .generation = 1, .value = 1}, 0},
	{"a message too long", {.kind = FRAME_MESSAGE, .value = CHANNEL_MESSAGE_MAX + 8}, 0},
	{"a message that is none", {.kind = FRAME_MESSAGE, .value = 16}, 16},
	{"a message of no length", {.kind = FRAME_MESSAGE}, 0},
};

static void test_a_lie_ends_the_lane(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct pair *pair = pair_create(STREAM, 2, 8);
		static const uint8_t octets[64];
		int fd = stream_lane_fd(pair->process);

		pair_open(pair, 0);
		assert_int_equal(send(fd, &lies[i].head, sizeof(lies[i].head), 0), 16);
		assert_int_equal(send(fd, octets, lies[i].octets, 0), lies[i].octets);
		if (last_news(pair->daemon) != LANE_BROKEN)
			fail_msg("%s", lies[i].why);
		assert_int_equal(last_news(pair->daemon), LANE_BROKEN);
		pair_destroy(pair);
	}
}

static void test_octets_without_credit_end_the_lane(void **state)
{
	static uint8_t octets[FRAME_DATA_MAX];

	(void)state;
	// Of the stream, then of all streams together.
	for (uint32_t chunks = 8; chunks <= 64; chunks += 56) {
		struct pair *pair = pair_create(STREAM, 2, chunks);
		struct frame_head head = {
			.kind = FRAME_DATA, .generation = 1, .value = sizeof(octets)};
		unsigned frames = 0;

		pair_open(pair, 0);
		for (; last_news(pair->daemon) == LANE_NOTHING && frames < 100; frames++) {
			assert_true(send(stream_lane_fd(pair->process), &head, 16, 0) == 16);
			assert_true(send(stream_lane_fd(pair->process), octets, sizeof(octets),
					    0) == sizeof(octets));
		}
		assert_int_equal(last_news(pair->daemon), LANE_BROKEN);
		assert_int_equal(frames, chunks == 8 ? 3 : 5);
		pair_destroy(pair);
	}
}

static void test_nothing_follows_a_close(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 8);
	const struct frame_head head = {.kind = FRAME_END, .generation = 1};

	(void)state;
	pair_open(pair, 0);
	post(pair->process, LANE_POST_CLOSE, 0);
	pair_settle(pair);
	assert_int_equal(send(stream_lane_fd(pair->process), &head, sizeof(head), 0), 16);
	assert_int_equal(last_news(pair->daemon), LANE_BROKEN);
	pair_destroy(pair);
}

// Mended by the next life: what belongs to the last is passed over.
static void test_what_was_on_its_way_of_a_life_before_is_passed_over(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 8);
	struct lane_slot slot;

	(void)state;
	pair_open(pair, 0);
	post_data(pair->process, 0, "of the first life", 17);
	post(pair->daemon, LANE_POST_CLOSE, 0);
	pair_open(pair, 0);
	assert_int_equal(post_data(pair->process, 0, "of the second", 13), 13);
	pair_settle(pair);
	lane_slot(pair->daemon, 0, &slot);
	assert_int_equal(slot.came, 13);
	pair_destroy(pair);
}

// Frames as a whole, cut and put together in every way.
static void test_frames_may_come_in_pieces(void **state)
{
	struct pair *pair = pair_create(STREAM, 2, 8);
	struct frame_head heads[2] = {
		{.kind = FRAME_DATA, .generation = 1, .value = 5},
		{.kind = FRAME_END, .generation = 1},
	};
	uint8_t bytes[37], data[8];
	struct lane_slot slot;

	(void)state;
	pair_open(pair, 0);
	memcpy(bytes, &heads[0], 16);
	memcpy(bytes + 16, "hello", 5);
	memcpy(bytes + 21, &heads[1], 16);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(send(stream_lane_fd(pair->process), bytes + i, 1, 0), 1);
		assert_int_equal(last_news(pair->daemon), LANE_NOTHING);
	}
	lane_slot(pair->daemon, 0, &slot);
	assert_true(slot.came == 5 && slot.ended);
	assert_int_equal(take(pair->daemon, 0, data, 8), 5);
	assert_memory_equal(data, "hello", 5);
	pair_destroy(pair);
}

int test_stream(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_has_nothing_to_say_says_so),
		cmocka_unit_test(test_who_is_silent_is_gone_in_time),
		cmocka_unit_test(test_who_did_not_look_blames_nobody),
		cmocka_unit_test(test_what_was_written_before_the_end_is_read),
		cmocka_unit_test(test_a_full_socket_refuses_octets_and_nothing_else),
		cmocka_unit_test(test_a_lie_ends_the_lane),
		cmocka_unit_test(test_octets_without_credit_end_the_lane),
		cmocka_unit_test(test_nothing_follows_a_close),
		cmocka_unit_test(test_what_was_on_its_way_of_a_life_before_is_passed_over),
		cmocka_unit_test(test_frames_may_come_in_pieces),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
