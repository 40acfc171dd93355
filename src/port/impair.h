// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A bad wire: one direction of one queue loses, duplicates, corrupts, reorders, delays and slows
// down frames. What happens to the n-th frame follows from the seed alone; when it happens follows
// from `now_us`. Holds at most IMPAIR_HELD frames. Port's test build (-Dimpair=true) puts it
// between a worker and its device; the owner of the queue runs it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

#define IMPAIR_MILLION	  1000000u
#define IMPAIR_HELD	  1024u // frames under way
#define IMPAIR_ASIDE	  16u	// of them, overtaken by others
#define IMPAIR_OVERTAKING 8u	// frames that overtake one at most

// All zero: a good wire.
struct impair_config {
	uint32_t loss, duplicate, reorder, corrupt; // of a million frames
	uint64_t delay_us;
	uint64_t rate; // bits a second, 0: no limit
	uint64_t seed;
};

enum impair_kind {
	IMPAIR_LOST,
	IMPAIR_DUPLICATED,
	IMPAIR_REORDERED,
	IMPAIR_CORRUPTED,
	IMPAIR_OVERFLOWED, // IMPAIR_HELD were held: lost too
	IMPAIR_KINDS,
};

struct impair;

bool impair_wanted(const struct impair_config *config);

// `copies` must outlive it: duplicated and corrupted frames are copies, since the bytes of one sent
// may stand in many. Directions with the same seed differ by `stream`. NULL when memory is short.
struct impair *impair_create(
	const struct impair_config *config, uint64_t stream, struct rte_mempool *copies);
// Frees what it holds. Accepts NULL.
void impair_destroy(struct impair *impair);

// Consumes m. One bit of a corrupted frame is changed, behind the Ethernet header of an IP packet:
// what no checksum covers (addresses of the link, ARP) stays.
void impair_put(struct impair *impair, struct rte_mbuf *m, uint64_t now_us);
// The next frame that has come through by now, or NULL.
struct rte_mbuf *impair_take(struct impair *impair, uint64_t now_us);

// Any thread.
uint64_t impair_count(const struct impair *impair, enum impair_kind kind);
// Invariants, for tests.
void impair_check(const struct impair *impair);
