// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// IPv4 in both directions, and what its files share. RFC 791, 1122 3.2, 6864.
// Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/state.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

#define IPV4_TTL_DEFAULT 64

// Host byte order: from here on multicast (224/4), from 240/4 on nothing that a host can have.
// RTE_IPV4_MIN_MCAST shifts into a sign bit.
#define IPV4_MULTICAST 0xe0000000u
#define IPV4_RESERVED  0xf0000000u

// A packet on its way in.
struct ipv4_packet {
	struct rte_mbuf *m; // starts at the IP header, l3_len set
	struct net_if *netif;
	bool link_broadcast;
};

static inline struct rte_ipv4_hdr *ipv4_header(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
}

static inline uint16_t ipv4_offset(const struct rte_ipv4_hdr *ip)
{
	return (uint16_t)((rte_be_to_cpu_16(ip->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) *
			  RTE_IPV4_HDR_OFFSET_UNITS);
}

static inline bool ipv4_more_fragments(const struct rte_ipv4_hdr *ip)
{
	return (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG)) != 0;
}

// Consumes packet->m; true when *ret_delivery was filled.
bool ipv4_input(struct net *net, struct ipv4_packet *packet, struct net_delivery *ret_delivery);

// What an IP header is made of besides its path.
struct ipv4_fields {
	uint16_t length; // of the packet
	uint16_t id;
	uint16_t offset; // flags and offset in 8-byte units, as on the wire but in host order
	uint8_t protocol;
	uint8_t ecn;
};

// Writes the header in front of m and sends it; the software checksum where it is wanted.
void ipv4_transmit(struct net_path *path, struct rte_mbuf *m, const struct ipv4_fields *fields);
// Consumes m, an L4 packet too long for one frame or in more segments than the netif takes: sends
// copies that fit. ipv4_fragment.c
void ipv4_transmit_parts(
	struct net_path *path, struct rte_mbuf *m, const struct ipv4_fields *fields);
