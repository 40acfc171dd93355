// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Neighbour Discovery for IPv6 (RFC 4861), as far as a host needs it whose addresses
// and routes are configured: solicitations and advertisements, detection of duplicate
// addresses (RFC 4862 5.4), and MLD reports of the groups that come with them (RFC 3810,
// RFC 2710). Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/ip.h"

#include <rte_ether.h>

struct rte_ipv6_hdr;

#define ND_SOLICITATION	 135
#define ND_ADVERTISEMENT 136

#define MLD_QUERY     130
#define MLD_REPORT_V1 131
#define MLD_REPORT_V2 143

// No router lets this through (RFC 4861 7.1).
#define ND_HOP_LIMIT 255

struct nd_message {
	uint8_t type, code;
	uint16_t checksum;
	uint32_t flags; // of advertisements; network byte order
	uint8_t target[16];
	uint8_t options[];
} __rte_packed __rte_aligned(2);
static_assert(sizeof(struct nd_message) == 24, "as on the wire");

#define ND_FLAG_SOLICITED 0x40000000u
#define ND_FLAG_OVERRIDE  0x20000000u

// The only option of solicitations (source) and advertisements (target) that we know.
struct nd_option_mac {
	uint8_t type;
	uint8_t units; // of 8 bytes
	struct rte_ether_addr mac;
};
static_assert(sizeof(struct nd_option_mac) == 8, "as on the wire");

#define ND_OPTION_SOURCE_MAC 1
#define ND_OPTION_TARGET_MAC 2

// --- groups --------------------------------------------------------------------------------------

extern const struct net_address nd_all_nodes;
// RFC 4291 2.7.1.
struct net_address nd_solicited_node(const struct net_address *address);
struct rte_ether_addr nd_group_mac(const struct net_address *group);
// Do we listen to that group, or to one with that MAC, on that interface?
bool nd_group_is_ours(
	const struct net *net, const struct net_if *netif, const struct net_address *group);
bool nd_group_mac_is_ours(
	const struct net *net, const struct net_if *netif, const struct rte_ether_addr *mac);

// --- in ------------------------------------------------------------------------------------------

// Both: m starts at the ICMPv6 header, sum good, `ip` is the header it had, packet->m stays the
// caller's. NET_DROPS: it was of use.
enum net_drop nd_input(
	struct net *net, const struct ip_packet *packet, const struct rte_ipv6_hdr *ip);
enum net_drop mld_input(
	struct net *net, const struct ip_packet *packet, const struct rte_ipv6_hdr *ip);

// --- out -----------------------------------------------------------------------------------------

// Asks for `target`: that host alone or (to NULL) its group.
void nd_solicit(struct net *net, struct net_if *netif, const struct net_address *target,
	const struct rte_ether_addr *to);
// Asks whether anybody has the address.
void nd_probe(struct net *net, const struct net_local *local);
// Tells `destination` (at `to`) or (NULL, NULL) everybody our MAC.
void nd_advertise(struct net *net, const struct net_local *local,
	const struct net_address *destination, const struct rte_ether_addr *to);
// Reports all groups of the link.
void mld_report(struct net *net, const struct net_link6 *link);

// An Ethernet frame with an IPv6 packet, its payload left to the caller.
struct nd_frame {
	struct net_if *netif;
	struct net_address source, destination;
	struct rte_ether_addr to;
	uint8_t protocol, hop_limit;
	uint16_t length; // of the payload
};
// NULL: there are none (counted).
struct rte_mbuf *nd_frame_alloc(struct net *net, const struct nd_frame *frame, void **ret_payload);

// --- time ----------------------------------------------------------------------------------------

// Probes, announcements and reports that are due.
void nd_timers(struct net *net);
// Somebody has changed a due_us or report_us.
void nd_due_update(struct net *net);
