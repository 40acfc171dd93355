// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which topics of one publisher may have a message on its way through the broker.
// MQTT orders the messages of one publisher, topic and QoS; a captured message
// must not overtake a passed one. A passed message blocks its (topic, QoS): for a
// while whatever happens (so that mixed traffic does not fence per message), then
// until a fence has shown that the broker has routed and sent what it had.
//
//   clear ──pass──▶ held ──hold time──▶ blocked ──fence answered──▶ clear
//                     ▲                    └──────fence failed──┐
//                     └─────────────── longer hold ─────────────┘
//
// The table is small: a publisher that passes more topics than fit is blocked on
// every topic, and the table then remembers the exceptions. Lives only while needed.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FENCES_MAX 40

enum fence_state {
	FENCE_CLEAR,
	FENCE_HELD,    // passes, for now
	FENCE_BLOCKED, // a fence may show it clear
};

struct fences {
	uint16_t count;
	uint16_t next; // to be replaced when an exception needs room
	bool all;      // every topic is blocked, unless the table says otherwise
	struct fence_entry {
		uint64_t key;
		uint64_t held_until_us; // 0: clear (only when `all`)
		uint8_t failures;	// in a row: each doubles the hold
	} entries[FENCES_MAX];
};

// Of a topic (its hash) and a QoS.
static inline uint64_t fence_key(uint64_t topic_hash, uint8_t qos)
{
	return topic_hash + qos * 0x9e3779b97f4a7c15ull;
}

void fences_init(struct fences *fences);
// Nothing is blocked: the table may go.
bool fences_empty(const struct fences *fences);

// The table has an entry of its own for the key.
bool fences_known(const struct fences *fences, uint64_t key);
enum fence_state fences_state(const struct fences *fences, uint64_t key, uint64_t now_us);
// A message of `key` has passed for a reason of its own.
void fences_passed(struct fences *fences, uint64_t key, uint64_t now_us, uint64_t hold_us);
// A message of unknown topic has passed: everything is blocked.
void fences_passed_unknown(struct fences *fences);
void fences_cleared(struct fences *fences, uint64_t key);
// The fence was not answered in time: the topic stays with the broker, longer each time.
void fences_failed(struct fences *fences, uint64_t key, uint64_t now_us, uint64_t hold_us);
