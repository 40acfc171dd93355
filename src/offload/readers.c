// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The map's matches are counted up on their sessions, the broker's readers counted
// down again: what is left over, on either side, is a difference.

#include "offload/readers.h"

#include "session/keys.h"

struct counting {
	const struct session *publisher;
	uint64_t mark;
	uint32_t total;
	bool settled;
};

static void count(void *ctx, struct mqtt_trie_entry *entry)
{
	const struct subscription *sub = container_of(entry, struct subscription, entry);
	struct counting *counting = ctx;
	struct session *session = sub->session;

	if (sub->state == SUBSCRIPTION_PENDING || sub->unsubscribe_id != 0)
		counting->settled = false;
	// mosquitto leaves it out before it asks whether the client may read.
	if ((sub->no_local && session == counting->publisher) || session->owner == NULL)
		return;
	if (session->count_mark != counting->mark) {
		session->count_mark = counting->mark;
		session->count = 0;
	}
	session->count++;
	counting->total++;
}

// A stranger, or a difference; READERS_SAME otherwise. What the map has is counted.
static enum readers count_down(const struct session_map *map, struct counting *counting,
	const struct offload_published *published)
{
	uint32_t strangers = 0;

	for (uint32_t i = 0; i < published->readers_count; i++) {
		struct session *session = session_by_key(map, published->readers[i]);

		if (session == NULL || session->owner == NULL) {
			strangers++;
			continue;
		}
		if (session->count_mark != counting->mark || session->count == 0)
			return READERS_OTHER;
		session->count--;
		counting->total--;
	}
	if (counting->total > 0)
		return READERS_OTHER;
	return strangers > 0 ? READERS_STRANGERS : READERS_SAME;
}

enum readers readers_compare(const struct client *publisher, struct mqtt_bytes topic,
	const struct offload_published *published, uint64_t version)
{
	const struct session_map *map = publisher->broker->map;
	struct counting counting = {
		.publisher = publisher->session,
		.mark = ++publisher->broker->counting,
		.settled = !session_changes_touch(&map->changes, version, topic),
	};

	if (published->cut && published->readers_count == 0)
		return READERS_UNSURE;
	if (published->cut || mqtt_trie_match(map->trie, topic, count, &counting) < 0)
		return READERS_OTHER;
	return counting.settled ? count_down(map, &counting, published) : READERS_MOVING;
}
