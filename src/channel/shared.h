// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The transport through shared memory (abi.h).

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "channel/lane.h"

struct shared_geometry {
	uint32_t slots;	 // connections at once
	uint32_t chunks; // CHANNEL_CHUNK octets each; of each side
};

// Octets of a lane; a multiple of the page.
size_t shared_size(const struct shared_geometry *geometry);

// The daemon makes a lane of zeroed memory. `wake` is called when the process sleeps and something
// is new for it; it may be called from lane_post(). -ENOMEM.
int shared_create(void *memory, const struct shared_geometry *geometry, uint64_t epoch,
	void (*wake)(void *ctx), void *ctx, struct lane **ret_lane);
// The process takes up what the daemon made. -EPROTO: it is not what it should be; -ENOMEM.
int shared_attach(void *memory, size_t bytes, struct lane **ret_lane);
