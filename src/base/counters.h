// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Counters with a single writer (their worker), read by anyone, summed when read.
// A floor owns an array of uint64_t and a table of families that names it; the
// exporters (JSON, Prometheus) know nothing but these tables.
//
//   family   name="packets_dropped_total" label="reason" values={"bad_checksum", "no_route"}
//   values   [ 12, 0 ]        one slot a label value; a family without label has one slot
//
// Families of the same name in several sets are merged by the exporters.

#pragma once

#include <stdint.h>

enum counter_kind {
	COUNTER_MONOTONIC,
	COUNTER_GAUGE,
};

struct counter_family {
	const char *name; // without the prefix "offramp_"
	const char *help;
	const char *label;	   // NULL: one slot without label
	const char *const *values; // label values, `slots` of them
	unsigned slots;		   // 1 without label
	enum counter_kind kind;
};

// What a floor hands out: `values` has the sum of all families' slots, in order.
struct counter_set {
	const struct counter_family *families;
	unsigned families_count;
	const uint64_t *values;
};

// Writer side: relaxed, so that a reader on another thread sees whole values.
static inline void counter_add(uint64_t *c, uint64_t n)
{
	__atomic_store_n(c, *c + n, __ATOMIC_RELAXED);
}

static inline void counter_inc(uint64_t *c)
{
	counter_add(c, 1);
}

static inline void counter_set_to(uint64_t *c, uint64_t n)
{
	__atomic_store_n(c, n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

// Number of slots in all families of a set.
unsigned counter_set_slots(const struct counter_set *set);
