// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes a lane in shared memory whose other side is hostile: between the calls of this side, any
// word of the memory may become anything. Input: a byte that says which side this one is, then
// records of
//
//   what (1 byte)  value (1 byte)
//
//   bit 3 clear   a call of this side, or (bit 7) of an honest other one
//   bit 3 set     a word is written: bits 0–2 where, the next two bytes which, the value what

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "channel/layout.h"
#include "channel/shared.h"
#include "channel_use.h"

#define SLOTS  4
#define CHUNKS 20

static void *memory;
static struct layout layout;

static uint32_t word_of(unsigned where, uint32_t which)
{
	const size_t begins[8] = {0, 0, layout.slots, layout.slots, layout.slots,
		layout.notices[CHANNEL_DAEMON], layout.notices[CHANNEL_PROCESS],
		layout.messages[which & 1]};
	const size_t sizes[8] = {sizeof(struct channel_header), sizeof(struct channel_header),
		SLOTS * sizeof(struct channel_slot), SLOTS * sizeof(struct channel_slot),
		SLOTS * sizeof(struct channel_slot), layout.notices_size * 4,
		layout.notices_size * 4, 512};

	return (uint32_t)((begins[where] + which * 4 % sizes[where]) / 4);
}

static void scribble(uint8_t what, uint8_t value, uint16_t which)
{
	static const uint32_t values[] = {0, 1, 2, 15, 0x7fffffff, 0x80000000, 0xffffffff, 65536};
	uint32_t *words = memory, at = word_of(what & 7, which);

	if (value >= 248)
		words[at] = values[value - 248];
	else if (value >= 128)
		words[at] += value - 188u;
	else
		words[at] = value;
}

static void play(struct lane *mine, struct lane *other, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at + 4 <= size; at += data[at] & 8 ? 4 : 2) {
		uint8_t what = data[at], value = data[at + 1];

		if (what & 8)
			scribble(what, value, (uint16_t)(data[at + 2] << 8 | data[at + 3]));
		else if ((what & 0x80) && use_poll(other))
			use_call(other, what & 0x77, value);
		else if (use_poll(mine))
			use_call(mine, what, value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct shared_geometry geometry = {SLOTS, CHUNKS};
	struct lane *daemon, *process;
	size_t bytes = shared_size(&geometry);

	if (size < 1 || !layout_of(SLOTS, CHUNKS, &layout))
		return 0;
	// Alone, so that the sanitizers see who leaves it.
	memory = aligned_alloc(4096, bytes);
	memset(memory, 0, bytes);
	if (shared_create(memory, &geometry, 1, NULL, NULL, &daemon) < 0 ||
		shared_attach(memory, bytes, &process) < 0)
		abort();
	if (data[0] & 1)
		play(daemon, process, data + 1, size - 1);
	else
		play(process, daemon, data + 1, size - 1);
	lane_destroy(daemon);
	lane_destroy(process);
	free(memory);
	return 0;
}
