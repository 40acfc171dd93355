// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The stream's bytes; tests/system/tcppeer.py makes the same.

#include "peer.h"

void pattern_init(struct pattern *pattern)
{
	uint32_t x = 1;

	for (uint32_t i = 0; i < PATTERN_PERIOD; i++) {
		x = x * 1103515245u + 12345u;
		pattern->bytes[i] = (uint8_t)(x >> 16);
	}
}

void pattern_fill(const struct pattern *pattern, uint64_t offset, uint8_t *into, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		into[i] = pattern->bytes[(offset + i) % PATTERN_PERIOD] ^
			  (uint8_t)((offset + i) / PATTERN_PERIOD);
}

uint32_t pattern_match(
	const struct pattern *pattern, uint64_t offset, const uint8_t *bytes, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		if (bytes[i] != (pattern->bytes[(offset + i) % PATTERN_PERIOD] ^
					(uint8_t)((offset + i) / PATTERN_PERIOD)))
			return i;
	return length;
}
