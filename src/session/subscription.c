// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Subscriptions from SUBSCRIBE to UNSUBACK (3.8–3.11). A pending subscription
// stands in the trie from its SUBSCRIBE on, so that a match finds it; when it is
// granted it replaces an older one with the same filter ([MQTT-3.8.4-3]).

#include "session/subscription.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/random.h"
#include "mqtt/topic.h"

static void unsubscribe_over(struct subscription *sub)
{
	sub->session->unsubscribing -= sub->unsubscribe_id != 0;
	sub->unsubscribe_id = 0;
}

// Above QoS 0 the session's share outlives its connection: can it be served?
static uint16_t standing_kept(const struct subscription *sub)
{
	uint16_t standing = STANDING_KEPT;

	if (sub->session->client_id == NULL)
		standing |= STANDING_PERSISTENT;
	// Its identifiers would have to survive whatever happens, or the client discards messages.
	if (sub->qos == 2)
		standing |= STANDING_PERSISTENT_QOS2;
	return standing;
}

uint16_t subscription_standing(const struct session_map *map, const struct subscription *sub)
{
	const struct session *session = sub->session;
	uint16_t standing = STANDING_HEARD;

	if (sub->share)
		return STANDING_SHARE;
	if (sub->amqp)
		return STANDING_AMQP;
	if (session->bridge)
		return STANDING_BRIDGE;
	if (sub->state == SUBSCRIPTION_UNCERTAIN)
		return STANDING_UNCERTAIN;
	// What the broker has for it comes first.
	if (sub->qos > 0 && (session->owner == NULL || session->behind))
		standing |= STANDING_OFFLINE;
	if (sub->qos > 0 && session->expiry_s > 0)
		standing |= standing_kept(sub);
	// What waits for a SUBACK does not outlive the connection.
	if (sub->state == SUBSCRIPTION_PENDING && session->expiry_s > 0)
		standing |= STANDING_PERSISTENT;
	// At QoS 0 a broker keeps nothing for who is away.
	if (session->owner != NULL)
		standing |= STANDING_TARGET;
	if (map->config.joins && session->version == MQTT_VERSION_5 &&
		(sub->id != 0 || sub->no_local))
		standing |= STANDING_JOINED;
	return standing;
}

static void standing_set(
	struct session_map *map, struct subscription *sub, uint16_t standing, bool sure)
{
	uint16_t before = sub->standing;

	if (map->replica == NULL)
		return;
	if (map->config.tells_all)
		replica_touch(map->replica, sub->shared, sure, standing != 0);
	if (standing == before)
		return;
	sub->standing = standing;
	replica_count(map->replica, sub->shared, before, standing);
}

static void change_add(struct session_map *map, const struct subscription *sub, bool sure)
{
	session_changes_add(&map->changes, &sub->entry);
	if (!sure)
		session_changes_add(&map->doubts, &sub->entry);
}

void subscription_changed(struct session_map *map, struct subscription *sub, bool sure)
{
	change_add(map, sub, sure);
	standing_set(map, sub, subscription_standing(map, sub), sure);
}

static void subscription_drop(struct session_map *map, struct subscription *sub, bool sure)
{
	unsubscribe_over(sub);
	change_add(map, sub, sure);
	standing_set(map, sub, 0, sure);
	if (map->replica != NULL)
		replica_put(map->replica, sub->shared);
	mqtt_trie_remove(map->trie, &sub->entry);
	list_remove(&sub->link);
	sub->session->subscriptions_count--;
	slab_give(map->subscriptions, sub);
}

void session_drop_subscriptions(struct session_map *map, struct session *session, bool sure)
{
	list_for_each_safe (link, &session->subscriptions) {
		subscription_drop(map, container_of(link, struct subscription, link), sure);
	}
}

