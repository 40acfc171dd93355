// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The four calls over a stream socket, how a lane begins, and how a side knows that the other is
// there still.

#include "channel/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/layout.h"
#include "channel/stream_state.h"

// What is taken and of no urgency is told after so long.
#define SOON_US 10000

// --- posting -------------------------------------------------------------------------------------

void stream_life(struct stream_lane *lane, struct stream_slot *own, uint32_t generation)
{
	stream_in_drop(lane, own);
	stream_credit_return(lane, own);
	own->generation = generation;
	// What was to be told of the life before is told with this one's beginning.
	own->flags = STREAM_LIVES;
	own->head = own->taken = own->tail = own->came = own->told = 0;
	own->error = own->close_error = 0;
}

static void begin(struct stream_lane *lane, uint32_t slot, const struct lane_opened *opened)
{
	struct stream_slot *own = &lane->slots[slot];

	// 0 is of slots that never lived.
	stream_life(lane, own, own->generation + 1 != 0 ? own->generation + 1 : 1);
	own->opened = *opened;
	stream_tell(lane, slot, STREAM_TELL_OPEN, true);
}

static void end(struct stream_lane *lane, uint32_t slot, int error)
{
	struct stream_slot *own = &lane->slots[slot];

	own->flags |= STREAM_ENDED | STREAM_CLOSED;
	own->close_error = error;
	stream_tell(lane, slot, STREAM_TELL_CLOSE, true);
	stream_in_drop(lane, own);
}

static void be_hungry(struct stream_lane *lane, uint32_t slot)
{
	struct stream_slot *own = &lane->slots[slot];

	// Room in what waits to be written is no news of the other side's.
	if (stream_out_full(lane))
		stream_starve(lane, slot);
	if (own->flags & (STREAM_HUNGRY | STREAM_IS_CLOSED))
		return;
	own->flags |= STREAM_HUNGRY;
	stream_tell(lane, slot, STREAM_TELL_HUNGRY, true);
}

static int post_to_slot(struct stream_lane *lane, const struct lane_item *item)
{
	struct stream_slot *own = &lane->slots[item->slot];

	if (item->what == LANE_POST_OPEN) {
		begin(lane, item->slot, item->opened);
		return 0;
	}
	if (own->flags & STREAM_CLOSED || !(own->flags & STREAM_LIVES))
		return -EPIPE;
	switch (item->what) {
	case LANE_POST_DATA:
		if (own->flags & STREAM_ENDED)
			return -EPIPE;
		return stream_out_data(lane, item->slot, item->spans, item->spans_count);
	case LANE_POST_TAKEN:
		stream_in_taken(lane, item->slot, item->octets);
		break;
	case LANE_POST_END:
		if (own->flags & STREAM_ENDED)
			break;
		own->flags |= STREAM_ENDED;
		stream_tell(lane, item->slot, STREAM_TELL_END, true);
		break;
	case LANE_POST_CLOSE:
		end(lane, item->slot, item->error);
		break;
	case LANE_POST_READY:
		stream_tell(lane, item->slot, STREAM_TELL_READY, true);
		break;
	case LANE_POST_HUNGRY:
		be_hungry(lane, item->slot);
		break;
	default:
		break;
	}
	return 0;
}

static int post(struct lane *base, const struct lane_item *item)
{
	struct stream_lane *lane = stream_of_lane(base);

	if (lane->broken || lane->mute)
		return -EPIPE;
	if (item->what == LANE_POST_MESSAGE)
		return stream_out_message(lane, item->message);
	return post_to_slot(lane, item);
}

// --- looking -------------------------------------------------------------------------------------

uint64_t stream_lane_beat_us(const struct lane *base)
{
	return ((const struct stream_lane *)base)->config.silence_us / 4;
}

// Nothing has come just now.
static void mind_the_time(struct stream_lane *lane)
{
	uint64_t now_us = lane->config.now_us(), beat_us = stream_lane_beat_us(&lane->lane);
	const struct frame_head beat = {.kind = FRAME_BEAT};

	// Who has not looked for a while cannot say that the other was silent.
	if (now_us - lane->polled_us > beat_us)
		lane->heard_us += now_us - lane->polled_us;
	lane->polled_us = now_us;
	if (now_us > lane->heard_us && now_us - lane->heard_us > lane->config.silence_us)
		lane->gone = true;
	if (lane->telling.first != STREAM_NOWHERE && beat_us > SOON_US)
		beat_us = SOON_US;
	if (lane->mute || now_us - lane->said_us < beat_us)
		return;
	lane->said_us = now_us;
	if (lane->out_head == lane->out_tail)
		stream_out_frame(lane, &beat, NULL);
}

static void read_more(struct stream_lane *lane, struct lane_news *ret_news)
{
	while (!lane->drained && !lane->gone && ret_news->what == LANE_NOTHING && !lane->broken) {
		stream_in_read(lane);
		stream_in_next(lane, ret_news);
	}
	if (ret_news->what != LANE_NOTHING)
		return;
	mind_the_time(lane);
	lane->drained = false;
	// What the socket has not taken, or nobody has thought urgent.
	if (lane->out_head != lane->out_tail && lane->config.wake != NULL)
		lane->config.wake(lane->config.ctx);
}

