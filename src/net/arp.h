// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ARP (RFC 826) with announcements and conflict defence (RFC 5227). Worker's thread.

#pragma once

#include <stdint.h>

struct net;
struct net_if;
struct rte_ether_addr;
struct rte_mbuf;

// Consumes m, which starts at the ARP header.
void arp_input(struct net *net, struct net_if *netif, struct rte_mbuf *m);
// Asks for `target` (network byte order), of one host or (to NULL) of all.
void arp_request(
	struct net *net, struct net_if *netif, uint32_t target, const struct rte_ether_addr *to);
// Announces all addresses when that is due.
void arp_timers(struct net *net);
