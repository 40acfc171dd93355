// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A table of routes: four slots share a hash value, and a fifth topic takes the place of
// one of them. Making a route takes two walks: collect what the trie matches, then
// group it by session, in place. A route outlives the changes that do not touch it.

#include "proof/route.h"

#include <rte_malloc.h>

#include <errno.h>

#include "base/assert.h"
#include "base/random.h"
#include "mqtt/topic.h"

// Slots of one hash value.
#define WAYS 4
// Routes looked at in one sweep.
#define SWEEP_MAX 1024
// What is known of the readers of a topic that nobody publishes is remembered for so many sweeps.
#define UNUSED_MAX 60
// A topic is held against so many changes, and one more for each of its targets, before it is
// cheaper to match it anew.
#define CONFIRM_MAX 16

struct proof_routes {
	struct proof_routes_config config;
	struct session_map *map;
	struct payload_pool *payloads;
	uint64_t serial;  // of the match under way
	struct list used; // slots that hold something
	struct proof_routes_usage usage;
	uint32_t mask;	 // of hash values
	uint32_t victim; // which of the four goes next
	struct proof_route slots[];
};

int proof_routes_create(const struct proof_routes_config *config, struct session_map *map,
	struct payload_pool *payloads, struct proof_routes **ret_table)
{
	uint32_t slots = rte_align32pow2(config->slots < WAYS ? WAYS : config->slots);
	struct proof_routes *table =
		rte_zmalloc("routes", sizeof(*table) + slots * sizeof(table->slots[0]), 0);

	if (table == NULL)
		return -ENOMEM;
	table->config = *config;
	table->map = map;
	table->payloads = payloads;
	table->mask = slots / WAYS - 1;
	list_init(&table->used);
	for (uint32_t i = 0; i < slots; i++)
		list_init(&table->slots[i].link);
	*ret_table = table;
	return 0;
}

static void route_drop_targets(struct proof_route *route)
{
	for (uint32_t i = 0; i < route->chunks_count; i++)
		payload_put(route->chunks[i]);
	route->chunks_count = route->targets = route->pending = route->workers = 0;
	if (route->absent != NULL)
		payload_put(route->absent);
	route->absent = NULL;
	route->absent_count = 0;
}

static void route_drop(struct proof_route *route)
{
	route_drop_targets(route);
	if (route->topic != NULL)
		payload_put(route->topic);
	route->topic = NULL;
	route->version = 0;
	route->standing = (struct proof_standing){.epoch = 0};
	list_remove(&route->link);
}

void proof_routes_destroy(struct proof_routes *table)
{
	if (table == NULL)
		return;
	for (uint32_t i = 0; i < (table->mask + 1) * WAYS; i++)
		route_drop(&table->slots[i]);
	rte_free(table);
}

void proof_routes_set_pass(struct proof_routes *table, const char *const *pass, unsigned pass_count)
{
	table->config.pass = pass;
	table->config.pass_count = pass_count;
	list_for_each (link, &table->used)
		container_of(link, struct proof_route, link)->version = 0;
}

// The route holds for the map as it is now.
static bool route_confirm(struct proof_routes *table, struct proof_route *route)
{
	const struct session_changes *changes = &table->map->changes;

	if (route->version == changes->version)
		return true;
	if (route->version == 0 ||
		session_changes_since(changes, route->version) > CONFIRM_MAX + route->targets ||
		session_changes_touch(changes, route->version,
			mqtt_bytes(route->topic->data, route->topic->length)))
		return false;
	route->version = changes->version;
	route->standing.agreed = table->map->doubts.version; // they are changes too
	table->usage.confirmed++;
	return true;
}

// The readers may be others than before, and still the broker's and the map's are the same.
static bool standing_agrees(const struct session_map *map, const struct proof_route *route)
{
	return route->standing.here &&
	       !session_changes_touch(&map->doubts, route->standing.agreed,
		       mqtt_bytes(route->topic->data, route->topic->length));
}

static void route_age(const struct session_map *map, struct proof_route *route)
{
	if (++route->unused >= UNUSED_MAX || !standing_agrees(map, route)) {
		route_drop(route);
		return;
	}
	route_drop_targets(route);
	route->version = 0;
	route->standing.agreed = map->doubts.version;
}

