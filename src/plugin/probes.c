// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A client has few probes, most often one: they hang on it in a list, the oldest first.
// What a client may have of QoS 2 between PUBLISH and PUBREL hangs in another list as well.

#include "plugin/probes.h"

#include "base/marker.h"
#include "plugin/clients.h"
#include "plugin/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum probe_state {
	PROBE_ARMED,   // the client's next PUBLISH
	PROBE_JUDGED,  // mosquitto asks whether it may write it
	PROBE_WRITTEN, // it may; of QoS 2, and readers come with the PUBREL
};

struct probe {
	struct probe *next;	    // of the client, younger
	struct probe *next_waiting; // written, of QoS 2
	struct client *client;
	uint64_t token, key;
	enum probe_state state;
	char *topic, *client_id;
	const char *topic_at; // where mosquitto has it
	const void *payload_at;
};

struct skip {
	uint64_t key;
	uint64_t epoch, sequence; // who was told of by then is meant
	bool judged;
	uint8_t except_count;
	uint64_t except[];
};

struct probes {
	struct events *events;
	unsigned probes, skips; // there are
	struct probe *waiting;
	struct {
		bool open;
		const char *topic;
		const void *payload;
		struct probe *probe; // taken off its client's list; NULL: nobody asks
		struct skip *skip;
		bool cut;
		bool maybe_none; // no reader at all proves nothing
	} window;
	unsigned readers_max, readers_count;
	uint64_t readers[];
};

int probes_create(struct events *events, unsigned readers_max, struct probes **ret_probes)
{
	struct probes *probes =
		calloc(1, sizeof(*probes) + readers_max * sizeof(probes->readers[0]));

	if (!probes)
		return -ENOMEM;
	probes->events = events;
	probes->readers_max = readers_max;
	*ret_probes = probes;
	return 0;
}

static void probe_free(struct probes *probes, struct probe *probe)
{
	if (!probe)
		return;
	free(probe->topic);
	free(probe->client_id);
	free(probe);
	probes->probes--;
}

static void skip_free(struct probes *probes, struct skip *skip)
{
	if (!skip)
		return;
	free(skip);
	probes->skips--;
}

void probes_destroy(struct probes *probes)
{
	if (!probes)
		return;
	probe_free(probes, probes->window.probe);
	skip_free(probes, probes->window.skip);
	free(probes);
}

// --- lists ---------------------------------------------------------------------------------------

static void waiting_remove(struct probes *probes, struct probe *probe)
{
	struct probe **at = &probes->waiting;

	while (*at && *at != probe)
		at = &(*at)->next_waiting;
	if (*at)
		*at = probe->next_waiting;
}

static void client_take(struct client *client, struct probe *probe)
{
	struct probe **at = &client->probes;

	while (*at && *at != probe)
		at = &(*at)->next;
	if (*at)
		*at = probe->next;
}

// What was announced on another connection, whose place this one has taken, means nothing here.
static void sweep(struct probes *probes, struct client *client)
{
	if (client->probes && client->probes->key != client->key)
		probes_forget(probes, client);
	else if (client->skip && client->skip->key != client->key)
		probes_forget(probes, client);
}

static struct probe *client_probe(const struct client *client, enum probe_state state)
{
	struct probe *probe = client->probes;

	while (probe && probe->state != state)
		probe = probe->next;
	return probe;
}

void probes_forget(struct probes *probes, struct client *client)
{
	struct probe *probe;

	while ((probe = client->probes)) {
		client->probes = probe->next;
		waiting_remove(probes, probe);
		probe_free(probes, probe);
	}
	skip_free(probes, client->skip);
	client->skip = NULL;
}

// --- telling -------------------------------------------------------------------------------------

static void tell(struct probes *probes, const struct probe *probe, bool written, bool cut)
{
	events_published(probes->events, &(struct events_published){
						 .token = probe->token,
						 .key = probe->key,
						 .client_id = probe->client_id,
						 .topic = probe->topic,
						 .written = written,
						 .cut = cut,
						 .readers = probes->readers,
						 .readers_count = probes->readers_count,
					 });
}

static void tell_refused(struct probes *probes, struct client *client, struct probe *probe)
{
	client_take(client, probe);
	probes->readers_count = 0;
	tell(probes, probe, false, false);
	probe_free(probes, probe);
}

static void window_open(struct probes *probes, struct probe *probe, struct skip *skip,
	const char *topic, const void *payload)
{
	probes->window.open = true;
	probes->window.probe = probe;
	probes->window.skip = skip;
	probes->window.topic = topic;
	probes->window.payload = payload;
	probes->window.cut = false;
	probes->window.maybe_none = false;
	probes->readers_count = 0;
}

static void window_close(struct probes *probes)
{
	struct probe *probe = probes->window.probe;
	bool none = probes->readers_count == 0 && probes->window.maybe_none;

	if (probe)
		tell(probes, probe, true, probes->window.cut || none);
	probe_free(probes, probe);
	skip_free(probes, probes->window.skip);
	memset(&probes->window, 0, sizeof(probes->window));
}

void probes_close(struct probes *probes)
{
	if (probes->window.open)
		window_close(probes);
}

// --- markers -------------------------------------------------------------------------------------

