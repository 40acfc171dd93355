// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes the subscription trie against a naive table. Input: lines; "+filter" inserts,
// "-N" removes an entry, anything else is a topic to match. The pools are small, so
// that they run out. After every step the invariants are checked.

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "mqtt/topic.h"
#include "mqtt/trie.h"

#define ENTRIES	   64u
#define LEVELS_MAX 8u

struct subscription {
	struct mqtt_trie_entry entry;
	struct mqtt_bytes filter;
	unsigned visits;
};

struct twin {
	struct mqtt_trie *trie;
	struct subscription all[ENTRIES];
};

static void visit(void *ctx, struct mqtt_trie_entry *entry)
{
	(void)ctx;
	container_of(entry, struct subscription, entry)->visits++;
}

static void insert(struct twin *twin, struct mqtt_bytes filter)
{
	struct mqtt_trie_usage before, after;
	struct subscription *s = NULL;
	struct mqtt_bytes name, inner;
	int result;

	for (unsigned i = 0; i < ENTRIES && s == NULL; i++)
		if (twin->all[i].entry.node == NULL)
			s = &twin->all[i];
	if (s == NULL || !mqtt_filter_valid(filter) || mqtt_filter_share(filter, &name, &inner))
		return;
	mqtt_trie_usage(twin->trie, &before);
	result = mqtt_trie_insert(twin->trie, filter, &s->entry);
	mqtt_trie_usage(twin->trie, &after);
	ASSERT(result == 0 || result == -ENOSPC);
	ASSERT((s->entry.node != NULL) == (result == 0));
	ASSERT(result == 0 || memcmp(&before, &after, sizeof(before)) == 0);
	ASSERT(result != 0 || mqtt_topic_levels(filter) <= LEVELS_MAX);
	s->filter = filter;
}

static void match(struct twin *twin, struct mqtt_bytes topic)
{
	int result, expected = 0;

	if (!mqtt_topic_valid(topic))
		return;
	for (unsigned i = 0; i < ENTRIES; i++)
		twin->all[i].visits = 0;
	result = mqtt_trie_match(twin->trie, topic, visit, NULL);
	if (mqtt_topic_levels(topic) > LEVELS_MAX) {
		ASSERT(result == -E2BIG);
		return;
	}
	for (unsigned i = 0; i < ENTRIES; i++) {
		bool matches = twin->all[i].entry.node != NULL &&
			       mqtt_filter_matches(twin->all[i].filter, topic);

		ASSERT(twin->all[i].visits == matches);
		expected += matches;
	}
	ASSERT(result == expected);
}

static void step(struct twin *twin, struct mqtt_bytes line)
{
	if (line.length > 1 && line.data[0] == '+')
		insert(twin, mqtt_bytes(line.data + 1, line.length - 1));
	else if (line.length > 1 && line.data[0] == '-')
		mqtt_trie_remove(twin->trie, &twin->all[line.data[1] % ENTRIES].entry);
	else
		match(twin, line);
	mqtt_trie_check(twin->trie);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mqtt_trie_config config = {
		.nodes_max = 40, .levels_max = LEVELS_MAX, .text_bytes = 10 * 64};
	const uint8_t *end = data + size;
	struct mqtt_trie_usage usage;
	struct twin twin = {0};

	ASSERT(mqtt_trie_create(&config, &twin.trie) == 0);
	for (unsigned i = 0; i < ENTRIES; i++)
		mqtt_trie_entry_init(&twin.all[i].entry);
	while (data < end) {
		const uint8_t *newline = memchr(data, '\n', (size_t)(end - data));
		size_t length = (size_t)((newline ? newline : end) - data);

		step(&twin, mqtt_bytes(data, length));
		data += length + (newline != NULL);
	}
	for (unsigned i = 0; i < ENTRIES; i++)
		mqtt_trie_remove(twin.trie, &twin.all[i].entry);
	mqtt_trie_check(twin.trie);
	mqtt_trie_usage(twin.trie, &usage);
	ASSERT(usage.nodes == 0 && usage.text == 0);
	mqtt_trie_destroy(twin.trie);
	return 0;
}
