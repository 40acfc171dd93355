// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The four calls, and how a lane begins.

#include "channel/shared.h"

#include <errno.h>
#include <string.h>

#include "channel/shared_state.h"

size_t shared_size(const struct shared_geometry *geometry)
{
	struct layout layout;

	return layout_of(geometry->slots, geometry->chunks, &layout) ? layout.bytes : 0;
}

// --- posting -------------------------------------------------------------------------------------

static void say(struct shared_lane *lane, uint32_t slot, uint32_t flags)
{
	struct shared_slot *own = &lane->slots[slot];

	own->flags |= flags;
	atomic_store_explicit(
		&lane->shared[slot].of[lane->lane.side].flags, own->flags, memory_order_release);
}

static void put_address(const struct channel_endpoint *from, struct channel_address *to)
{
	memset(to, 0, sizeof(*to));
	memcpy(to->address, from->address, from->ipv6 ? 16 : 4);
	to->port = from->port;
	to->ipv6 = from->ipv6;
}

static void begin(struct shared_lane *lane, uint32_t slot, const struct lane_opened *opened)
{
	struct channel_slot *shared = &lane->shared[slot];

	shared->listener = opened->listener;
	shared->kind = opened->kind;
	put_address(&opened->local, &shared->local);
	put_address(&opened->remote, &shared->remote);
	// 0 is of slots that never lived.
	shared_stream_begin(lane, slot,
		lane->slots[slot].generation + 1 != 0 ? lane->slots[slot].generation + 1 : 1);
	shared_notify(lane, slot);
}

static void end(struct shared_lane *lane, uint32_t slot, int error)
{
	struct channel_half *mine = &lane->shared[slot].of[lane->lane.side];

	mine->error = (uint32_t)error;
	// What was sent and is not read yet is given back when the other side has done with it.
	say(lane, slot,
		CHANNEL_END | CHANNEL_CLOSED | CHANNEL_HUNGRY | (error ? CHANNEL_RESET : 0));
	shared_notify(lane, slot);
}

static int post_to_slot(struct shared_lane *lane, const struct lane_item *item)
{
	uint32_t slot = item->slot;

	if (item->what == LANE_POST_OPEN) {
		begin(lane, slot, item->opened);
		return 0;
	}
	if (lane->slots[slot].flags & CHANNEL_CLOSED)
		return -EPIPE;
	switch (item->what) {
	case LANE_POST_DATA:
		if (lane->slots[slot].flags & CHANNEL_END)
			return -EPIPE;
		return shared_stream_put(lane, slot, item->spans, item->spans_count);
	case LANE_POST_TAKEN:
		shared_stream_taken(lane, slot, item->octets);
		break;
	case LANE_POST_END:
		say(lane, slot, CHANNEL_END);
		shared_notify(lane, slot);
		break;
	case LANE_POST_CLOSE:
		end(lane, slot, item->error);
		break;
	case LANE_POST_READY:
		say(lane, slot, CHANNEL_READY);
		shared_notify(lane, slot);
		break;
	case LANE_POST_HUNGRY:
		say(lane, slot, CHANNEL_HUNGRY);
		// What was taken before that was said has made no notice.
		atomic_thread_fence(memory_order_seq_cst);
		break;
	default:
		break;
	}
	return 0;
}

static int post(struct lane *base, const struct lane_item *item)
{
	struct shared_lane *lane = (struct shared_lane *)base;

	if (lane->broken)
		return -EPIPE;
	if (item->what == LANE_POST_MESSAGE)
		return shared_message_put(lane, item->message);
	return post_to_slot(lane, item);
}

// --- looking -------------------------------------------------------------------------------------

// Who found no chunk looks again when there are some.
static bool next_starved(struct shared_lane *lane, uint32_t *ret_slot)
{
	uint32_t slot = lane->starved_first;

	if (slot == ARENA_NONE || lane->arena.count < lane->arena.size / 4)
		return false;
	lane->starved_first = lane->slots[slot].starved_next;
	lane->slots[slot].starved = false;
	*ret_slot = slot;
	return true;
}

// A life that the daemon has begun and this side has not joined.
static bool begun(struct shared_lane *lane, uint32_t slot)
{
	uint32_t generation = atomic_load_explicit(
		&lane->shared[slot].of[CHANNEL_DAEMON].generation, memory_order_acquire);

	if (lane->lane.side == CHANNEL_DAEMON || generation == lane->slots[slot].generation)
		return false;
	shared_stream_begin(lane, slot, generation);
	return true;
}

static void moved(struct shared_lane *lane, uint32_t slot, struct lane_news *ret_news)
{
	bool opened = begun(lane, slot);

	if (!shared_stream_look(lane, slot))
		return;
	ret_news->what = opened ? LANE_OPENED : LANE_MOVED;
	ret_news->slot = slot;
}

// The notice comes once for many messages.
static bool next_message(struct shared_lane *lane, struct lane_news *ret_news)
{
	if (!shared_message_take(lane, &ret_news->message))
		return false;
	ret_news->what = LANE_MESSAGE;
	return true;
}

