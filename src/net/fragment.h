// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reassembly of received fragments (RFC 791 3.2, RFC 815's job done by
// rte_ip_frag). Worker's thread.

#pragma once

#include <stdint.h>

struct net;
struct net_if;
struct rte_mbuf;

int fragment_table_init(struct net *net);
void fragment_table_fini(struct net *net); // frees what waits; harmless when half built

// Consumes m, a valid fragment to us with l3_len set. The whole packet (a chain) once its last
// missing fragment has come, else NULL.
struct rte_mbuf *fragment_input(struct net *net, struct net_if *netif, struct rte_mbuf *m);
// Gives up on what has waited too long.
void fragment_timers(struct net *net);
