// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "channel_use.h"

#include <stdlib.h>

static void expect(bool holds)
{
	if (!holds)
		abort();
}

void use_read(struct lane *lane, uint32_t slot, uint32_t at_most)
{
	struct lane_item taken = {.what = LANE_POST_TAKEN, .slot = slot};
	struct lane_span spans[LANE_SPANS];
	unsigned count = lane_peek(lane, slot, 0, spans, LANE_SPANS);
	static volatile uint8_t sink;
	uint32_t came = 0;

	for (unsigned i = 0; i < count; i++) {
		const uint8_t *octets = spans[i].data;

		for (uint32_t n = 0; n < spans[i].length; n += n + 1 < spans[i].length ? 61 : 1)
			sink = octets[n < spans[i].length ? n : spans[i].length - 1];
		came += spans[i].length;
	}
	expect(came <= CHANNEL_STREAM);
	(void)sink;
	taken.octets = came < at_most ? came : at_most;
	if (taken.octets > 0)
		lane_post(lane, &taken);
}

static void use_message(struct lane *lane, uint8_t value)
{
	const struct channel_message message = {.kind = CHANNEL_DONE, .done.error = value};

	lane_post(lane, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = &message});
}

static void use_data(struct lane *lane, uint32_t slot, uint8_t value)
{
	static const uint8_t octets[CHANNEL_STREAM];
	const struct lane_span span = {octets, value < 128 ? value : (value - 127u) * 509};
	const struct lane_item item = {
		.what = LANE_POST_DATA, .slot = slot, .spans = &span, .spans_count = 1};
	int rc = lane_post(lane, &item);

	expect(rc <= (int)span.length);
}

void use_call(struct lane *lane, uint8_t what, uint8_t value)
{
	static const enum lane_post calls[] = {
		LANE_POST_END, LANE_POST_CLOSE, LANE_POST_HUNGRY, LANE_POST_OPEN};
	static const struct lane_opened opened = {.listener = 1};
	uint32_t slot = (what >> 4) % lane->slots;
	enum lane_post call;
	struct lane_slot state;

	lane_slot(lane, slot, &state);
	expect(state.room <= CHANNEL_STREAM && state.sent <= CHANNEL_STREAM);
	switch (what & 7) {
	case 0:
		use_read(lane, slot, value * 300u);
		break;
	case 1:
		use_data(lane, slot, value);
		break;
	case 2:
		use_message(lane, value);
		break;
	case 3:
		if (lane_arm(lane))
			lane_disarm(lane);
		break;
	default:
		call = calls[what & 3];
		if (call == LANE_POST_OPEN && lane->side != CHANNEL_DAEMON)
			break;
		if (call == LANE_POST_OPEN && state.open && (value & 1))
			call = LANE_POST_READY;
		lane_post(lane, &(struct lane_item){.what = call,
					.slot = slot,
					.opened = call == LANE_POST_OPEN ? &opened : NULL});
		break;
	}
}

bool use_poll(struct lane *lane)
{
	for (unsigned i = 0; i < 4096; i++) {
		struct lane_news news;

		lane_poll(lane, &news);
		if (news.what == LANE_NOTHING)
			return true;
		if (news.what == LANE_BROKEN || news.what == LANE_GONE)
			return false;
		if (news.what != LANE_MESSAGE)
			expect(news.slot < lane->slots);
	}
	return true;
}
