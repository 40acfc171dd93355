// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Three tables of chains (by identifier, by the connection's other end, by client and
// filter) and a trie. Hashes are keyed: clients choose identifiers and filters.

#include "session/roster.h"

#include <rte_common.h>
#include <rte_malloc.h>

#include <errno.h>
#include <string.h>

#include "base/random.h"
#include "mqtt/topic.h"
#include "session/changes.h"

static struct list *chains_create(const char *name, uint32_t count)
{
	struct list *chains = rte_malloc(name, sizeof(*chains) * count, 0);

	for (uint32_t i = 0; chains != NULL && i < count; i++)
		list_init(&chains[i]);
	return chains;
}

static int pools_create(struct roster *roster)
{
	const struct roster_config *config = &roster->config;
	struct mqtt_trie_config trie = {
		.nodes_max = config->subscriptions_max * 3 + 1024,
		.levels_max = 128,
		.text_bytes = (uint64_t)config->subscriptions_max * 32 + (1 << 20),
	};
	int rc;

	memcpy(&trie.seed, config->hash_key, sizeof(trie.seed));
	rc = slab_create("known clients", config->clients_max, sizeof(struct roster_client),
		&roster->clients);
	if (rc == 0)
		rc = slab_create("known filters", config->subscriptions_max,
			sizeof(struct roster_subscription), &roster->subscriptions);
	if (rc == 0)
		rc = mqtt_trie_create(&trie, &roster->trie);
	return rc;
}

int roster_create(const struct roster_config *config, struct session_changes *changes,
	struct payload_pool *payloads, struct roster **ret_roster)
{
	struct roster *roster = rte_zmalloc("roster", sizeof(*roster), 0);
	int rc;

	if (roster == NULL)
		return -ENOMEM;
	roster->config = *config;
	roster->changes = changes;
	roster->payloads = payloads;
	roster->clients_mask = rte_align32pow2(config->clients_max) - 1;
	roster->filters_mask = rte_align32pow2(config->subscriptions_max) - 1;
	roster->by_id = chains_create("roster ids", roster->clients_mask + 1);
	roster->by_peer = chains_create("roster peers", roster->clients_mask + 1);
	roster->by_filter = chains_create("roster filters", roster->filters_mask + 1);
	rc = pools_create(roster);
	if (rc == 0 &&
		(roster->by_id == NULL || roster->by_peer == NULL || roster->by_filter == NULL))
		rc = -ENOMEM;
	if (rc < 0) {
		roster_destroy(roster);
		return rc;
	}
	*ret_roster = roster;
	return 0;
}

void roster_destroy(struct roster *roster)
{
	if (roster == NULL)
		return;
	if (roster->trie != NULL)
		roster_clear(roster);
	mqtt_trie_destroy(roster->trie);
	slab_destroy(roster->subscriptions);
	slab_destroy(roster->clients);
	rte_free(roster->by_filter);
	rte_free(roster->by_peer);
	rte_free(roster->by_id);
	rte_free(roster);
}

// --- clients -------------------------------------------------------------------------------------

static uint64_t name_hash(const struct roster *roster, const struct roster_name *name)
{
	return siphash_2_4(roster->config.hash_key, name->id.data, name->id.length) +
	       name->space * 0x9e3779b97f4a7c15ull;
}

static struct list *peer_chain(const struct roster *roster, const struct roster_peer *peer)
{
	uint8_t key[sizeof(peer->address) + 2];

	memcpy(key, peer->address, sizeof(peer->address));
	key[sizeof(key) - 2] = (uint8_t)(peer->port >> 8);
	key[sizeof(key) - 1] = (uint8_t)peer->port;
	return &roster->by_peer[siphash_2_4(roster->config.hash_key, key, sizeof(key)) &
				roster->clients_mask];
}

struct roster_client *roster_find(const struct roster *roster, const struct roster_name *name)
{
	uint64_t hash = name_hash(roster, name);

	list_for_each (link, &roster->by_id[hash & roster->clients_mask]) {
		struct roster_client *client = container_of(link, struct roster_client, id_link);

		if (client->hash == hash && client->space == name->space &&
			mqtt_bytes_equal(
				mqtt_bytes(client->id->data, client->id->length), name->id))
			return client;
	}
	return NULL;
}

struct roster_client *roster_find_peer(const struct roster *roster, const struct roster_peer *peer)
{
	struct roster_client *latest = NULL;

	if (peer->port == 0)
		return NULL;
	list_for_each (link, peer_chain(roster, peer)) {
		struct roster_client *client = container_of(link, struct roster_client, peer_link);

		if (client->peer.port == peer->port &&
			memcmp(client->peer.address, peer->address, sizeof(peer->address)) == 0 &&
			(latest == NULL || client->arrival > latest->arrival))
			latest = client;
	}
	return latest;
}

static struct roster_client *client_make(struct roster *roster, const struct roster_name *name)
{
	struct roster_client *client = NULL;
	struct payload *id = name->id.length <= PAYLOAD_LARGEST
				     ? payload_alloc(roster->payloads, name->id.length)
				     : NULL;

	if (id != NULL)
		client = slab_take(roster->clients);
	if (client == NULL) {
		if (id != NULL)
			payload_put(id);
		roster->lost = true;
		return NULL;
	}
	memcpy(id->data, name->id.data, name->id.length);
	id->length = name->id.length;
	client->id = id;
	client->space = name->space;
	client->hash = name_hash(roster, name);
	list_init(&client->id_link);
	list_init(&client->peer_link);
	list_init(&client->subscriptions);
	list_append(&roster->by_id[client->hash & roster->clients_mask], &client->id_link);
	return client;
}

