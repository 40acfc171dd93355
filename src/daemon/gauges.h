// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How much of a worker's pools is in use: the gauges pool_in_use{pool} and
// pool_size{pool}. Refreshed by the worker a few times a second.

#pragma once

#include "base/counters.h"
#include "daemon/pools.h"

struct gauges;
struct payload_pool;
struct tcp_stack;

int gauges_create(const struct worker_pools *pools, const struct payload_pool *payloads,
	const struct tcp_stack *tcp, struct gauges **ret_gauges);
void gauges_destroy(struct gauges *gauges); // accepts NULL
void gauges_update(struct gauges *gauges);
struct counter_set gauges_counters(const struct gauges *gauges);
