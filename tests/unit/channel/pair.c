// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "channel_tests.h"

uint64_t pair_now_us = 1000000;

static uint64_t now_us(void)
{
	return pair_now_us;
}

static void woken(void *ctx)
{
	((struct pair *)ctx)->wakes++;
}

static void flush(void *lane)
{
	stream_lane_flush(*(struct lane **)lane);
}

static void make_shared(struct pair *pair, uint32_t slots, uint32_t chunks)
{
	const struct shared_geometry geometry = {slots, chunks};

	pair->bytes = shared_size(&geometry);
	assert_true(pair->bytes > 0 && pair->bytes % 4096 == 0);
	pair->memory = aligned_alloc(4096, pair->bytes);
	assert_non_null(pair->memory);
	memset(pair->memory, 0, pair->bytes);
	assert_int_equal(shared_create(pair->memory, &geometry, 7, woken, pair, &pair->daemon), 0);
	assert_int_equal(shared_attach(pair->memory, pair->bytes, &pair->process), 0);
}

static void make_stream(struct pair *pair, uint32_t slots, uint32_t chunks)
{
	struct lane **lanes[] = {&pair->daemon, &pair->process};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	for (unsigned i = 0; i < 2; i++) {
		const struct stream_lane_config config = {
			.fd = fds[i],
			.side = i == 0 ? CHANNEL_DAEMON : CHANNEL_PROCESS,
			.slots = slots,
			.chunks = chunks,
			.silence_us = PAIR_SILENCE_US,
			.now_us = now_us,
			.wake = flush,
			.ctx = lanes[i],
		};

		assert_int_equal(stream_lane_create(&config, lanes[i]), 0);
	}
}

struct pair *pair_create(enum transport transport, uint32_t slots, uint32_t chunks)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	pair->transport = transport;
	if (transport == SHARED)
		make_shared(pair, slots, chunks);
	else
		make_stream(pair, slots, chunks);
	return pair;
}

void pair_destroy(struct pair *pair)
{
	lane_destroy(pair->daemon);
	lane_destroy(pair->process);
	free(pair->memory);
	free(pair);
}

void pair_open(struct pair *pair, uint32_t slot)
{
	const struct lane_opened opened = {
		.listener = 3,
		.local = {.address = {198, 18, 0, 1}, .port = 1883},
		.remote = {.address = {198, 18, 0, 2}, .port = 40000},
	};

	assert_int_equal(lane_post(pair->daemon,
				 &(struct lane_item){
					 .what = LANE_POST_OPEN, .slot = slot, .opened = &opened}),
		0);
	expect_news(pair->process, LANE_OPENED, slot);
}

static bool drain(struct lane *lane)
{
	bool any = false;

	for (;;) {
		struct lane_news news;

		lane_poll(lane, &news);
		assert_true(news.what != LANE_BROKEN && news.what != LANE_GONE);
		if (news.what == LANE_NOTHING)
			return any;
		any = true;
	}
}

void pair_settle(struct pair *pair)
{
	while (drain(pair->daemon) || drain(pair->process))
		;
}

bool pair_is_awake(struct pair *pair)
{
	struct pollfd fd = {.events = POLLIN};
	unsigned wakes = pair->wakes;

	if (pair->transport == SHARED) {
		pair->wakes = 0;
		return wakes > 0;
	}
	fd.fd = stream_lane_fd(pair->process);
	return poll(&fd, 1, 0) == 1;
}

void expect_news(struct lane *lane, enum lane_what what, uint32_t slot)
{
	struct lane_news news;
	bool found = what == LANE_NOTHING;

	for (lane_poll(lane, &news); news.what != LANE_NOTHING; lane_poll(lane, &news)) {
		bool of_slot = news.what == LANE_OPENED || news.what == LANE_MOVED;

		assert_int_not_equal(what, LANE_NOTHING);
		found |= news.what == what && (!of_slot || news.slot == slot);
		if (news.what == LANE_BROKEN || news.what == LANE_GONE)
			break;
	}
	assert_true(found);
}

int post_data(struct lane *lane, uint32_t slot, const void *data, uint32_t length)
{
	const struct lane_span span = {data, length};

	return lane_post(lane,
		&(struct lane_item){
			.what = LANE_POST_DATA, .slot = slot, .spans = &span, .spans_count = 1});
}

int post(struct lane *lane, enum lane_post what, uint32_t slot)
{
	return lane_post(lane, &(struct lane_item){.what = what, .slot = slot});
}

uint32_t take(struct lane *lane, uint32_t slot, uint8_t *data, uint32_t max)
{
	struct lane_item taken = {.what = LANE_POST_TAKEN, .slot = slot};
	struct lane_span spans[LANE_SPANS];
	unsigned count = lane_peek(lane, slot, 0, spans, LANE_SPANS);

	for (unsigned i = 0; i < count && taken.octets < max; i++) {
		uint32_t n = spans[i].length;

		n = n < max - taken.octets ? n : max - taken.octets;
		memcpy(data + taken.octets, spans[i].data, n);
		taken.octets += n;
	}
	if (taken.octets > 0)
		lane_post(lane, &taken);
	return taken.octets;
}
