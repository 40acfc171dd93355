// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A side's own memory beside what it shares: what it has written itself it never reads back from
// there, and what the other has written counts from the look on that found it in order. Internal to
// the floor.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "channel/arena.h"
#include "channel/lane.h"
#include "channel/layout.h"

struct shared_slot {
	uint32_t generation;		 // of the life that this side takes part in
	uint32_t head;			 // of this side's stream
	uint32_t taken;			 // of it, by the other side
	uint32_t tail;			 // of the other's stream, read by this side
	uint32_t came;			 // of the other's stream: its head
	uint32_t flags;			 // of this side
	uint32_t chunks[CHANNEL_CHUNKS]; // of this side; ARENA_NONE: none
	uint32_t starved_next;		 // in the list of those who wait for chunks
	bool starved;
};

struct shared_lane {
	struct lane lane;
	uint8_t *memory;
	struct channel_header *header;
	struct channel_slot *shared; // slots
	struct shared_slot *slots;
	struct layout layout;
	uint64_t epoch;
	uint32_t chunks; // of a side
	struct arena arena;
	// Slots whose octets found no chunk, and are told when there are some.
	uint32_t starved_first; // ARENA_NONE: nobody
	bool broken;
	// Heads and tails of the rings as this side knows them.
	uint32_t messages_head, messages_tail;
	uint32_t notices_head, notices_tail;
	void (*wake)(void *ctx);
	void *wake_ctx;
};

static inline enum channel_side shared_other(const struct shared_lane *lane)
{
	return lane->lane.side == CHANNEL_DAEMON ? CHANNEL_PROCESS : CHANNEL_DAEMON;
}

static inline struct channel_words *shared_mine(struct shared_lane *lane)
{
	return &lane->header->of[lane->lane.side];
}

static inline struct channel_words *shared_theirs(struct shared_lane *lane)
{
	return &lane->header->of[shared_other(lane)];
}

// --- notices (shared_notice.c) -------------------------------------------------------------------

// The other side is told to look at the slot, or at the messages.
void shared_notify(struct shared_lane *lane, uint32_t slot);
// The next slot, or CHANNEL_MESSAGES, of which there is news. False: none.
bool shared_noticed(struct shared_lane *lane, uint32_t *ret_slot);
bool shared_arm(struct lane *lane);
void shared_disarm(struct lane *lane);

// --- messages (shared_message.c) -----------------------------------------------------------------

int shared_message_put(struct shared_lane *lane, const struct channel_message *message);
// False: there is none, or the lane is broken.
bool shared_message_take(struct shared_lane *lane, struct channel_message *ret_message);

// --- streams (shared_stream.c) -------------------------------------------------------------------

// Looks at what the other side has written of the slot, and gives back what it has read. False: the
// lane is broken.
bool shared_stream_look(struct shared_lane *lane, uint32_t slot);
// Octets that fit: the chunk of the oldest one that is not taken is in its place still, to its end.
uint32_t shared_stream_room(const struct shared_slot *own);
int shared_stream_put(
	struct shared_lane *lane, uint32_t slot, const struct lane_span *spans, unsigned count);
void shared_stream_taken(struct shared_lane *lane, uint32_t slot, uint32_t octets);
unsigned shared_stream_peek(
	struct lane *lane, uint32_t slot, uint32_t skip, struct lane_span *ret_spans, unsigned max);
// A life of the slot begins for this side: nothing of an earlier one counts any more.
void shared_stream_begin(struct shared_lane *lane, uint32_t slot, uint32_t generation);
// The other side's half belongs to this life.
bool shared_stream_joined(const struct shared_lane *lane, uint32_t slot);
