// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Heap memory for a tool that cannot do anything useful without it: either the
// memory is there, or the process ends with a line that says so.

#pragma once

#include <stddef.h>

// `count` objects of `size` bytes, zeroed; never NULL (also for count 0).
void *bench_memory_zeroed(size_t count, size_t size);
// realloc() to `count` objects; what is new is not zeroed. Never NULL.
void *bench_memory_resize(void *old, size_t count, size_t size);