void proof_routes_sweep(struct proof_routes *table)
{
	const struct list *last = table->used.prev;

	for (unsigned i = 0; i < SWEEP_MAX && !list_empty(&table->used); i++) {
		struct list *link = list_pop(&table->used);
		struct proof_route *route = container_of(link, struct proof_route, link);

		list_append(&table->used, link);
		if (!route_confirm(table, route))
			route_age(table->map, route);
		if (link == last)
			break;
	}
}

uint32_t proof_routes_places(const struct proof_routes *table)
{
	return (table->mask + 1) * WAYS;
}

const struct proof_route *proof_route_at(const struct proof_routes *table, uint32_t place)
{
	const struct proof_route *route = &table->slots[place];

	return route->topic == NULL ? NULL : route;
}

void proof_routes_usage(const struct proof_routes *table, struct proof_routes_usage *ret_usage)
{
	*ret_usage = table->usage;
}

// --- collecting ----------------------------------------------------------------------------------

// While a route is being made, `owner` of a collected target is its subscription.
struct collection {
	struct proof_routes *table;
	struct proof_route *route;
	bool whole; // it cannot be split between the broker and us
	uint32_t absent_count;
	uint64_t absent[ROUTE_ABSENT_MAX];
};

static struct proof_target *route_append(struct proof_routes *table, struct proof_route *route)
{
	if (route->targets == route->chunks_count * ROUTE_CHUNK) {
		struct payload *chunk = NULL;

		if (route->chunks_count < ROUTE_CHUNKS)
			chunk = payload_alloc(table->payloads, PAYLOAD_LARGEST);
		if (chunk == NULL) {
			route->reason = PROOF_NO_MEMORY;
			return NULL;
		}
		route->chunks[route->chunks_count++] = chunk;
	}
	return proof_route_target(route, route->targets++);
}

// What a matching subscription, here or elsewhere, says of every message of the topic. True:
// somebody is there to get them.
static bool route_stands(struct proof_route *route, uint16_t standing)
{
	if (standing & STANDING_SHARE)
		route->reason = PROOF_SHARE;
	if (standing & STANDING_AMQP)
		route->reason = PROOF_AMQP;
	if (standing & STANDING_BRIDGE)
		route->reason = PROOF_BRIDGE;
	if (standing & STANDING_UNCERTAIN)
		route->reason = PROOF_UNCERTAIN;
	if (standing & STANDING_OFFLINE)
		route->reason_qos1 = PROOF_OFFLINE;
	if (standing & STANDING_PERSISTENT)
		route->reason_qos1 = PROOF_PERSISTENT;
	if (standing & STANDING_PERSISTENT_QOS2)
		route->reason_qos2 = PROOF_PERSISTENT;
	if (standing & STANDING_HEARD)
		route->heard = true;
	if (standing & STANDING_KEPT)
		route->kept = true;
	return standing & STANDING_TARGET;
}

// Of whom the broker alone can take care; the others could be served without it if all of them are
// known by key, and if there is no other reason.
static void collect_away(
	struct collection *collection, const struct session *session, uint16_t standing)
{
	if (standing & STANDING_PERSISTENT)
		collection->whole = true;
	if (!(standing & STANDING_OFFLINE))
		return;
	// Whether the broker's side has joined it, and under which key, must be known.
	if (session->owner != NULL || session->joining ||
		collection->absent_count == ROUTE_ABSENT_MAX)
		collection->whole = true;
	else if (session->key != 0)
		collection->absent[collection->absent_count++] = session->key;
}

static void collect(void *ctx, struct mqtt_trie_entry *entry)
{
	struct collection *collection = ctx;
	struct subscription *sub = container_of(entry, struct subscription, entry);
	uint16_t standing = subscription_standing(collection->table->map, sub);
	struct proof_target *target;

	collection->route->away += sub->qos > 0 && sub->session->owner == NULL;
	collect_away(collection, sub->session, standing);
	if (!route_stands(collection->route, standing))
		return;
	if (sub->state == SUBSCRIPTION_PENDING)
		sub->session->pending_mark = collection->table->serial;
	target = route_append(collection->table, collection->route);
	if (target != NULL)
		target->owner = sub;
}

// --- grouping ------------------------------------------------------------------------------------

bool proof_takes_highest(enum proof_overlap overlap)
{
	return overlap != PROOF_OVERLAP_MOSQUITTO;
}

bool proof_one_copy(enum proof_overlap overlap, enum mqtt_version version)
{
	switch (overlap) {
	case PROOF_OVERLAP_ONE:
	case PROOF_OVERLAP_PASS: // what was held when a second one came: it is too late to pass
		return true;
	case PROOF_OVERLAP_EACH:
		return false;
	case PROOF_OVERLAP_MOSQUITTO:
		break;
	}
	return version != MQTT_VERSION_5;
}

