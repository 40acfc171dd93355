// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The key under which markers are made, handed from the stream's thread to mosquitto's
// without a lock. Each Welcome brings another one, and with it another epoch. The one before
// is kept: what was written under it may still be on the wire. A key outlives its stream, for
// Offramp may learn later than the plugin that the stream has ended.

#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/marker.h"

#define SECRET_WORDS (MARKER_KEY_SIZE / sizeof(uint64_t))

struct secret {
	_Atomic uint64_t version; // odd: being written; half of it is the epoch, 0: no key yet
	_Atomic uint64_t current[SECRET_WORDS];
	_Atomic uint64_t before[SECRET_WORDS];
};

// The stream's thread.
void secret_set(struct secret *secret, const uint8_t key[MARKER_KEY_SIZE]);
// mosquitto's thread: the epoch of the key a marker was made under; 0: of none, it is not one.
uint64_t secret_decode(
	struct secret *secret, const void *data, size_t length, struct marker *ret_marker);
// mosquitto's thread: the epoch of the latest key.
uint64_t secret_epoch(const struct secret *secret);
