// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fragments that pass by (RFC 791 3.2, RFC 815, RFC 8200 4.5): kept as they came until it is known
// whose packet they are of, put together by copying. Up to 64 KiB a packet, in any number of
// parts that leads to it (rte_ip_frag stops at 8), bounded in all. Overlaps end a packet (RFC
// 5722). Worker's thread; all of its memory is taken at start.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/transit.h"

struct gather;
struct gather_packet;
struct rte_mbuf;
struct rte_mempool;

#define GATHER_PACKETS 64   // under way at once
#define GATHER_PARTS   1024 // kept, of all of them

enum gather_news {
	GATHER_WAITS,	 // more is to come
	GATHER_FIRST,	 // the first part has come: gather_ports() can be asked
	GATHER_COMPLETE, // all is there: gather_whole()
	GATHER_PASSES, // gather_let_pass() was called: m stays the caller's, and the packet is gone
		       // once all of it has come
	GATHER_REFUSED, // overlaps, makes no packet, or there is no room: m, and what was there, is
			// gone
};

int gather_create(struct gather **ret_gather); // -ENOMEM
void gather_destroy(struct gather *gather);    // frees what waits; accepts NULL

// Takes m, a fragment as `transit` tells, unless it is to pass; `tag` is kept with it. *ret_packet
// is valid until the next call with GATHER_FIRST and GATHER_COMPLETE.
enum gather_news gather_add(struct gather *gather, struct rte_mbuf *m,
	const struct net_transit *transit, uint32_t tag, uint64_t now_us,
	struct gather_packet **ret_packet);

// The ports that the first part tells. False: it has none, or has not come.
bool gather_ports(
	const struct gather_packet *packet, uint16_t *ret_source, uint16_t *ret_destination);
// The whole packet in a frame like its first part's, a chain out of `pool`; NULL: no room.
struct rte_mbuf *gather_whole(const struct gather_packet *packet, struct rte_mempool *pool);

// Gives the parts back one by one, in the order they came; NULL when none is left.
struct rte_mbuf *gather_take(
	struct gather *gather, struct gather_packet *packet, uint32_t *ret_tag);
// What follows of the packet passes.
void gather_let_pass(struct gather_packet *packet);
// Forgets the packet, and frees what was not taken.
void gather_release(struct gather *gather, struct gather_packet *packet);

// Gives up on what has waited for 60 s (RFC 8200 4.5); returns how many packets.
unsigned gather_expire(struct gather *gather, uint64_t now_us);
uint64_t gather_next_deadline(const struct gather *gather);
