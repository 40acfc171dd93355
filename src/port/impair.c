// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames go into a ring with the time at which they come out; delay and rate are the same for all,
// so the ring is in order. A frame to be reordered is laid aside until a few of those behind it
// have passed, or a little time has, so that the last one is not kept for ever.

#include "port/impair.h"

#include "base/assert.h"
#include "base/counters.h"
#include "base/random.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#define ASIDE_US 4000u

struct held {
	struct rte_mbuf *m;
	uint64_t due_us;
};

struct aside {
	struct rte_mbuf *m;
	uint64_t after; // frames to have passed through the ring
	uint64_t due_us;
};

struct impair {
	struct impair_config config;
	struct random rng;
	struct rte_mempool *copies;
	uint64_t free_ns;     // when the wire has sent what it was given
	uint64_t put, passed; // frames that went into the ring and came out, ever
	struct held ring[IMPAIR_HELD];
	struct aside aside[IMPAIR_ASIDE];
	unsigned aside_count;
	uint64_t counters[IMPAIR_KINDS];
};

// What befalls a frame. All of it is drawn for every frame, so that one's fate does not depend on
// another's.
struct fate {
	bool lost, duplicated, reordered, corrupted;
	uint32_t bit, distance;
};

bool impair_wanted(const struct impair_config *config)
{
	return config->loss != 0 || config->duplicate != 0 || config->reorder != 0 ||
	       config->corrupt != 0 || config->delay_us != 0 || config->rate != 0;
}

struct impair *impair_create(
	const struct impair_config *config, uint64_t stream, struct rte_mempool *copies)
{
	struct impair *impair = rte_zmalloc("impair", sizeof(*impair), RTE_CACHE_LINE_SIZE);
	struct random streams;

	if (impair == NULL)
		return NULL;
	impair->config = *config;
	impair->copies = copies;
	random_init(&streams, stream);
	random_init(&impair->rng, config->seed ^ random_next(&streams));
	return impair;
}

void impair_destroy(struct impair *impair)
{
	if (impair == NULL)
		return;
	while (impair->passed < impair->put)
		rte_pktmbuf_free(impair->ring[impair->passed++ % IMPAIR_HELD].m);
	for (unsigned i = 0; i < impair->aside_count; i++)
		rte_pktmbuf_free(impair->aside[i].m);
	rte_free(impair);
}

static void count(struct impair *impair, enum impair_kind kind)
{
	counter_inc(&impair->counters[kind]);
}

uint64_t impair_count(const struct impair *impair, enum impair_kind kind)
{
	return counter_read(&impair->counters[kind]);
}

static struct fate draw(struct impair *impair)
{
	const struct impair_config *config = &impair->config;
	struct random *rng = &impair->rng;

	return (struct fate){
		.lost = random_below(rng, IMPAIR_MILLION) < config->loss,
		.duplicated = random_below(rng, IMPAIR_MILLION) < config->duplicate,
		.reordered = random_below(rng, IMPAIR_MILLION) < config->reorder,
		.corrupted = random_below(rng, IMPAIR_MILLION) < config->corrupt,
		.bit = (uint32_t)random_next(rng),
		.distance = 1 + random_below(rng, IMPAIR_OVERTAKING),
	};
}

// Where the IP packet of a frame begins; 0 when it is none.
static uint32_t ip_offset(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_vlan_hdr *vlan = (const void *)(ether + 1);
	uint32_t offset = sizeof(*ether);
	uint16_t type;

	if (rte_pktmbuf_data_len(m) <= sizeof(*ether) + sizeof(*vlan))
		return 0;
	type = rte_be_to_cpu_16(ether->ether_type);
	if (type == RTE_ETHER_TYPE_VLAN) {
		type = rte_be_to_cpu_16(vlan->eth_proto);
		offset += sizeof(*vlan);
	}
	return type == RTE_ETHER_TYPE_IPV4 || type == RTE_ETHER_TYPE_IPV6 ? offset : 0;
}

// Consumes m.
static struct rte_mbuf *corrupted(struct impair *impair, struct rte_mbuf *m, uint32_t bit)
{
	uint32_t offset = ip_offset(m);
	struct rte_mbuf *copy = NULL;

