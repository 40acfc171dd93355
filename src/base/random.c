// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// xoshiro256** (Blackman, Vigna 2018), seeded through splitmix64.

#include "base/random.h"

#include "base/assert.h"

static uint64_t rotate_left(uint64_t x, unsigned k)
{
	return (x << k) | (x >> (64 - k));
}

void random_init(struct random *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15ull);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
		r->s[i] = z ^ (z >> 31);
	}
}

uint64_t random_next(struct random *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

// Lemire's multiplication: the high word of x * bound is the result, and the few x that would
// make some results likelier than others are drawn again (at most every second one).
uint32_t random_below(struct random *r, uint32_t bound)
{
	ASSERT(bound > 0);

	uint32_t unfair = -bound % bound;
	uint64_t product;

	do
		product = (random_next(r) >> 32) * bound;
	while ((uint32_t)product < unfair);
	return (uint32_t)(product >> 32);
}
