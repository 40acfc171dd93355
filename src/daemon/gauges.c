// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One slot a pool.

#include "daemon/gauges.h"

#include <rte_malloc.h>
#include <rte_mempool.h>

#include <errno.h>

#include "attach/monitor.h"
#include "attach/sockets.h"
#include "attach/stack.h"
#include "base/payload.h"
#include "offload/offload.h"
#include "tcp/tcp.h"

enum {
	GAUGE_PAYLOADS, // one a class
	GAUGE_PCBS = GAUGE_PAYLOADS + PAYLOAD_CLASSES,
	GAUGE_PIECES,
	GAUGE_FRAMES_RX,
	GAUGE_FRAMES_TX,
	GAUGE_FLOWS,
	GAUGE_TRACKS,
	GAUGE_CLIENTS,
	GAUGE_SESSIONS,
	GAUGE_SUBSCRIPTIONS,
	GAUGE_TOPIC_LEVELS,
	GAUGE_FILTERS,
	GAUGE_TOLD_CLIENTS,
	GAUGE_TOLD_SUBSCRIPTIONS,
	GAUGE_TOLD_LEVELS,
	GAUGE_DELIVERIES,
	GAUGES,
};

struct gauges {
	struct worker_pools pools;
	const struct payload_pool *payloads;
	const struct tcp_stack *tcp;
	const struct offload *offload;
	const struct stack *stack;
	const struct monitor *monitor;
	const struct sockets *sockets;
	// A family each.
	uint64_t in_use[GAUGES];
	uint64_t size[GAUGES];
	uint64_t bytes_in_use[GAUGES];
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
	"flows",
	"flow_tracks",
	"clients",
	"sessions",
	"subscriptions",
	"topic_levels",
	"filters",
	"told_clients",
	"told_subscriptions",
	"told_levels",
	"deliveries",
};

static const struct counter_family families[] = {
	{"pool_in_use", "objects taken from a pool", "pool", pool_names, GAUGES, COUNTER_GAUGE},
	{"pool_size", "objects of a pool", "pool", pool_names, GAUGES, COUNTER_GAUGE},
	{"pool_bytes_in_use", "memory of the objects taken from a pool", "pool", pool_names, GAUGES,
		COUNTER_GAUGE},
};

int gauges_create(const struct gauges_sources *sources, struct gauges **ret_gauges)
{
	struct gauges *gauges = rte_zmalloc("gauges", sizeof(*gauges), 0);

	if (gauges == NULL)
		return -ENOMEM;
	gauges->pools = *sources->pools;
	gauges->payloads = sources->payloads;
	gauges->tcp = sources->tcp;
	gauges->offload = sources->offload;
	gauges->stack = sources->stack;
	gauges->monitor = sources->monitor;
	gauges->sockets = sources->sockets;
	*ret_gauges = gauges;
	return 0;
}

void gauges_destroy(struct gauges *gauges)
{
	rte_free(gauges);
}

static void gauge_set(struct gauges *gauges, unsigned i, struct pool_usage usage)
{
	counter_set_to(&gauges->in_use[i], usage.in_use);
	counter_set_to(&gauges->size[i], usage.size);
	counter_set_to(&gauges->bytes_in_use[i], usage.in_use * usage.object_bytes);
}

static struct pool_usage frames_usage(const struct rte_mempool *pool, uint32_t count)
{
	return (struct pool_usage){
		.in_use = rte_mempool_in_use_count(pool),
		.size = count,
		.object_bytes = pool->header_size + pool->elt_size + pool->trailer_size,
	};
}

static void update_tcp(struct gauges *gauges)
{
	struct payload_pool_usage payloads;
	struct tcp_usage tcp;

	payload_pool_usage(gauges->payloads, &payloads);
	for (unsigned i = 0; i < PAYLOAD_CLASSES; i++)
		gauge_set(gauges, GAUGE_PAYLOADS + i,
			(struct pool_usage){
				payloads.in_use[i], payloads.total[i], payloads.object[i]});
	tcp_stack_usage(gauges->tcp, &tcp);
	gauge_set(gauges, GAUGE_PCBS, (struct pool_usage){tcp.pcbs, tcp.pcbs_max, tcp.pcb_bytes});
	gauge_set(gauges, GAUGE_PIECES,
		(struct pool_usage){tcp.pieces, tcp.pieces_max, tcp.piece_bytes});
}

void gauges_update(struct gauges *gauges)
{
	const struct worker_pools *pools = &gauges->pools;
	struct offload_usage offload;

	update_tcp(gauges);
	gauge_set(gauges, GAUGE_FRAMES_RX, frames_usage(pools->rx, pools->rx_count));
	gauge_set(gauges, GAUGE_FRAMES_TX, frames_usage(pools->tx, pools->tx_count));
	gauge_set(gauges, GAUGE_FLOWS,
		gauges->sockets != NULL ? sockets_usage(gauges->sockets)
					: stack_usage(gauges->stack));
	if (gauges->monitor != NULL)
		gauge_set(gauges, GAUGE_TRACKS, monitor_usage(gauges->monitor));
	offload_usage(gauges->offload, &offload);
	gauge_set(gauges, GAUGE_CLIENTS, offload.clients);
	gauge_set(gauges, GAUGE_SESSIONS, offload.sessions);
	gauge_set(gauges, GAUGE_SUBSCRIPTIONS, offload.subscriptions);
	gauge_set(gauges, GAUGE_TOPIC_LEVELS, offload.topic_levels);
	gauge_set(gauges, GAUGE_FILTERS, offload.filters);
	gauge_set(gauges, GAUGE_TOLD_CLIENTS, offload.told_clients);
	gauge_set(gauges, GAUGE_TOLD_SUBSCRIPTIONS, offload.told_subscriptions);
	gauge_set(gauges, GAUGE_TOLD_LEVELS, offload.told_levels);
	gauge_set(gauges, GAUGE_DELIVERIES, offload.deliveries);
}

struct counter_set gauges_counters(const struct gauges *gauges)
{
	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = gauges->in_use,
	};
}
