// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sessions of one broker: made at CONNACK, found by client identifier, kept while
// the broker keeps them (3.1.2.11.2, MQTT 3.1.1 3.1.2.4).

#include "session/session.h"

#include <rte_malloc.h>

#include <errno.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/random.h"
#include "session/keys.h"
#include "session/subscription.h"

// The broker's clock decides when a session ends. Offramp only forgets it well after, for a session
// that is remembered too long merely lets messages pass.
#define EXPIRY_MARGIN_S 60

static void session_end(struct session_map *map, struct session *session)
{
	DASSERT(session->borrowed == 0);
	// Of a client that is gone its broker keeps nothing; of one that was away, or of whom not
	// all is known, who can say.
	session_drop_subscriptions(map, session, session->expiry_s == 0 && !session->unknown);
	if (!list_empty(&session->owed))
		map->ended(map->ended_ctx, session);
	if (session->unknown)
		session_map_known_again(map);
	if (session->owner != NULL)
		map->online--;
	else
		map->offline--;
	wheel_disarm(&map->expiries, &session->expiry);
	list_remove(&session->hash_link);
	list_remove(&session->key_link);
	if (session->client_id != NULL)
		payload_put(session->client_id);
	slab_give(map->sessions, session);
}

int session_map_create(const char *name, const struct session_map_config *config,
	struct payload_pool *payloads, uint64_t now_us, struct session_map **ret_map)
{
	struct session_map *map = rte_zmalloc(name, sizeof(*map), 0);
	struct mqtt_trie_config trie = {
		// Every subscription may bring a path of its own: a few levels each
		// (device/ID/command/+), others shared.
		.nodes_max = config->subscriptions_max * 3 + 1024,
		.levels_max = 128,
		.text_bytes = (uint64_t)config->subscriptions_max * 32 + (1 << 20),
	};
	int rc;

	memcpy(&trie.seed, config->hash_key, sizeof(trie.seed));
	if (map == NULL)
		return -ENOMEM;
	map->config = *config;
	map->payloads = payloads;
	session_changes_init(&map->changes);
	session_changes_init(&map->doubts);
	map->bucket_mask = rte_align32pow2(config->sessions_max) - 1;
	wheel_init(&map->expiries, now_us);
	rc = -ENOMEM;
	map->buckets = rte_malloc(name, sizeof(*map->buckets) * (map->bucket_mask + 1ul), 0);
	if (map->buckets == NULL)
		goto err;
	for (uint32_t i = 0; i <= map->bucket_mask; i++)
		list_init(&map->buckets[i]);
	rc = session_keys_create(map);
	if (rc < 0)
		goto err;
	rc = slab_create("sessions", config->sessions_max, sizeof(struct session), &map->sessions);
	if (rc < 0)
		goto err;
	rc = slab_create("subscriptions", config->subscriptions_max, sizeof(struct subscription),
		&map->subscriptions);
	if (rc < 0)
		goto err;
	rc = mqtt_trie_create(&trie, &map->trie);
	if (rc < 0)
		goto err;
	if (config->replica.workers > 1) {
		rc = replica_create(
			name, &config->replica, &map->changes, &map->doubts, &map->replica);
		if (rc < 0)
			goto err;
	}
	*ret_map = map;
	return 0;
err:
	session_map_destroy(map);
	return rc;
}

void session_map_destroy(struct session_map *map)
{
	if (map == NULL)
		return;
	// Those that are kept offline too.
	for (uint32_t i = 0; map->sessions != NULL && i < slab_count(map->sessions); i++) {
		struct session *session = slab_at(map->sessions, i);

		if (session == NULL)
			continue;
		session->borrowed = 0; // no other worker runs any more
		session_end(map, session);
	}
	replica_destroy(map->replica);
	mqtt_trie_destroy(map->trie);
	slab_destroy(map->subscriptions);
	slab_destroy(map->sessions);
	session_keys_destroy(map);
	rte_free(map->buckets);
	rte_free(map);
}

bool session_map_complete(const struct session_map *map)
{
	return map->unknown == 0 && (map->replica == NULL || replica_complete(map->replica));
}

bool session_map_forgetful(const struct session_map *map)
{
	if (map->offline > 0 || map->unknown > 0)
		return false;
	for (uint32_t i = 0; i < slab_count(map->sessions); i++) {
		const struct session *session = slab_at(map->sessions, i);

		if (session != NULL && session->expiry_s != 0)
			return false;
	}
	return true;
}

