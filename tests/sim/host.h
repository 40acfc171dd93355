// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One end of the simulated wire.

#pragma once

#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct sim_host_config {
	struct tcp_config tcp;
	enum sim_pool_size tx, payloads;
	uint16_t mtu;
	struct net_if_caps caps;
};

void sim_host_init(struct sim_host *host, struct sim *sim, unsigned index,
	const struct sim_host_config *config);
void sim_host_fini(struct sim_host *host);
void sim_host_turn(struct sim_host *host);
