// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Log-linear histogram. A value below 32 has a bucket of its own; above, a bucket is named by the
// position of the highest bit and the five bits that follow it:
//
//   bucket   0 … 31 | 32 … 63 | 64 … 95 | 96 … 127 | …
//   width         1 |       1 |       2 |        4 | …

#include "base/histogram.h"

#include "base/counters.h"

#include <string.h>

#define STEPS (1u << HISTOGRAM_STEP_BITS)

static unsigned bucket_of(uint64_t value)
{
	if (value < STEPS)
		return (unsigned)value;

	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;

	return ((shift + 1) << HISTOGRAM_STEP_BITS) + (unsigned)((value >> shift) & (STEPS - 1));
}

// The largest value that falls into the bucket.
static uint64_t bucket_upper_edge(unsigned bucket)
{
	if (bucket < STEPS)
		return bucket;

	unsigned shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
	uint64_t lower = (uint64_t)(STEPS + (bucket & (STEPS - 1))) << shift;

	return lower + ((1ull << shift) - 1);
}

void histogram_init(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}

void histogram_record(struct histogram *h, uint64_t value)
{
	if (h->count == 0 || value < h->min)
		counter_set_to(&h->min, value);
	if (value > h->max)
		counter_set_to(&h->max, value);
	counter_add(&h->sum, value);
	counter_inc(&h->buckets[bucket_of(value)]);
	counter_inc(&h->count);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	uint64_t count = counter_read(&from->count);
	uint64_t min = counter_read(&from->min);
	uint64_t max = counter_read(&from->max);

	if (count == 0)
		return;
	if (into->count == 0 || min < into->min)
		counter_set_to(&into->min, min);
	if (max > into->max)
		counter_set_to(&into->max, max);
	counter_add(&into->sum, counter_read(&from->sum));
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		counter_add(&into->buckets[i], counter_read(&from->buckets[i]));
	counter_add(&into->count, count);
}

uint64_t histogram_quantile(const struct histogram *h, unsigned permille)
{
	uint64_t count = counter_read(&h->count);
	uint64_t max = counter_read(&h->max);

	if (count == 0)
		return 0;

	// ceil(count * permille / 1000) without overflow; the smallest record is rank 1.
	uint64_t rank = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;
	uint64_t seen = 0;

	if (rank == 0)
		rank = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += counter_read(&h->buckets[i]);
		if (seen >= rank) {
			uint64_t edge = bucket_upper_edge(i);

			return edge < max ? edge : max;
		}
	}
	return max;
}
