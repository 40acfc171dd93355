// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reassembly of received fragments (RFC 791 3.2, RFC 815's job done by
// rte_ip_frag; RFC 8200 4.5, RFC 5722, RFC 6946). Worker's thread.

#pragma once

#include <stdint.h>

struct ip_packet;
struct ipv6_chain;
struct net;
struct rte_mbuf;

int fragment_table_init(struct net *net);
void fragment_table_fini(struct net *net); // frees what waits; harmless when half built

// Consumes m, a valid fragment to us with l3_len set. The whole packet (a chain) once its last
// missing fragment has come, else NULL.
struct rte_mbuf *fragment_input_ipv4(struct net *net, struct rte_mbuf *m);
// The same for IPv6: consumes packet->m, whose chain of headers has come to a fragment header. The
// whole packet has neither that nor what stood before it; the chain goes on behind its IP header.
struct rte_mbuf *fragment_input_ipv6(
	struct net *net, const struct ip_packet *packet, const struct ipv6_chain *chain);
// Gives up on what has waited too long.
void fragment_timers(struct net *net);
