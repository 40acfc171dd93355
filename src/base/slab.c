// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A slab is an array and a stack of free indices; taken objects are marked so that
// a walk can tell them from free ones.

#include "base/slab.h"

#include <rte_malloc.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"

struct slab {
	uint8_t *objects;
	uint32_t *free; // stack of free indices
	bool *taken;
	size_t stride;
	uint32_t count, free_count;
};

int slab_create(const char *name, uint32_t count, size_t size, struct slab **ret_slab)
{
	struct slab *slab = rte_zmalloc(name, sizeof(*slab), 0);

	if (slab == NULL)
		return -ENOMEM;
	slab->stride = RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE);
	slab->count = count;
	slab->objects = rte_zmalloc(name, slab->stride * count, RTE_CACHE_LINE_SIZE);
	slab->free = rte_malloc(name, sizeof(*slab->free) * count, 0);
	slab->taken = rte_zmalloc(name, sizeof(*slab->taken) * count, 0);
	if (slab->objects == NULL || slab->free == NULL || slab->taken == NULL) {
		slab_destroy(slab);
		return -ENOMEM;
	}
	// Low indices are handed out first: walks stay short while few are taken.
	for (uint32_t i = 0; i < count; i++)
		slab->free[i] = count - 1 - i;
	slab->free_count = count;
	*ret_slab = slab;
	return 0;
}

void slab_destroy(struct slab *slab)
{
	if (slab == NULL)
		return;
	rte_free(slab->objects);
	rte_free(slab->free);
	rte_free(slab->taken);
	rte_free(slab);
}

void *slab_take(struct slab *slab)
{
	uint32_t index;
	void *object;

	if (slab->free_count == 0)
		return NULL;
	index = slab->free[--slab->free_count];
	slab->taken[index] = true;
	object = slab->objects + index * slab->stride;
	memset(object, 0, slab->stride);
	return object;
}

void slab_give(struct slab *slab, void *object)
{
	uint32_t index = slab_index(slab, object);

	ASSERT(slab->taken[index]);
	slab->taken[index] = false;
	slab->free[slab->free_count++] = index;
}

struct pool_usage slab_usage(const struct slab *slab)
{
	return (struct pool_usage){
		.in_use = slab_used(slab),
		.size = slab->count,
		.object_bytes = slab->stride + sizeof(*slab->free) + sizeof(*slab->taken),
	};
}

uint32_t slab_count(const struct slab *slab)
{
	return slab->count;
}

uint32_t slab_used(const struct slab *slab)
{
	return slab->count - slab->free_count;
}

void *slab_at(const struct slab *slab, uint32_t index)
{
	return slab->taken[index] ? slab->objects + index * slab->stride : NULL;
}

uint32_t slab_index(const struct slab *slab, const void *object)
{
	size_t offset = (const uint8_t *)object - slab->objects;

	DASSERT(offset % slab->stride == 0 && offset / slab->stride < slab->count);
	return offset / slab->stride;
}
