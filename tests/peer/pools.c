// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The pools of tcp-peer, and whether all that was taken from them has come back.

#include "peer.h"

#include "base/payload.h"

#include <rte_mempool.h>

#include <errno.h>
#include <stdio.h>

#define FRAMES	     8191
#define JUMBO_FRAMES 2047
#define RESERVE	     255

const char *const pool_names[POOLS] = {"payloads", "rx", "tx", "reserve"};

int pools_create(struct pools *pools, bool jumbo, uint16_t data_room)
{
	const struct payload_pool_config payloads = {
		.count = {8191, 8191, 4095, 1023}, .socket = -1};
	unsigned frames = jumbo ? JUMBO_FRAMES : FRAMES;

	pools->rx = port_frame_pool_create("rx", frames, data_room);
	pools->tx = port_frame_pool_create("tx", frames, data_room);
	pools->reserve = port_frame_pool_create("reserve", RESERVE, 0);
	if (pools->rx == NULL || pools->tx == NULL || pools->reserve == NULL)
		return -ENOMEM;
	return payload_pool_create("payloads", &payloads, &pools->payloads);
}

static unsigned payloads_in_use(const struct payload_pool *payloads)
{
	struct payload_pool_usage usage;
	unsigned total = 0;

	payload_pool_usage(payloads, &usage);
	for (unsigned i = 0; i < PAYLOAD_CLASSES; i++)
		total += usage.in_use[i];
	return total;
}

unsigned pools_in_use(const struct pools *pools, enum pool pool)
{
	switch (pool) {
	case POOL_PAYLOADS:
		return payloads_in_use(pools->payloads);
	case POOL_RX:
		return rte_mempool_in_use_count(pools->rx);
	case POOL_TX:
		return rte_mempool_in_use_count(pools->tx);
	default:
		return rte_mempool_in_use_count(pools->reserve);
	}
}

bool pools_destroy(struct pools *pools)
{
	bool whole = true;

	for (unsigned i = 0; i < POOLS; i++) {
		unsigned in_use = pools_in_use(pools, i);

		if (in_use > 0)
			fprintf(stderr, "tcp-peer: %u leaked from the pool %s\n", in_use,
				pool_names[i]);
		whole = whole && in_use == 0;
	}
	if (whole)
		payload_pool_destroy(pools->payloads);
	return whole;
}
