// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The two octet streams of a slot.
//
//        reclaimed   taken            head
//            │─────────│───────────────│      of this side's stream
//   chunks   [ chunk ][ chunk ][ chunk ]      its own, from its arena
//
// Chunks that the other side has read to their end go back to the arena; when it has read
// everything, the one in use goes, too, so an idle connection holds none.

#include <errno.h>
#include <string.h>

#include "channel/shared_state.h"

static struct channel_half *half(struct shared_lane *lane, uint32_t slot, enum channel_side side)
{
	return &lane->shared[slot].of[side];
}

static uint8_t *chunk_at(struct shared_lane *lane, enum channel_side side, uint32_t chunk)
{
	return lane->memory + lane->layout.chunks[side] + (size_t)chunk * CHANNEL_CHUNK;
}

static unsigned place_of(uint32_t octet)
{
	return octet / CHANNEL_CHUNK % CHANNEL_CHUNKS;
}

static void give_back(struct shared_lane *lane, struct shared_slot *own, unsigned place)
{
	if (own->chunks[place] == ARENA_NONE)
		return;
	arena_give(&lane->arena, own->chunks[place]);
	own->chunks[place] = ARENA_NONE;
}

static void reclaim(struct shared_lane *lane, struct shared_slot *own, uint32_t taken)
{
	for (uint32_t at = own->taken; at / CHANNEL_CHUNK != taken / CHANNEL_CHUNK;
		at += CHANNEL_CHUNK)
		give_back(lane, own, place_of(at));
	own->taken = taken;
	if (taken == own->head)
		give_back(lane, own, place_of(taken));
}

bool shared_stream_joined(const struct shared_lane *lane, uint32_t slot)
{
	const struct channel_half *theirs = &lane->shared[slot].of[shared_other(lane)];

	return atomic_load_explicit(&theirs->generation, memory_order_acquire) ==
	       lane->slots[slot].generation;
}

void shared_stream_begin(struct shared_lane *lane, uint32_t slot, uint32_t generation)
{
	struct channel_half *mine = half(lane, slot, lane->lane.side);
	struct shared_slot *own = &lane->slots[slot];

	for (unsigned i = 0; i < CHANNEL_CHUNKS; i++)
		give_back(lane, own, i);
	own->head = own->taken = own->tail = own->came = own->flags = 0;
	own->generation = generation;
	atomic_store_explicit(&mine->head, 0, memory_order_relaxed);
	atomic_store_explicit(&mine->tail, 0, memory_order_relaxed);
	atomic_store_explicit(&mine->flags, 0, memory_order_relaxed);
	atomic_store_explicit(&mine->generation, generation, memory_order_release);
}

bool shared_stream_look(struct shared_lane *lane, uint32_t slot)
{
	struct channel_half *theirs = half(lane, slot, shared_other(lane));
	struct shared_slot *own = &lane->slots[slot];
	uint32_t head, taken;

	if (!shared_stream_joined(lane, slot))
		return true;
	head = atomic_load_explicit(&theirs->head, memory_order_acquire);
	taken = atomic_load_explicit(&theirs->tail, memory_order_acquire);
	if (head - own->tail > CHANNEL_STREAM || head - own->tail < own->came - own->tail ||
		taken - own->taken > own->head - own->taken) {
		lane->broken = true;
		return false;
	}
	own->came = head;
	reclaim(lane, own, taken);
	return true;
}

uint32_t shared_stream_room(const struct shared_slot *own)
{
	return CHANNEL_STREAM - own->taken % CHANNEL_CHUNK - (own->head - own->taken);
}

// A chunk for the next octet. False: there is none.
static bool provide(struct shared_lane *lane, uint32_t slot)
{
	struct shared_slot *own = &lane->slots[slot];
	unsigned place = place_of(own->head);

	if (own->chunks[place] != ARENA_NONE)
		return true;
	own->chunks[place] = arena_take(&lane->arena);
	if (own->chunks[place] == ARENA_NONE)
		return false;
	atomic_store_explicit(&half(lane, slot, lane->lane.side)->chunks[place], own->chunks[place],
		memory_order_relaxed);
	return true;
}

