// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker's inside, shared by worker.c, which makes it, and worker_loop.c, which runs
// it.

#pragma once

#include "base/counters.h"
#include "base/random.h"
#include "daemon/idle.h"
#include "daemon/pools.h"
#include "daemon/worker.h"
#include "net/net.h"

struct worker_port {
	struct net_if netif; // ctx: this structure
	struct port *port;
	struct worker *worker;
	unsigned queue; // of the worker with this index
	bool own;	// this one
};

struct worker {
	const struct config *config;
	unsigned index;
	struct worker_port *ports;
	unsigned ports_count;
	struct worker_pools pools;
	struct steering *steering; // NULL: the only worker
	struct offload_config offload_config;
	struct random rng;
	struct mailbox *mailbox;
	struct payload_pool *payloads;
	struct net *net;
	struct tcp_stack *tcp;
	struct offload *offload;
	struct stack *stack;	 // NULL: socket mode
	struct sockets *sockets; // NULL: not this mode
	struct bridge *bridge;	 // NULL: nothing is bridged
	struct bridged *bridged; // NULL: the net has the ports to itself, or is not asked
	struct monitor *monitor; // NULL: not this mode
	struct net_if **netifs;	 // the ports', for those two
	struct gauges *gauges;
	struct idle idle;
	struct load {
		uint64_t since_us, busy_us; // of the second that is not over
		uint64_t permille;	    // of the latest one; read by control
	} load;
	struct counter_set sets[9];
	unsigned sets_count;
	uint32_t order;	  // enum worker_order; written by the main thread
	uint32_t drained; // read by the main thread
	bool draining;
	uint64_t drained_us; // when the last connection ended; 0: not yet
	uint64_t update_us;  // next refresh of gauges
};

// A port of its own sends the frame with the burst that is being made.
void worker_port_tx(void *port, struct rte_mbuf *m);
