// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Two walks over the match: what one copy is to be like, then the copies.

#include "proof/away.h"

#include "proof/route.h"

// No match that makes a route has it.
#define MARK UINT64_MAX

struct walk {
	enum proof_overlap overlap;
	void (*keep)(void *ctx, struct session *session, uint8_t qos, uint32_t id);
	void *ctx;
};

static bool is_kept(const struct subscription *sub)
{
	return sub->session->owner == NULL && session_outlives(sub->session) &&
	       sub->state == SUBSCRIPTION_ACTIVE && !sub->share;
}

static void look(void *ctx, struct mqtt_trie_entry *entry)
{
	const struct subscription *sub = container_of(entry, struct subscription, entry);
	const struct walk *walk = ctx;
	struct session *session = sub->session;

	if (!is_kept(sub))
		return;
	if (session->mark != MARK ||
		(proof_takes_highest(walk->overlap) && sub->qos > session->mark_index))
		session->mark_index = sub->qos;
	session->mark = MARK;
}

static void tell(void *ctx, struct mqtt_trie_entry *entry)
{
	const struct subscription *sub = container_of(entry, struct subscription, entry);
	const struct walk *walk = ctx;
	struct session *session = sub->session;
	bool one = proof_one_copy(walk->overlap, session->version);
	uint8_t qos = one ? (uint8_t)session->mark_index : sub->qos;

	if (!is_kept(sub) || (one && session->mark != MARK))
		return;
	session->mark = 0;
	if (qos > 0)
		walk->keep(walk->ctx, session, qos, sub->id);
}

void proof_away_match(const struct session_map *map, enum proof_overlap overlap,
	struct mqtt_bytes topic,
	void (*keep)(void *ctx, struct session *session, uint8_t qos, uint32_t id), void *ctx)
{
	struct walk walk = {overlap, keep, ctx};

	mqtt_trie_match(map->trie, topic, look, &walk);
	mqtt_trie_match(map->trie, topic, tell, &walk);
}
