// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ones'-complement sums (RFC 1071), folded to 16 bits and not complemented, of words as they lie in
// memory: independent of the machine's byte order. A part of what is summed that begins at an odd
// offset counts with its bytes swapped. Pure functions.

#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static inline uint16_t sum_add(uint16_t a, uint16_t b)
{
	uint32_t sum = (uint32_t)a + b;

	return (uint16_t)(sum + (sum >> 16));
}

// What is left of `sum` without `part`.
static inline uint16_t sum_subtract(uint16_t sum, uint16_t part)
{
	return sum_add(sum, (uint16_t)~part);
}

// A part's contribution when it begins at `offset`.
static inline uint16_t sum_at(uint16_t part, uint32_t offset)
{
	return offset & 1 ? __builtin_bswap16(part) : part;
}

// Of `length` bytes, the first at an even offset.
uint16_t sum_bytes(const void *data, size_t length);
