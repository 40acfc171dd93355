// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How much of a worker's pools is in use: the gauges pool_in_use{pool}, pool_size{pool}
// and pool_bytes_in_use{pool}. Refreshed by the worker a few times a second.

#pragma once

#include "base/counters.h"
#include "daemon/pools.h"

struct gauges;
struct monitor;
struct offload;
struct payload_pool;
struct sockets;
struct stack;
struct tcp_stack;

struct gauges_sources {
	const struct worker_pools *pools;
	const struct payload_pool *payloads;
	const struct tcp_stack *tcp;
	const struct offload *offload;
	const struct stack *stack;
	const struct monitor *monitor; // NULL: not this mode
	const struct sockets *sockets; // likewise
};
int gauges_create(const struct gauges_sources *sources, struct gauges **ret_gauges);
void gauges_destroy(struct gauges *gauges); // accepts NULL
void gauges_update(struct gauges *gauges);
struct counter_set gauges_counters(const struct gauges *gauges);