static void subscription_drop(struct roster *roster, struct roster_subscription *sub)
{
	session_changes_add(roster->changes, &sub->entry);
	mqtt_trie_remove(roster->trie, &sub->entry);
	list_remove(&sub->link);
	list_remove(&sub->hash_link);
	slab_give(roster->subscriptions, sub);
}

static void subscriptions_drop(struct roster *roster, struct roster_client *client)
{
	list_for_each_safe (link, &client->subscriptions) {
		subscription_drop(roster, container_of(link, struct roster_subscription, link));
	}
}

struct roster_client *roster_arrived(struct roster *roster, const struct roster_name *name,
	const struct roster_peer *peer, bool goes_on)
{
	struct roster_client *client = roster_find(roster, name);
	const struct roster_client *neighbour = roster_find_peer(roster, peer);

	roster->arrivals++; // also of one that finds no room: all workers count alike
	if (client == NULL)
		client = client_make(roster, name);
	if (client == NULL)
		return NULL;
	if (goes_on)
		roster_touch(roster, client);
	else
		subscriptions_drop(roster, client);
	client->owner = NULL;
	client->before = peer->port == 0     ? client->arrival
			 : neighbour != NULL ? neighbour->arrival
					     : 0;
	client->arrival = roster->arrivals;
	client->peer = *peer;
	roster->portless |= peer->port == 0 && name->space == 0;
	list_remove(&client->peer_link);
	if (peer->port != 0)
		list_append(peer_chain(roster, peer), &client->peer_link);
	return client;
}

void roster_ended(struct roster *roster, struct roster_client *client)
{
	subscriptions_drop(roster, client);
	list_remove(&client->id_link);
	list_remove(&client->peer_link);
	payload_put(client->id);
	slab_give(roster->clients, client);
}

void roster_clear(struct roster *roster)
{
	for (uint32_t i = 0; i < slab_count(roster->clients); i++) {
		struct roster_client *client = slab_at(roster->clients, i);

		if (client != NULL)
			roster_ended(roster, client);
	}
	session_changes_add_all(roster->changes);
	roster->lost = roster->portless = false;
}

// --- subscriptions -------------------------------------------------------------------------------

static struct list *filter_chain(
	const struct roster *roster, const struct roster_client *client, uint64_t hash)
{
	return &roster->by_filter[(hash ^ client->hash * 0x9e3779b97f4a7c15ull) >> 16 &
				  roster->filters_mask];
}

static struct roster_subscription *subscription_find(
	const struct roster *roster, const struct roster_client *client, uint64_t hash)
{
	list_for_each (link, filter_chain(roster, client, hash)) {
		struct roster_subscription *sub =
			container_of(link, struct roster_subscription, hash_link);

		if (sub->client == client && sub->filter_hash == hash)
			return sub;
	}
	return NULL;
}

// EMQX's other way to write a share, of a group without a name.
static bool is_queue(struct mqtt_bytes filter, struct mqtt_bytes *ret_plain)
{
	static const char queue[] = "$queue/";
	size_t length = sizeof(queue) - 1;

	if (filter.length <= length || memcmp(filter.data, queue, length) != 0)
		return false;
	*ret_plain = mqtt_bytes(filter.data + length, filter.length - length);
	return true;
}

static struct roster_subscription *subscription_make(
	struct roster *roster, struct roster_client *client, struct mqtt_bytes filter)
{
	struct roster_subscription *sub = slab_take(roster->subscriptions);
	struct mqtt_bytes plain = filter, name;
	bool share = mqtt_filter_share(filter, &name, &plain) || is_queue(filter, &plain);

	if (sub == NULL)
		return NULL;
	mqtt_trie_entry_init(&sub->entry);
	if (mqtt_trie_insert(roster->trie, plain, &sub->entry) < 0) {
		slab_give(roster->subscriptions, sub);
		return NULL;
	}
	sub->client = client;
	sub->share = share;
	sub->filter_hash = siphash_2_4(roster->config.hash_key, filter.data, filter.length);
	list_init(&sub->link);
	list_init(&sub->hash_link);
	list_append(&client->subscriptions, &sub->link);
	list_append(filter_chain(roster, client, sub->filter_hash), &sub->hash_link);
	return sub;
}

void roster_subscribed(
	struct roster *roster, struct roster_client *client, const struct roster_filter *filter)
{
	uint64_t hash =
		siphash_2_4(roster->config.hash_key, filter->text.data, filter->text.length);
	struct roster_subscription *sub = subscription_find(roster, client, hash);

	// A broker may let pass what is no filter; no legal topic matches it.
	if (!mqtt_filter_valid(filter->text))
		return;
	if (sub == NULL)
		sub = subscription_make(roster, client, filter->text);
	if (sub == NULL) {
		roster->lost = true;
		return;
	}
	sub->qos = filter->qos;
	sub->no_local = filter->no_local;
	session_changes_add(roster->changes, &sub->entry);
}

void roster_unsubscribed(
	struct roster *roster, struct roster_client *client, struct mqtt_bytes filter)
{
	struct roster_subscription *sub = subscription_find(
		roster, client, siphash_2_4(roster->config.hash_key, filter.data, filter.length));

	if (sub != NULL)
		subscription_drop(roster, sub);
}

void roster_touch(struct roster *roster, const struct roster_client *client)
{
	list_for_each (link, &client->subscriptions) {
		const struct roster_subscription *sub =
			container_of(link, struct roster_subscription, link);

		session_changes_add(roster->changes, &sub->entry);
	}
}