static void poll(struct lane *base, struct lane_news *ret_news)
{
	struct shared_lane *lane = (struct shared_lane *)base;
	uint32_t slot;

	ret_news->what = LANE_NOTHING;
	if (!lane->broken && next_message(lane, ret_news))
		return;
	while (!lane->broken && ret_news->what == LANE_NOTHING && shared_noticed(lane, &slot)) {
		if (slot != CHANNEL_MESSAGES)
			moved(lane, slot, ret_news);
		else if (next_message(lane, ret_news))
			return;
	}
	if (!lane->broken && ret_news->what == LANE_NOTHING && next_starved(lane, &slot))
		moved(lane, slot, ret_news);
	if (lane->broken)
		ret_news->what = LANE_BROKEN;
}

static void get_address(const struct channel_address *from, struct channel_endpoint *to)
{
	memcpy(to->address, from->address, sizeof(to->address));
	to->port = from->port;
	to->ipv6 = from->ipv6 != 0;
}

static void look(struct lane *base, uint32_t slot, struct lane_slot *ret_slot)
{
	struct shared_lane *lane = (struct shared_lane *)base;
	struct channel_slot *shared = &lane->shared[slot];
	struct channel_half *theirs = &shared->of[shared_other(lane)];
	struct shared_slot *own = &lane->slots[slot];
	uint32_t flags = 0;

	memset(ret_slot, 0, sizeof(*ret_slot));
	// Flags first: END means that the head seen afterwards is the last.
	if (shared_stream_joined(lane, slot))
		flags = atomic_load_explicit(&theirs->flags, memory_order_acquire);
	shared_stream_look(lane, slot);
	ret_slot->generation = own->generation;
	ret_slot->open = !(own->flags & CHANNEL_CLOSED) && own->generation != 0;
	ret_slot->ended = (flags & CHANNEL_END) != 0;
	ret_slot->closed = (flags & CHANNEL_CLOSED) != 0;
	ret_slot->ready = (flags & CHANNEL_READY) != 0;
	ret_slot->error = (flags & CHANNEL_RESET) ? (int)(theirs->error & 0xfff) : 0;
	ret_slot->came = own->came - own->tail;
	ret_slot->sent = own->head - own->taken;
	ret_slot->room = shared_stream_room(own);
	ret_slot->opened.kind = (enum channel_slot_kind)(shared->kind & 1);
	ret_slot->opened.listener = shared->listener;
	get_address(&shared->local, &ret_slot->opened.local);
	get_address(&shared->remote, &ret_slot->opened.remote);
}

static bool arm(struct lane *base)
{
	struct shared_lane *lane = (struct shared_lane *)base;

	if (lane->starved_first != ARENA_NONE && lane->arena.count >= lane->arena.size / 4)
		return false;
	return shared_arm(base);
}

// --- beginning and end ---------------------------------------------------------------------------

static void destroy(struct lane *base)
{
	struct shared_lane *lane = (struct shared_lane *)base;

	arena_fini(&lane->arena);
	free(lane->slots);
	free(lane);
}

static const struct lane_ops ops = {
	.post = post,
	.poll = poll,
	.arm = arm,
	.disarm = shared_disarm,
	.slot = look,
	.peek = shared_stream_peek,
	.destroy = destroy,
};

static int make(void *memory, enum channel_side side, uint32_t slots, uint32_t chunks,
	struct shared_lane **ret_lane)
{
	struct shared_lane *lane = calloc(1, sizeof(*lane));

	if (lane == NULL)
		return -ENOMEM;
	lane->lane = (struct lane){&ops, side, slots};
	lane->memory = memory;
	lane->header = memory;
	lane->chunks = chunks;
	lane->starved_first = ARENA_NONE;
	layout_of(slots, chunks, &lane->layout);
	lane->shared = (struct channel_slot *)(lane->memory + lane->layout.slots);
	lane->slots = calloc(slots, sizeof(*lane->slots));
	if (lane->slots == NULL || arena_init(&lane->arena, chunks) < 0) {
		free(lane->slots);
		free(lane);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < slots; i++)
		for (unsigned k = 0; k < CHANNEL_CHUNKS; k++)
			lane->slots[i].chunks[k] = ARENA_NONE;
	*ret_lane = lane;
	return 0;
}

int shared_create(void *memory, const struct shared_geometry *geometry, uint64_t epoch,
	void (*wake)(void *ctx), void *ctx, struct lane **ret_lane)
{
	struct channel_header *header = memory;
	struct shared_lane *lane;
	int rc = make(memory, CHANNEL_DAEMON, geometry->slots, geometry->chunks, &lane);

	if (rc < 0)
		return rc;
	header->magic = CHANNEL_MAGIC;
	header->version = CHANNEL_VERSION;
	header->epoch = epoch;
	header->slots = geometry->slots;
	header->chunks = geometry->chunks;
	header->bytes = lane->layout.bytes;
	lane->wake = wake;
	lane->wake_ctx = ctx;
	*ret_lane = &lane->lane;
	return 0;
}

int shared_attach(void *memory, size_t bytes, struct lane **ret_lane)
{
	const struct channel_header *header = memory;
	struct shared_lane *lane;
	struct layout layout;
	uint32_t slots, chunks;
	int rc;

	if (bytes < sizeof(*header) || header->magic != CHANNEL_MAGIC ||
		header->version != CHANNEL_VERSION)
		return -EPROTO;
	slots = header->slots;
	chunks = header->chunks;
	if (!layout_of(slots, chunks, &layout) || layout.bytes != bytes)
		return -EPROTO;
	rc = make(memory, CHANNEL_PROCESS, slots, chunks, &lane);
	if (rc < 0)
		return rc;
	*ret_lane = &lane->lane;
	return 0;
}
