// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Objects of one size in one array, sized at start: take and give back in O(1),
// and walk by index (for listings in slices). Single-threaded.

#pragma once

#include <stddef.h>
#include <stdint.h>

struct slab;

// `size` bytes an object, each on a cache line of its own. -ENOMEM.
int slab_create(const char *name, uint32_t count, size_t size, struct slab **ret_slab);
void slab_destroy(struct slab *slab); // accepts NULL

// A zeroed object, or NULL when all are taken.
void *slab_take(struct slab *slab);
void slab_give(struct slab *slab, void *object);

// Objects of a pool: how many, how many of them are taken, and the memory that each takes.
struct pool_usage {
	uint64_t in_use, size, object_bytes;
};
struct pool_usage slab_usage(const struct slab *slab);

uint32_t slab_count(const struct slab *slab);
uint32_t slab_used(const struct slab *slab);
// The object at `index` when it is taken, else NULL.
void *slab_at(const struct slab *slab, uint32_t index);
uint32_t slab_index(const struct slab *slab, const void *object);
