// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What passes by: a look at a frame between two other hosts that changes nothing, and the step
// from there to a delivery, for a connection in which somebody's place is taken. IPv4 and IPv6,
// one 802.1Q tag; what is stranger than that (several tags, source routes, what is cut short)
// is nobody's business here and goes on as it came. Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

struct net_delivery;
struct net_if;
struct net_observed;
struct rte_mbuf;

enum net_transit_kind {
	NET_TRANSIT_OTHER,	// nothing that TCP would have to know
	NET_TRANSIT_TCP,	// a segment, its header whole in the first mbuf
	NET_TRANSIT_FRAGMENT,	// a part of a TCP packet
	NET_TRANSIT_ICMP_ERROR, // about a TCP segment
};

struct net_transit {
	enum net_transit_kind kind;
	// Of the segment; of the one that an ICMP error quotes; of fragments without ports.
	struct net_endpoint source, destination;
	uint16_t l3, l4; // where in the frame the IP header stands, and what follows it
	uint32_t length; // of the IP packet
	uint16_t vlan;	 // 0: untagged
	// Of fragments:
	uint32_t id;
	uint16_t offset; // in octets
	bool more;
};

// `ret_transit` is filled whatever it is.
void net_transit_read(
	const struct net_if *netif, const struct rte_mbuf *m, struct net_transit *ret_transit);

// How the frame looks, for whoever takes its sender's place. `leaves`: where frames like it leave.
void net_transit_observe(const struct rte_mbuf *m, const struct net_transit *transit,
	struct net_if *leaves, struct net_observed *ret_observed);

// Are the sums of the segment good? Hardware that has looked is believed.
bool net_transit_intact(
	const struct net_if *netif, const struct rte_mbuf *m, const struct net_transit *transit);

// Consumes m, a segment or an ICMP error: true when *ret_delivery was filled, false when it was not
// intact and is dropped (counted).
bool net_transit_deliver(struct net_if *netif, struct rte_mbuf *m,
	const struct net_transit *transit, struct net_delivery *ret_delivery);
