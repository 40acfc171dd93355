// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A seedable random source (xoshiro256**) that is handed to whoever needs one;
// not for secrets. Keyed hashing of tuples (RFC 6528) uses siphash_2_4.

#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
	uint64_t s[4];
};

// Any seed, zero included, gives a good state (splitmix64).
void random_init(struct random *r, uint64_t seed);
uint64_t random_next(struct random *r);
// Uniform in [0, bound); bound > 0.
uint32_t random_below(struct random *r, uint32_t bound);

// SipHash-2-4 of `len` bytes under a 16-byte key.
uint64_t siphash_2_4(const uint8_t key[16], const void *data, size_t len);
