// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Looked at once a connection, and only while a will is on its way.

#include "offload/wills.h"

void wills_add(struct wills *wills, uint64_t client, uint64_t key, uint64_t until_us)
{
	wills->ring[wills->next] = (struct will_note){client, key, until_us};
	wills->next = (wills->next + 1) % WILLS_MAX;
	wills->last_us = until_us;
}

void wills_find(const struct wills *wills, uint64_t client, uint64_t now_us,
	void (*found)(void *ctx, uint64_t key), void *ctx)
{
	if (now_us >= wills->last_us)
		return;
	for (unsigned i = 0; i < WILLS_MAX; i++) {
		const struct will_note *note = &wills->ring[i];

		if (note->client == client && now_us < note->until_us)
			found(ctx, note->key);
	}
}
