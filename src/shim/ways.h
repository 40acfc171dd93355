// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Whose way to an address it is: the daemon's or the kernel's. Under the shim's lock, which is let
// go while the daemon is asked.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "channel/message.h"

struct shim;

struct way {
	struct channel_endpoint local; // of the daemon's, the one that speaks to it
	bool own;		       // it is the daemon's own address
	uint16_t mtu;
	uint32_t longest; // ICMP message that can come back
};

// An address of the kernel's own.
bool way_is_own(const struct channel_endpoint *remote);
// False: it is the kernel's, for the daemon is away, has no way, or has but its default route where
// the kernel has a way, too; and what is the kernel's own address. `firm`: the kernel does not
// count.
bool way_find(
	struct shim *shim, const struct channel_endpoint *remote, bool firm, struct way *ret_way);