// Turns the collected subscriptions into targets. Writes never overtake reads.
static void route_group(struct proof_routes *table, struct proof_route *route)
{
	uint32_t written = 0;

	for (uint32_t i = 0; i < route->targets; i++) {
		struct subscription *sub = proof_route_target(route, i)->owner;
		struct session *session = sub->session;
		bool pending = session->pending_mark == table->serial;
		bool seen = session->mark == table->serial;
		struct proof_target *target;

		if (seen && table->config.overlap == PROOF_OVERLAP_PASS)
			route->reason = PROOF_OVERLAP;
		if (seen && pending)
			continue;
		if (seen && proof_one_copy(table->config.overlap, session->version)) {
			target = proof_route_target(route, session->mark_index);
			if (proof_takes_highest(table->config.overlap) && sub->qos > target->qos)
				target->qos = sub->qos;
			if (session->version == MQTT_VERSION_5 && (sub->id != 0 || target->id != 0))
				route->reason = PROOF_OVERLAP;
			if (sub->no_local != ((target->flags & ROUTE_NO_LOCAL) != 0))
				route->reason = PROOF_OVERLAP;
			continue;
		}
		session->mark = table->serial;
		session->mark_index = written;
		target = proof_route_target(route, written++);
		*target = (struct proof_target){
			.owner = session->owner,
			.id = sub->id,
			.qos = sub->qos,
			.flags = (sub->no_local ? ROUTE_NO_LOCAL : 0) |
				 (pending ? ROUTE_PENDING : 0),
		};
		route->pending += pending;
	}
	route->targets = written;
}

// After the targets are grouped.
static void route_split(struct collection *collection)
{
	struct proof_route *route = collection->route;
	uint32_t size = collection->absent_count * sizeof(collection->absent[0]);
	bool other = route->reason_qos1 != PROOF_CAPTURE && route->reason_qos1 != PROOF_OFFLINE;

	route->whole = collection->whole || other || route->pending > 0;
	if (route->whole || size == 0)
		return;
	route->absent = payload_alloc(collection->table->payloads, size);
	if (route->absent == NULL) {
		route->whole = true;
		return;
	}
	memcpy(route->absent->data, collection->absent, size);
	route->absent_count = collection->absent_count;
}

// Gives back what the targets do not need of their chunks.
static void route_shrink(struct proof_routes *table, struct proof_route *route)
{
	uint32_t needed = (route->targets + ROUTE_CHUNK - 1) / ROUTE_CHUNK;

	while (route->chunks_count > needed)
		payload_put(route->chunks[--route->chunks_count]);
	if (needed > 0) {
		uint32_t last = needed - 1;
		uint32_t bytes =
			(route->targets - last * ROUTE_CHUNK) * sizeof(struct proof_target);
		struct payload *small = payload_alloc(table->payloads, bytes);

		if (small == NULL)
			return;
		memcpy(small->data, route->chunks[last]->data, bytes);
		payload_put(route->chunks[last]);
		route->chunks[last] = small;
	}
}

// What the other workers have.
static void route_look_elsewhere(struct collection *collection, struct mqtt_bytes topic)
{
	struct proof_route *route = collection->route;
	struct replica_match match;

	replica_match(collection->table->map->replica, topic, &match);
	route_stands(route, match.standings & ~STANDING_KEPT);
	// Under which key the broker's side knows them that worker knows.
	if (match.standings & (STANDING_OFFLINE | STANDING_PERSISTENT))
		collection->whole = true;
	route->workers = match.workers;
	route->stamp = match.stamp;
	route->kept_elsewhere = match.kept;
	// What is said of its subscribers' rights is said of those that were there.
	if (match.joined_at > route->standing.others_learned)
		route->standing.others_until_us = 0;
	// Whether copies would have to be joined only that worker could tell.
	if (match.joined != 0)
		route->reason = PROOF_OVERLAP;
}

static bool operator_passes(const struct proof_routes *table, struct mqtt_bytes topic)
{
	for (unsigned i = 0; i < table->config.pass_count; i++) {
		const char *filter = table->config.pass[i];

		if (mqtt_filter_matches(mqtt_bytes(filter, strlen(filter)), topic))
			return true;
	}
	return false;
}