void session_settle_pending(struct session_map *map, struct session *session)
{
	list_for_each_safe (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->unsubscribe_id != 0 && session->goodbye) {
			subscription_drop(map, sub, false);
		} else if (sub->unsubscribe_id != 0 || sub->state == SUBSCRIPTION_PENDING) {
			sub->state = SUBSCRIPTION_UNCERTAIN;
			unsubscribe_over(sub);
			subscription_changed(map, sub, false);
		}
	}
	session->goodbye = false;
}

// Two filters that the broker reads alike are one.
static uint64_t filter_hash(const struct session_map *map, struct mqtt_bytes filter)
{
	uint8_t read[65535];

	if (map->config.amqp && mqtt_topic_from_amqp(filter, read))
		filter.data = read;
	return siphash_2_4(map->config.hash_key, filter.data, filter.length);
}

// Takes one from the slab and puts it into the map: pending. NULL: no room.
static struct subscription *subscription_make(
	struct session_map *map, struct session *session, struct mqtt_bytes plain)
{
	struct subscription *sub;

	if (session->subscriptions_count >= map->config.subscriptions_per_session)
		return NULL;
	sub = slab_take(map->subscriptions);
	if (sub == NULL)
		return NULL;
	mqtt_trie_entry_init(&sub->entry);
	if (mqtt_trie_insert(map->trie, plain, &sub->entry) < 0) {
		slab_give(map->subscriptions, sub);
		return NULL;
	}
	// What is longer cannot be told to others.
	if (map->replica != NULL && plain.length <= PAYLOAD_LARGEST)
		sub->shared = replica_get(map->replica, plain);
	if (map->replica != NULL && sub->shared == NULL) {
		mqtt_trie_remove(map->trie, &sub->entry);
		slab_give(map->subscriptions, sub);
		return NULL;
	}
	sub->session = session;
	session->changed_us = map->now_us;
	sub->state = SUBSCRIPTION_PENDING;
	list_append(&session->subscriptions, &sub->link);
	session->subscriptions_count++;
	return sub;
}

int session_subscribe(struct session_map *map, struct session *session, uint16_t packet_id,
	uint16_t index, const struct mqtt_subscribe_filter *filter, uint32_t subscription_id)
{
	struct mqtt_bytes plain = filter->filter, name;
	bool share = mqtt_filter_share(filter->filter, &name, &plain);
	uint8_t read[65535];
	bool amqp = map->config.amqp && mqtt_topic_from_amqp(plain, read);
	struct subscription *sub;

	if (amqp)
		plain.data = read;
	sub = subscription_make(map, session, plain);
	if (sub == NULL)
		return -ENOSPC;
	sub->share = share;
	sub->amqp = amqp;
	sub->filter_hash = filter_hash(map, filter->filter);
	sub->id = subscription_id;
	sub->packet_id = packet_id;
	sub->index = index;
	sub->qos = filter->qos;
	sub->no_local = filter->no_local;
	subscription_changed(map, sub, true);
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
		if (sub->state == SUBSCRIPTION_PENDING || sub->filter_hash != granted->filter_hash)
			continue;
		if (map->config.keep_no_local && granted->no_local != sub->no_local) {
			if (sub->state == SUBSCRIPTION_UNCERTAIN)
				granted->state = SUBSCRIPTION_UNCERTAIN; // was it there to be kept?
			granted->no_local = sub->no_local;
		}
		subscription_drop(map, sub, true);
	}
}

// Does a SUBACK say for certain what has become of a filter? To MQTT 3.1 it says that it was
// granted also when it was refused, for that version has no code for it.
static bool code_is_sure(
	const struct session *session, const struct subscription *sub, struct mqtt_bytes codes)
{
	return session->version != MQTT_VERSION_3_1 && sub->index < codes.length;
}

