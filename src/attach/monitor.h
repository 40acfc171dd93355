// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Monitor mode: a bump in the wire. Offramp has no address; clients and broker are in
// one network on both sides of it, and everything between them goes through the bridge
// as it came, but for MQTT: a connection whose handshake has passed is adopted with its
// client's first octet, if that begins a CONNECT (0x10).
//
//   client ══ port ─┬──────── bridge ────────┬─ port ══ broker
//                   │                        │
//              half (is the          half (is the
//              broker to it)         client to it)
//                   └──────── offload ───────┘
//
//   OPENING   the handshake and what follows it are forwarded, and remembered
//   ADOPTED   both halves stand; every segment of the connection is for one of them
//   GONE      both have ended; who still sends is reset
//
// What was not seen from its SYN on, says something else first, or cannot be adopted, is not in the
// table and passes untouched for ever.
//
// One a worker, on its thread. Where there are several, a broker's connection has one owner, and
// what another one receives of it goes there as it came: struct monitor_share. Everything else is
// sent on by who has received it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/slab.h"
#include "net/address.h"
#include "net/net.h"

struct bridge;
struct monitor;
struct random;
struct rte_mbuf;
struct stack;

// An adopted connection, for the next run: after a crash both of its ends are reset. One word of it
// is written last, so that half of one is none.
struct monitor_record {
	struct net_endpoint client, broker;
	uint32_t ports[2];	     // index of where the client is, and the broker
	struct net_observed seen[2]; // how their frames looked; the netifs are of no meaning
	uint16_t vlan;
	uint32_t used;
};

// A frame on its way to the worker that owns its connection.
struct monitor_frame {
	struct rte_mbuf *m;
	uint32_t from;	// index of the port where it came in
	uint32_t ports; // where the bridge would send it
};

struct monitor_share {
	unsigned self;
	// Whose the connection between the two is: the same answer at each of them. NULL: there is
	// no other.
	unsigned (*owner)(
		void *ctx, const struct net_endpoint *broker, const struct net_endpoint *client);
	// Consumes frame->m: monitor_take() of the owner will have it, those of one connection in
	// the order in which they were handed over.
	void (*hand_over)(void *ctx, unsigned owner, const struct monitor_frame *frame);
	void *ctx;
};

struct monitor_config {
	struct net_if *const *netifs; // of the bridge
	unsigned netifs_count;
	uint32_t flows_max; // opening, adopted and gone together; beyond it new ones pass
	// What an earlier run left. Both ends of each that is this worker's are asked where they
	// stand, and reset.
	const struct monitor_record *left;
	uint32_t left_count;
	uint64_t hash_seed;
	struct monitor_share share;
};

// `stack` was made with listens = false. -ENOMEM.
int monitor_create(const char *name, const struct monitor_config *config, struct stack *stack,
	struct net *net, struct bridge *bridge, uint64_t now_us, struct monitor **ret_monitor);
// Accepts NULL. The stack's connections must have ended before.
void monitor_destroy(struct monitor *monitor);

// Consumes all frames: they go on, or are TCP's.
void monitor_input(struct monitor *monitor, struct net_if *from, struct rte_mbuf **frames,
	unsigned count, uint64_t now_us);

// The same for what other workers have received of this one's connections.
void monitor_take(struct monitor *monitor, const struct monitor_frame *frames, unsigned count,
	uint64_t now_us);

// From now on what the next run has to know stands in `records`, flows_max of them, whatever is in
// them by now.
void monitor_keep(struct monitor *monitor, struct monitor_record *records);

// Ageing. Call when the deadline has come.
void monitor_timers(struct monitor *monitor, uint64_t now_us);
uint64_t monitor_next_deadline(const struct monitor *monitor);

struct pool_usage monitor_usage(const struct monitor *monitor);

// Families: flows{state}, flows_passed_total{reason}, flow_strays_total, flow_moves_total{result},
// packets_dropped_total{reason}.
struct counter_set monitor_counters(const struct monitor *monitor);

// Invariants, for tests.
void monitor_check(const struct monitor *monitor);