// The broker hands it on under another topic.
static bool is_renamed(const struct proof_routes *table, struct mqtt_bytes topic)
{
	uint8_t read[65535];

	return table->map->config.amqp && mqtt_topic_from_amqp(topic, read);
}

static void standing_remake(const struct session_map *map, struct proof_route *route)
{
	const struct proof_standing *standing = &route->standing;
	struct proof_standing remade = {
		.unrest = standing->unrest,
		.asked_us = standing->asked_us,
		.strangers = standing->strangers,
	};

	if (standing_agrees(map, route)) {
		remade.epoch = standing->epoch;
		remade.known = standing->known;
		remade.here = true;
		remade.gone_us = standing->gone_us;
		remade.others_until_us = standing->others_until_us;
		remade.others_since_us = standing->others_since_us;
		remade.others_learned = standing->others_learned;
		remade.others_sum = standing->others_sum;
		remade.others_stamp = standing->others_stamp;
		remade.agreed = map->doubts.version;
		remade.reason = PROOF_UNPROVEN;
	}
	route->standing = remade;
}

static void route_make(
	struct proof_routes *table, struct proof_route *route, struct mqtt_bytes topic)
{
	struct collection collection = {.table = table, .route = route};

	route_drop_targets(route);
	route->version = table->map->changes.version;
	route->reason = route->reason_qos1 = route->reason_qos2 = PROOF_CAPTURE;
	route->heard = route->kept = false;
	route->unused = 0;
	route->marks = PROOF_MARKS_NONE;
	standing_remake(table->map, route);
	route->kept_elsewhere = route->away = 0;
	route->serial = ++table->serial;
	table->usage.made++;
	if (mqtt_trie_match(table->map->trie, topic, collect, &collection) < 0)
		route->reason = PROOF_LEVELS;
	else if (table->map->replica != NULL)
		route_look_elsewhere(&collection, topic);
	if (route->reason != PROOF_NO_MEMORY && is_renamed(table, topic))
		route->reason = PROOF_AMQP;
	if (route->reason != PROOF_NO_MEMORY && operator_passes(table, topic))
		route->reason = PROOF_OPERATOR;
	// What another worker has captured is delivered whatever has come up here since: the
	// operator's filters, too, reach one worker before another.
	if (route->reason != PROOF_CAPTURE && table->map->replica == NULL) {
		route_drop_targets(route);
		return;
	}
	route_group(table, route);
	route_shrink(table, route);
	route_split(&collection);
}

uint64_t proof_topic_hash(const struct proof_routes *table, struct mqtt_bytes topic)
{
	uint8_t read[65535];

	if (table->map->config.amqp && mqtt_topic_from_amqp(topic, read))
		topic.data = read;
	return siphash_2_4(table->map->config.hash_key, topic.data, topic.length);
}

struct proof_route *proof_route_peek(
	struct proof_routes *table, struct mqtt_bytes topic, uint64_t hash)
{
	struct proof_route *slot = &table->slots[(hash & table->mask) * WAYS];

	for (unsigned i = 0; i < WAYS; i++)
		if (slot[i].hash == hash && slot[i].topic != NULL &&
			mqtt_bytes_equal(
				mqtt_bytes(slot[i].topic->data, slot[i].topic->length), topic))
			return &slot[i];
	return NULL;
}

// A free one, or that of a topic that must go.
static struct proof_route *route_place(struct proof_routes *table, uint64_t hash)
{
	struct proof_route *slot = &table->slots[(hash & table->mask) * WAYS];

	for (unsigned i = 0; i < WAYS; i++)
		if (slot[i].topic == NULL)
			return &slot[i];
	return &slot[table->victim++ % WAYS];
}

struct proof_route *proof_route_find(struct proof_routes *table, struct mqtt_bytes topic)
{
	uint64_t hash = proof_topic_hash(table, topic);
	struct proof_route *route = proof_route_peek(table, topic, hash);

	if (route == NULL) {
		struct payload *name = topic.length <= PAYLOAD_LARGEST
					       ? payload_alloc(table->payloads, topic.length)
					       : NULL;

		if (name == NULL)
			return NULL;
		route = route_place(table, hash);
		route_drop(route);
		memcpy(name->data, topic.data, topic.length);
		name->length = topic.length;
		route->topic = name;
		route->hash = hash;
		list_append(&table->used, &route->link);
	}
	if (!route_confirm(table, route))
		route_make(table, route, topic);
	// A route that could not be made for want of memory is tried again at the next message.
	if (route->reason == PROOF_NO_MEMORY)
		route->version = 0;
	return route;
}
