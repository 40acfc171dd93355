// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Payloads: bytes that outlive the loop iteration in which they arrived. One
// payload may stand in thousands of send queues; it carries its own 32-bit
// reference count (an mbuf's has 16 bits). Contiguous, of a few size classes,
// each a pool sized at start; a large message is several payloads.
//
// Owned by one worker: the reference count is plain.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_mempool;

struct payload {
	uint32_t refs;
	uint32_t capacity; // bytes that fit into data
	uint32_t length;   // bytes that are valid
	uint16_t class;	   // index of its size class
	uint16_t sum;	   // of the first `summed` bytes; see payload_sum()
	struct payload_pool *pool;
	uint32_t summed;
	uint32_t reserved;
	uint8_t data[];
};

#define PAYLOAD_CLASSES 4

struct payload_pool_config {
	// Objects per class; classes hold 160, 992, 4064 and 16352 bytes of data.
	uint32_t count[PAYLOAD_CLASSES];
	int socket; // NUMA node, -1: any
};

#define PAYLOAD_LARGEST 16352u

struct payload_pool;

// -ENOMEM when the pools cannot be made. `name` makes the mempools' names unique in the process.
int payload_pool_create(
	const char *name, const struct payload_pool_config *config, struct payload_pool **ret_pool);
// All payloads must have been put. Accepts NULL.
void payload_pool_destroy(struct payload_pool *pool);

// One reference, length 0, capacity >= size (size <= PAYLOAD_LARGEST). A larger class serves when
// the fitting one is empty. NULL when all are.
struct payload *payload_alloc(struct payload_pool *pool, uint32_t size);

static inline struct payload *payload_get(struct payload *p)
{
	p->refs++;
	return p;
}

void payload_free(struct payload *p); // internal: refs came to 0

static inline void payload_put(struct payload *p)
{
	if (--p->refs == 0)
		payload_free(p);
}

// A device has sent what referred to it. Devices free what they have sent in a later transmission
// on the same queue, hence on the worker's thread, or when they are closed, after the worker has
// ended.
void payload_put_sent(struct payload *p);

// The ones'-complement sum (base/sum.h) of a range of the valid bytes, the first counted as at an
// even offset. What many refer to is summed once and remembered: bytes once valid no longer change
// then.
uint16_t payload_sum(struct payload *p, uint32_t offset, uint32_t length);

struct payload_pool_usage {
	uint32_t size[PAYLOAD_CLASSES]; // bytes of data an object holds
	uint32_t total[PAYLOAD_CLASSES];
	uint32_t in_use[PAYLOAD_CLASSES];
	uint32_t object[PAYLOAD_CLASSES]; // bytes of memory an object takes
};
// Any thread; approximate while the worker runs.
void payload_pool_usage(const struct payload_pool *pool, struct payload_pool_usage *ret_usage);
// How near the pool is to its end, in permille: the share of all bytes that is in use, or of the
// largest class (to which everything turns in the end) if that is more. Worker only, O(1).
unsigned payload_pool_pressure(const struct payload_pool *pool);
// Bytes of data that all classes together hold.
uint64_t payload_pool_bytes(const struct payload_pool *pool);

// Asserts that the books agree with the pools; for tests.
void payload_pool_check(const struct payload_pool *pool);
