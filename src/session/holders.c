// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Buckets of four; the oldest key of a bucket goes first.

#include "session/holders.h"

#include <rte_common.h>
#include <rte_malloc.h>

#include <errno.h>
#include <string.h>

#define WAYS 4u

struct holders_bucket {
	uint64_t keys[WAYS]; // 0: none
	uint8_t workers[WAYS];
	uint8_t next; // the oldest
};

struct holders {
	uint32_t mask; // of buckets
	struct holders_bucket buckets[];
};

static size_t buckets_size(uint32_t mask)
{
	return (mask + 1ul) * sizeof(struct holders_bucket);
}

int holders_create(const char *name, uint32_t count, struct holders **ret_holders)
{
	uint32_t mask = rte_align32pow2(count / WAYS + 1) - 1;
	struct holders *holders = rte_zmalloc(name, sizeof(*holders) + buckets_size(mask), 0);

	if (holders == NULL)
		return -ENOMEM;
	holders->mask = mask;
	*ret_holders = holders;
	return 0;
}

void holders_destroy(struct holders *holders)
{
	rte_free(holders);
}

static uint32_t bucket_index(const struct holders *holders, uint64_t key)
{
	return (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 32) & holders->mask;
}

void holders_set(struct holders *holders, uint64_t key, unsigned worker)
{
	struct holders_bucket *bucket = &holders->buckets[bucket_index(holders, key)];
	unsigned way = 0;

	while (way < WAYS && bucket->keys[way] != key)
		way++;
	if (way == WAYS) {
		way = bucket->next;
		bucket->next = (uint8_t)((way + 1) % WAYS);
	}
	bucket->keys[way] = key;
	bucket->workers[way] = (uint8_t)worker;
}

int holders_find(const struct holders *holders, uint64_t key)
{
	const struct holders_bucket *bucket = &holders->buckets[bucket_index(holders, key)];

	for (unsigned way = 0; key != 0 && way < WAYS; way++)
		if (bucket->keys[way] == key)
			return bucket->workers[way];
	return -1;
}

void holders_forget(struct holders *holders)
{
	memset(holders->buckets, 0, buckets_size(holders->mask));
}
