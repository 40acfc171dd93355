// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Made of what the configuration says: the ports are not open yet.

#include "daemon/pools.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "control/config.h"
#include "port/port.h"

#define RESERVE 512

int worker_pools_create(
	const struct config *config, unsigned worker, struct worker_pools *ret_pools)
{
	uint16_t room = config_frame_room(config);
	uint32_t half = config_share(config, config->memory.frames / 2);
	char name[3][24];

	snprintf(name[0], sizeof(name[0]), "rx%u", worker);
	snprintf(name[1], sizeof(name[1]), "tx%u", worker);
	snprintf(name[2], sizeof(name[2]), "reserve%u", worker);
	*ret_pools = (struct worker_pools){
		.rx = port_frame_pool_create(name[0], half, room),
		.tx = port_frame_pool_create(name[1], half, room),
		.reserve = port_frame_pool_create(name[2], RESERVE, 0),
		.rx_count = half,
		.tx_count = half,
	};
	if (ret_pools->rx == NULL || ret_pools->tx == NULL || ret_pools->reserve == NULL) {
		log_error("daemon", "no memory for %u frames of %u bytes: lower memory.frames",
			2 * half, room);
		return -ENOMEM;
	}
	return 0;
}
