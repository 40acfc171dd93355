// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Messages on their way; threads as told in the header.

#include "bench/flight.h"

#include "bench/memory.h"

#include <stdatomic.h>
#include <stdlib.h>

static struct bench_flight_slot *slot_of(struct bench_flight *flight, uint32_t sequence)
{
	return &flight->slots[sequence & flight->mask];
}

void bench_flight_init(struct bench_flight *flight, uint32_t capacity)
{
	uint32_t size = 1;

	while (size < capacity)
		size *= 2;
	flight->slots = bench_memory_zeroed(size, sizeof(*flight->slots));
	flight->mask = size - 1;
}

void bench_flight_fini(struct bench_flight *flight)
{
	free(flight->slots);
	flight->slots = NULL;
}

void bench_flight_issue(
	struct bench_flight *flight, uint32_t sequence, uint32_t fanout, uint64_t issued_us)
{
	struct bench_flight_slot *slot = slot_of(flight, sequence);

	// A late delivery of the slot's former message must not take the new time for its own: it
	// reads the time between two looks at the state, and the state is empty meanwhile.
	atomic_store(&slot->state, 0);
	atomic_store(&slot->issued_us, issued_us);
	atomic_store(&slot->state, (uint64_t)sequence << 32 | fanout);
}

enum bench_flight_arrival bench_flight_arrive(
	struct bench_flight *flight, uint32_t sequence, uint64_t *ret_issued_us)
{
	struct bench_flight_slot *slot = slot_of(flight, sequence);
	uint64_t state = atomic_load(&slot->state), issued_us;

	do {
		if (state >> 32 != sequence || (uint32_t)state == 0)
			return BENCH_FLIGHT_UNKNOWN;
		issued_us = atomic_load(&slot->issued_us);
	} while (!atomic_compare_exchange_weak(&slot->state, &state, state - 1));
	*ret_issued_us = issued_us;
	return (uint32_t)state == 1 ? BENCH_FLIGHT_LAST : BENCH_FLIGHT_MORE;
}

bool bench_flight_abandon(struct bench_flight *flight, uint32_t sequence)
{
	struct bench_flight_slot *slot = slot_of(flight, sequence);
	uint64_t state = atomic_load(&slot->state);

	do {
		if (state >> 32 != sequence || (uint32_t)state == 0)
			return false;
	} while (!atomic_compare_exchange_weak(&slot->state, &state, 0));
	return true;
}