static void poll(struct lane *base, struct lane_news *ret_news)
{
	struct stream_lane *lane = stream_of_lane(base);
	uint32_t slot;

	stream_in_next(lane, ret_news);
	if (!lane->broken && ret_news->what == LANE_NOTHING)
		read_more(lane, ret_news);
	if (!lane->broken && ret_news->what == LANE_NOTHING && stream_starved(lane, &slot)) {
		ret_news->what = LANE_MOVED;
		ret_news->slot = slot;
	}
	if (lane->broken)
		ret_news->what = LANE_BROKEN;
	else if (lane->gone && ret_news->what == LANE_NOTHING)
		ret_news->what = LANE_GONE;
}

static void look(struct lane *base, uint32_t slot, struct lane_slot *ret_slot)
{
	struct stream_lane *lane = stream_of_lane(base);
	const struct stream_slot *own = &lane->slots[slot];

	*ret_slot = (struct lane_slot){
		.generation = own->generation,
		.open = (own->flags & STREAM_LIVES) && !(own->flags & STREAM_CLOSED),
		.ended = (own->flags & STREAM_IS_ENDED) != 0,
		.closed = (own->flags & STREAM_IS_CLOSED) != 0,
		.ready = (own->flags & STREAM_IS_READY) != 0,
		.error = own->error,
		.came = own->came - own->tail,
		.sent = own->head - own->taken,
		.room = stream_room(lane, own),
		.opened = own->opened,
	};
}

static bool arm(struct lane *base)
{
	struct stream_lane *lane = stream_of_lane(base);

	if (stream_lane_waits(base))
		stream_lane_flush(base);
	return !lane->broken && !lane->gone && stream_in_idle(lane) && !stream_starved_any(lane);
}

// Who does not sleep reads as well.
static void disarm(struct lane *base)
{
	(void)base;
}

int stream_lane_fd(const struct lane *base)
{
	return ((const struct stream_lane *)base)->config.fd;
}

// --- beginning and end ---------------------------------------------------------------------------

static void lane_free(struct stream_lane *lane)
{
	arena_fini(&lane->arena);
	free(lane->chunks);
	free(lane->slots);
	free(lane->out);
	free(lane->in);
	free(lane);
}

// What was posted is on its way as far as the socket takes it.
static void destroy(struct lane *base)
{
	struct stream_lane *lane = stream_of_lane(base);

	if (stream_lane_waits(base))
		stream_lane_flush(base);
	close(lane->config.fd);
	lane_free(lane);
}

void stream_lane_forget(struct lane *base)
{
	close(stream_of_lane(base)->config.fd);
}

static const struct lane_ops ops = {
	.post = post,
	.poll = poll,
	.arm = arm,
	.disarm = disarm,
	.slot = look,
	.peek = stream_in_peek,
	.destroy = destroy,
};

static struct stream_lane *make(const struct stream_lane_config *config)
{
	struct stream_lane *lane = calloc(1, sizeof(*lane));

	if (lane == NULL)
		return NULL;
	lane->slots = calloc(config->slots, sizeof(*lane->slots));
	lane->chunks = malloc((size_t)config->chunks * CHANNEL_CHUNK);
	lane->out = malloc(STREAM_OUT);
	lane->in = malloc(STREAM_IN);
	if (lane->slots == NULL || lane->chunks == NULL || lane->out == NULL || lane->in == NULL ||
		arena_init(&lane->arena, config->chunks) < 0) {
		lane_free(lane);
		return NULL;
	}
	for (uint32_t i = 0; i < config->slots; i++) {
		lane->slots[i].telling_next = lane->slots[i].starved_next = STREAM_NOWHERE;
		for (unsigned k = 0; k < CHANNEL_CHUNKS; k++)
			lane->slots[i].chunks[k] = ARENA_NONE;
	}
	return lane;
}

int stream_lane_create(const struct stream_lane_config *config, struct lane **ret_lane)
{
	struct stream_lane *lane;
	struct layout layout;
	const int on = 1;

	if (!layout_of(config->slots, config->chunks, &layout) ||
		config->silence_us < (uint64_t)STREAM_SILENCE_MIN_MS * 1000)
		return -EINVAL;
	lane = make(config);
	if (lane == NULL)
		return -ENOMEM;
	lane->lane = (struct lane){&ops, config->side, config->slots};
	lane->config = *config;
	lane->credits = config->chunks;
	lane->telling = lane->starved = (struct stream_list){STREAM_NOWHERE, STREAM_NOWHERE};
	lane->heard_us = lane->said_us = lane->polled_us = config->now_us();
	// What is flushed goes at once. Of a unix socket, where that is so, it is refused.
	setsockopt(config->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*ret_lane = &lane->lane;
	return 0;
}
