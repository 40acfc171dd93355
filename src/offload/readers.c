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

// Counts down what is this worker's. False: more of somebody than is matched.
static bool count_down(const struct session_map *map, struct counting *counting,
	const struct readers_part *part, uint32_t *claimed)
{
	for (uint32_t i = 0; i < part->count; i++) {
		struct session *session = session_by_key(map, part->keys[i]);

		if (session == NULL || session->owner == NULL)
			continue;
		(*claimed)++;
		if (session->count_mark != counting->mark || session->count == 0)
			return false;
		session->count--;
		counting->total--;
	}
	return true;
}

void readers_tally(struct broker *broker, const struct session *publisher, struct mqtt_bytes topic,
	uint64_t version, const struct readers_part *parts, unsigned parts_count,
	struct readers_tally *ret_tally)
{
	struct counting counting = {
		.publisher = publisher,
		.mark = ++broker->counting,
		.settled = !session_changes_touch(&broker->map->changes, version, topic),
	};

	*ret_tally = (struct readers_tally){.same = false};
	if (mqtt_trie_match(broker->map->trie, topic, count, &counting) < 0)
		return;
	ret_tally->moving = !counting.settled;
	for (unsigned i = 0; i < parts_count; i++)
		if (!count_down(broker->map, &counting, &parts[i], &ret_tally->claimed))
			return;
	ret_tally->same = counting.total == 0;
}

enum readers readers_compare(const struct client *publisher, struct mqtt_bytes topic,
	const struct offload_published *published, uint64_t version, uint32_t *ret_claimed)
{
	const struct readers_part all = {published->readers, published->readers_count};
	struct readers_tally tally;

	*ret_claimed = 0;
	if (published->cut && published->readers_count == 0)
		return READERS_UNSURE;
	if (published->cut)
		return READERS_OTHER;
	readers_tally(publisher->broker, publisher->session, topic, version, &all, 1, &tally);
	*ret_claimed = tally.claimed;
	if (tally.moving)
		return READERS_MOVING;
	if (!tally.same)
		return READERS_OTHER;
	return tally.claimed < published->readers_count ? READERS_STRANGERS : READERS_SAME;
}
