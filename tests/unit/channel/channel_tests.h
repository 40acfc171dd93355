// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of tests of the channel, and a lane with both of its sides, over each transport.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/shared.h"
#include "channel/stream.h"

int test_message(void);
int test_lane(void);
int test_shared(void);
int test_stream(void);
int test_hostile(void);
int test_sides(void);

enum transport { SHARED, STREAM };

struct pair {
	enum transport transport;
	void *memory; // SHARED
	size_t bytes;
	struct lane *daemon, *process;
	unsigned wakes; // of the process; SHARED
};

// In virtual time.
extern uint64_t pair_now_us;
#define PAIR_SILENCE_US 8000000u

// Asserts that it can be made.
struct pair *pair_create(enum transport transport, uint32_t slots, uint32_t chunks);
void pair_destroy(struct pair *pair);
// A connection on this slot; the process has seen it.
void pair_open(struct pair *pair, uint32_t slot);
// Both sides have heard everything.
void pair_settle(struct pair *pair);
// The process sleeps: is it woken?
bool pair_is_awake(struct pair *pair);
// All that is new: this is among it. LANE_NOTHING: there is nothing.
void expect_news(struct lane *lane, enum lane_what what, uint32_t slot);
int post_data(struct lane *lane, uint32_t slot, const void *data, uint32_t length);
int post(struct lane *lane, enum lane_post what, uint32_t slot);
// Reads at most `max` octets, and says that they were taken. Returns how many.
uint32_t take(struct lane *lane, uint32_t slot, uint8_t *data, uint32_t max);
