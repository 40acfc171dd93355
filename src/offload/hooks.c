// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Joining connections to the broker's clients; the right to write, asked for by letting a message
// pass.

#include "offload/hooks.h"

#include "offload/fencing.h"
#include "session/changes.h"
#include "session/roster.h"

// The broker tells of a PUBLISH before it routes it: what has not come by then was refused.
#define ANSWER_US US_IN_S
// What is shown is asked for anew this part of proof.ttl before its end, or a little earlier.
#define REFRESH_PART 8
// Without success again after this, twice as much …
#define AGAIN_US     (50 * US_IN_MS)
#define FAILURES_MAX 7

uint64_t hooks_later_us(const struct client *client, uint64_t wait_us, uint8_t *failures)
{
	uint64_t until_us = client->offload->now_us + (wait_us << *failures);

	if (*failures < FAILURES_MAX)
		(*failures)++;
	return until_us;
}

static bool is_told_all(const struct broker *broker)
{
	return broker->stream.told.complete && broker->roster != NULL;
}

// --- joining -------------------------------------------------------------------------------------

// Where the broker sees it come from.
static struct roster_peer peer_of(const struct net_endpoint *endpoint)
{
	struct roster_peer peer = {.port = endpoint->port};

	memcpy(peer.address, endpoint->address.bytes, sizeof(peer.address));
	return peer;
}

static struct roster_peer own_end(const struct client *client)
{
	struct net_endpoint local;
	const char *state;

	client->link->describe(client, &local, &state);
	return peer_of(&local);
}

static struct mqtt_bytes own_id(const struct client *client)
{
	const struct payload *id = client->session == NULL ? NULL : client->session->client_id;

	return id == NULL ? mqtt_bytes(NULL, 0) : mqtt_bytes(id->data, id->length);
}

static void misnamed_set(struct client *client, bool misnamed)
{
	struct broker *broker = client->broker;

	if (client->misnamed == misnamed)
		return;
	client->misnamed = misnamed;
	broker->misnamed += misnamed ? 1u : -1u;
	if (broker->misnamed > 1)
		return;
	// What was joined by identifiers is not any more, or is again.
	session_changes_add_all(&broker->map->changes);
	session_changes_add_all(&broker->map->doubts);
	if (broker->map->replica != NULL)
		replica_misnamed_set(broker->map->replica, broker->misnamed > 0);
}

// The broker has told of one session that can only be this connection's: it came from there
// after the CONNECT had passed, and no other one did. By identifiers likewise.
static struct roster_client *entry_find(const struct client *client)
{
	const struct roster *roster = client->broker->roster;
	struct roster_peer end = own_end(client);
	struct roster_client *entry = roster_find_peer(roster, &end);
	struct mqtt_bytes id = own_id(client);

	if (entry == NULL && id.length > 0)
		entry = roster_find(roster, &(struct roster_name){.id = id});
	if (entry == NULL || entry->space != 0 ||
		memcmp(entry->peer.address, end.address, sizeof(end.address)) != 0 ||
		(entry->peer.port != 0 && entry->peer.port != end.port))
		return NULL;
	return entry->arrival > client->roster_mark ? entry : NULL;
}

static void join(struct client *client)
{
	struct roster_client *entry;

	if (client->entry != NULL || client->state != CLIENT_ACCEPTED || client->session == NULL)
		return;
	entry = entry_find(client);
	if (entry != NULL)
		misnamed_set(client, false);
	// Of several it might be the other one.
	if (entry == NULL || entry->before > client->roster_mark || entry->owner != NULL)
		return;
	entry->owner = client;
	client->entry = entry;
}

// Other workers' clients, too, may have each other's names.
bool hooks_names_hold(const struct broker *broker)
{
	const struct replica *replica = broker->map->replica;

	return broker->misnamed == 0 && (replica == NULL || !replica_misnamed(replica));
}

bool hooks_joined(const struct client *client)
{
	return client->entry != NULL &&
	       (client->entry->peer.port != 0 || hooks_names_hold(client->broker));
}

bool hooks_join(struct client *client)
{
	join(client);
	return hooks_joined(client);
}

// The entry stands for another connection from now on, or for none.
static void part(struct roster_client *entry)
{
	struct client *owner = entry == NULL ? NULL : entry->owner;

	if (owner == NULL)
		return;
	entry->owner = NULL;
	owner->entry = NULL;
	owner->roster_mark = UINT64_MAX; // a connection begins or resumes one session
	owner->written = (struct client_written){.epoch = 0};
	if (owner->session != NULL)
		session_touch(owner->broker->map, owner->session, true);
}

void hooks_connect(struct client *client)
{
	if (client->broker->roster != NULL)
		client->roster_mark = client->broker->roster->arrivals;
}

void hooks_connack(struct client *client)
{
	if (!is_told_all(client->broker))
		return;
	join(client);
	// The broker tells before it sends the CONNACK: it may know the client by another name.
	if (client->entry == NULL && client->broker->roster->portless &&
		own_id(client).length > 0 && entry_find(client) == NULL)
		misnamed_set(client, true);
}

void hooks_leave(struct client *client)
{
	misnamed_set(client, false);
	if (client->entry != NULL)
		client->entry->owner = NULL;
	client->entry = NULL;
}

// --- what the broker tells -----------------------------------------------------------------------

void hooks_stream_up(struct offload *offload, struct broker *broker)
{
	if (broker->roster == NULL)
		return;
	for (uint32_t i = 0; i < slab_count(offload->clients); i++) {
		struct client *client = slab_at(offload->clients, i);

		if (client == NULL || client->broker != broker)
			continue;
		hooks_leave(client);
		// What is told from here on is not of its session.
		if (client->state != CLIENT_CONNECT)
			client->roster_mark = UINT64_MAX;
	}
	roster_clear(broker->roster);
}

