// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How large frames must be is asked of the configuration: the ports are not open yet.

#include "daemon/pools.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/config.h"
#include "port/port.h"

#define RESERVE 512

// Room for a frame of the port: what its MTU needs, and no less than what af_packet copies at most.
static uint32_t frame_bytes(const struct port_config *port)
{
	uint32_t bytes = port->mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
	const char *framesz = strstr(port->device, "framesz=");
	uint32_t ring = framesz == NULL ? 0 : (uint32_t)strtoul(framesz + 8, NULL, 10);

	return ring > bytes ? ring : bytes;
}

static uint16_t data_room(const struct config *config)
{
	uint32_t largest = RTE_MBUF_DEFAULT_DATAROOM;

	for (unsigned i = 0; i < config->ports_count; i++) {
		uint32_t bytes = frame_bytes(&config->ports[i].port);

		largest = bytes > largest ? bytes : largest;
	}
	largest = RTE_ALIGN_CEIL(largest + RTE_PKTMBUF_HEADROOM, RTE_CACHE_LINE_SIZE);
	return largest > UINT16_MAX ? UINT16_MAX : (uint16_t)largest;
}

int worker_pools_create(
	const struct config *config, unsigned worker, struct worker_pools *ret_pools)
{
	uint16_t room = data_room(config);
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