	if (offset != 0)
		copy = rte_pktmbuf_copy(m, impair->copies, 0, UINT32_MAX);
	if (copy == NULL)
		return m;
	bit %= 8 * (rte_pktmbuf_data_len(copy) - offset);
	rte_pktmbuf_mtod(copy, uint8_t *)[offset + bit / 8] ^= (uint8_t)(1u << bit % 8);
	count(impair, IMPAIR_CORRUPTED);
	rte_pktmbuf_free(m);
	return copy;
}

// Consumes m.
static void hold(struct impair *impair, struct rte_mbuf *m, uint64_t due_us, uint32_t distance)
{
	if (distance > 0 && impair->aside_count < IMPAIR_ASIDE) {
		impair->aside[impair->aside_count++] = (struct aside){
			.m = m, .after = impair->put + distance, .due_us = due_us + ASIDE_US};
		count(impair, IMPAIR_REORDERED);
	} else if (impair->put - impair->passed < IMPAIR_HELD) {
		impair->ring[impair->put++ % IMPAIR_HELD] = (struct held){m, due_us};
	} else {
		count(impair, IMPAIR_OVERFLOWED);
		rte_pktmbuf_free(m);
	}
}

// When a frame of so many bytes that is sent now comes out.
static uint64_t due(struct impair *impair, uint32_t bytes, uint64_t now_us)
{
	const struct impair_config *config = &impair->config;

	if (impair->free_ns < now_us * 1000)
		impair->free_ns = now_us * 1000;
	if (config->rate != 0)
		impair->free_ns += bytes * 8ull * 1000000000 / config->rate;
	return impair->free_ns / 1000 + config->delay_us;
}

void impair_put(struct impair *impair, struct rte_mbuf *m, uint64_t now_us)
{
	struct fate fate = draw(impair);
	struct rte_mbuf *copy = NULL;
	uint64_t due_us;

	if (fate.lost) {
		count(impair, IMPAIR_LOST);
		rte_pktmbuf_free(m);
		return;
	}
	if (fate.corrupted)
		m = corrupted(impair, m, fate.bit);
	if (fate.duplicated)
		copy = rte_pktmbuf_copy(m, impair->copies, 0, UINT32_MAX);
	due_us = due(impair, rte_pktmbuf_pkt_len(m), now_us);
	if (copy != NULL) {
		count(impair, IMPAIR_DUPLICATED);
		hold(impair, copy, due_us, 0);
	}
	hold(impair, m, due_us, fate.reordered ? fate.distance : 0);
}

static struct rte_mbuf *aside_take(struct impair *impair, uint64_t now_us)
{
	for (unsigned i = 0; i < impair->aside_count; i++) {
		struct aside *aside = &impair->aside[i];
		struct rte_mbuf *m = aside->m;

		if (aside->after > impair->passed && aside->due_us > now_us)
			continue;
		*aside = impair->aside[--impair->aside_count];
		return m;
	}
	return NULL;
}

struct rte_mbuf *impair_take(struct impair *impair, uint64_t now_us)
{
	struct rte_mbuf *m = aside_take(impair, now_us);
	const struct held *held = &impair->ring[impair->passed % IMPAIR_HELD];

	if (m != NULL || impair->passed == impair->put || held->due_us > now_us)
		return m;
	impair->passed++;
	return held->m;
}

void impair_check(const struct impair *impair)
{
	uint64_t due_us = 0;

	ASSERT(impair->passed <= impair->put && impair->put - impair->passed <= IMPAIR_HELD);
	ASSERT(impair->aside_count <= IMPAIR_ASIDE);
	for (uint64_t i = impair->passed; i < impair->put; i++) {
		ASSERT(impair->ring[i % IMPAIR_HELD].m != NULL);
		ASSERT(impair->ring[i % IMPAIR_HELD].due_us >= due_us);
		due_us = impair->ring[i % IMPAIR_HELD].due_us;
	}
	for (unsigned i = 0; i < impair->aside_count; i++)
		ASSERT(impair->aside[i].after <= impair->put + IMPAIR_OVERTAKING);
}
