// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table under the neighbour states: lookup, creation, eviction and the frames
// that wait. Private to neighbour.c and neighbour_cache.c.

#pragma once

#include "net/neighbour.h"
#include "net/state.h"

struct net_neighbour *neighbour_find(
	const struct net *net, const struct net_if *netif, const struct net_address *address);
// A NEW entry without references, on no list; an unused one makes room when the table is full. NULL
// when none can.
struct net_neighbour *neighbour_create(
	struct net *net, struct net_if *netif, const struct net_address *address);
// For an entry that nobody refers to.
void neighbour_remove(struct net *net, struct net_neighbour *n);
// It waits to be used again, or to make room.
void neighbour_unused(struct net *net, struct net_neighbour *n);
// May one be made for somebody whom nobody has asked for?
bool neighbour_room_for_hearsay(const struct net *net);
// Keeps the gauge; disarms the timer.
void neighbour_set_state(struct net *net, struct net_neighbour *n, enum neighbour_state state);

void neighbour_pending_push(struct net *net, struct net_neighbour *n, struct rte_mbuf *m);
struct rte_mbuf *neighbour_pending_pop(struct net *net, struct net_neighbour *n);
void neighbour_pending_drop(struct net *net, struct net_neighbour *n, enum net_drop reason);
