// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A queue of octets that lies in payloads: what waits between a connection and a process that is
// slower, or whose memory must not be read in place because it may change meanwhile.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct payload;
struct payload_pool;
struct tcp_piece;
struct tcp_span;

struct bytes {
	struct payload_pool *pool;
	struct payload *first, *last; // linked in their first octets; NULL: empty
	uint32_t start;		      // where in `first` the oldest octet is
	uint64_t length;
};

void bytes_init(struct bytes *bytes, struct payload_pool *pool);
void bytes_clear(struct bytes *bytes);

// All of them, or none: -ENOMEM.
int bytes_append(struct bytes *bytes, const struct tcp_span *spans, unsigned count);
// Room for so many octets that are not copied yet: the caller fills it, and then adds them. NULL:
// no memory. *ret_room is not 0.
uint8_t *bytes_room(struct bytes *bytes, uint32_t wanted, uint32_t *ret_room);
void bytes_add(struct bytes *bytes, uint32_t length);
// The oldest octets, as at most `max` spans; valid until consumed. Returns how many.
unsigned bytes_peek(const struct bytes *bytes, struct tcp_span *ret_spans, unsigned max);
void bytes_consume(struct bytes *bytes, uint64_t n); // n <= length
