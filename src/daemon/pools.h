// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frame pools of one worker. They exist before the ports, which receive into them.

#pragma once

#include <stdint.h>

struct config;
struct rte_mempool;

struct worker_pools {
	struct rte_mempool *rx;	     // frames received, all ports
	struct rte_mempool *tx;	     // frames to transmit
	struct rte_mempool *reserve; // for ACK, RST and ARP when tx is empty
	uint32_t rx_count, tx_count;
};

// -ENOMEM after a logged line. Pools live until the EAL is cleaned up.
int worker_pools_create(
	const struct config *config, unsigned worker, struct worker_pools *ret_pools);
