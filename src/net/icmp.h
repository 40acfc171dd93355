// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP and ICMPv6: echo, errors received, errors sent. RFC 792, RFC 1122 3.2.2; RFC
// 4443. Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/ip.h"

#define ICMP_TYPE_UNREACHABLE	    3
#define ICMP_TYPE_TIME_EXCEEDED	    11
#define ICMP_TYPE_PARAMETER_PROBLEM 12

#define ICMP_CODE_HOST_UNREACHABLE     1
#define ICMP_CODE_PROTOCOL_UNREACHABLE 2
#define ICMP_CODE_PORT_UNREACHABLE     3
#define ICMP_CODE_FRAGMENTATION_NEEDED 4

#define ICMP6_TYPE_UNREACHABLE	     1
#define ICMP6_TYPE_TOO_BIG	     2
#define ICMP6_TYPE_TIME_EXCEEDED     3
#define ICMP6_TYPE_PARAMETER_PROBLEM 4
#define ICMP6_TYPE_ECHO_REQUEST	     128
#define ICMP6_TYPE_ECHO_REPLY	     129
#define ICMP6_TYPE_REDIRECT	     137

#define ICMP6_CODE_ADDRESS_UNREACHABLE 3
#define ICMP6_CODE_PORT_UNREACHABLE    4
#define ICMP6_CODE_BAD_FIELD	       0 // of parameter problem
#define ICMP6_CODE_BAD_NEXT_HEADER     1
#define ICMP6_CODE_BAD_OPTION	       2

#define ICMP_CODE_REASSEMBLY 1 // of time exceeded, in both families

struct icmp_error_info {
	uint8_t type, code;
	uint16_t mtu;
};

// Consumes packet->m and returns false, or: an error about TCP of ours, packet->m now starts at
// the embedded IP header with l3_len set.
bool icmp_input(struct net *net, struct ip_packet *packet, struct icmp_error_info *ret_info);
// The same for ICMPv6, which includes ND and MLD. `chain` is where the ICMPv6 header was found.
struct ipv6_chain;
bool icmp6_input(struct net *net, struct ip_packet *packet, const struct ipv6_chain *chain,
	struct icmp_error_info *ret_info);

// Sends m, which starts at an echo request's ICMP header and is consumed, back as the reply.
struct icmp_echo {
	struct net_address local, remote;
	uint8_t tos; // DSCP of the request
	uint8_t protocol;
	uint8_t reply; // type
};
void icmp_echo_reply(
	struct net *net, struct net_if *netif, struct rte_mbuf *m, const struct icmp_echo *echo);

struct icmp_error {
	uint8_t type, code;
	uint32_t pointer; // ICMPv6 parameter problem: what it is about
	bool to_group;	  // ICMPv6: sent even about a packet to many (RFC 4443 2.4 e.3)
};

// The ICMP message, from its own header on, about the packet that `about` starts with. NULL: no
// mbuf.
struct rte_mbuf *icmp_error_build(struct net_if *netif, const struct net_address *local,
	const struct net_address *remote, const struct rte_mbuf *about,
	const struct icmp_error *error);
// Tells the source of m (which starts at its IP header, l3_len set, and stays the caller's) what
// became of it, where RFC 1122 or RFC 4443 2.4 and the rate limit allow.
void icmp_error_send(struct net *net, struct net_if *netif, const struct rte_mbuf *m,
	const struct icmp_error *error);
