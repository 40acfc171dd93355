// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Addresses of ours, of both families: finding them, and what happens when another
// host claims one. Linear searches: there are a handful, and the first is nearly always
// the one. Worker's thread.

#pragma once

#include "net/state.h"

struct rte_ether_addr;

// The IPv4 address of ours (network byte order), or NULL; `netif` NULL: of any.
static inline struct net_local *local_find(
	const struct net *net, const struct net_if *netif, uint32_t ipv4)
{
	for (unsigned i = 0; i < net->locals_count; i++) {
		struct net_local *local = &net->locals[i];

		if (local->ipv4 == ipv4 && (netif == NULL || local->netif == netif))
			return local;
	}
	return NULL;
}

// The IPv6 address of ours, TENTATIVE or ASSIGNED, or NULL; `netif` NULL: of any.
struct net_local *local6_find(
	const struct net *net, const struct net_if *netif, const struct net_address *address);
// The same for a packet that came in by `netif`: a link-local address is ours only there (RFC 4007
// 6), any other on every interface.
struct net_local *local6_find_arrived(
	const struct net *net, const struct net_if *netif, const struct net_address *address);
// The ASSIGNED address of that interface which suits `remote` best: of its prefix, or else
// link-local; NULL when there is none.
const struct net_local *local6_towards(
	const struct net *net, const struct net_if *netif, const struct net_address *remote);
// Is it an address of ours that can be spoken from, not one that is still being probed for?
bool local_usable(const struct net *net, const struct net_address *local);
// NULL: that interface does not speak IPv6, or not over Ethernet.
struct net_link6 *link6_find(const struct net *net, const struct net_if *netif);

// Another host claims `local`. Noted for whoever may log; true when it may be defended: once per
// 10 s, for two hosts that defend must not storm (RFC 5227 2.4 (c)).
bool local_conflict(struct net *net, struct net_local *local, const struct rte_ether_addr *mac);
