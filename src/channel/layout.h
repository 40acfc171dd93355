// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Where in a lane what abi.h describes begins. Internal to the floor.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/abi.h"

struct layout {
	size_t messages[CHANNEL_SIDES];
	size_t notices[CHANNEL_SIDES];
	uint32_t notices_size; // entries, a power of two
	size_t slots;
	size_t chunks[CHANNEL_SIDES];
	size_t bytes;
};

static inline size_t layout_round(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

// False: a number is out of bounds.
static inline bool layout_of(uint32_t slots, uint32_t chunks, struct layout *ret_layout)
{
	struct layout layout = {.notices_size = 2};
	size_t at = layout_round(sizeof(struct channel_header), 4096);

	if (slots == 0 || slots > CHANNEL_SLOTS_MAX || chunks < 2 ||
		chunks > CHANNEL_SLOTS_MAX * 16)
		return false;
	while (layout.notices_size < slots + 1)
		layout.notices_size *= 2;
	for (unsigned side = 0; side < CHANNEL_SIDES; side++) {
		layout.messages[side] = at;
		at += CHANNEL_MESSAGES_BYTES;
	}
	for (unsigned side = 0; side < CHANNEL_SIDES; side++) {
		layout.notices[side] = at;
		at += layout_round(sizeof(uint32_t) * layout.notices_size, 4096);
	}
	layout.slots = at;
	at += layout_round(sizeof(struct channel_slot) * slots, 4096);
	for (unsigned side = 0; side < CHANNEL_SIDES; side++) {
		layout.chunks[side] = at;
		at += (size_t)CHANNEL_CHUNK * chunks;
	}
	layout.bytes = at;
	*ret_layout = layout;
	return true;
}
