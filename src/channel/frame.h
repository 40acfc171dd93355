// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What crosses a stream socket that carries a lane: the one description of it. Each frame is a head
// and as many octets as `value` says where the kind has any; little-endian, every size asserted.
//
// Side 0 is the daemon. A slot's octets have credit, as they have memory in a shared lane (abi.h):
// a stream takes CHANNEL_STREAM octets at most until some are TAKEN, and all streams of a side
// together as many chunks as were agreed upon. So whoever receives a frame always has room for it,
// and one slow reader holds up nobody else.

#pragma once

#include <stdint.h>

#include "channel/abi.h"

#define FRAME_DATA_MAX (16u << 10) // octets of one frame

enum frame_kind {
	FRAME_MESSAGE, // octets: a control message (message.h); of no slot
	FRAME_OPEN,    // octets: struct frame_opened; the daemon only
	FRAME_DATA,    // octets; flag FRAME_HURRY
	FRAME_TAKEN,   // `value` octets of the other's stream
	FRAME_HUNGRY,  // wants to hear soon what is taken, until it sends DATA without FRAME_HURRY
	FRAME_END,     // nothing follows
	FRAME_CLOSE,   // `value`: errno, or 0; the slot's last one of this side in this life
	FRAME_BEAT,    // this side is there; of no slot
	FRAME_READY,   // the connection that the process makes stands; the daemon only
	FRAME_KINDS,
};

#define FRAME_HURRY 1u // chunks are short: what is taken of this is to be told soon

struct frame_head {
	uint8_t kind;
	uint8_t flags;
	uint16_t reserved; // 0
	uint32_t slot;
	uint32_t generation; // of the slot's life; the daemon's word
	uint32_t value;
};

struct frame_opened {
	uint32_t listener;
	uint32_t kind; // enum channel_slot_kind
	struct channel_address local, remote;
};

_Static_assert(sizeof(struct frame_head) == 16, "no holes that a compiler chooses");
_Static_assert(sizeof(struct frame_opened) == 56, "no holes that a compiler chooses");
