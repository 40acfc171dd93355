// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Nodes of the subscription trie: their pool, the chunks of long names, and the
// hash of exact children. Single-threaded.
//
// Clients choose the names, so names are hashed with SipHash under a key they do not
// know; the parent is mixed in by a multiplication, which is enough once the name's
// hash cannot be predicted.

#include "mqtt/trie_node.h"

#include <string.h>

#include "base/assert.h"
#include "base/random.h"

#define PREFETCH_MAX 8u // levels

uint32_t mqtt_trie_split(const struct mqtt_trie *trie, struct mqtt_bytes text)
{
	const uint8_t *at = text.data, *end = at + text.length;

	for (uint32_t n = 0; n < trie->levels_max; n++) {
		const uint8_t *slash = at < end ? memchr(at, '/', (size_t)(end - at)) : NULL;
		size_t length = (size_t)((slash ? slash : end) - at);

		trie->levels[n].name = mqtt_bytes(at, length);
		trie->levels[n].hash = siphash_2_4(trie->key, at, length);
		if (slash == NULL)
			return n + 1;
		at = slash + 1;
	}
	return 0;
}

enum mqtt_trie_kind mqtt_trie_level_kind(struct mqtt_bytes name)
{
	if (name.length != 1)
		return MQTT_TRIE_EXACT;
	return name.data[0] == '+'   ? MQTT_TRIE_PLUS
	       : name.data[0] == '#' ? MQTT_TRIE_MULTI
				     : MQTT_TRIE_EXACT;
}

// --- names ---------------------------------------------------------------------------------------

static bool name_equal(const struct mqtt_trie_node *node, struct mqtt_bytes name)
{
	const struct mqtt_trie_chunk *chunk = node->chunk;

	if (node->length != name.length)
		return false;
	if (name.length <= MQTT_TRIE_NAME_INLINE)
		return name.length == 0 || memcmp(node->name, name.data, name.length) == 0;
	for (uint32_t at = 0; at < name.length; at += MQTT_TRIE_CHUNK_BYTES, chunk = chunk->next) {
		uint32_t rest = name.length - at;

		if (memcmp(chunk->bytes, name.data + at,
			    rest < MQTT_TRIE_CHUNK_BYTES ? rest : MQTT_TRIE_CHUNK_BYTES) != 0)
			return false;
	}
	return true;
}

void mqtt_trie_node_name(const struct mqtt_trie_node *node, uint8_t *out, uint32_t size)
{
	const struct mqtt_trie_chunk *chunk = node->chunk;
	uint32_t length = node->length < size ? node->length : size;

	if (node->length <= MQTT_TRIE_NAME_INLINE) {
		memcpy(out, node->name, length);
		return;
	}
	for (uint32_t at = 0; at < length; at += MQTT_TRIE_CHUNK_BYTES, chunk = chunk->next) {
		uint32_t rest = length - at;

		memcpy(out + at, chunk->bytes,
			rest < MQTT_TRIE_CHUNK_BYTES ? rest : MQTT_TRIE_CHUNK_BYTES);
	}
}

static struct mqtt_trie_chunk *chunk_alloc(struct mqtt_trie *trie)
{
	struct mqtt_trie_chunk *chunk = trie->chunks_free;

	if (chunk)
		trie->chunks_free = chunk->next;
	else
		chunk = &trie->chunks[trie->chunks_touched++];
	trie->chunks_used++;
	return chunk;
}

static void name_free(struct mqtt_trie *trie, struct mqtt_trie_node *node)
{
	struct mqtt_trie_chunk *chunk = node->chunk;

	for (uint64_t n = mqtt_trie_name_chunks(node->length); n > 0; n--) {
		struct mqtt_trie_chunk *next = chunk->next;

		chunk->next = trie->chunks_free;
		trie->chunks_free = chunk;
		trie->chunks_used--;
		chunk = next;
	}
}

static bool name_store(struct mqtt_trie *trie, struct mqtt_trie_node *node, struct mqtt_bytes name)
{
	struct mqtt_trie_chunk **link = &node->chunk;

	if (mqtt_trie_name_chunks(name.length) > trie->chunks_max - trie->chunks_used)
		return false;
	node->length = (uint16_t)name.length;
	if (name.length <= MQTT_TRIE_NAME_INLINE) {
		if (name.length)
			memcpy(node->name, name.data, name.length);
		return true;
	}
	for (uint32_t at = 0; at < name.length; at += MQTT_TRIE_CHUNK_BYTES) {
		uint32_t rest = name.length - at;

		*link = chunk_alloc(trie);
		memcpy((*link)->bytes, name.data + at,
			rest < MQTT_TRIE_CHUNK_BYTES ? rest : MQTT_TRIE_CHUNK_BYTES);
		link = &(*link)->next;
	}
	*link = NULL;
	return true;
}

// --- the hash of a path ------------------------------------------------------------------

static uint32_t path_hash(uint32_t parent, uint64_t name)
{
	uint64_t h = name + parent * 0x9e3779b97f4a7c15u;

	return (uint32_t)((h ^ h >> 32) * 0xd6e8feb86659fd93u >> 32);
}

