// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A sequence lock: the reader takes what it has read if the version was even and is still
// the same. The writer writes once a stream, so trying again is rare and short, and bounded.

#include "plugin/secret.h"

#include <sched.h>
#include <string.h>

#define TRIES 1000

void secret_set(struct secret *secret, const uint8_t key[MARKER_KEY_SIZE])
{
	uint64_t version = atomic_load_explicit(&secret->version, memory_order_relaxed);
	uint64_t words[SECRET_WORDS];

	memcpy(words, key, sizeof(words));
	atomic_store(&secret->version, version + 1);
	for (unsigned i = 0; i < SECRET_WORDS; i++) {
		atomic_store(&secret->before[i], atomic_load(&secret->current[i]));
		atomic_store(&secret->current[i], words[i]);
	}
	atomic_store(&secret->version, version + 2);
}

uint64_t secret_epoch(const struct secret *secret)
{
	return atomic_load(&secret->version) / 2;
}

// The epoch of both keys; 0 when there are none, or the writer was interrupted for ever.
static uint64_t read_keys(
	struct secret *secret, uint64_t current[SECRET_WORDS], uint64_t before[SECRET_WORDS])
{
	for (unsigned tries = 0; tries < TRIES; tries++) {
		uint64_t version = atomic_load(&secret->version);

		for (unsigned i = 0; i < SECRET_WORDS; i++) {
			current[i] = atomic_load(&secret->current[i]);
			before[i] = atomic_load(&secret->before[i]);
		}
		if (version % 2 == 0 && atomic_load(&secret->version) == version)
			return version / 2;
		sched_yield(); // the writer has lost its core amid a few instructions
	}
	return 0;
}

uint64_t secret_decode(
	struct secret *secret, const void *data, size_t length, struct marker *ret_marker)
{
	uint64_t current[SECRET_WORDS], before[SECRET_WORDS];
	uint64_t epoch = read_keys(secret, current, before);

	if (epoch > 0 && marker_decode((const uint8_t *)current, data, length, ret_marker) == 0)
		return epoch;
	if (epoch > 1 && marker_decode((const uint8_t *)before, data, length, ret_marker) == 0)
		return epoch - 1;
	return 0;
}
