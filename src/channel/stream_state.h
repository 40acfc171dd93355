// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A side of a lane over a stream socket. Octets for the other side lie in `out` only until they are
// written; those that came lie in chunks of this side until they are taken. Internal to the floor.
//
//        floor      taken      head          of this side's stream: what has credit
//          │──────────│──────────│
//        floor      tail       came          of the other's: what lies in chunks here

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "channel/arena.h"
#include "channel/frame.h"
#include "channel/lane.h"
#include "channel/stream.h"

#define STREAM_OUT (256u << 10) // octets that wait to be written; a power of two
#define STREAM_IN  (64u << 10)	// octets read at once

enum stream_flag {
	STREAM_LIVES = 1 << 0,
	STREAM_ENDED = 1 << 1,	   // this side
	STREAM_CLOSED = 1 << 2,	   // this side
	STREAM_HUNGRY = 1 << 3,	   // this side
	STREAM_IS_ENDED = 1 << 4,  // the other
	STREAM_IS_CLOSED = 1 << 5, // the other
	STREAM_IS_HUNGRY = 1 << 6, // the other
	STREAM_IS_READY = 1 << 7,  // the other
	// What is to be told; in this order.
	STREAM_TELL_OPEN = 1 << 8,
	STREAM_TELL_READY = 1 << 9,
	STREAM_TELL_TAKEN = 1 << 10,
	STREAM_TELL_HUNGRY = 1 << 11,
	STREAM_TELL_END = 1 << 12,
	STREAM_TELL_CLOSE = 1 << 13,
};
#define STREAM_TELL 0xff00u

// A slot's place in a list of slots; a slot that is last names itself.
#define STREAM_NOWHERE UINT32_MAX // it is in no list

struct stream_list {
	uint32_t first, last;
};

struct stream_slot {
	uint32_t generation;
	uint32_t flags;
	uint32_t head, taken;
	uint32_t held;		   // chunks' worth of credit that [floor, head) takes
	uint32_t tail, came, told; // `told`: of tail
	int close_error;	   // this side's
	int error;		   // the other's
	uint32_t telling_next, starved_next;
	uint32_t chunks[CHANNEL_CHUNKS]; // where octet n lies: [n / CHUNK % CHUNKS]; ARENA_NONE
	struct lane_opened opened;
};

struct stream_lane {
	struct lane lane;
	struct stream_lane_config config;
	struct stream_slot *slots;
	struct stream_list telling; // slots with STREAM_TELL bits
	struct stream_list starved; // slots whose octets found no credit, or no room in `out`
	uint32_t credits;	    // chunks' worth of octets that may be sent
	struct arena arena;	    // chunks for what comes
	uint8_t *chunks;
	uint8_t *out;
	uint32_t out_head, out_tail;
	uint8_t *in;
	uint32_t in_head, in_tail; // what was read, and not understood yet
	bool drained;		   // the last read found the socket empty
	// A frame's octets that are still to come.
	struct frame_head data;
	uint32_t data_left;
	uint64_t heard_us, said_us, polled_us;
	bool mute;   // the other side reads no more
	bool gone;   // and nothing comes any more
	bool broken; // it has written what it never may
};

// --- lives of slots (stream.c) -------------------------------------------------------------------

// A life begins on this side: nothing of an earlier one counts any more.
void stream_life(struct stream_lane *lane, struct stream_slot *own, uint32_t generation);

static inline struct stream_lane *stream_of_lane(struct lane *lane)
{
	return (struct stream_lane *)lane;
}

static inline uint32_t stream_floor(uint32_t octet)
{
	return octet - octet % CHANNEL_CHUNK;
}

static inline unsigned stream_place(uint32_t octet)
{
	return octet / CHANNEL_CHUNK % CHANNEL_CHUNKS;
}

// --- what goes out (stream_out.c) ----------------------------------------------------------------

uint32_t stream_out_room(const struct stream_lane *lane);
// The frame goes out with the next flush. There is room.
void stream_out_frame(struct stream_lane *lane, const struct frame_head *head, const void *octets);
int stream_out_message(struct stream_lane *lane, const struct channel_message *message);
// As many octets as there is credit and room for. Who has more is starved.
int stream_out_data(
	struct stream_lane *lane, uint32_t slot, const struct lane_span *spans, unsigned count);
// To be told of the slot; `now`: with a flush for its sake.
void stream_tell(struct stream_lane *lane, uint32_t slot, uint32_t what, bool now);
// Octets that could be posted now.
uint32_t stream_room(const struct stream_lane *lane, const struct stream_slot *own);
bool stream_out_full(const struct stream_lane *lane);
// Who asks for more room than there is hears when there is some.
void stream_starve(struct stream_lane *lane, uint32_t slot);
// The next one for whom there is some now. False: nobody.
bool stream_starved(struct stream_lane *lane, uint32_t *ret_slot);
bool stream_starved_any(const struct stream_lane *lane);
// This side's octets are of no use to the other any more.
void stream_credit_return(struct stream_lane *lane, struct stream_slot *own);
// The other side has taken so much. False: it cannot have.
bool stream_credit_taken(struct stream_lane *lane, struct stream_slot *own, uint32_t octets);

// --- what comes (stream_in.c) --------------------------------------------------------------------

// The next news among what was read. LANE_NOTHING: it is all understood, or a part is missing.
void stream_in_next(struct stream_lane *lane, struct lane_news *ret_news);
// Reads what there is, as far as it fits.
void stream_in_read(struct stream_lane *lane);
// What was read holds nothing more to understand.
bool stream_in_idle(const struct stream_lane *lane);
void stream_in_taken(struct stream_lane *lane, uint32_t slot, uint32_t octets);
// Chunks go back: nobody will look at what came.
void stream_in_drop(struct stream_lane *lane, struct stream_slot *own);
unsigned stream_in_peek(
	struct lane *lane, uint32_t slot, uint32_t skip, struct lane_span *ret_spans, unsigned max);
