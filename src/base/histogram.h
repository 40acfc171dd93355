// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Log-linear histogram of 64-bit values: 32 linear steps a power of two, so a
// value is kept to about 3 %. Single writer; readers see whole buckets.

#pragma once

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 5
#define HISTOGRAM_BUCKETS   ((64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

struct histogram {
	uint64_t count, sum, min, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
// The value below which `permille`/1000 of the records lie (upper edge of its bucket, capped by
// max); 0 when empty.
uint64_t histogram_quantile(const struct histogram *h, unsigned permille);
