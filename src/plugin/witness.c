// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every callback but READ ends the window of a message that was announced (probes.h).

#include "plugin/witness.h"

#include "base/marker.h"
#include "plugin/clients.h"
#include "plugin/events.h"
#include "plugin/probes.h"
#include "plugin/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_TOPICS "$CONTROL/"

struct witness {
	struct events *events;
	struct secret *secret;
	struct clients *clients;
	struct probes *probes;
	const void *asked; // whose WRITE was the last callback
};

int witness_create(struct events *events, struct secret *secret, unsigned readers_max,
	struct witness **ret_witness)
{
	struct witness *witness = calloc(1, sizeof(*witness));
	int err;

	if (!witness)
		return -ENOMEM;
	witness->events = events;
	witness->secret = secret;
	err = clients_create(&witness->clients);
	if (!err)
		err = probes_create(events, readers_max, &witness->probes);
	if (err) {
		witness_destroy(witness);
		return err;
	}
	*ret_witness = witness;
	return 0;
}

static void forget_probes(void *ctx, struct client *client)
{
	probes_forget(ctx, client);
}

void witness_destroy(struct witness *witness)
{
	if (!witness)
		return;
	if (witness->clients && witness->probes)
		clients_each(witness->clients, forget_probes, witness->probes);
	clients_destroy(witness->clients);
	probes_destroy(witness->probes);
	free(witness);
}

// Any callback but READ.
static void begin(struct witness *witness)
{
	probes_close(witness->probes);
	witness->asked = NULL;
}

static struct client *find(struct witness *witness, const struct witness_client *client)
{
	return clients_find(witness->clients, client->context, client->id);
}

static struct client *get(struct witness *witness, const struct witness_client *client)
{
	return clients_get(witness->clients, client->context, client->id);
}

static uint64_t key_of(struct witness *witness, const struct witness_client *client)
{
	struct client *known = get(witness, client);

	return known ? known->key : 0;
}

void witness_tick(struct witness *witness)
{
	begin(witness);
}

// --- publishers ----------------------------------------------------------------------------------

void witness_write(struct witness *witness, const struct witness_client *client, const char *topic)
{
	struct client *known;

	begin(witness);
	witness->asked = client->context;
	if (strcmp(topic, MARKER_TOPIC) == 0)
		return; // it is no message, and stands between a marker and its message
	// Whatever is commanded there, it may change what others may do; whether it is obeyed is
	// not seen here. It is carried out before any later packet of anybody is read.
	if (strncmp(topic, CONTROL_TOPICS, strlen(CONTROL_TOPICS)) == 0)
		events_revoked(witness->events, "a command to " CONTROL_TOPICS);
	known = find(witness, client);
	if (known)
		probes_write(witness->probes, known, client->id, topic);
}

bool witness_message(struct witness *witness, const struct witness_client *client,
	const struct probes_message *message)
{
	bool asked = witness->asked == client->context;
	struct client *known;

	begin(witness);
	// What is under way of QoS 2 matters also when it joins later.
	known = message->qos == 2 ? get(witness, client) : find(witness, client);
	if (!known)
		return true;
	probes_message(witness->probes, known, message);
	// A bridge, for one, is never asked whether it may.
	return asked || !client_is_joined(known);
}

// --- readers -------------------------------------------------------------------------------------

bool witness_read(struct witness *witness, const struct witness_client *reader, const char *topic,
	const void *payload)
{
	witness->asked = NULL;
	return probes_window(witness->probes, topic, payload) &&
	       probes_read(witness->probes, get(witness, reader));
}

// --- markers -------------------------------------------------------------------------------------

static void join(struct witness *witness, const struct witness_client *client, uint64_t nonce,
	uint64_t epoch)
{
	struct client *known = clients_join(witness->clients, client->context, client->id);

	if (!known)
		return;
	client_joined(known, epoch,
		events_joined(witness->events, nonce, known->key, client->id, client->username));
}

static void obey(struct witness *witness, const struct witness_client *client,
	const struct marker *marker, uint64_t epoch)
{
	struct client *known = find(witness, client);
	bool latest = epoch == secret_epoch(witness->secret);

	if (marker->kind == MARKER_JOIN) {
		if (latest)
			join(witness, client, marker->token, epoch);
		return;
	}
	if (!known || !client_is_joined(known))
		return;
	if (marker->kind == MARKER_SKIP)
		probes_skip(witness->probes, known, marker, epoch);
	else if (marker->kind == MARKER_END)
		probes_end(witness->probes, known, client->id, marker->token);
	else if (latest)
		probes_ask(witness->probes, known, marker->token);
}

bool witness_marker(struct witness *witness, const struct witness_client *client,
	const void *payload, size_t length)
{
	struct marker marker;
	bool asked = witness->asked == client->context;
	uint64_t epoch;

	begin(witness);
	epoch = secret_decode(witness->secret, payload, length, &marker);
	if (epoch) // else a stranger's, and nothing happens
		obey(witness, client, &marker, epoch);
	return asked;
}

// --- sessions ------------------------------------------------------------------------------------

void witness_subscribe(struct witness *witness, const struct witness_client *client,
	const struct events_subscription *subscription)
{
	begin(witness);
	events_subscribed(witness->events, key_of(witness, client), client->id, subscription);
}

void witness_unsubscribe(
	struct witness *witness, const struct witness_client *client, const char *filter)
{
	begin(witness);
	events_unsubscribed(witness->events, key_of(witness, client), client->id, filter);
}

void witness_disconnect(struct witness *witness, const struct witness_client *client)
{
	struct client *known;

	begin(witness);
	known = find(witness, client);
	if (!known)
		return;
	events_disconnected(witness->events, known->key, client->id);
	probes_forget(witness->probes, known);
	clients_remove(witness->clients, known);
}

void witness_revoke(struct witness *witness, const char *why)
{
	begin(witness);
	events_revoked(witness->events, why);
}
