// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Routes: whom a topic reaches, or why it must pass. The match of a topic is
// asked of the trie once, put in the order the fan-out wants it, and kept until a
// change of the map touches the topic. What depends on the single message (its QoS,
// its publisher) is judged by the caller from the route's fields.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proof/overlap.h"
#include "proof/reason.h"
#include "session/session.h"

enum { // route_target.flags
	ROUTE_NO_LOCAL =
		1 << 0, // not for its own messages
			// A SUBSCRIBE that matches waits for its SUBACK: the client's whole share
			// of the message is held and judged anew when the SUBACK has passed.
	ROUTE_PENDING = 1 << 1,
	ROUTE_DENIED = 1 << 2, // the broker does not let it read the topic
};

struct proof_target {
	void *owner; // of the session: the client's connection
	uint32_t id; // subscription identifier, 0: none
	uint8_t qos; // granted
	uint8_t flags;
};

#define ROUTE_CHUNKS	 64
#define ROUTE_ABSENT_MAX 64 // keys of clients that are away

struct survey;

// What the broker has shown of a topic. It is of the route as made: whatever remakes that ends it,
// but for what is known of the readers where nothing has put that in doubt. The floor above fills
// it in.
struct proof_standing {
	uint64_t epoch;	   // in which; another one than the broker's: nothing is shown
	uint64_t until_us; // shown, until then
	// Of the subscribers of other workers: shown until then; by those workers' clocks, when.
	uint64_t others_until_us, others_since_us;
	uint64_t others_learned; // replica_learned() then
	// Likewise of brokers that tell everything: what those had that is not this worker's, and
	// what the others had (replica_match.stamp).
	uint64_t others_sum, others_stamp;
	struct survey *survey; // asks them, or has; NULL: not
	uint64_t ask_us;       // no message asks before that
	uint64_t agreed;  // the version of the map's doubts up to which `known` and `here` hold
	uint64_t gone_us; // not known: by then strangers may have gone, and a message asks
	uint64_t only;	  // the publisher that it is shown for; 0: for all
	uint8_t reason;	  // why it is not shown
	uint8_t failures; // in a row
	bool known;	  // the broker considers the same readers
	bool here;	  // … and, perhaps, strangers, who do not come through here
	bool shown;
	// Kept when it is made anew: when it was asked for, how often at short intervals.
	uint8_t unrest;
	uint8_t strangers; // how often in a row there were some
	uint64_t asked_us;
};

// How far the flags of a route's targets tell who may read.
enum proof_marks {
	PROOF_MARKS_NONE,
	PROOF_MARKS_OLD, // they did; of some of them more is known by now
	PROOF_MARKS_ALL,
};

struct proof_route {
	struct list link; // among those that hold something
	uint64_t version; // of the map it holds for; 0: none, it must be made
	uint64_t serial;  // of its making: another one, other targets
	uint64_t hash;	  // of the topic
	struct payload *topic;
	struct payload *chunks[ROUTE_CHUNKS]; // targets, ROUTE_CHUNK in each but the last
	uint32_t chunks_count;
	uint32_t targets;
	uint32_t pending; // how many of them are pending
	uint32_t workers; // bit i: worker i has targets too
	uint64_t stamp;	  // of what other workers have (replica_match.stamp)
	enum proof_marks marks;
	enum proof_reason reason;      // why no message of this topic may be captured
	enum proof_reason reason_qos1; // why none above QoS 0 may
	enum proof_reason reason_qos2; // why none at QoS 2 may
	struct proof_standing standing;
	bool heard;		 // somebody subscribes, though perhaps nobody is there
	bool kept;		 // above QoS 0 a target's share outlives its connection
	uint32_t kept_elsewhere; // bit i: worker i has such targets
	uint8_t unused;		 // sweeps that found it outdated since it was made
	uint32_t away;		 // subscriptions above QoS 0 of clients that are away
	bool whole;		 // its messages cannot be split between the broker and us
	// Keys of matched clients that are away, each once or more; NULL: none.
	struct payload *absent;
	uint32_t absent_count;
};

#define ROUTE_CHUNK (PAYLOAD_LARGEST / sizeof(struct proof_target))

struct proof_routes;

struct proof_routes_config {
	uint32_t slots; // topics remembered, rounded up to a power of two
	enum proof_overlap overlap;
	const char *const *pass; // filters whose messages always pass; lives as long as the table
	unsigned pass_count;
};

int proof_routes_create(const struct proof_routes_config *config, struct session_map *map,
	struct payload_pool *payloads, struct proof_routes **ret_table);
void proof_routes_destroy(struct proof_routes *table); // accepts NULL

// From now on these filters pass, and no others; the array must live as long as the table, or until
// it is replaced.
void proof_routes_set_pass(
	struct proof_routes *table, const char *const *pass, unsigned pass_count);

// The route of a valid topic, made anew when the map has changed for it. Valid until the next call:
// targets' owners may be gone by then. NULL when memory ran out (the message passes).
struct proof_route *proof_route_find(struct proof_routes *table, struct mqtt_bytes topic);

// The route of a topic with this hash as it is, outdated perhaps; NULL: none is remembered.
struct proof_route *proof_route_peek(
	struct proof_routes *table, struct mqtt_bytes topic, uint64_t hash);

// For listings: so many places there are, and what stands in one of them (as it is, outdated
// perhaps; NULL: nothing).
uint32_t proof_routes_places(const struct proof_routes *table);
const struct proof_route *proof_route_at(const struct proof_routes *table, uint32_t place);

// Gives back the memory of routes that the map has outdated; some at a time, call it once a second
// or so. What is known of their readers outlives that for some time.
void proof_routes_sweep(struct proof_routes *routes);

struct proof_routes_usage {
	uint64_t made;	    // matches asked of the trie
	uint64_t confirmed; // the map had changed, but not for the topic
};
void proof_routes_usage(const struct proof_routes *table, struct proof_routes_usage *ret_usage);

// Does a client of this version get one copy, however many of its subscriptions match?
bool proof_one_copy(enum proof_overlap overlap, enum mqtt_version version);
// Is that copy sent at the highest QoS of those that match? Otherwise at the QoS of the first one,
// in the order of mqtt_trie_match().
bool proof_takes_highest(enum proof_overlap overlap);

// The hash by which routes (and fences) know a topic. Topics that the broker takes for the same
// have the same one.
uint64_t proof_topic_hash(const struct proof_routes *table, struct mqtt_bytes topic);

static inline struct proof_target *proof_route_target(const struct proof_route *route, uint32_t i)
{
	return (struct proof_target *)(void *)route->chunks[i / ROUTE_CHUNK]->data +
	       i % ROUTE_CHUNK;
}
