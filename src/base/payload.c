// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Payload pools: a mempool per size class, so that the bytes have an IO address and can be sent
// where they lie. One worker gets and puts, hence single-producer/single-consumer rings, with the
// lcore's cache in front that hands out what was freed last. A payload goes back to its own class,
// which need not be the one that fits its size best.

#include "base/payload.h"

#include "base/assert.h"
#include "base/counters.h"
#include "base/sum.h"

#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define OBJECT_HEADER 32u
#define CACHE_MAX     256u

static_assert(offsetof(struct payload, data) <= OBJECT_HEADER, "objects keep to cache lines");

static const uint32_t class_size[PAYLOAD_CLASSES] = {160, 992, 4064, PAYLOAD_LARGEST};

struct payload_pool {
	// Read-only after creation.
	struct rte_mempool *mempools[PAYLOAD_CLASSES]; // NULL: class without objects
	uint32_t total[PAYLOAD_CLASSES];
	uint64_t total_bytes;

	// Written by the worker, read by anyone.
	uint64_t in_use[PAYLOAD_CLASSES];

	// The worker's own.
	uint64_t in_use_bytes;
	unsigned lcore; // where it was last allocated from
};

struct class_init {
	struct payload_pool *pool;
	uint16_t class;
};

static void payload_init(struct rte_mempool *mempool, void *opaque, void *object, unsigned index)
{
	const struct class_init *init = opaque;
	struct payload *p = object;

	*p = (struct payload){
		.capacity = class_size[init->class],
		.class = init->class,
		.pool = init->pool,
	};
}

static int class_create(struct payload_pool *pool, const char *name, uint16_t class, int socket)
{
	struct class_init init = {.pool = pool, .class = class};
	uint32_t count = pool->total[class];
	unsigned cache = count / 2 < CACHE_MAX ? count / 2 : CACHE_MAX;
	char full_name[RTE_MEMPOOL_NAMESIZE];
	int length = snprintf(full_name, sizeof(full_name), "%s.%u", name, class);

	if (length < 0 || (size_t)length >= sizeof(full_name))
		return -ENAMETOOLONG;
	pool->mempools[class] = rte_mempool_create(full_name, count,
		OBJECT_HEADER + class_size[class], cache, 0, NULL, NULL, payload_init, &init,
		socket, RTE_MEMPOOL_F_SP_PUT | RTE_MEMPOOL_F_SC_GET);
	return pool->mempools[class] != NULL ? 0 : -rte_errno;
}

int payload_pool_create(
	const char *name, const struct payload_pool_config *config, struct payload_pool **ret_pool)
{
	struct payload_pool *pool = calloc(1, sizeof(*pool));
	int r = 0;

	if (pool == NULL)
		return -ENOMEM;
	for (uint16_t c = 0; c < PAYLOAD_CLASSES && r == 0; c++) {
		pool->total[c] = config->count[c];
		pool->total_bytes += (uint64_t)config->count[c] * class_size[c];
		if (config->count[c] > 0)
			r = class_create(pool, name, c, config->socket);
	}
	if (r < 0) {
		payload_pool_destroy(pool);
		return r;
	}
	*ret_pool = pool;
	return 0;
}

void payload_pool_destroy(struct payload_pool *pool)
{
	if (pool == NULL)
		return;
	for (unsigned c = 0; c < PAYLOAD_CLASSES; c++) {
		ASSERT(pool->in_use[c] == 0);
		rte_mempool_free(pool->mempools[c]);
	}
	free(pool);
}

struct payload *payload_alloc(struct payload_pool *pool, uint32_t size)
{
	DASSERT(size <= PAYLOAD_LARGEST);
	for (unsigned c = 0; c < PAYLOAD_CLASSES; c++) {
		void *object;

		if (size > class_size[c] || pool->in_use[c] == pool->total[c] ||
			rte_mempool_get(pool->mempools[c], &object) < 0)
			continue;
		counter_inc(&pool->in_use[c]);
		pool->in_use_bytes += class_size[c];
		pool->lcore = rte_lcore_id();

		struct payload *p = object;

		DASSERT(p->refs == 0 && p->class == c && p->pool == pool);
		p->refs = 1;
		p->length = 0;
		p->summed = 0;
		p->sum = 0;
		return p;
	}
	return NULL;
}

