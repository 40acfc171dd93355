// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The invariants of the subscription trie, for tests and fuzzers: every node is
// where its parent and the hash say, is needed, and nothing is lost from a pool.

#include "mqtt/trie.h"

#include <stdlib.h>

#include "base/assert.h"
#include "mqtt/trie_node.h"

static void check_linked(const struct mqtt_trie *trie, const struct mqtt_trie_node *node)
{
	uint32_t index = mqtt_trie_node_index(trie, node), i;

	switch (node->kind) {
	case MQTT_TRIE_PLUS:
		ASSERT(node->parent->plus == index);
		break;
	case MQTT_TRIE_MULTI:
		ASSERT(node->parent->multi == index);
		ASSERT(node->exact == 0 && node->plus == 0 && node->multi == 0);
		break;
	default:
		ASSERT(node->kind == MQTT_TRIE_EXACT);
		i = trie->buckets[node->hash >> trie->bucket_shift];
		while (i != index) {
			ASSERT(i != 0);
			i = trie->nodes[i].next;
		}
	}
}

static uint64_t check_name(const struct mqtt_trie_node *node)
{
	uint64_t chunks = 0;

	if (node->length <= MQTT_TRIE_NAME_INLINE)
		return 0;
	for (const struct mqtt_trie_chunk *c = node->chunk; c; c = c->next)
		chunks++;
	ASSERT(chunks == mqtt_trie_name_chunks(node->length));
	return chunks;
}

static void check_path(const struct mqtt_trie *trie, const struct mqtt_trie_node *node)
{
	uint32_t depth = 0;

	for (; node->kind != MQTT_TRIE_ROOT; node = node->parent) {
		ASSERT(node->kind != MQTT_TRIE_FREE);
		ASSERT(++depth <= trie->levels_max);
	}
}

static void check_free(const struct mqtt_trie *trie)
{
	uint32_t nodes = 0;
	uint64_t chunks = 0;

	for (uint32_t i = trie->nodes_free; i; i = trie->nodes[i].next) {
		ASSERT(trie->nodes[i].kind == MQTT_TRIE_FREE);
		ASSERT(++nodes <= trie->nodes_touched);
	}
	ASSERT(trie->nodes_used + nodes == trie->nodes_touched);
	ASSERT(trie->nodes_touched <= trie->nodes_max);
	for (const struct mqtt_trie_chunk *c = trie->chunks_free; c; c = c->next)
		ASSERT(++chunks <= trie->chunks_touched);
	ASSERT(trie->chunks_used + chunks == trie->chunks_touched);
	ASSERT(trie->chunks_touched <= trie->chunks_max);
}

void mqtt_trie_check(const struct mqtt_trie *trie)
{
	uint32_t *exact = calloc((size_t)trie->nodes_touched + 1, sizeof(*exact));
	uint32_t used = 0;
	uint64_t chunks = 0;

	ASSERT(exact != NULL);
	ASSERT(trie->nodes[0].kind == MQTT_TRIE_ROOT && list_empty(&trie->nodes[0].entries));
	for (uint32_t i = 1; i <= trie->nodes_touched; i++) {
		const struct mqtt_trie_node *node = &trie->nodes[i];

		if (node->kind == MQTT_TRIE_FREE)
			continue;
		used++;
		ASSERT(mqtt_trie_node_needed(node));
		check_linked(trie, node);
		check_path(trie, node);
		chunks += check_name(node);
		if (node->kind == MQTT_TRIE_EXACT)
			exact[mqtt_trie_node_index(trie, node->parent)]++;
		list_for_each (link, &node->entries) {
			ASSERT(container_of(link, struct mqtt_trie_entry, link)->node == node);
			ASSERT(link->next->prev == link);
		}
	}
	ASSERT(used == trie->nodes_used);
	ASSERT(chunks == trie->chunks_used);
	for (uint32_t i = 0; i <= trie->nodes_touched; i++)
		ASSERT(trie->nodes[i].kind == MQTT_TRIE_FREE || trie->nodes[i].exact == exact[i]);
	check_free(trie);
	free(exact);
}