void mqtt_trie_prefetch_plus(const struct mqtt_trie *trie, const struct mqtt_trie_node *node,
	uint32_t depth, uint32_t levels)
{
	__builtin_prefetch(&trie->nodes[node->plus]);
	mqtt_trie_prefetch(trie, path_hash(node->hash, trie->plus_hash), depth, levels);
}

void mqtt_trie_prefetch(
	const struct mqtt_trie *trie, uint32_t hash, uint32_t depth, uint32_t levels)
{
	uint32_t buckets[PREFETCH_MAX], count = levels - depth;

	if (count > PREFETCH_MAX)
		count = PREFETCH_MAX;
	for (uint32_t i = 0; i < count; i++) {
		hash = path_hash(hash, trie->levels[depth + i].hash);
		buckets[i] = hash >> trie->bucket_shift;
		__builtin_prefetch(&trie->buckets[buckets[i]]);
	}
	for (uint32_t i = 0; i < count; i++)
		__builtin_prefetch(&trie->nodes[trie->buckets[buckets[i]]]);
}

struct mqtt_trie_node *mqtt_trie_node_exact(const struct mqtt_trie *trie,
	const struct mqtt_trie_node *parent, const struct mqtt_trie_level *level)
{
	uint32_t hash = path_hash(parent->hash, level->hash);
	struct mqtt_trie_node *node;

	if (parent->exact == 0)
		return NULL;
	for (uint32_t i = trie->buckets[hash >> trie->bucket_shift]; i; i = node->next) {
		node = &trie->nodes[i];
		if (node->hash == hash && node->parent == parent && name_equal(node, level->name))
			return node;
	}
	return NULL;
}

static void hash_link(struct mqtt_trie *trie, struct mqtt_trie_node *node)
{
	uint32_t *bucket = &trie->buckets[node->hash >> trie->bucket_shift];

	node->next = *bucket;
	*bucket = mqtt_trie_node_index(trie, node);
}

static void hash_unlink(struct mqtt_trie *trie, struct mqtt_trie_node *node)
{
	uint32_t index = mqtt_trie_node_index(trie, node);
	uint32_t *link = &trie->buckets[node->hash >> trie->bucket_shift];

	while (*link != index)
		link = &trie->nodes[*link].next;
	*link = node->next;
}

// --- nodes ---------------------------------------------------------------------------------------

static struct mqtt_trie_node *node_alloc(struct mqtt_trie *trie)
{
	struct mqtt_trie_node *node;

	if (trie->nodes_used == trie->nodes_max)
		return NULL;
	if (trie->nodes_free) {
		node = &trie->nodes[trie->nodes_free];
		trie->nodes_free = node->next;
	} else {
		node = &trie->nodes[++trie->nodes_touched];
	}
	trie->nodes_used++;
	*node = (struct mqtt_trie_node){0};
	list_init(&node->entries);
	return node;
}

static void node_free(struct mqtt_trie *trie, struct mqtt_trie_node *node)
{
	node->kind = MQTT_TRIE_FREE;
	node->next = trie->nodes_free;
	trie->nodes_free = mqtt_trie_node_index(trie, node);
	trie->nodes_used--;
}

struct mqtt_trie_node *mqtt_trie_node_child(const struct mqtt_trie *trie,
	const struct mqtt_trie_node *parent, const struct mqtt_trie_level *level)
{
	switch (mqtt_trie_level_kind(level->name)) {
	case MQTT_TRIE_PLUS:
		return parent->plus ? &trie->nodes[parent->plus] : NULL;
	case MQTT_TRIE_MULTI:
		return parent->multi ? &trie->nodes[parent->multi] : NULL;
	default:
		return mqtt_trie_node_exact(trie, parent, level);
	}
}

struct mqtt_trie_node *mqtt_trie_node_add(
	struct mqtt_trie *trie, struct mqtt_trie_node *parent, const struct mqtt_trie_level *level)
{
	struct mqtt_trie_node *node = node_alloc(trie);

	if (node == NULL)
		return NULL;
	if (!name_store(trie, node, level->name)) {
		node_free(trie, node);
		return NULL;
	}
	node->parent = parent;
	node->hash = path_hash(parent->hash, level->hash);
	node->kind = (uint8_t)mqtt_trie_level_kind(level->name);
	switch (node->kind) {
	case MQTT_TRIE_PLUS:
		parent->plus = mqtt_trie_node_index(trie, node);
		break;
	case MQTT_TRIE_MULTI:
		parent->multi = mqtt_trie_node_index(trie, node);
		break;
	default:
		hash_link(trie, node);
		parent->exact++;
	}
	return node;
}

struct mqtt_trie_node *mqtt_trie_node_remove(struct mqtt_trie *trie, struct mqtt_trie_node *node)
{
	struct mqtt_trie_node *parent = node->parent;

	DASSERT(!mqtt_trie_node_needed(node));
	switch (node->kind) {
	case MQTT_TRIE_PLUS:
		parent->plus = 0;
		break;
	case MQTT_TRIE_MULTI:
		parent->multi = 0;
		break;
	default:
		hash_unlink(trie, node);
		parent->exact--;
	}
	name_free(trie, node);
	node_free(trie, node);
	return parent;
}
