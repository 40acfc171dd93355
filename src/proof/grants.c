// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Buckets of four entries, two cache lines.

#include "proof/grants.h"

#include <rte_common.h>
#include <rte_malloc.h>

#include <errno.h>

#define WAYS 4
// So long a denial is remembered to have held.
#define LATELY_US 1000000u

struct grants {
	uint64_t mask; // of buckets
	uint64_t evicted_us, forgot_us;
	struct grant entries[];
};

int grants_create(const char *name, uint32_t count, struct grants **ret_grants)
{
	uint64_t buckets = rte_align32pow2((count + WAYS - 1) / WAYS);
	struct grants *grants = rte_zmalloc(
		name, sizeof(*grants) + buckets * WAYS * sizeof(struct grant), RTE_CACHE_LINE_SIZE);

	if (grants == NULL)
		return -ENOMEM;
	grants->mask = buckets - 1;
	*ret_grants = grants;
	return 0;
}

void grants_destroy(struct grants *grants)
{
	rte_free(grants);
}

static struct grant *bucket(struct grants *grants, uint64_t key)
{
	return &grants->entries[(key >> 8 & grants->mask) * WAYS];
}

struct grant *grants_find(struct grants *grants, uint64_t key)
{
	struct grant *entry = bucket(grants, key);

	for (unsigned i = 0; i < WAYS; i++)
		if (entry[i].key == key)
			return &entry[i];
	return NULL;
}

uint64_t grants_evicted_us(const struct grants *grants)
{
	return grants->evicted_us;
}

uint64_t grants_forgot_us(const struct grants *grants)
{
	return grants->forgot_us;
}

// How long an entry is of use: one that is asked for, until it may be asked for again.
static uint64_t useful_until(const struct grant *grant)
{
	return grant->until_us > grant->mark_us ? grant->until_us : grant->mark_us;
}

static bool is_denial(const struct grant *grant, uint64_t now_us)
{
	return grant->state == GRANT_DENIED && grant->until_us + LATELY_US > now_us;
}

// Which of two makes room: one that is over, else no denial, else the one that is over first.
static bool goes_before(const struct grant *a, const struct grant *b, uint64_t now_us)
{
	bool a_denies = is_denial(a, now_us), b_denies = is_denial(b, now_us);

	if (a_denies != b_denies)
		return b_denies;
	return useful_until(a) < useful_until(b);
}

struct grant *grants_get(struct grants *grants, uint64_t key, uint64_t now_us)
{
	struct grant *entry = grants_find(grants, key), *first;

	if (entry != NULL)
		return entry;
	first = bucket(grants, key);
	for (unsigned i = 1; i < WAYS; i++) {
		entry = &bucket(grants, key)[i];
		if (goes_before(entry, first, now_us))
			first = entry;
	}
	if (useful_until(first) > now_us)
		grants->evicted_us = now_us;
	if (is_denial(first, now_us))
		grants->forgot_us = now_us;
	*first = (struct grant){.key = key};
	return first;
}