void session_map_unknown(struct session_map *map)
{
	map->unknown++;
	if (map->replica != NULL)
		replica_complete_set(map->replica, false);
}

void session_map_known_again(struct session_map *map)
{
	ASSERT(map->unknown > 0);
	map->unknown--;
	if (map->replica != NULL)
		replica_complete_set(map->replica, map->unknown == 0);
}

void session_set_unknown(struct session_map *map, struct session *session)
{
	if (session->unknown)
		return;
	session->unknown = true;
	session_map_unknown(map);
}

// Whoever matches one of its subscriptions reaches another connection now, or none.
void session_touch(struct session_map *map, const struct session *session, bool sure)
{
	list_for_each (link, &session->subscriptions) {
		subscription_changed(map, container_of(link, struct subscription, link), sure);
	}
	// More than can be told apart afterwards are told as one.
	if (session->subscriptions_count < SESSION_CHANGES)
		return;
	session_changes_add_all(&map->changes);
	if (!sure)
		session_changes_add_all(&map->doubts);
}

static uint64_t id_hash(const struct session_map *map, struct mqtt_bytes client_id)
{
	return siphash_2_4(map->config.hash_key, client_id.data, client_id.length);
}

static struct session *session_find(
	const struct session_map *map, struct mqtt_bytes client_id, uint64_t hash)
{
	list_for_each (link, &map->buckets[hash & map->bucket_mask]) {
		struct session *session = container_of(link, struct session, hash_link);
		const struct payload *id = session->client_id;

		if (session->hash == hash &&
			mqtt_bytes_equal(mqtt_bytes(id->data, id->length), client_id))
			return session;
	}
	return NULL;
}

static struct payload *id_take(struct session_map *map, const struct session_bind *bind)
{
	struct payload *id;

	if (bind->id != NULL)
		return payload_get(bind->id);
	if (bind->client_id.length > PAYLOAD_LARGEST)
		return NULL;
	id = payload_alloc(map->payloads, bind->client_id.length);
	if (id == NULL)
		return NULL;
	memcpy(id->data, bind->client_id.data, bind->client_id.length);
	id->length = bind->client_id.length;
	return id;
}

static struct session *session_new(
	struct session_map *map, const struct session_bind *bind, uint64_t hash)
{
	struct session *session = slab_take(map->sessions);

	if (session == NULL)
		return NULL;
	list_init(&session->hash_link);
	list_init(&session->key_link);
	list_init(&session->subscriptions);
	list_init(&session->owed);
	wheel_timer_init(&session->expiry);
	if (bind->client_id.length > 0) {
		session->client_id = id_take(map, bind);
		if (session->client_id == NULL) {
			slab_give(map->sessions, session);
			return NULL;
		}
		session->hash = hash;
		list_append(&map->buckets[hash & map->bucket_mask], &session->hash_link);
	}
	map->offline++;
	return session;
}

// The session moves to a new connection; who had it loses it.
static void *session_take_over(struct session_map *map, struct session *session)
{
	void *previous = session->owner;

	if (previous != NULL) {
		session->owner = NULL;
		map->online--;
		map->offline++;
		session_settle_pending(map, session);
	}
	wheel_disarm(&map->expiries, &session->expiry);
	return previous;
}

bool session_is_kept(const struct session_map *map, struct mqtt_bytes client_id)
{
	const struct session *session =
		client_id.length > 0 ? session_find(map, client_id, id_hash(map, client_id)) : NULL;

	return session != NULL && session->expiry_s != 0;
}

int session_bind(struct session_map *map, const struct session_bind *bind,
	struct session **ret_session, void **ret_previous)
{
	struct session *session = NULL;
	uint64_t hash = 0;

	*ret_previous = NULL;
	if (bind->client_id.length > 0) {
		hash = id_hash(map, bind->client_id);
		session = session_find(map, bind->client_id, hash);
	}
	if (session != NULL) {
		*ret_previous = session_take_over(map, session);
		if (!bind->session_present) {
			// What was known of this identifier is void ([MQTT-3.2.2-2],
			// [MQTT-3.1.2-4]).
			session_end(map, session);
			session = NULL;
		}
	}
	if (session == NULL) {
		session = session_new(map, bind, hash);
		if (session == NULL)
			return -ENOMEM;
		// The broker resumes what Offramp never saw made.
		if (bind->session_present && !bind->known)
			session_set_unknown(map, session);
	}
	session->owner = bind->owner;
	session_key_set(map, session, 0); // of another connection
	session->joining = false;
	session->version = bind->version;
	session->expiry_s = bind->expiry_s;
	session->bridge = bind->bridge;
	session->behind = bind->session_present;
	session->bound_us = bind->now_us;
	if (bind->expiry_s != 0 && map->kept != NULL)
		*map->kept = 1;
	map->offline--;
	map->online++;
	session_touch(map, session, false);
	*ret_session = session;
	return 0;
}

