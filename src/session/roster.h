// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a broker has, as it tells of its own accord: its clients, wherever they come from, and all
// of their subscriptions. Compared with what the wire has shown (session/session.h), it says
// who else gets a topic. For brokers that tell everything (EMQX, by its hooks).
//
// A client stands here under the identifier that the broker has for it, which need not be the
// one of its CONNECT. Whoever finds out which connection that is keeps it in `owner`.
//
// One a broker and worker; single-threaded; memory comes from pools sized at creation. What finds
// no room makes it incomplete until roster_clear().

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/payload.h"
#include "base/slab.h"
#include "mqtt/packet.h"
#include "mqtt/trie.h"

struct session_changes;

// The other end of a connection, as the broker sees it.
struct roster_peer {
	uint8_t address[16];
	uint16_t port; // 0: not told
};

struct roster_config {
	uint32_t clients_max;
	uint32_t subscriptions_max;
	uint8_t hash_key[16]; // that of the session map: filters are compared by their hashes
};

// Who a client is for the broker: identifiers of clients that do not speak MQTT are names
// of another space.
struct roster_name {
	uint64_t space; // 0: MQTT
	struct mqtt_bytes id;
};

struct roster_client {
	struct list id_link, peer_link;
	struct list subscriptions;
	struct payload *id;
	uint64_t space, hash;
	struct roster_peer peer;
	uint64_t arrival; // the number of its latest session, in the order of being told
	// That of the one before it: with the same peer; where there are no ports, with the same
	// identifier.
	uint64_t before;
	void *owner; // of the floor above: the connection that this is; NULL: not found out
};

struct roster_subscription {
	struct mqtt_trie_entry entry;
	struct list link, hash_link;
	struct roster_client *client;
	uint64_t filter_hash;
	uint8_t qos;
	bool no_local;
	bool share;
};

struct roster {
	struct roster_config config;
	struct payload_pool *payloads;
	struct session_changes *changes; // told of whatever may alter a match
	struct slab *clients, *subscriptions;
	struct mqtt_trie *trie;
	struct list *by_id, *by_peer, *by_filter;
	uint32_t clients_mask, filters_mask;
	uint64_t arrivals; // the number of the latest one
	bool lost;	   // something has found no room
	bool portless;	   // the broker does not say ports
};

int roster_create(const struct roster_config *config, struct session_changes *changes,
	struct payload_pool *payloads, struct roster **ret_roster);
void roster_destroy(struct roster *roster); // accepts NULL
// Everything was told by an earlier run of the broker. Owners are given up without a word.
void roster_clear(struct roster *roster);

// NULL: the broker has no such client.
struct roster_client *roster_find(const struct roster *roster, const struct roster_name *name);
// The latest one that has come from there; NULL: none, or it is gone.
struct roster_client *roster_find_peer(const struct roster *roster, const struct roster_peer *peer);

// A session begins, or goes on with another connection: it has no owner, and keeps its
// subscriptions when it goes on. NULL: no room.
struct roster_client *roster_arrived(struct roster *roster, const struct roster_name *name,
	const struct roster_peer *peer, bool goes_on);
void roster_ended(struct roster *roster, struct roster_client *client);

struct roster_filter {
	struct mqtt_bytes text; // as the client sent it, with "$share/name/"
	uint8_t qos;
	bool no_local;
};
void roster_subscribed(
	struct roster *roster, struct roster_client *client, const struct roster_filter *filter);
void roster_unsubscribed(
	struct roster *roster, struct roster_client *client, struct mqtt_bytes filter);
// Whoever remembers what its subscriptions match is to look again.
void roster_touch(struct roster *roster, const struct roster_client *client);
