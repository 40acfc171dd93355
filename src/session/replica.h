// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a worker knows of the subscriptions of all others: for each filter, and each
// worker, what kinds of subscriptions there are (not how many, nor whose). A topic's
// verdict asks it beside the worker's own trie: which workers must get a message,
// and whether one has what keeps the message from being captured.
//
//   own subscriptions ── replica_count() ──▶ record {own counts, told, others[worker]}
//                                                │ changed: due
//                              replica_due() ◀───┘   ─▶ message ─▶ replica_learn() of the others
//
// What is told is the state of a filter, not a difference, so several changes of it
// that wait are told as one. Beside filters two more things are told: whether this
// worker's map is complete, and whether it can keep more for who may be away. And a change says
// whether somebody may have come with it, and whether it puts in doubt that the broker has the
// same: whoever has compared them is to compare them again only then.
//
// One a broker and worker, on the worker's thread; memory is sized at creation.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slab.h"
#include "mqtt/packet.h"
#include "mqtt/trie.h"
#include "session/changes.h"

#define REPLICA_WORKERS_MAX 16

enum {				      // what a subscription means to a message that matches; flags
	STANDING_TARGET = 1 << 0,     // somebody is there to get it
	STANDING_SHARE = 1 << 1,      // no message may be captured: a shared subscription
	STANDING_BRIDGE = 1 << 2,     // … a bridge's
	STANDING_OFFLINE = 1 << 3,    // none above QoS 0: its client is away, or just back
	STANDING_PERSISTENT = 1 << 4, // … its session outlives connections
	STANDING_PERSISTENT_QOS2 = 1 << 5, // … none at QoS 2
	STANDING_KEPT = 1 << 6,		   // above QoS 0 its share outlives the connection
	STANDING_JOINED = 1 << 7, // may have to be joined with others of its client into one copy
	STANDING_HEARD = 1 << 8,  // a subscription, whether or not its client is there
	STANDING_UNCERTAIN = 1 << 9, // no message may be captured: nobody knows whether it was made
	STANDING_AMQP = 1 << 10,     // … only the broker knows under which topic it gets them
	STANDING_KINDS = 11,
};

struct replica_config {
	uint32_t filters_max; // different ones, of all workers
	unsigned workers, self;
	uint64_t seed;
};

struct replica_filter {
	struct mqtt_trie_entry entry;
	struct list due_link; // what the others do not know yet
	uint64_t due;	      // when it became due
	// What is told though it is the same; what has come about since it was told: somebody may
	// have come, and the broker may have something else.
	bool touched, more, unsure;
	// When others told of somebody who may have come, and of anything; replica_learned().
	uint64_t joined_at, changed_at;
	uint32_t holders; // this worker's subscriptions with this filter
	uint32_t own[STANDING_KINDS];
	uint16_t told;	   // what the others were told last
	uint16_t others[]; // what they have told; of each worker
};

struct replica;

// What others tell goes to `changes` and, if it is not sure, to `doubts` too.
int replica_create(const char *name, const struct replica_config *config,
	struct session_changes *changes, struct session_changes *doubts,
	struct replica **ret_replica);
void replica_destroy(struct replica *replica); // accepts NULL

// --- of this worker's own ------------------------------------------------------------------------

// One more subscription with this filter (no share name): its record. NULL: no room.
struct replica_filter *replica_get(struct replica *replica, struct mqtt_bytes filter);
// One less; it counts as nothing by now.
void replica_put(struct replica *replica, struct replica_filter *filter);
// What one of them means has changed.
void replica_count(
	struct replica *replica, struct replica_filter *filter, uint16_t before, uint16_t after);
// Whom the filter reaches has changed, though perhaps not what that means to the others: they are
// to look again at what it matches. `more`: somebody may have come; not `sure`: the broker may have
// something else.
void replica_touch(struct replica *replica, struct replica_filter *filter, bool sure, bool more);
// The broker may have other subscriptions with this filter than are known here.
void replica_doubt(struct replica *replica, struct mqtt_bytes filter);
// This worker's map has become complete or incomplete.
void replica_complete_set(struct replica *replica, bool complete);
// This worker keeps no more messages for persistent sessions, or does again.
void replica_full_set(struct replica *replica, bool full);

// The broker may know clients of this worker by other names than their own.
void replica_misnamed_set(struct replica *replica, bool misnamed);

// The time of the latest change: what became due then or before is told when replica_due() says
// nothing older is.
uint64_t replica_now(const struct replica *replica);
// When the oldest change that is still to be told became due; UINT64_MAX: there is none.
uint64_t replica_due(const struct replica *replica);

enum {
	REPLICA_INCOMPLETE = 1 << 0,
	REPLICA_FULL = 1 << 1,
	REPLICA_MISNAMED = 1 << 2,
};
struct replica_news {
	uint64_t due;
	uint32_t length;	// of the filter; 0: about the map, `after` says what it lacks:
				// REPLICA_…
	uint16_t before, after; // standings, as told before and now
	bool more, unsure;	// see replica_touch()
};
// The oldest change; its filter in `out`, cut at `size` (then *ret_news.length is larger). False:
// none.
bool replica_peek(
	const struct replica *replica, struct replica_news *ret_news, uint8_t *out, uint32_t size);
// It has been told, to everybody.
void replica_told(struct replica *replica);

// --- of others -----------------------------------------------------------------------------------

void replica_learn(struct replica *replica, unsigned worker, const struct replica_news *news,
	struct mqtt_bytes filter);
// How often others have told of a filter.
uint64_t replica_learned(const struct replica *replica);
// All others' maps are complete, and there was room for all they told.
bool replica_complete(const struct replica *replica);
// There was room for all they told.
bool replica_whole(const struct replica *replica);
// Bit i: worker i keeps no more messages for persistent sessions.
uint32_t replica_full(const struct replica *replica);
// The broker may know somebody's clients by other names than their own.
bool replica_misnamed(const struct replica *replica);

struct replica_usage {
	struct pool_usage filters;
	struct mqtt_trie_usage trie;
};
void replica_usage(const struct replica *replica, struct replica_usage *ret_usage);

struct replica_match {
	uint32_t workers;   // bit i: worker i has somebody
	uint32_t joined;    // bit i: worker i may have to join copies
	uint32_t kept;	    // bit i: worker i has somebody whose share outlives the connection
	uint16_t standings; // of all workers together
	uint64_t joined_at; // somebody may have come then, and not later; replica_learned()
	uint64_t stamp;	    // another one: something that matches has changed, or is gone
};
void replica_match(
	const struct replica *replica, struct mqtt_bytes topic, struct replica_match *ret_match);

void replica_check(const struct replica *replica); // invariants, for tests
