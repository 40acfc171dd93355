// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which of a side's chunks are free: a stack of numbers in its own memory, where the other side
// cannot reach it.

#pragma once

#include <stdint.h>
#include <stdlib.h>

#define ARENA_NONE UINT32_MAX

struct arena {
	uint32_t *free; // `count` of them
	uint32_t count, size;
};

// 0, or -1: no memory.
static inline int arena_init(struct arena *arena, uint32_t size)
{
	arena->free = malloc(sizeof(*arena->free) * (size > 0 ? size : 1));
	arena->size = size;
	arena->count = 0;
	if (arena->free == NULL)
		return -1;
	while (arena->count < size) {
		arena->free[arena->count] = size - 1 - arena->count;
		arena->count++;
	}
	return 0;
}

static inline void arena_fini(struct arena *arena)
{
	free(arena->free);
}

static inline uint32_t arena_take(struct arena *arena)
{
	return arena->count > 0 ? arena->free[--arena->count] : ARENA_NONE;
}

static inline void arena_give(struct arena *arena, uint32_t chunk)
{
	arena->free[arena->count++] = chunk;
}
