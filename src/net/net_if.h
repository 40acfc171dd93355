// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What net knows of a port: what it can do and how to hand it a frame. The port
// floor stands beside net, not above or below it; the daemon (and every test)
// joins the two by filling this in. One per (worker, port).

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct net;
struct rte_mbuf;
struct rte_mempool;

#define NET_IF_NAME_MAX 32

struct net_if_caps {
	bool rx_checksum; // bad IPv4/TCP sums are flagged in ol_flags; good ones need no look
	bool tx_ip_checksum;
	bool tx_tcp_checksum;
	bool tso;	    // TCP over IPv4
	bool tso_ipv6;	    // and over IPv6
	bool multi_segment; // chained mbufs may be transmitted
};

struct net_if {
	char name[NET_IF_NAME_MAX];
	unsigned index; // of the port in the configuration
	uint8_t mac[6];
	uint16_t mtu; // largest IP packet
	bool raw_ip;  // no Ethernet: frames start at the IP header (tests, tun)
	struct net_if_caps caps;
	struct rte_mempool *tx_pool;	// frames to transmit come from here
	struct rte_mempool *tx_reserve; // for ACK, RST, ARP when tx_pool is empty; may be NULL
	void (*tx)(void *ctx, struct rte_mbuf *m); // consumes m: queues it for the burst's end
	void *ctx;
	struct net *net; // whose it is: set by net_create()
};
