// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Subscriptions from SUBSCRIBE to UNSUBACK (3.8–3.11). A pending subscription
// stands in the trie from its SUBSCRIBE on, so that a match finds it; when it is
// granted it replaces an older one with the same filter ([MQTT-3.8.4-3]).

#include "session/subscription.h"

#include <errno.h>

#include "base/assert.h"
#include "base/random.h"
#include "mqtt/topic.h"

static void unsubscribe_over(struct subscription *sub)
{
	sub->session->unsubscribing -= sub->unsubscribe_id != 0;
	sub->unsubscribe_id = 0;
}

static void subscription_drop(struct session_map *map, struct subscription *sub)
{
	unsubscribe_over(sub);
	session_changes_add(&map->changes, &sub->entry);
	mqtt_trie_remove(map->trie, &sub->entry);
	list_remove(&sub->link);
	sub->session->subscriptions_count--;
	slab_give(map->subscriptions, sub);
}

void session_drop_subscriptions(struct session_map *map, struct session *session)
{
	list_for_each_safe (link, &session->subscriptions) {
		subscription_drop(map, container_of(link, struct subscription, link));
	}
}

void session_settle_pending(struct session_map *map, struct session *session)
{
	list_for_each_safe (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->unsubscribe_id != 0 && session->goodbye) {
			subscription_drop(map, sub);
		} else if (sub->unsubscribe_id != 0 || sub->state == SUBSCRIPTION_PENDING) {
			session_changes_add(&map->changes, &sub->entry);
			sub->state = SUBSCRIPTION_UNCERTAIN;
			unsubscribe_over(sub);
		}
	}
	session->goodbye = false;
}

static uint64_t filter_hash(const struct session_map *map, struct mqtt_bytes filter)
{
	return siphash_2_4(map->config.hash_key, filter.data, filter.length);
}

int session_subscribe(struct session_map *map, struct session *session, uint16_t packet_id,
	uint16_t index, const struct mqtt_subscribe_filter *filter, uint32_t subscription_id)
{
	struct mqtt_bytes plain = filter->filter, name;
	struct subscription *sub;
	int rc;

	if (session->subscriptions_count >= map->config.subscriptions_per_session)
		return -ENOSPC;
	sub = slab_take(map->subscriptions);
	if (sub == NULL)
		return -ENOSPC;
	sub->share = mqtt_filter_share(filter->filter, &name, &plain);
	mqtt_trie_entry_init(&sub->entry);
	rc = mqtt_trie_insert(map->trie, plain, &sub->entry);
	if (rc < 0) {
		slab_give(map->subscriptions, sub);
		return rc;
	}
	sub->session = session;
	sub->filter_hash = filter_hash(map, filter->filter);
	sub->id = subscription_id;
	sub->packet_id = packet_id;
	sub->index = index;
	sub->qos = filter->qos;
	sub->no_local = filter->no_local;
	sub->state = SUBSCRIPTION_PENDING;
	list_append(&session->subscriptions, &sub->link);
	session->subscriptions_count++;
	session_changes_add(&map->changes, &sub->entry);
	return 0;
}

// A newly granted subscription takes the place of the older one with its filter.
// keep_other_qos: and with its QoS.
static void subscription_replace(struct session_map *map, struct subscription *granted)
{
	list_for_each_safe (link, &granted->session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub == granted)
			return; // only older ones
		if (map->config.keep_other_qos && sub->qos != granted->qos)
			continue;
		if (sub->state != SUBSCRIPTION_PENDING && sub->filter_hash == granted->filter_hash)
			subscription_drop(map, sub);
	}
}

void session_granted(struct session_map *map, struct session *session, uint16_t packet_id,
	struct mqtt_bytes codes, void (*granted)(void *ctx, struct subscription *sub, uint8_t code),
	void *ctx)
{
	list_for_each_safe (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);
		uint8_t code;

		if (sub->state != SUBSCRIPTION_PENDING || sub->packet_id != packet_id)
			continue;
		// A broker that answers fewer codes than filters has refused the rest.
		code = sub->index < codes.length ? codes.data[sub->index] : 0x80;
		if (granted != NULL)
			granted(ctx, sub, code);
		if (code > 2) {
			subscription_drop(map, sub);
			continue;
		}
		sub->qos = code;
		sub->state = SUBSCRIPTION_ACTIVE;
		session_changes_add(&map->changes, &sub->entry);
		subscription_replace(map, sub);
	}
}

void session_unsubscribe(struct session_map *map, struct session *session, uint16_t packet_id,
	uint16_t index, struct mqtt_bytes filter)
{
	uint64_t hash = filter_hash(map, filter);

	list_for_each (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->filter_hash != hash || sub->unsubscribe_id != 0)
			continue;
		sub->unsubscribe_id = packet_id;
		sub->unsubscribe_index = index;
		session->unsubscribing++;
	}
}

void session_unsubscribed(struct session_map *map, struct session *session, uint16_t packet_id,
	struct mqtt_bytes codes, void (*removed)(void *ctx, struct subscription *sub), void *ctx)
{
	list_for_each_safe (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->unsubscribe_id != packet_id)
			continue;
		unsubscribe_over(sub);
		if (sub->unsubscribe_index < codes.length &&
			codes.data[sub->unsubscribe_index] >= 0x80)
			continue; // v5: the broker refused, the subscription stays
		if (removed != NULL)
			removed(ctx, sub);
		subscription_drop(map, sub);
	}
}

uint32_t subscription_filter(const struct subscription *sub, uint8_t *out, uint32_t size)
{
	return mqtt_trie_entry_filter(&sub->entry, out, size);
}

bool session_is_unsubscribing(const struct session *session, struct mqtt_bytes topic)
{
	uint8_t filter[65535];

	if (session->unsubscribing == 0)
		return false;
	list_for_each (link, &session->subscriptions) {
		const struct subscription *sub = container_of(link, struct subscription, link);
		uint32_t length;

		if (sub->unsubscribe_id == 0 || sub->share)
			continue;
		length = subscription_filter(sub, filter, sizeof(filter));
		if (mqtt_filter_matches(mqtt_bytes(filter, length), topic))
			return true;
	}
	return false;
}