void session_goodbye(struct session *session)
{
	session->goodbye = true;
}

// So long the broker keeps it.
static void session_keep(struct session_map *map, struct session *session, uint64_t now_us)
{
	uint64_t kept_s = (uint64_t)session->expiry_s + session->expiry_s / 8 + EXPIRY_MARGIN_S;

	if (session->expiry_s != UINT32_MAX)
		wheel_arm(&map->expiries, &session->expiry, now_us + kept_s * US_IN_S);
}

void session_unbind(struct session_map *map, struct session *session, uint64_t now_us)
{
	if (!session_outlives(session)) {
		session_end(map, session);
		return;
	}
	session->owner = NULL;
	map->online--;
	map->offline++;
	session_touch(map, session, false);
	session_settle_pending(map, session);
	session_keep(map, session, now_us);
}

void session_caught_up(struct session_map *map, struct session *session)
{
	session->behind = false;
	session_touch(map, session, true);
}

struct session *session_lookup(const struct session_map *map, struct mqtt_bytes client_id)
{
	return session_find(map, client_id,
		siphash_2_4(map->config.hash_key, client_id.data, client_id.length));
}

void session_leave(struct session_map *map, struct session *session)
{
	session_take_over(map, session);
	session_touch(map, session, false);
}

void session_lend(struct session_map *map, struct session *session)
{
	wheel_disarm(&map->expiries, &session->expiry);
	session->borrowed++;
}

void session_give_back(
	struct session_map *map, struct session *session, bool moved, uint64_t now_us)
{
	ASSERT(session->borrowed > 0);
	session->doomed |= moved;
	if (--session->borrowed > 0)
		return;
	if (session_outlives(session) && !session->doomed)
		session_keep(map, session, now_us);
	else
		session_end(map, session);
}

void session_drop(struct session_map *map, struct session *session)
{
	if (session->borrowed > 0)
		session->doomed = true;
	else
		session_end(map, session);
}

// No SUBACK has this packet identifier.
#define HELD 0

void session_hold(struct session_map *map, struct session *session)
{
	list_for_each (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->state != SUBSCRIPTION_ACTIVE)
			continue;
		sub->state = SUBSCRIPTION_PENDING;
		sub->packet_id = HELD;
	}
	session_touch(map, session, false);
}

void session_settle(struct session_map *map, struct session *session)
{
	list_for_each (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->state == SUBSCRIPTION_PENDING && sub->packet_id == HELD)
			sub->state = SUBSCRIPTION_ACTIVE;
	}
	session_touch(map, session, false);
}

void session_map_expire(struct session_map *map, uint64_t now_us)
{
	struct wheel_timer *timer;

	wheel_advance(&map->expiries, now_us);
	while ((timer = wheel_pop(&map->expiries)) != NULL)
		session_end(map, container_of(timer, struct session, expiry));
}

void session_map_check(const struct session_map *map)
{
	uint32_t online = 0, offline = 0, unknown = 0, subscriptions = 0;

	for (uint32_t i = 0; i < slab_count(map->sessions); i++) {
		const struct session *session = slab_at(map->sessions, i);
		uint32_t count = 0;

		if (session == NULL)
			continue;
		online += session->owner != NULL;
		offline += session->owner == NULL;
		unknown += session->unknown;
		ASSERT(list_linked(&session->hash_link) == (session->client_id != NULL));
		list_for_each (link, &session->subscriptions) {
			const struct subscription *sub =
				container_of(link, struct subscription, link);

			ASSERT(sub->session == session && sub->entry.node != NULL);
			count++;
		}
		ASSERT(count == session->subscriptions_count);
		subscriptions += count;
	}
	ASSERT(online == map->online && offline == map->offline);
	ASSERT(unknown <= map->unknown);
	ASSERT(subscriptions == slab_used(map->subscriptions));
	mqtt_trie_check(map->trie);
	if (map->replica != NULL)
		replica_check(map->replica);
}
