// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One slot a pool, in use and size.

#include "daemon/gauges.h"

#include <rte_malloc.h>
#include <rte_mempool.h>

#include <errno.h>

#include "base/payload.h"
#include "tcp/tcp.h"

enum {
	GAUGE_PAYLOADS, // one a class
	GAUGE_PCBS = GAUGE_PAYLOADS + PAYLOAD_CLASSES,
	GAUGE_PIECES,
	GAUGE_FRAMES_RX,
	GAUGE_FRAMES_TX,
	GAUGES,
};

struct gauges {
	struct worker_pools pools;
	const struct payload_pool *payloads;
	const struct tcp_stack *tcp;
	uint64_t in_use[GAUGES];
	uint64_t size[GAUGES];
};

static const char *const pool_names[GAUGES] = {
	"payloads_160",
	"payloads_992",
	"payloads_4064",
	"payloads_16352",
	"pcbs",
	"send_pieces",
	"frames_rx",
	"frames_tx",
};

static const struct counter_family families[] = {
	{"pool_in_use", "objects taken from a pool", "pool", pool_names, GAUGES, COUNTER_GAUGE},
	{"pool_size", "objects of a pool", "pool", pool_names, GAUGES, COUNTER_GAUGE},
};

int gauges_create(const struct worker_pools *pools, const struct payload_pool *payloads,
	const struct tcp_stack *tcp, struct gauges **ret_gauges)
{
	struct gauges *gauges = rte_zmalloc("gauges", sizeof(*gauges), 0);

	if (gauges == NULL)
		return -ENOMEM;
	gauges->pools = *pools;
	gauges->payloads = payloads;
	gauges->tcp = tcp;
	*ret_gauges = gauges;
	return 0;
}

void gauges_destroy(struct gauges *gauges)
{
	rte_free(gauges);
}

static void gauge_set(struct gauges *gauges, unsigned i, uint64_t in_use, uint64_t size)
{
	counter_set_to(&gauges->in_use[i], in_use);
	counter_set_to(&gauges->size[i], size);
}

void gauges_update(struct gauges *gauges)
{
	struct payload_pool_usage payloads;
	struct tcp_usage tcp;

	payload_pool_usage(gauges->payloads, &payloads);
	for (unsigned i = 0; i < PAYLOAD_CLASSES; i++)
		gauge_set(gauges, GAUGE_PAYLOADS + i, payloads.in_use[i], payloads.total[i]);
	tcp_stack_usage(gauges->tcp, &tcp);
	gauge_set(gauges, GAUGE_PCBS, tcp.pcbs, tcp.pcbs_max);
	gauge_set(gauges, GAUGE_PIECES, tcp.pieces, tcp.pieces_max);
	gauge_set(gauges, GAUGE_FRAMES_RX, rte_mempool_in_use_count(gauges->pools.rx),
		gauges->pools.rx_count);
	gauge_set(gauges, GAUGE_FRAMES_TX, rte_mempool_in_use_count(gauges->pools.tx),
		gauges->pools.tx_count);
}

struct counter_set gauges_counters(const struct gauges *gauges)
{
	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = gauges->in_use,
	};
}
