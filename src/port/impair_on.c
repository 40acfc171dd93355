// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Says that this is the test build, and what it costs. A file of its own: control asks, and has no
// need of ports.

#include "port/port.h"

bool port_impair_built_in(void)
{
	return true;
}

uint32_t port_impair_frames(const struct port_config *config)
{
	bool wanted = impair_wanted(&config->impair_rx) || impair_wanted(&config->impair_tx);

	return wanted ? 2 * IMPAIR_HELD - 1 : 0;
}
