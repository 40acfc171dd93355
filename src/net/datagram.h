// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Datagrams of somebody above, on their way up: UDP, replies to echo requests, errors, and the word
// that a neighbour does not answer. RFC 768, RFC 792, RFC 4443 4. Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/state.h"

// Is the packet that m starts with the head of a datagram of ours? It may be cut short, as an
// ICMP error quotes it.
bool datagram_is_ours(const struct net *net, const struct rte_mbuf *m);
// Hands m to whoever asked; it starts at the ICMP header, behind an IP header of `header` octets
// that is still there.
void datagram_return(struct net *net, struct net_if *netif, struct rte_mbuf *m, uint16_t header);
// A packet (m starts at its IP header, and stays the caller's) whose next hop does not answer.
void datagram_undelivered(struct net *net, const struct rte_mbuf *m);
// UDP to us: the filled delivery, whose m is consumed.
void datagram_udp_input(struct net *net, struct net_delivery *delivery);