void session_granted(struct session_map *map, struct session *session, uint16_t packet_id,
	struct mqtt_bytes codes, void (*granted)(void *ctx, struct subscription *sub, uint8_t code),
	void *ctx)
{
	list_for_each_safe (link, &session->subscriptions) {
		struct subscription *sub = container_of(link, struct subscription, link);
		bool sure = code_is_sure(session, sub, codes);
		uint8_t code;

		if (sub->state != SUBSCRIPTION_PENDING || sub->packet_id != packet_id)
			continue;
		// A broker that answers fewer codes than filters has refused the rest.
		code = sub->index < codes.length ? codes.data[sub->index] : 0x80;
		if (granted != NULL)
			granted(ctx, sub, code);
		if (code > 2) {
			subscription_drop(map, sub, sure);
			continue;
		}
		sub->qos = code;
		sub->state = SUBSCRIPTION_ACTIVE;
		subscription_replace(map, sub);
		subscription_changed(map, sub, sure);
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
		// Without a code, or with "no such subscription", the broker may have refused, or
		// have had another opinion before.
		subscription_drop(map, sub,
			sub->unsubscribe_index < codes.length &&
				codes.data[sub->unsubscribe_index] == 0);
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

// --- moving --------------------------------------------------------------------------------------

// One subscription as it is written; its filter follows. Workers share the key of filter_hash.
struct written {
	uint64_t filter_hash;
	uint32_t id;
	uint16_t length; // of the filter
	uint8_t qos;
	uint8_t flags;
};

enum { WRITTEN_NO_LOCAL = 1, WRITTEN_SHARE = 2, WRITTEN_UNCERTAIN = 4, WRITTEN_AMQP = 8 };

static bool subscription_write(const struct subscription *sub, uint8_t *out, uint32_t size)
{
	struct written written = {
		.filter_hash = sub->filter_hash,
		.id = sub->id,
		.qos = sub->qos,
		.flags = (sub->no_local ? WRITTEN_NO_LOCAL : 0) | (sub->share ? WRITTEN_SHARE : 0) |
			 (sub->state == SUBSCRIPTION_UNCERTAIN ? WRITTEN_UNCERTAIN : 0) |
			 (sub->amqp ? WRITTEN_AMQP : 0),
	};
	uint32_t length;

	if (size < sizeof(written))
		return false;
	length = subscription_filter(sub, out + sizeof(written), size - (uint32_t)sizeof(written));
	if (length > size - sizeof(written))
		return false;
	written.length = (uint16_t)length;
	memcpy(out, &written, sizeof(written));
	return true;
}

uint32_t session_write(const struct session *session, uint32_t *cursor, uint8_t *out, uint32_t size,
	bool *ret_more)
{
	uint32_t position = 0, used = 0;

	*ret_more = false;
	list_for_each (link, &session->subscriptions) {
		const struct subscription *sub = container_of(link, struct subscription, link);
		struct written written;

		if (position++ < *cursor)
			continue;
		if (!subscription_write(sub, out + used, size - used)) {
			// One that does not even fit alone is left out; whoever reads misses it.
			*ret_more = used > 0;
			break;
		}
		memcpy(&written, out + used, sizeof(written));
		used += (uint32_t)sizeof(written) + written.length;
		(*cursor)++;
	}
	return used;
}

bool session_read(
	struct session_map *map, struct session *session, const uint8_t *in, uint32_t length)
{
	bool all = true;

	for (uint32_t at = 0; at < length;) {
		struct subscription *sub;
		struct written written;

		memcpy(&written, in + at, sizeof(written));
		at += (uint32_t)sizeof(written);
		sub = subscription_make(map, session, mqtt_bytes(in + at, written.length));
		at += written.length;
		if (sub == NULL) {
			all = false;
			continue;
		}
		sub->filter_hash = written.filter_hash;
		sub->id = written.id;
		sub->qos = written.qos;
		sub->no_local = written.flags & WRITTEN_NO_LOCAL;
		sub->share = written.flags & WRITTEN_SHARE;
		sub->amqp = written.flags & WRITTEN_AMQP;
		if (written.flags & WRITTEN_UNCERTAIN)
			sub->state = SUBSCRIPTION_UNCERTAIN;
		subscription_changed(map, sub, false);
	}
	return all;
}