void payload_put_sent(struct payload *p)
{
	unsigned lcore = p->pool->lcore;

	DASSERT(lcore == rte_lcore_id() || rte_eal_get_lcore_state(lcore) != RUNNING);
	payload_put(p);
}

void payload_free(struct payload *p)
{
	struct payload_pool *pool = p->pool;

	DASSERT(p->refs == 0 && pool->in_use[p->class] > 0);
	counter_set_to(&pool->in_use[p->class], pool->in_use[p->class] - 1);
	pool->in_use_bytes -= class_size[p->class];
	rte_mempool_put(pool->mempools[p->class], p);
}

// Of all valid bytes; those that joined since the last time are added.
static uint16_t sum_whole(struct payload *p)
{
	if (p->summed < p->length) {
		uint16_t more = sum_bytes(p->data + p->summed, p->length - p->summed);

		p->sum = sum_add(p->sum, sum_at(more, p->summed));
		p->summed = p->length;
	}
	return p->sum;
}

uint16_t payload_sum(struct payload *p, uint32_t offset, uint32_t length)
{
	uint32_t end = offset + length;
	uint32_t rest = p->length - length;
	uint16_t sum;

	DASSERT(end <= p->length && p->summed <= p->length);
	// Nobody else will ask, or there is less to read of the range than of what surrounds it.
	if (rest > 0 && (p->refs == 1 || rest >= length))
		return sum_bytes(p->data + offset, length);
	sum = sum_whole(p);
	if (offset > 0)
		sum = sum_subtract(sum, sum_bytes(p->data, offset));
	if (end < p->length)
		sum = sum_subtract(sum, sum_at(sum_bytes(p->data + end, p->length - end), end));
	sum = sum_at(sum, offset);
	// Zero has two forms.
	DASSERT(sum % 0xffff == sum_bytes(p->data + offset, length) % 0xffff);
	return sum;
}

static uint32_t class_object_size(const struct rte_mempool *mempool)
{
	return mempool == NULL ? 0
			       : mempool->header_size + mempool->elt_size + mempool->trailer_size;
}

void payload_pool_usage(const struct payload_pool *pool, struct payload_pool_usage *ret_usage)
{
	for (unsigned c = 0; c < PAYLOAD_CLASSES; c++) {
		ret_usage->size[c] = class_size[c];
		ret_usage->total[c] = pool->total[c];
		ret_usage->in_use[c] = (uint32_t)counter_read(&pool->in_use[c]);
		ret_usage->object[c] = class_object_size(pool->mempools[c]);
	}
}

unsigned payload_pool_pressure(const struct payload_pool *pool)
{
	const unsigned last = PAYLOAD_CLASSES - 1;
	uint64_t all = 1000, largest = 0;

	if (pool->total_bytes > 0)
		all = pool->in_use_bytes * 1000 / pool->total_bytes;
	if (pool->total[last] > 0)
		largest = pool->in_use[last] * 1000 / pool->total[last];
	return (unsigned)(all > largest ? all : largest);
}

uint64_t payload_pool_bytes(const struct payload_pool *pool)
{
	return pool->total_bytes;
}

void payload_pool_check(const struct payload_pool *pool)
{
	uint64_t bytes = 0;

	for (unsigned c = 0; c < PAYLOAD_CLASSES; c++) {
		ASSERT(pool->in_use[c] <= pool->total[c]);
		bytes += pool->in_use[c] * class_size[c];
		if (pool->mempools[c] != NULL)
			ASSERT(rte_mempool_in_use_count(pool->mempools[c]) == pool->in_use[c]);
	}
	ASSERT(bytes == pool->in_use_bytes);
}
