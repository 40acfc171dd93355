// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Runs a framer over bytes cut in some way and compares what it shows with what a
// naive walk over the whole bytes finds. Shared by the unit test and the fuzzer.

#pragma once

#include "mqtt/framer.h"
#include "payload_double.h"

struct framer_run {
	struct mqtt_framer framer;
	struct payload_pool *pool;
	const uint8_t *data; // everything
	size_t size;
	uint32_t gather_max;
	size_t shown;	    // bytes shown so far
	size_t kept;	    // bytes used so far: shown, or kept by the framer
	unsigned packets;   // shown as packets
	unsigned in_stream; // shown as streams
	unsigned out_of_memory;
};

void framer_run_init(struct framer_run *run, struct payload_pool *pool, uint32_t gather_max,
	const uint8_t *data, size_t size);
// Gives the framer the next n bytes, all of them; asserts everything the framer promises.
// With `memory_ends`, allocations fail now and then and must leave no trace.
void framer_run_push(struct framer_run *run, size_t n, bool memory_ends);
// Everything has been given. Returns to nothing.
void framer_run_fini(struct framer_run *run);
