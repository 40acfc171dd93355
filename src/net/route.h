// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Routes: the connected prefixes of all interfaces and the static routes through a
// gateway. Fixed at start, read by the worker.

#pragma once

#include "net/net.h"

// Fills net->locals and net->routes. -EINVAL with a line, -ENOMEM.
int route_tables_init(struct net *net, const struct net_config *config, const char **ret_error);
void route_tables_fini(struct net *net);

// Where to send for `destination`, best from `local`: the longest prefix wins, among equals one of
// the interface that owns `local`. NULL: no route, or an address that no host has.
const struct net_route *route_find(const struct net *net, const struct net_address *destination,
	const struct net_address *local);
// The connected route of an on-link address, NULL when it is on no link.
const struct net_route *route_find_connected(
	const struct net *net, const struct net_address *address);
