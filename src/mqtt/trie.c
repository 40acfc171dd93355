// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The subscription trie: insert, remove, match. Matching goes depth first with a
// stack of at most one step a level, over three children at most for each node it
// comes to (4.7.1, 4.7.2). Single-threaded.

#include "mqtt/trie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/random.h"
#include "mqtt/topic.h"
#include "mqtt/trie_node.h"

#define LEVELS_DEFAULT 128u
#define LEVELS_MAX     65536u	   // as many as 65,535 bytes can hold
#define NODES_MAX      0x7fffffffu // indices and hashes have 32 bits
#define CACHE_LINE     64u
#define HUGE_PAGE      (2u << 20)

// Pages are touched when first used: a trie sized for a million costs what it holds.
// Large ones lie on huge pages where the kernel has some to give: a match goes all over them.
static void *pool_alloc(uint64_t count, size_t size)
{
	size_t alignment, bytes;
	void *pool;

	if (count > (SIZE_MAX - HUGE_PAGE) / size)
		return NULL;
	alignment = count * size < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE;
	bytes = (count * size + alignment) / alignment * alignment;
	pool = aligned_alloc(alignment, bytes);
	if (pool != NULL && alignment == HUGE_PAGE)
		madvise(pool, bytes, MADV_HUGEPAGE);
	return pool;
}

// At most half a node a bucket: chains are short.
static unsigned bucket_bits(uint32_t nodes_max)
{
	unsigned bits = 1;

	while (bits < 31 && (1u << bits) / 2 < nodes_max)
		bits++;
	return bits;
}

static void key_init(struct mqtt_trie *trie, uint64_t seed)
{
	struct random random;

	random_init(&random, seed);
	for (size_t i = 0; i < sizeof(trie->key); i += sizeof(uint64_t)) {
		uint64_t word = random_next(&random);

		memcpy(trie->key + i, &word, sizeof(word));
	}
	trie->plus_hash = siphash_2_4(trie->key, "+", 1);
}

static int pools_create(struct mqtt_trie *trie)
{
	unsigned bits = bucket_bits(trie->nodes_max);

	trie->bucket_shift = 32 - bits;
	trie->buckets = calloc((size_t)1 << bits, sizeof(*trie->buckets));
	trie->nodes = pool_alloc((uint64_t)trie->nodes_max + 1, sizeof(*trie->nodes));
	trie->chunks = pool_alloc(trie->chunks_max, sizeof(*trie->chunks));
	trie->levels = pool_alloc(trie->levels_max, sizeof(*trie->levels));
	trie->steps = pool_alloc((uint64_t)trie->levels_max * 2 + 1, sizeof(*trie->steps));
	if (!trie->buckets || !trie->nodes || !trie->chunks || !trie->levels || !trie->steps)
		return -ENOMEM;
	return 0;
}

int mqtt_trie_create(const struct mqtt_trie_config *config, struct mqtt_trie **ret_trie)
{
	struct mqtt_trie *trie;

	if (config->nodes_max == 0 || config->nodes_max > NODES_MAX ||
		config->levels_max > LEVELS_MAX)
		return -EINVAL;
	trie = calloc(1, sizeof(*trie));
	if (trie == NULL)
		return -ENOMEM;
	trie->nodes_max = config->nodes_max;
	trie->levels_max = config->levels_max ? config->levels_max : LEVELS_DEFAULT;
	trie->chunks_max = config->text_bytes / sizeof(*trie->chunks);
	if (pools_create(trie) < 0) {
		mqtt_trie_destroy(trie);
		return -ENOMEM;
	}
	key_init(trie, config->seed);
	trie->nodes[0] = (struct mqtt_trie_node){.kind = MQTT_TRIE_ROOT};
	list_init(&trie->nodes[0].entries);
	*ret_trie = trie;
	return 0;
}

void mqtt_trie_destroy(struct mqtt_trie *trie)
{
	if (trie == NULL)
		return;
	free(trie->buckets);
	free(trie->nodes);
	free(trie->chunks);
	free(trie->levels);
	free(trie->steps);
	free(trie);
}

void mqtt_trie_entry_init(struct mqtt_trie_entry *entry)
{
	list_init(&entry->link);
	entry->node = NULL;
}

// From a node upwards: frees what nothing needs any more.
static void prune(struct mqtt_trie *trie, struct mqtt_trie_node *node)
{
	while (!mqtt_trie_node_needed(node))
		node = mqtt_trie_node_remove(trie, node);
}

int mqtt_trie_insert(
	struct mqtt_trie *trie, struct mqtt_bytes filter, struct mqtt_trie_entry *entry)
{
	uint32_t levels = mqtt_trie_split(trie, filter);
	struct mqtt_trie_node *node = &trie->nodes[0];

	ASSERT(entry->node == NULL);
	DASSERT(mqtt_filter_valid(filter));
	if (levels == 0)
		return -ENOSPC;
	for (uint32_t i = 0; i < levels; i++) {
		struct mqtt_trie_node *child = mqtt_trie_node_child(trie, node, &trie->levels[i]);

		if (child == NULL)
			child = mqtt_trie_node_add(trie, node, &trie->levels[i]);
		if (child == NULL) {
			prune(trie, node);
			return -ENOSPC;
		}
		node = child;
	}
	list_append(&node->entries, &entry->link);
	entry->node = node;
	return 0;
}

