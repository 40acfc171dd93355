// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Searches among our own addresses, and the note of conflicts. Worker's thread.

#include "net/local.h"

#include "base/clock.h"

#define DEFEND_INTERVAL_US (10 * US_IN_S)

struct net_local *local6_find(
	const struct net *net, const struct net_if *netif, const struct net_address *address)
{
	for (unsigned i = 0; i < net->locals6_count; i++) {
		struct net_local *local = &net->locals6[i];

		if (net_address_equal(&local->address, address) &&
			local->state != NET_LOCAL_DUPLICATE &&
			(netif == NULL || local->netif == netif))
			return local;
	}
	return NULL;
}

struct net_local *local6_find_arrived(
	const struct net *net, const struct net_if *netif, const struct net_address *address)
{
	return local6_find(net, net_address_is_link_local(address) ? netif : NULL, address);
}

const struct net_local *local6_towards(
	const struct net *net, const struct net_if *netif, const struct net_address *remote)
{
	const struct net_local *link_local = NULL;

	for (unsigned i = 0; i < net->locals6_count; i++) {
		const struct net_local *local = &net->locals6[i];

		if (local->netif != netif || local->state != NET_LOCAL_ASSIGNED)
			continue;
		if (net_prefix_contains(&local->address, local->prefix, remote))
			return local;
		if (local->link_local)
			link_local = local;
	}
	return link_local;
}

struct net_link6 *link6_find(const struct net *net, const struct net_if *netif)
{
	for (unsigned i = 0; i < net->links6_count; i++) {
		if (net->links6[i].netif == netif)
			return &net->links6[i];
	}
	return NULL;
}

bool net_address_is_local(const struct net *net, const struct net_address *address)
{
	if (net_address_is_ipv4(address))
		return local_find(net, NULL, net_address_to_ipv4(address)) != NULL;
	return local6_find(net, NULL, address) != NULL;
}

bool local_conflict(struct net *net, struct net_local *local, const struct rte_ether_addr *mac)
{
	net->conflict_noted = true;
	net->conflict.address = local->address;
	memcpy(net->conflict.mac, mac->addr_bytes, sizeof(net->conflict.mac));
	if (local->defended && net->now_us - local->defended_us < DEFEND_INTERVAL_US)
		return false;
	local->defended = true;
	local->defended_us = net->now_us;
	return true;
}

bool net_conflict_take(struct net *net, struct net_conflict *ret_conflict)
{
	if (!net->conflict_noted)
		return false;
	net->conflict_noted = false;
	*ret_conflict = net->conflict;
	return true;
}

bool local_usable(const struct net *net, const struct net_address *local)
{
	const struct net_local *own;

	if (net_address_is_ipv4(local))
		return local_find(net, NULL, net_address_to_ipv4(local)) != NULL;
	own = local6_find(net, NULL, local);
	return own != NULL && own->state == NET_LOCAL_ASSIGNED;
}
