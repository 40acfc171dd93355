// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The neighbour cache: next hop → MAC address. It knows states and timers, not the
// protocol that resolves: ARP for IPv4, ND for IPv6. Worker's thread; entries come from
// an array sized at start. RFC 826, RFC 1122 2.3.2; RFC 4861 7.3.2 has the states.
//
//             send                 answer                  age
//   NEW ─────────▶ INCOMPLETE ───────────▶ REACHABLE ────────────▶ STALE
//                  │   ▲    ▲ │              ▲     ▲                │ send
//                  │   │    │ └─ hearsay ─▶ STALE  ├── confirmed ── DELAY (traffic goes on)
//     retries used │   │send│ retries used   │     │                │ 5 s
//                  ▼   │    └────────────────┼─────┼────────────── PROBE (unicast requests,
//                 FAILED                     └─────┴─── answer ─────┘    traffic goes on)
//
// Lifetime. A net_path holds a reference; without one an entry waits to be used again, and may have
// to make room. A flood of strangers must not cost us our acquaintances (RFC 6583): what is in use
// is never evicted; nor is what is REACHABLE. Unused entries without a MAC are half of the cache at
// most and go first, then STALE ones; who only speaks to us gets an entry while half of the cache
// is free. And who has never answered is asked for at a limited rate. NEW and FAILED entries go
// with their last reference, as do OBSERVED ones, which are no neighbours but headers that were
// seen on the wire; an unused REACHABLE or STALE one goes some time later.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/wheel.h"
#include "net/address.h"

#include <rte_ether.h>

struct net;
struct net_if;
struct net_observed;
struct rte_mbuf;

enum neighbour_state {
	NEIGHBOUR_FREE,
	// Frames go out as they are:
	NEIGHBOUR_STATIC,
	NEIGHBOUR_OBSERVED,
	NEIGHBOUR_REACHABLE,
	// neighbour_send() has something to do:
	NEIGHBOUR_STALE,
	NEIGHBOUR_DELAY,
	NEIGHBOUR_PROBE,
	NEIGHBOUR_NEW,
	NEIGHBOUR_INCOMPLETE,
	NEIGHBOUR_FAILED,
};

struct net_neighbour {
	// Read for each packet.
	struct rte_ether_hdr header; // what goes in front of a packet to this neighbour
	uint8_t state;		     // enum neighbour_state
	uint8_t requests;	     // repeated in this state
	bool tagged;		     // `vlan` follows it
	struct rte_vlan_hdr vlan;
	uint16_t pending_head, pending_count;
	uint32_t references;
	uint64_t confirmed_us; // known to be alive then
	struct net_if *netif;
	// The rest is for the cache.
	struct net_address address;
	struct list link; // free list, unused list, or none (referenced or static)
	struct wheel_timer timer;
};

// What to make of news about a neighbour's MAC (flags).
enum neighbour_news {
	NEIGHBOUR_CREATES = 1 << 0,   // it speaks to us: an entry is made when there is none
	NEIGHBOUR_CONFIRMS = 1 << 1,  // it hears us, too
	NEIGHBOUR_OVERRIDES = 1 << 2, // believed even when another MAC is known
};

int neighbour_cache_init(struct net *net, uint64_t hash_seed);
void neighbour_cache_fini(struct net *net); // drops what waits; harmless when half built

// Takes a reference. -ENOMEM when all entries are in use.
int neighbour_get(struct net *net, struct net_if *netif, const struct net_address *address,
	struct net_neighbour **ret_neighbour);
// The entry of a header, with a reference. -ENOMEM.
int neighbour_observe(struct net *net, const struct net_observed *observed, bool ipv6,
	struct net_neighbour **ret_neighbour);
void neighbour_put(struct net *net, struct net_neighbour *n);
// -ENOMEM, -EEXIST.
int neighbour_add_static(struct net *net, struct net_if *netif, const struct net_address *address,
	const uint8_t mac[6]);

// False when it concerned no entry. `mac` NULL: the one that is known (RFC 4861 7.2.5).
bool neighbour_learn(struct net *net, struct net_if *netif, const struct net_address *address,
	const struct rte_ether_addr *mac, unsigned news);
void neighbour_confirm(struct net *net, struct net_neighbour *n);

// Consumes m, which starts at the IP header: puts the Ethernet header in front and transmits, or
// queues.
void neighbour_send(struct net *net, struct net_neighbour *n, struct rte_mbuf *m);
// The same for an entry whose state needs something done.
void neighbour_send_slow(struct net *net, struct net_neighbour *n, struct rte_mbuf *m);

void neighbour_timers(struct net *net);
void neighbour_check(const struct net *net);
