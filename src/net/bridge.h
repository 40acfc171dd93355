// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A learning bridge (IEEE 802.1D 7, 802.1Q 8 as far as a bump in the wire needs them): which
// stations are on which port, and frames out of the others, as they came. No loops are made: a
// frame never leaves where it came in. VLANs are learned apart, tags are kept, and what bridges
// say to each other (spanning tree, LLDP) goes through: Offramp is no bridge to them.
//
//   frame in ──▶ bridge_route() ──▶ set of ports ──▶ bridge_send()
//                learns, looks up
//
// One a worker, on the worker's thread; all of its memory is taken at start. Several between the
// same ports tell each other what they learn: struct bridge_sharing.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"

struct bridge;
struct net_if;
struct random;
struct rte_mbuf;

#define BRIDGE_PORTS_MAX 32

enum bridge_mode {
	BRIDGE_LEARNING, // stations are learned from what they send; unknown ones are flooded for
	BRIDGE_STATIC,	 // only the configured ones are known, and frames for others go nowhere
	BRIDGE_HUB,	 // everything goes everywhere
};

struct bridge_station {
	uint8_t mac[6];
	uint16_t vlan; // 0: untagged
	unsigned port; // index of the net_if
};

// Where a station was last seen.
struct bridge_news {
	uint64_t seen_us;
	uint8_t mac[6];
	uint16_t vlan;
	uint32_t port; // index of the net_if
};

// The way to the bridges of other workers. What one has told before it sends a frame on, the others
// can hear before they receive an answer to it.
struct bridge_sharing {
	// Tells all of them; false: they have no room now, and nobody was told. NULL: there are
	// none.
	bool (*tell)(void *ctx, const struct bridge_news *news);
	// The next that one of them has told; false: there is nothing new.
	bool (*hear)(void *ctx, struct bridge_news *ret_news);
	void *ctx;
	bool quiet; // another one counts the stations, which are the same
};

struct bridge_config {
	enum bridge_mode mode;
	struct net_if *const *netifs;	       // netifs[i]->index is i; they outlive the bridge
	unsigned netifs_count;		       // 2 to BRIDGE_PORTS_MAX
	const struct bridge_station *stations; // static: never aged, never moved
	unsigned stations_count;
	unsigned stations_max; // static ones included; 4096
	uint64_t age_us;       // a station that is silent so long is forgotten; 300 s
	struct bridge_sharing sharing;
};

// Default values for every number above; pointers and counts zero.
void bridge_config_init(struct bridge_config *config);

// `name` tells several in one process apart. -EINVAL for an impossible configuration, -EEXIST for a
// station given twice, -ENOMEM.
int bridge_create(const char *name, const struct bridge_config *config, struct random *rng,
	struct bridge **ret_bridge);
// Accepts NULL.
void bridge_destroy(struct bridge *bridge);

// Where the frame goes: a bit a port, never that of `from`; 0 is nowhere, and counted. Learns who
// has sent it.
uint32_t bridge_route(struct bridge *bridge, const struct net_if *from, const struct rte_mbuf *m,
	uint64_t now_us);

// What bridge_route() does for a frame that goes no further: learns who has sent it. False: nobody
// has.
bool bridge_learn(struct bridge *bridge, const struct net_if *from, const struct rte_mbuf *m,
	uint64_t now_us);

// Hears what other bridges have learned by now. Once a turn, before frames are received or sent.
void bridge_listen(struct bridge *bridge, uint64_t now_us);

// Consumes m: sends it, as it is, out of the ports of the set, which may be empty.
void bridge_send(struct bridge *bridge, struct rte_mbuf *m, uint32_t ports);

// Consumes m, a frame that Offramp has made: sends it where its station is, at the latest
// bridge_listen(). One for many goes everywhere, one for a station that is not known too, with
// BRIDGE_STATIC out of `from`.
void bridge_send_own(struct bridge *bridge, const struct net_if *from, struct rte_mbuf *m);

// Families: bridge_frames_total, bridge_flooded_total, bridge_stations{kind},
// bridge_stations_refused_total, packets_dropped_total{reason}.
struct counter_set bridge_counters(const struct bridge *bridge);

// Invariants, for tests.
void bridge_check(const struct bridge *bridge);
