// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "channel_tests.h"

static void woken(void *ctx)
{
	((struct pair *)ctx)->wakes++;
}

struct pair *pair_create(uint32_t slots, uint32_t chunks)
{
	const struct shared_geometry geometry = {slots, chunks};
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	pair->bytes = shared_size(&geometry);
	assert_true(pair->bytes > 0 && pair->bytes % 4096 == 0);
	pair->memory = aligned_alloc(4096, pair->bytes);
	assert_non_null(pair->memory);
	memset(pair->memory, 0, pair->bytes);
	assert_int_equal(shared_create(pair->memory, &geometry, 7, woken, pair, &pair->daemon), 0);
	assert_int_equal(shared_attach(pair->memory, pair->bytes, &pair->process), 0);
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

void expect_news(struct lane *lane, enum lane_what what, uint32_t slot)
{
	struct lane_news news;

	lane_poll(lane, &news);
	assert_int_equal(news.what, what);
	if (what == LANE_OPENED || what == LANE_MOVED)
		assert_int_equal(news.slot, slot);
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