static uint32_t put_span(struct shared_lane *lane, uint32_t slot, const struct lane_span *span)
{
	struct shared_slot *own = &lane->slots[slot];
	uint32_t done = 0;

	while (done < span->length) {
		uint32_t room = shared_stream_room(own);
		uint32_t offset = own->head % CHANNEL_CHUNK, n = CHANNEL_CHUNK - offset;

		n = n < room ? n : room;
		n = n < span->length - done ? n : span->length - done;
		if (n == 0 || !provide(lane, slot))
			break;
		memcpy(chunk_at(lane, lane->lane.side, own->chunks[place_of(own->head)]) + offset,
			(const uint8_t *)span->data + done, n);
		own->head += n;
		done += n;
	}
	return done;
}

// Octets found no chunk although the stream has room: told when there are some again.
static void starve(struct shared_lane *lane, uint32_t slot)
{
	struct shared_slot *own = &lane->slots[slot];

	if (own->starved)
		return;
	own->starved = true;
	own->starved_next = lane->starved_first;
	lane->starved_first = slot;
}

int shared_stream_put(
	struct shared_lane *lane, uint32_t slot, const struct lane_span *spans, unsigned count)
{
	struct channel_half *mine = half(lane, slot, lane->lane.side);
	struct shared_slot *own = &lane->slots[slot];
	uint32_t begin = own->head;

	if (!shared_stream_look(lane, slot))
		return -EPIPE;
	for (unsigned i = 0; i < count; i++)
		if (put_span(lane, slot, &spans[i]) < spans[i].length) {
			if (shared_stream_room(own) > 0)
				starve(lane, slot);
			break;
		}
	if (own->head == begin)
		return 0;
	// Where chunks are short, whoever holds some hears of their return.
	own->flags &= ~(uint32_t)CHANNEL_HUNGRY;
	if (lane->arena.count < lane->arena.size / 4)
		own->flags |= CHANNEL_HUNGRY;
	atomic_store_explicit(&mine->flags, own->flags, memory_order_relaxed);
	atomic_store_explicit(&mine->head, own->head, memory_order_release);
	shared_notify(lane, slot);
	return (int)(own->head - begin);
}

void shared_stream_taken(struct shared_lane *lane, uint32_t slot, uint32_t octets)
{
	enum channel_side other = shared_other(lane);
	struct shared_slot *own = &lane->slots[slot];

	own->tail += octets;
	atomic_store_explicit(
		&half(lane, slot, lane->lane.side)->tail, own->tail, memory_order_release);
	// Hungry is said before the head or the look that found no room; either this sees it, or it
	// sees the tail.
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&half(lane, slot, other)->flags, memory_order_acquire) &
		CHANNEL_HUNGRY)
		shared_notify(lane, slot);
}

unsigned shared_stream_peek(
	struct lane *base, uint32_t slot, uint32_t skip, struct lane_span *ret_spans, unsigned max)
{
	struct shared_lane *lane = (struct shared_lane *)base;
	struct channel_half *theirs = half(lane, slot, shared_other(lane));
	const struct shared_slot *own = &lane->slots[slot];
	uint32_t at = own->tail + skip;
	unsigned count = 0;

	if (skip >= own->came - own->tail)
		return 0;
	while (at != own->came && count < max) {
		uint32_t chunk =
			atomic_load_explicit(&theirs->chunks[place_of(at)], memory_order_relaxed);
		uint32_t offset = at % CHANNEL_CHUNK, n = CHANNEL_CHUNK - offset;

		if (chunk >= lane->chunks) {
			lane->broken = true;
			return 0;
		}
		n = n < own->came - at ? n : own->came - at;
		ret_spans[count++] =
			(struct lane_span){chunk_at(lane, shared_other(lane), chunk) + offset, n};
		at += n;
	}
	return count;
}