void probes_ask(struct probes *probes, struct client *client, uint64_t token)
{
	struct probe *probe, **at = &client->probes;

	sweep(probes, client);
	probe = probes->probes < PROBES_MAX ? calloc(1, sizeof(*probe)) : NULL;
	if (!probe)
		return;
	probes->probes++;
	probe->client = client;
	probe->token = token;
	probe->key = client->key;
	while (*at)
		at = &(*at)->next;
	*at = probe;
}

void probes_end(struct probes *probes, struct client *client, const char *client_id, uint64_t token)
{
	struct probe *probe;

	sweep(probes, client);
	probe = client->probes;
	while (probe && probe->token != token)
		probe = probe->next;
	if (!probe)
		return; // told already
	if (!probe->client_id && client_id)
		probe->client_id = strdup(client_id);
	if (probe->state != PROBE_WRITTEN) {
		tell_refused(probes, client, probe);
		return;
	}
	// Of QoS 2, released, and nobody was asked for: nobody subscribed, or it was dropped.
	client_take(client, probe);
	waiting_remove(probes, probe);
	probes->readers_count = 0;
	tell(probes, probe, true, true);
	probe_free(probes, probe);
}

bool probes_skip(
	struct probes *probes, struct client *client, const struct marker *marker, uint64_t epoch)
{
	size_t size = marker->except_count * sizeof(marker->except[0]);
	struct skip *skip;

	sweep(probes, client);
	skip_free(probes, client->skip);
	client->skip = NULL;
	skip = probes->skips < SKIPS_MAX ? malloc(sizeof(*skip) + size) : NULL;
	if (!skip)
		return false;
	probes->skips++;
	*skip = (struct skip){.key = client->key,
		.epoch = epoch,
		.sequence = marker->token,
		.except_count = marker->except_count};
	memcpy(skip->except, marker->except, size);
	client->skip = skip;
	return true;
}

// --- the client's PUBLISH ------------------------------------------------------------------------

void probes_write(
	struct probes *probes, struct client *client, const char *client_id, const char *topic)
{
	struct probe *probe;

	sweep(probes, client);
	probe = client_probe(client, PROBE_JUDGED);
	if (probe) // the one before was refused: nothing came of it
		tell_refused(probes, client, probe);
	if (client->skip && client->skip->judged) {
		skip_free(probes, client->skip);
		client->skip = NULL;
	}
	if (client->skip)
		client->skip->judged = true;
	probe = client_probe(client, PROBE_ARMED);
	if (!probe)
		return;
	probe->state = PROBE_JUDGED;
	probe->topic = strdup(topic);
	probe->client_id = client_id ? strdup(client_id) : NULL;
}

// Of QoS 2: its readers are asked for when it is released.
static void wait_for_release(
	struct probes *probes, struct probe *probe, const struct probes_message *message)
{
	probe->state = PROBE_WRITTEN;
	probe->topic_at = message->topic;
	probe->payload_at = message->payload;
	probe->next_waiting = probes->waiting;
	probes->waiting = probe;
}

void probes_message(
	struct probes *probes, struct client *client, const struct probes_message *message)
{
	struct probe *probe;
	struct skip *skip;

	sweep(probes, client);
	skip = client->skip;
	probe = client_probe(client, PROBE_JUDGED);
	client->skip = NULL;
	if (message->qos == 2) {
		client->published_qos_2 = true;
		skip_free(probes, skip);
		if (probe)
			wait_for_release(probes, probe, message);
		return;
	}
	if (!probe && !skip)
		return;
	if (probe)
		client_take(client, probe);
	window_open(probes, probe, skip, message->topic, message->payload);
	// With messages of QoS 2 under way, one of QoS 1 may be refused after this.
	probes->window.maybe_none = message->qos == 1 && client->published_qos_2;
	return;
}

// --- readers -------------------------------------------------------------------------------------

static struct probe *released(const struct probes *probes, const char *topic, const void *payload)
{
	struct probe *probe = probes->waiting;

	while (probe && (probe->topic_at != topic || probe->payload_at != payload ||
				!probe->topic || strcmp(probe->topic, topic) != 0))
		probe = probe->next_waiting;
	return probe;
}

bool probes_window(struct probes *probes, const char *topic, const void *payload)
{
	struct probe *probe;

	if (probes->window.open) {
		if (probes->window.topic == topic && probes->window.payload == payload)
			return true;
		window_close(probes);
	}
	probe = probes->waiting ? released(probes, topic, payload) : NULL;
	if (!probe)
		return false;
	client_take(probe->client, probe);
	waiting_remove(probes, probe);
	window_open(probes, probe, NULL, topic, payload);
	return true;
}

// Did Offramp know it when it made the marker, and is it not left to the broker all the same?
static bool skips(const struct skip *skip, const struct client *reader)
{
	if (!reader || !client_was_joined(reader, skip->epoch, skip->sequence))
		return false;
	for (unsigned i = 0; i < skip->except_count; i++)
		if (skip->except[i] == reader->key)
			return false;
	return true;
}

bool probes_read(struct probes *probes, const struct client *reader)
{
	if (probes->window.probe && probes->readers_count < probes->readers_max)
		probes->readers[probes->readers_count++] = reader ? reader->key : 0;
	else
		probes->window.cut = true;
	return probes->window.skip && skips(probes->window.skip, reader);
}
