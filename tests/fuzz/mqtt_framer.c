// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes the framer. Input: one byte that chooses the limit of gathering, then a byte
// stream. Whole, byte by byte, and cut in two at every place (of the first 512 bytes)
// it must show what the naive walk of framer_twin.c finds, also when memory ends.

#include "fuzz.h"

#include "framer_twin.h"

#define CUTS_MAX 512u

static void run_cut(uint32_t gather_max, const uint8_t *data, size_t size, size_t cut)
{
	struct payload_pool pool = {.left = UINT32_MAX};
	struct framer_run run;

	framer_run_init(&run, &pool, gather_max, data, size);
	framer_run_push(&run, cut, cut % 2);
	framer_run_push(&run, size - cut, cut % 2);
	framer_run_fini(&run);
}

static void run_bytes(uint32_t gather_max, const uint8_t *data, size_t size)
{
	struct payload_pool pool = {.left = UINT32_MAX};
	struct framer_run run;

	framer_run_init(&run, &pool, gather_max, data, size);
	for (size_t i = 0; i < size; i++)
		framer_run_push(&run, 1, false);
	framer_run_fini(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t limits[] = {0, 2, 5, 40, 400, PAYLOAD_LARGEST, 3 * PAYLOAD_LARGEST,
		MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST};
	uint32_t gather_max;

	if (size < 1)
		return 0;
	gather_max = limits[data[0] % (sizeof(limits) / sizeof(*limits))];
	data++, size--;
	for (size_t cut = 0; cut <= size && cut <= CUTS_MAX; cut++)
		run_cut(gather_max, data, size, cut);
	if (size <= CUTS_MAX)
		run_bytes(gather_max, data, size);
	return 0;
}
