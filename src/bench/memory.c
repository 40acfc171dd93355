// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Heap memory that is there, or the end of the process.

#include "bench/memory.h"

#include <stdio.h>
#include <stdlib.h>

static _Noreturn void memory_exhausted(size_t count, size_t size)
{
	fprintf(stderr,
		"offramp-bench: out of memory (%zu objects of %zu bytes): use fewer clients or "
		"messages\n",
		count, size);
	exit(1);
}

void *bench_memory_zeroed(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		memory_exhausted(count, size);
	return memory;
}

void *bench_memory_resize(void *old, size_t count, size_t size)
{
	void *memory = reallocarray(old, count ? count : 1, size);

	if (!memory)
		memory_exhausted(count, size);
	return memory;
}
