// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What we send to ourselves. Internal to the floor.

#pragma once

#include <stdbool.h>

#include "net/net.h"

void loop_init(struct net *net, const struct net_config *config);
void loop_fini(struct net *net);
// Is it an address of ours, and may be sent to?
bool loop_leads_to(const struct net *net, const struct net_address *remote);
// As net_path_open(), of which it is a part; `local` is usable.
int loop_path_open(struct net *net, const struct net_address *local,
	const struct net_address *remote, struct net_path *ret_path);