struct mqtt_trie_entry *mqtt_trie_find(const struct mqtt_trie *trie, struct mqtt_bytes filter)
{
	uint32_t levels = mqtt_trie_split(trie, filter);
	struct mqtt_trie_node *node = &trie->nodes[0];

	for (uint32_t i = 0; i < levels && node != NULL; i++)
		node = mqtt_trie_node_child(trie, node, &trie->levels[i]);
	if (levels == 0 || node == NULL || list_empty(&node->entries))
		return NULL;
	return container_of(node->entries.next, struct mqtt_trie_entry, link);
}

void mqtt_trie_remove(struct mqtt_trie *trie, struct mqtt_trie_entry *entry)
{
	struct mqtt_trie_node *node = entry->node;

	if (node == NULL)
		return;
	list_remove(&entry->link);
	entry->node = NULL;
	prune(trie, node);
}

// --- matching ------------------------------------------------------------------------------------

struct match {
	const struct mqtt_trie *trie;
	void (*visit)(void *ctx, struct mqtt_trie_entry *entry);
	void *ctx;
	int visits;
	uint32_t waiting; // steps on the stack
};

static void match_visit(struct match *m, const struct mqtt_trie_node *node)
{
	list_for_each (link, &node->entries) {
		m->visit(m->ctx, container_of(link, struct mqtt_trie_entry, link));
		m->visits++;
	}
}

static void match_push(struct match *m, const struct mqtt_trie_node *node, uint32_t depth)
{
	DASSERT(m->waiting <= m->trie->levels_max * 2);
	m->trie->steps[m->waiting++] = (struct mqtt_trie_step){node, depth};
}

// A step that only visits the node's entries: the '#' child of a node whose other children come
// first.
#define ENTRIES_ONLY UINT32_MAX

// At a node to which the topic's first `depth` levels have led. Every step taken off the stack puts
// at most three back, one of which is the last of its kind, so at most 2 * levels + 1 ever wait.
static void match_step(struct match *m, struct mqtt_trie_step at, uint32_t levels, bool dollar)
{
	const struct mqtt_trie *trie = m->trie;
	const struct mqtt_trie_node *node = at.node, *child;
	bool wildcards = at.depth > 0 || !dollar; // [MQTT-4.7.2-1]

	if (at.depth == ENTRIES_ONLY) {
		match_visit(m, node);
		return;
	}
	// Any number of further levels, none included (4.7.1.2): "a/#" matches "a".
	if (at.depth == levels) {
		if (node->multi && wildcards)
			match_visit(m, &trie->nodes[node->multi]);
		match_visit(m, node);
		return;
	}
	// The last one pushed is the first one taken.
	if (node->multi && wildcards)
		match_push(m, &trie->nodes[node->multi], ENTRIES_ONLY);
	if (node->plus && wildcards) {
		mqtt_trie_prefetch_plus(trie, node, at.depth + 1, levels);
		match_push(m, &trie->nodes[node->plus], at.depth + 1);
	}
	child = mqtt_trie_node_exact(trie, node, &trie->levels[at.depth]);
	if (child)
		match_push(m, child, at.depth + 1);
}

int mqtt_trie_match(const struct mqtt_trie *trie, struct mqtt_bytes topic,
	void (*visit)(void *ctx, struct mqtt_trie_entry *entry), void *ctx)
{
	struct match m = {.trie = trie, .visit = visit, .ctx = ctx};
	uint32_t levels = mqtt_trie_split(trie, topic);
	bool dollar = topic.length > 0 && topic.data[0] == '$';

	if (levels == 0)
		return -E2BIG;
	mqtt_trie_prefetch(trie, trie->nodes[0].hash, 0, levels);
	match_push(&m, &trie->nodes[0], 0);
	while (m.waiting > 0)
		match_step(&m, trie->steps[--m.waiting], levels, dollar);
	return m.visits;
}

// --- what it holds -------------------------------------------------------------------------------

uint32_t mqtt_trie_entry_filter(const struct mqtt_trie_entry *entry, uint8_t *out, uint32_t size)
{
	const struct mqtt_trie_node *node = entry->node;
	uint32_t length = 0, end;

	if (node == NULL)
		return 0;
	for (; node->kind != MQTT_TRIE_ROOT; node = node->parent)
		length += node->length + 1u;
	length--; // no slash before the first level
	end = length;
	for (node = entry->node; node->kind != MQTT_TRIE_ROOT; node = node->parent) {
		uint32_t start = end - node->length;

		if (start < size)
			mqtt_trie_node_name(node, out + start, size - start);
		if (start > 0 && start - 1 < size)
			out[start - 1] = '/';
		end = start - 1;
	}
	return length;
}

void mqtt_trie_usage(const struct mqtt_trie *trie, struct mqtt_trie_usage *ret_usage)
{
	*ret_usage = (struct mqtt_trie_usage){
		.nodes = trie->nodes_used,
		.nodes_max = trie->nodes_max,
		.text = trie->chunks_used * sizeof(*trie->chunks),
		.text_max = trie->chunks_max * sizeof(*trie->chunks),
		.node_bytes = (sizeof(*trie->nodes) +
			       (sizeof(*trie->buckets) << (32 - trie->bucket_shift)) /
				       trie->nodes_max),
	};
}
