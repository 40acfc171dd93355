// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP for IPv4: echo, errors received, errors sent. RFC 792, RFC 1122 3.2.2.
// Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/ipv4.h"

#define ICMP_TYPE_UNREACHABLE	    3
#define ICMP_TYPE_TIME_EXCEEDED	    11
#define ICMP_TYPE_PARAMETER_PROBLEM 12

#define ICMP_CODE_PROTOCOL_UNREACHABLE 2
#define ICMP_CODE_PORT_UNREACHABLE     3
#define ICMP_CODE_FRAGMENTATION_NEEDED 4
#define ICMP_CODE_REASSEMBLY	       1 // of time exceeded

struct icmp_error_info {
	uint8_t type, code;
	uint16_t mtu;
};

// Consumes packet->m and returns false, or: an error about TCP of ours, packet->m now starts at
// the embedded IP header with l3_len set.
bool icmp_input(struct net *net, struct ipv4_packet *packet, struct icmp_error_info *ret_info);

// Tells the source of m (which starts at its IP header and stays the caller's) what became of it,
// where RFC 1122 and the rate limit allow.
void icmp_error_send(struct net *net, struct net_if *netif, const struct rte_mbuf *m, uint8_t type,
	uint8_t code);
