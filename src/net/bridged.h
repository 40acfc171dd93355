// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Offramp as a host, or several, on its own bridge (stack mode with `bridge`): each port of the net
// is a host beside the bridge, which stands between it and all wires.
//
//            net: host 0   host 1
//                    │        │        a frame for a host's MAC is its own, wherever it comes in;
//   wire 0 ══════ bridge ═════╧══ wire 1     one for many goes to all; what a host sends leaves
//   where
//                                            its station is
//
// A worker's, on its thread.

#pragma once

#include <stdint.h>

struct bridge;
struct bridged;
struct net;
struct net_delivery;
struct net_if;
struct rte_mbuf;

#define BRIDGED_BURST 64

// The ports of a net become hosts: `netifs` (netifs[i]->index is i; they outlive it) change what
// they can do and carry to what all of them can, and send through the bridge. -ENOMEM.
int bridged_create(struct net_if *const *netifs, unsigned count, struct bridged **ret_bridged);
// Accepts NULL.
void bridged_destroy(struct bridged *bridged);
// The wires, as netifs that send as the ports did before: for the bridge.
struct net_if *const *bridged_wires(const struct bridged *bridged);
// Before anything is received or sent.
void bridged_join(struct bridged *bridged, struct net *net, struct bridge *bridge);

// Consumes all frames, BRIDGED_BURST at most, that came in at wire `from`; as net_input().
unsigned bridged_input(struct bridged *bridged, unsigned from, struct rte_mbuf **frames,
	unsigned count, uint64_t now_us, struct net_delivery *ret_deliveries);
