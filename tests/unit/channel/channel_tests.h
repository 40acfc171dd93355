// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of tests of the channel, and a lane with both of its sides.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/shared.h"

int test_message(void);
int test_shared(void);
int test_hostile(void);
int test_sides(void);

struct pair {
	void *memory;
	size_t bytes;
	struct lane *daemon, *process;
	unsigned wakes; // of the process
};

// Asserts that it can be made.
struct pair *pair_create(uint32_t slots, uint32_t chunks);
void pair_destroy(struct pair *pair);
// A connection on this slot; the process has seen it.
void pair_open(struct pair *pair, uint32_t slot);
// The next news, which must be this.
void expect_news(struct lane *lane, enum lane_what what, uint32_t slot);
int post_data(struct lane *lane, uint32_t slot, const void *data, uint32_t length);
int post(struct lane *lane, enum lane_post what, uint32_t slot);
// Reads at most `max` octets, and says that they were taken. Returns how many.
uint32_t take(struct lane *lane, uint32_t slot, uint8_t *data, uint32_t max);
