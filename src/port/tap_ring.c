// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The ring of a tap. Positions count bytes since the start and never wrap; a record
// lies in one piece, so what is left before the ring's end is skipped by an empty one.

#include "port/tap_ring.h"

#include "base/assert.h"

#include <rte_common.h>

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct tap_ring {
	// The writer's.
	uint64_t reserved;
	uint64_t taken_seen; // what the writer last saw of `taken`
	_Atomic uint64_t published __rte_cache_aligned;
	// The reader's.
	_Atomic uint64_t taken __rte_cache_aligned;
	// Constant.
	uint64_t size __rte_cache_aligned;
	uint8_t bytes[] __rte_aligned(TAP_RING_ALIGN);
};

static_assert(offsetof(struct tap_record, bytes) == sizeof(struct tap_record), "no gap");

struct tap_ring *tap_ring_create(size_t size)
{
	struct tap_ring *ring;

	ASSERT(rte_is_power_of_2((uint32_t)size) && size >= 2 * TAP_RING_ALIGN);
	ring = aligned_alloc(
		RTE_CACHE_LINE_SIZE, sizeof(*ring) + RTE_ALIGN(size, RTE_CACHE_LINE_SIZE));
	if (ring == NULL)
		return NULL;
	*ring = (struct tap_ring){.size = size};
	return ring;
}

void tap_ring_destroy(struct tap_ring *ring)
{
	free(ring);
}

static struct tap_record *record_at(struct tap_ring *ring, uint64_t position)
{
	return (struct tap_record *)(void *)(ring->bytes + (position & (ring->size - 1)));
}

// --- the writer ----------------------------------------------------------------------------------

static bool has_room(struct tap_ring *ring, uint64_t size)
{
	if (ring->reserved + size - ring->taken_seen <= ring->size)
		return true;
	ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
	return ring->reserved + size - ring->taken_seen <= ring->size;
}

struct tap_record *tap_ring_reserve(struct tap_ring *ring, uint32_t captured)
{
	uint64_t size = RTE_ALIGN(sizeof(struct tap_record) + (uint64_t)captured, TAP_RING_ALIGN);
	uint64_t left = ring->size - (ring->reserved & (ring->size - 1));
	uint64_t skipped = left < size ? left : 0;
	struct tap_record *record;

	if (size > ring->size || !has_room(ring, skipped + size))
		return NULL;
	if (skipped > 0) {
		record = record_at(ring, ring->reserved);
		record->size = (uint32_t)skipped;
		record->direction = 0;
		ring->reserved += skipped;
	}
	record = record_at(ring, ring->reserved);
	record->size = (uint32_t)size;
	record->captured = captured;
	ring->reserved += size;
	return record;
}

uint64_t tap_ring_position(const struct tap_ring *ring)
{
	return ring->reserved;
}

void tap_ring_publish(struct tap_ring *ring, uint64_t position)
{
	DASSERT(position <= ring->reserved);
	ring->reserved = position;
	atomic_store_explicit(&ring->published, position, memory_order_release);
}

// --- the reader ----------------------------------------------------------------------------------

static uint64_t taken(struct tap_ring *ring)
{
	return atomic_load_explicit(&ring->taken, memory_order_relaxed);
}

const struct tap_record *tap_ring_peek(struct tap_ring *ring)
{
	const struct tap_record *record;

	for (;;) {
		if (taken(ring) == atomic_load_explicit(&ring->published, memory_order_acquire))
			return NULL;
		record = record_at(ring, taken(ring));
		if (record->direction != 0)
			return record;
		tap_ring_take(ring);
	}
}

void tap_ring_take(struct tap_ring *ring)
{
	uint64_t position = taken(ring);

	atomic_store_explicit(
		&ring->taken, position + record_at(ring, position)->size, memory_order_release);
}
