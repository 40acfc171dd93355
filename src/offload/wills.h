// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Wills on their way. The broker publishes a will when a connection ends without a DISCONNECT
// (3.1.2.5); its client may be back before the will has come out of the broker, and what it
// publishes then is behind the will. The latest wills of a broker are remembered for that: by
// client identifier, in a ring.

#pragma once

#include <stdint.h>

#define WILLS_MAX 256

struct wills {
	struct will_note {
		uint64_t client; // hash of its identifier
		uint64_t key;	 // fence_key() of the will's topic and QoS
		uint64_t until_us;
	} ring[WILLS_MAX];
	uint32_t next;
	uint64_t last_us; // until then there is any
};

void wills_add(struct wills *wills, uint64_t client, uint64_t key, uint64_t until_us);
// Calls `found` with the key of every will of this client that may be on its way.
void wills_find(const struct wills *wills, uint64_t client, uint64_t now_us,
	void (*found)(void *ctx, uint64_t key), void *ctx);
