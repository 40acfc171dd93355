// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The IPv6 header, its extension headers and groups, as the files of this floor
// use them. RFC 8200, RFC 4291. Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "net/ip.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

#define IPV6_MTU_MIN 1280 // RFC 8200 5

// Longer chains of extension headers than this serve no purpose that we know (RFC 8504 5.3).
#define IPV6_EXTENSIONS_MAX 256

static inline struct rte_ipv6_hdr *ipv6_header(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
}

static inline struct net_address ipv6_address(const uint8_t bytes[16])
{
	struct net_address a;

	memcpy(a.bytes, bytes, sizeof(a.bytes));
	return a;
}

static inline bool ipv6_is_multicast(const struct net_address *a)
{
	return a->bytes[0] == 0xff;
}

static inline bool ipv6_is_unspecified(const struct net_address *a)
{
	return (a->halves[0] | a->halves[1]) == 0;
}

static inline uint8_t ipv6_traffic_class(const struct rte_ipv6_hdr *ip)
{
	return (uint8_t)(rte_be_to_cpu_32(ip->vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT);
}

// Where the chain of extension headers has been followed to.
struct ipv6_chain {
	uint16_t offset;  // of the header in question, from the IP header on
	uint16_t next_at; // of the field that names its protocol
	uint8_t protocol;
	bool reassembled; // the packet came in fragments
};

// Follows the chain past hop-by-hop options, destination options and routing headers, to the
// fragment header or what no IPv6 host skips. Tells the source what it must be told. NET_DROPS:
// nothing wrong. ipv6_extension.c
enum net_drop ipv6_extensions_skip(
	struct net *net, const struct ip_packet *packet, struct ipv6_chain *chain);