void hooks_session(struct broker *broker, const struct roster_name *name,
	const struct net_endpoint *peer, enum offload_session_state state)
{
	struct roster_client *entry = roster_find(broker->roster, name);
	const struct roster_peer from = peer_of(peer);
	struct session *session;

	if (state == OFFLOAD_SESSION_DISCONNECTED)
		return;
	part(entry);
	if (state == OFFLOAD_SESSION_ENDED) {
		if (entry != NULL)
			roster_ended(broker->roster, entry);
		return;
	}
	entry = roster_arrived(broker->roster, name, &from, state == OFFLOAD_SESSION_RESUMED);
	if (entry == NULL)
		return;
	// One whose CONNACK was faster than this.
	session = name->space == 0 ? session_lookup(broker->map, name->id) : NULL;
	if (session != NULL && session->owner != NULL)
		join(session->owner);
}

void hooks_subscribed(
	struct broker *broker, const struct roster_name *name, const struct offload_filter *filter)
{
	struct roster_client *entry = roster_find(broker->roster, name);

	if (entry == NULL)
		broker->roster->lost = true;
	else
		roster_subscribed(broker->roster, entry,
			&(struct roster_filter){filter->text, filter->qos, filter->no_local});
}

void hooks_unsubscribed(
	struct broker *broker, const struct roster_name *name, struct mqtt_bytes filter)
{
	struct roster_client *entry = roster_find(broker->roster, name);

	if (entry != NULL)
		roster_unsubscribed(broker->roster, entry, filter);
}

// --- the right to write --------------------------------------------------------------------------

static uint64_t write_key(const struct client *client, uint64_t hash)
{
	return grant_key(hash, client->identity, client->broker->stream.epoch);
}

void hooks_unlike(struct client *client)
{
	if (is_told_all(client->broker))
		client->unlike_epoch = fencing_epoch(client->offload);
}

// What the broker tells from here on is of messages like those that may be captured: it has
// answered a question that was behind all others.
static bool is_alike(const struct client *client)
{
	return client->pong_epoch >= client->unlike_epoch;
}

static uint64_t refresh_us(const struct client *client, uint64_t hash, uint64_t until_us)
{
	uint64_t part_us = client->broker->config->proof.ttl_us / REFRESH_PART;

	return until_us - part_us - hash % (part_us + 1);
}

void hooks_published(struct broker *broker, const struct offload_published *published)
{
	const struct roster_client *entry =
		roster_find(broker->roster, &(struct roster_name){.id = published->client_id});
	struct client *client = entry == NULL ? NULL : entry->owner;
	uint64_t hash, since_us;
	struct grant *grant;

	if (client == NULL || broker->writes == NULL || !hooks_joined(client) ||
		!published->written || published->qos > 2)
		return;
	hash = fence_key(proof_topic_hash(broker->routes, published->topic), published->qos);
	grant = grants_find(broker->writes, write_key(client, hash));
	if (grant == NULL || !grant->asked)
		return;
	since_us = grant->mark_us - ANSWER_US;
	// It may be about a message that passed before the one that asks.
	if (published->told_us < since_us || !is_alike(client))
		return;
	grant->asked = false;
	grant->state = GRANT_ALLOWED;
	grant->failures = 0;
	grant->until_us = since_us + broker->config->proof.ttl_us;
	grant->mark_us = refresh_us(client, hash, grant->until_us);
}

// The message asks, by passing. False: not now.
static bool ask(struct client *client, struct grant *grant)
{
	if (!is_alike(client)) {
		fencing_ask(client, client->unlike_epoch);
		return false;
	}
	grant->asked = true;
	grant->mark_us = client->offload->now_us + ANSWER_US;
	return true;
}

// It was asked for, and the broker has told of no such message.
static void unanswered(const struct client *client, struct grant *grant)
{
	grant->asked = false;
	if (!is_alike(client))
		return; // it may have, and could not be believed
	if (!grant_holds(grant, client->offload->now_us))
		grant->state = GRANT_DENIED;
	grant->mark_us = hooks_later_us(client, AGAIN_US, &grant->failures);
}

static enum proof_reason look_writer(
	struct client *client, const struct proof_route *route, uint8_t qos, bool may_ask)
{
	uint64_t now_us = client->offload->now_us, hash = fence_key(route->hash, qos);
	struct grant *grant;
	bool holds;

	if (!hooks_join(client))
		return PROOF_UNJOINED;
	grant = grants_get(client->broker->writes, write_key(client, hash), now_us);
	holds = grant_holds(grant, now_us);
	if (grant->asked && now_us >= grant->mark_us)
		unanswered(client, grant);
	if (now_us >= grant->mark_us && may_ask && ask(client, grant))
		return holds ? PROOF_REFRESH : PROOF_UNPROVEN;
	if (!holds)
		return grant->state == GRANT_DENIED ? PROOF_UNWRITTEN : PROOF_UNPROVEN;
	client->written = (struct client_written){
		.hash = hash,
		.epoch = client->broker->stream.epoch,
		.until_us = grant->mark_us < grant->until_us ? grant->mark_us : grant->until_us,
	};
	return PROOF_CAPTURE;
}

enum proof_reason hooks_look(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, bool may_ask)
{
	enum proof_reason reason = hooks_look_readers(client, route, may_ask);

	if (reason != PROOF_CAPTURE ||
		client->broker->config->authorization != OFFLOAD_AUTHORIZATION_BROKER)
		return reason;
	return look_writer(client, route, publish->qos, may_ask);
}
