// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Copies of frames on their way from a worker to whoever looks at them: a ring of
// bytes, one writer, one reader, no locks.
//
//   ┌──────────┬──────────────┬────────┬───── · · ·──────────┬──────────┬─────────┐
//   │ (free)   │ record       │ record │ reserved            │ (free)   │ to wrap │
//   └──────────┴──────────────┴────────┴───── · · ·──────────┴──────────┴─────────┘
//              ▲ taken                 ▲ published           ▲ reserved
//
// What is reserved can be taken back: of frames that a device is offered only those are
// published that it took. A full ring refuses; nobody waits for the reader.

#pragma once

#include <stddef.h>
#include <stdint.h>

#define TAP_RING_ALIGN 16u // sizes of records and of the ring are multiples of it

struct tap_record {
	uint32_t size;	   // in the ring, all of it
	uint16_t port;	   // whose tap it is from
	uint8_t direction; // enum port_direction; 0: nothing, up to the ring's end
	uint8_t unused;
	uint32_t length;   // of the frame
	uint32_t captured; // of these, copied
	uint64_t time_ns;  // clock_wall_ns()
	uint8_t bytes[];
};

struct tap_ring;

// `size`: bytes, a power of two. From the heap. NULL when memory is short.
struct tap_ring *tap_ring_create(size_t size);
void tap_ring_destroy(struct tap_ring *ring); // accepts NULL

// --- the writer ----------------------------------------------------------------------------------

// Room for a record with so many bytes, its `size` and `captured` filled in. NULL: full.
struct tap_record *tap_ring_reserve(struct tap_ring *ring, uint32_t captured);
// Where the next record would be reserved.
uint64_t tap_ring_position(const struct tap_ring *ring);
// What was reserved before `position` is the reader's; what was after it never was.
void tap_ring_publish(struct tap_ring *ring, uint64_t position);

// --- the reader ----------------------------------------------------------------------------------

// The oldest record, valid until it is taken. NULL: none.
const struct tap_record *tap_ring_peek(struct tap_ring *ring);
void tap_ring_take(struct tap_ring *ring);
