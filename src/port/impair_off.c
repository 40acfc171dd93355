// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The normal build: wires are as good as they are.

#include "base/log.h"
#include "port/port_state.h"

#include <errno.h>

bool port_impair_built_in(void)
{
	return false;
}

uint32_t port_impair_frames(const struct port_config *config)
{
	return 0;
}

int port_impair_open(
	struct port *port, const struct port_config *config, const struct rte_mempool *rx_pool)
{
	if (!impair_wanted(&config->impair_rx) && !impair_wanted(&config->impair_tx))
		return 0;
	log_error("port", "%s: built without impairment", config->name);
	return -ENOTSUP;
}

void port_impair_close(struct port *port)
{
}

uint64_t port_impair_count(const struct port *port, enum impair_kind kind)
{
	return 0;
}
