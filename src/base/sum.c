// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// RFC 1071 sums of bytes: the halves of wide words are added up in wide words, where carries do not
// matter until the end. Vectors are the compiler's, so that every architecture gets its own;
// rte_raw_cksum() adds two bytes at a time unless the compiler is asked for more than -O2.

#include "base/sum.h"

#include <string.h>

typedef uint64_t lanes __attribute__((vector_size(16)));

static uint64_t sum_tail(const uint8_t *p, size_t length)
{
	uint64_t sum = 0;
	uint32_t word;
	uint16_t half;

	for (; length >= sizeof(word); p += sizeof(word), length -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	if (length >= sizeof(half)) {
		memcpy(&half, p, sizeof(half));
		sum += half;
		p += sizeof(half);
		length -= sizeof(half);
	}
	if (length > 0) { // the last byte and a zero behind it, whatever the byte order
		half = 0;
		memcpy(&half, p, 1);
		sum += half;
	}
	return sum;
}

uint16_t sum_bytes(const void *data, size_t length)
{
	const uint8_t *p = data;
	lanes low = {0}, high = {0};

	for (; length >= 2 * sizeof(lanes); length -= 2 * sizeof(lanes)) {
		lanes a, b;

		memcpy(&a, p, sizeof(a));
		memcpy(&b, p + sizeof(a), sizeof(b));
		low += (a & UINT32_MAX) + (b & UINT32_MAX);
		high += (a >> 32) + (b >> 32);
		p += 2 * sizeof(lanes);
	}
	low += high;
	// Each lane holds less than length / 8 words of 32 bits: no carry is lost.
	return sum_fold(low[0] + low[1] + sum_tail(p, length));
}
