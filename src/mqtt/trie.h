// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The subscription trie: filters stored level by level, matched against topics.
//
//   root ─┬─ "plant" ─┬─ "+"  ── "temp" ── entries of plant/+/temp
//         │           └─ "#"           ── entries of plant/#
//         └─ "+"      ── …
//
// A node has exact children, one '+' child and one '#' child. Exact children of all
// nodes live in one flat hash keyed by their path, so a level with a million siblings
// costs what one with two costs, and the memory of all levels is fetched at once.
// Entries are embedded in their owners (subscriptions). Cost of a match grows with
// levels and matches, not with the number of subscriptions.
//
// Single-threaded. Memory comes from pools sized at creation: no malloc later. A node
// takes 64 bytes and holds a name of up to 16 bytes itself; longer names lie in
// chunks of 64 bytes, all alike, so churn cannot fragment them.

#pragma once

#include "base/list.h"
#include "mqtt/packet.h"

struct mqtt_trie;
struct mqtt_trie_node;

struct mqtt_trie_entry {
	struct list link;	     // among the entries of its node
	struct mqtt_trie_node *node; // NULL: in no trie
};

struct mqtt_trie_config {
	uint32_t nodes_max;  // one a distinct level path
	uint32_t levels_max; // a filter or topic with more levels is refused; default 128
	uint64_t text_bytes; // for level names longer than 16 bytes, in units of 64 bytes
	// Of the hash. Random in production, so that nobody can choose names that share a chain.
	uint64_t seed;
};

// -EINVAL: no nodes; -ENOMEM.
int mqtt_trie_create(const struct mqtt_trie_config *config, struct mqtt_trie **ret_trie);
void mqtt_trie_destroy(struct mqtt_trie *trie); // accepts NULL; entries are not touched

void mqtt_trie_entry_init(struct mqtt_trie_entry *entry);
// `filter` is valid and no share. -ENOSPC: pools used up or too many levels (nothing changed).
int mqtt_trie_insert(
	struct mqtt_trie *trie, struct mqtt_bytes filter, struct mqtt_trie_entry *entry);
// The first entry with exactly this filter, valid and no share; NULL: there is none.
struct mqtt_trie_entry *mqtt_trie_find(const struct mqtt_trie *trie, struct mqtt_bytes filter);
// Frees nodes that have become empty. Harmless on an entry that is in no trie.
void mqtt_trie_remove(struct mqtt_trie *trie, struct mqtt_trie_entry *entry);

// Calls `visit` for every entry whose filter matches, once each, depth first: at every level what
// continues with the level's name, then with '+', then '#' ("a/#" comes before "a" for the topic
// "a"). `visit` must not change the trie, nor match in it. Returns the number of visits, or -E2BIG
// (the topic has more than levels_max levels).
int mqtt_trie_match(const struct mqtt_trie *trie, struct mqtt_bytes topic,
	void (*visit)(void *ctx, struct mqtt_trie_entry *entry), void *ctx);

// Writes the filter of an entry (mqtt_trie_insert's) to out, at most `size` bytes; returns its
// length.
uint32_t mqtt_trie_entry_filter(const struct mqtt_trie_entry *entry, uint8_t *out, uint32_t size);

struct mqtt_trie_usage {
	uint32_t nodes, nodes_max;
	uint64_t text, text_max; // bytes of chunks
	uint64_t node_bytes;	 // of memory that a node takes, its share of the hash included
};
void mqtt_trie_usage(const struct mqtt_trie *trie, struct mqtt_trie_usage *ret_usage);
void mqtt_trie_check(const struct mqtt_trie *trie); // invariants
