// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The IPv4 header, as the files of this floor read it. RFC 791, 1122 3.2, 6864.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

// Host byte order: from here on multicast (224/4), from 240/4 on nothing that a host can have.
// RTE_IPV4_MIN_MCAST shifts into a sign bit.
#define IPV4_MULTICAST 0xe0000000u
#define IPV4_RESERVED  0xf0000000u

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
