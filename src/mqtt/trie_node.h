// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Nodes of the subscription trie, their names, and the one hash of all exact
// children. Internal to the trie.
//
//   nodes      [ root | node | node | free | node | … ]    64 bytes each, fixed at creation
//   buckets    [ 4 | 0 | 1 | … ]                           node indices, chained by `next`
//   chunks     [ chunk | chunk | … ]                       64 bytes each, names above 16 bytes
//
//   node  ┌─────────────────────────┐
//         │ entries                 │  subscriptions of exactly this filter
//         │ parent                  │
//         │ hash, next              │  in the hash of paths (exact nodes); free list
//         │ exact, plus, multi      │  number of exact children; index of '+' and '#' child
//         │ name, or first chunk ───┼──▶ chunk ──▶ chunk
//         └─────────────────────────┘
//
// A node is needed while it has entries or children; the root always is.

#pragma once

#include "base/list.h"
#include "mqtt/trie.h"

#define MQTT_TRIE_NAME_INLINE 16u
#define MQTT_TRIE_CHUNK_BYTES 56u

enum mqtt_trie_kind {
	MQTT_TRIE_FREE,
	MQTT_TRIE_ROOT,
	MQTT_TRIE_EXACT, // a level name; in the hash
	MQTT_TRIE_PLUS,	 // "+"
	MQTT_TRIE_MULTI, // "#", never has children
};

struct mqtt_trie_chunk {
	struct mqtt_trie_chunk *next; // of the name, or of the free list
	uint8_t bytes[MQTT_TRIE_CHUNK_BYTES];
};

struct mqtt_trie_node {
	struct list entries;
	struct mqtt_trie_node *parent;
	uint32_t hash;	// of the path from the root: (parent's hash, name)
	uint32_t next;	// index, 0: end
	uint32_t exact; // number of exact children
	uint32_t plus;	// index, 0: none
	uint32_t multi;
	uint16_t length; // of the name
	uint8_t kind;
	uint8_t reserved;
	union {
		uint8_t name[MQTT_TRIE_NAME_INLINE];
		struct mqtt_trie_chunk *chunk; // length > MQTT_TRIE_NAME_INLINE
	};
};
_Static_assert(sizeof(struct mqtt_trie_node) == 64, "one cache line a node");
_Static_assert(sizeof(struct mqtt_trie_chunk) == 64, "one cache line a chunk");

// A level of the topic or filter at hand.
struct mqtt_trie_level {
	struct mqtt_bytes name;
	uint64_t hash; // of the name
};

// Where a match has yet to look.
struct mqtt_trie_step {
	const struct mqtt_trie_node *node;
	uint32_t depth; // levels consumed on the way to it
};

struct mqtt_trie {
	struct mqtt_trie_node *nodes; // [0] is the root
	uint32_t *buckets;
	unsigned bucket_shift; // 32 - log2(number of buckets): the top bits of a hash choose
	uint32_t nodes_max, nodes_used; // without the root
	uint32_t nodes_touched;		// nodes[1..nodes_touched] have been in use before
	uint32_t nodes_free;		// index of the first of the free list, 0: empty

	struct mqtt_trie_chunk *chunks;
	uint64_t chunks_max, chunks_used, chunks_touched;
	struct mqtt_trie_chunk *chunks_free;

	uint8_t key[16]; // of the level names' hash
	uint64_t plus_hash;
	uint32_t levels_max;
	// Scratch of one call: levels_max levels, twice as many steps and one.
	struct mqtt_trie_level *levels;
	struct mqtt_trie_step *steps;
};

static inline uint32_t mqtt_trie_node_index(
	const struct mqtt_trie *trie, const struct mqtt_trie_node *node)
{
	return (uint32_t)(node - trie->nodes);
}

static inline bool mqtt_trie_node_needed(const struct mqtt_trie_node *node)
{
	return node->exact || node->plus || node->multi || !list_empty(&node->entries) ||
	       node->kind == MQTT_TRIE_ROOT;
}

// Chunks that a name of this length takes.
static inline uint64_t mqtt_trie_name_chunks(uint32_t length)
{
	return length <= MQTT_TRIE_NAME_INLINE
		       ? 0
		       : (length + MQTT_TRIE_CHUNK_BYTES - 1) / MQTT_TRIE_CHUNK_BYTES;
}

// Splits a filter or topic into trie->levels with their hashes. Returns their number, or 0 when
// there are more than levels_max.
uint32_t mqtt_trie_split(const struct mqtt_trie *trie, struct mqtt_bytes text);

enum mqtt_trie_kind mqtt_trie_level_kind(struct mqtt_bytes name);

// The child for a level of a filter; NULL: none.
struct mqtt_trie_node *mqtt_trie_node_child(const struct mqtt_trie *trie,
	const struct mqtt_trie_node *parent, const struct mqtt_trie_level *level);
// The child for a level of a topic, where every name is exact.
struct mqtt_trie_node *mqtt_trie_node_exact(const struct mqtt_trie *trie,
	const struct mqtt_trie_node *parent, const struct mqtt_trie_level *level);
// Fetches what a match will meet that goes on through exact children alone from a node of that
// hash, `depth` of the levels at hand consumed: the memory of all levels at once, not one after the
// other.
void mqtt_trie_prefetch(
	const struct mqtt_trie *trie, uint32_t hash, uint32_t depth, uint32_t levels);
// The '+' child of the node, and what is to be met from there.
void mqtt_trie_prefetch_plus(const struct mqtt_trie *trie, const struct mqtt_trie_node *node,
	uint32_t depth, uint32_t levels);
// Makes that child; NULL when nodes or chunks have run out (nothing changed).
struct mqtt_trie_node *mqtt_trie_node_add(
	struct mqtt_trie *trie, struct mqtt_trie_node *parent, const struct mqtt_trie_level *level);
// Unlinks a node that is not needed and frees it; returns its parent.
struct mqtt_trie_node *mqtt_trie_node_remove(struct mqtt_trie *trie, struct mqtt_trie_node *node);

// Copies bytes [0, size) of the node's name, as many as there are.
void mqtt_trie_node_name(const struct mqtt_trie_node *node, uint8_t *out, uint32_t size);
