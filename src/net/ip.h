// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What IPv4 and IPv6 have in common inside this floor: a packet on its way in, the
// fields of one on its way out, and checks of TCP and UDP. Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/state.h"

#define IP_TTL_DEFAULT 64 // and hop limit

// The most that an IPv4 packet, or the payload of an IPv6 packet, can be long.
#define IP_LENGTH_MAX 65535u
// Offsets of fragments count in these, in both families.
#define IP_FRAGMENT_UNIT 8u

// A packet on its way in.
struct ip_packet {
	struct rte_mbuf *m; // starts at the IP header, l3_len set once that is known
	struct net_if *netif;
	const struct rte_ether_hdr *ether; // NULL on a raw interface; below m's data
	bool link_group;		   // the frame was for many
};

// Both consume packet->m; true when *ret_delivery was filled.
bool ipv4_input(struct net *net, struct ip_packet *packet, struct net_delivery *ret_delivery);
bool ipv6_input(struct net *net, struct ip_packet *packet, struct net_delivery *ret_delivery);

// The sum of TCP or UDP behind the IP header (l3_len) of the filled delivery.
bool ip_sum_good(const struct net_delivery *delivery, uint8_t protocol);
// Is what lies behind the IP header (l3_len) of the filled delivery a whole TCP segment with a good
// sum? Consumes its m if not.
bool ip_tcp_deliver(struct net *net, const struct net_delivery *delivery);

// What an IP header is made of besides its path.
struct ip_fields {
	uint32_t id;	 // of a packet that is, or may be, fragmented
	uint16_t offset; // of this part, in bytes
	bool part;	 // one of several
	bool more;	 // parts follow
	uint8_t protocol;
	uint8_t ecn;
};

// Write the header in front of m, an L4 packet or a part of one, and send it; IPv4's checksum in
// software where that is wanted.
void ipv4_transmit(struct net_path *path, struct rte_mbuf *m, const struct ip_fields *fields);
void ipv6_transmit(struct net_path *path, struct rte_mbuf *m, const struct ip_fields *fields);
// The second half of both: m starts at the IP header, l3_len is set.
void ip_transmit(struct net_path *path, struct rte_mbuf *m);
// Consumes m, an L4 packet too long for one frame or in more segments than the netif takes: sends
// copies that fit. path_parts.c
void ip_transmit_parts(struct net_path *path, struct rte_mbuf *m, const struct ip_fields *fields);
