// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A table of probes under way, found by their tokens.

#include "offload/probes.h"

#include "base/assert.h"
#include "mqtt/topic.h"
#include "offload/markers.h"
#include "offload/pass.h"
#include "offload/proving.h"
#include "offload/survey.h"

// Of one worker, and of one publisher: nobody takes all.
#define PROBES_MAX	  4096u
#define PROBES_CLIENT_MAX 1024u
#define TIMEOUT_US	  US_IN_S
// A publisher may take so long to release it.
#define RELEASE_US (10 * US_IN_S)

int probes_create(struct offload *offload)
{
	list_init(&offload->probes);
	return slab_create("probes", PROBES_MAX, sizeof(struct probe), &offload->probe_slab);
}

void probes_destroy(struct offload *offload)
{
	slab_destroy(offload->probe_slab);
}

static void probe_end(struct probe *probe)
{
	struct client *publisher = probe->publisher;

	if (publisher->asking == probe)
		publisher->asking = NULL;
	publisher->probes_count--;
	if (probe->survey != NULL)
		survey_leave(publisher->offload, probe->survey);
	list_remove(&probe->link);
	list_remove(&probe->client);
	payload_put(probe->topic);
	slab_give(publisher->offload->probe_slab, probe);
}

// One that waits for its PUBREL.
static struct probe *unreleased(const struct client *client)
{
	list_for_each (link, &client->probes) {
		struct probe *probe = container_of(link, struct probe, client);

		if (probe->packet_id != 0)
			return probe;
	}
	return NULL;
}

struct probe *probe_make(
	struct client *client, const struct proof_route *route, const struct mqtt_publish *publish)
{
	struct offload *offload = client->offload;
	struct probe *probe;

	if (!markers_possible(client) || client->probes_count >= PROBES_CLIENT_MAX ||
		unreleased(client) != NULL)
		return NULL;
	probe = slab_take(offload->probe_slab);
	if (probe == NULL)
		return NULL;
	list_init(&probe->link);
	list_init(&probe->client);
	probe->publisher = client;
	probe->topic = payload_get(route->topic);
	probe->sighting.hash = route->hash;
	probe->token = marker_token(offload, slab_index(offload->probe_slab, probe));
	probe->sighting.since_us = offload->now_us;
	probe->deadline_us = offload->now_us + TIMEOUT_US;
	probe->sighting.expires = publish->has_message_expiry;
	probe->sighting.expiry_s = publish->message_expiry;
	list_append(&offload->probes, &probe->link);
	list_append(&client->probes, &probe->client);
	client->probes_count++;
	client->asking = probe;
	return probe;
}

int probe_pass(struct probe *probe, const struct mqtt_frame *frame, uint16_t packet_id)
{
	struct client *client = probe->publisher;
	uint8_t before[MARKER_PACKET_MAX], after[MARKER_PACKET_MAX];
	uint8_t qos = frame->header.flags >> 1 & 3;
	bool exactly = qos == 2;
	struct mqtt_bytes ask = {before, marker_packet(client, MARKER_ASK, probe->token, before)};
	struct mqtt_bytes end = {
		after, exactly ? 0 : marker_packet(client, MARKER_END, probe->token, after)};
	int rc = pass_between(client, ask, frame, end);

	if (rc < 0)
		return rc;
	client->asking = NULL;
	probe->asked = true;
	probe->qos = qos;
	probe->packet_id = exactly ? packet_id : 0;
	probe->sighting.length = frame->length;
	probe->sighting.since_us = client->offload->now_us;
	probe->version = client->broker->map->changes.version;
	probe->deadline_us = client->offload->now_us + (exactly ? RELEASE_US : TIMEOUT_US);
	return 0;
}

void probe_released(struct client *client, uint16_t packet_id)
{
	struct probe *probe = list_empty(&client->probes) ? NULL : unreleased(client);
	uint8_t packet[MARKER_PACKET_MAX];

	if (probe == NULL || probe->packet_id != packet_id)
		return;
	probe->packet_id = 0;
	if (!markers_possible(client) ||
		pass_bytes(client, packet,
			marker_packet(client, MARKER_END, probe->token, packet)) < 0)
		probe_end(probe);
	else
		probe->deadline_us = client->offload->now_us + TIMEOUT_US;
}

// --- the answer ----------------------------------------------------------------------------------

static struct probe *probe_find(struct offload *offload, uint64_t token)
{
	unsigned self = offload->peers == NULL ? 0 : offload->config.peers.self;
	uint32_t index = marker_token_index(token);
	struct probe *probe;

	if (marker_token_worker(token) != self || index >= slab_count(offload->probe_slab))
		return NULL;
	probe = slab_at(offload->probe_slab, index);
	return probe != NULL && probe->token == token && probe->asked ? probe : NULL;
}

static struct proof_route *probe_route(const struct probe *probe)
{
	return proof_route_find(probe->publisher->broker->routes,
		mqtt_bytes(probe->topic->data, probe->topic->length));
}

// The answer is complete: what it says of the readers, and what all subscribers have shown, stands.
static void probe_decide(struct probe *probe, struct proof_route *route, enum readers readers)
{
	struct client *publisher = probe->publisher;

	if (!proving_compared(publisher, route, readers)) {
		probe_end(probe);
		return;
	}
	probe->sighting.routed_us = publisher->offload->now_us;
	probe->sighting.route_serial = route->serial;
}

// Who else's clients the readers are the other workers know. False: they cannot be asked.
static bool probe_show(
	struct probe *probe, struct proof_route *route, const struct offload_published *published)
{
	struct offload *offload = probe->publisher->offload;
	struct survey *survey = probe->survey;

	probe->survey = NULL;
	// It has asked for its publisher only.
	if (survey == NULL && route->workers != 0)
		return false;
	probe->survey = survey_show(offload, probe->publisher->broker, survey, route, published,
		&probe->sighting, probe->deadline_us);
	probe->sighting.routed_us = offload->now_us;
	probe->sighting.route_serial = route->serial;
	return probe->survey != NULL;
}

// Something is to be asked of them.
static bool concerns_others(
	const struct probe *probe, const struct proof_route *route, enum readers readers)
{
	if (probe->publisher->offload->peers == NULL || readers == READERS_OTHER)
		return false;
	// What cannot be compared says nothing where nothing is known.
	if (!probe->sighting.compared && !route->standing.here)
		return false;
	return route->workers != 0 || readers == READERS_STRANGERS;
}

static void probe_compare(
	struct probe *probe, struct proof_route *route, const struct offload_published *published)
{
	struct offload_published said = *published;
	enum readers readers;

	// That nobody was asked may mean that the message was dropped, unless there was no reason.
	if (probe->alone && said.readers_count == 0)
		said.cut = false;
	readers = readers_compare(probe->publisher,
		mqtt_bytes(probe->topic->data, probe->topic->length), &said, probe->version,
		&probe->claimed);
	probe->readers = readers;
	probe->readers_count = said.readers_count;
	probe->sighting.compared = readers == READERS_SAME || readers == READERS_STRANGERS;
	if (readers == READERS_UNSURE)
		probe->publisher->unsure |= (uint8_t)(1u << probe->qos);
	if (!concerns_others(probe, route, readers))
		probe_decide(probe, route, readers);
	else if (!probe_show(probe, route, &said))
		probe_end(probe);
}

void probe_answered(
	struct offload *offload, struct broker *broker, const struct offload_published *published)
{
	struct probe *probe = probe_find(offload, published->token);
	struct proof_route *route;

	if (probe == NULL || probe->publisher->broker != broker || probe->sighting.routed_us != 0)
		return;
	route = probe_route(probe);
	proving_written(probe->publisher, probe->sighting.hash, published->written,
		probe->sighting.since_us);
	if (!published->written && route != NULL)
		proving_ask_others(probe->publisher, route);
	if (!published->written || route == NULL) {
		probe_end(probe);
		return;
	}
	// The readers are told only when the message has been routed; who subscribed in between
	// is not among them, and is told of before them.
	if (probe->overtaken) {
		probe_end(probe);
		return;
	}
	probe_compare(probe, route, published);
}

void probes_overtaken(
	struct offload *offload, const struct broker *broker, struct mqtt_bytes filter)
{
	list_for_each (link, &offload->probes) {
		struct probe *probe = container_of(link, struct probe, link);

		if (probe->publisher->broker == broker && probe->sighting.routed_us == 0 &&
			mqtt_filter_matches(
				filter, mqtt_bytes(probe->topic->data, probe->topic->length)))
			probe->overtaken = true;
	}
}

// --- a turn --------------------------------------------------------------------------------------

// What all workers have said.
static void probe_put_together(struct probe *probe, struct proof_route *route)
{
	struct client *publisher = probe->publisher;
	enum readers readers = probe->readers;
	struct survey_result others;

	survey_result(probe->survey, route, &others);
	if (probe->sighting.compared && others.moving)
		readers = READERS_MOVING;
	else if (!others.same)
		readers = READERS_OTHER;
	else if (probe->sighting.compared)
		readers = probe->claimed + others.claimed == probe->readers_count
				  ? READERS_SAME
				  : READERS_STRANGERS;
	if (!proving_compared(publisher, route, readers))
		return;
	proving_shown_elsewhere(publisher->broker, route, others.until_us, others.since_us);
	proving_shown(publisher, route, !probe->sighting.silent && !others.silent);
}

static void probe_poll(struct probe *probe)
{
	struct client *publisher = probe->publisher;
	struct proof_route *route;

	if (publisher->offload->now_us >= probe->deadline_us) {
		proving_unanswered(publisher, probe->sighting.hash, probe_route(probe));
		probe_end(probe);
		return;
	}
	if (probe->sighting.routed_us == 0)
		return;
	route = probe_route(probe);
	// Made anew, it has other targets, and is to be asked for again.
	if (route == NULL || route->serial != probe->sighting.route_serial) {
		probe_end(probe);
		return;
	}
	if (!sighting_walk(&probe->sighting, publisher->offload, route, publisher))
		return;
	if (probe->survey == NULL)
		proving_shown(publisher, route, !probe->sighting.silent);
	else if (!survey_answered(probe->survey))
		return;
	else
		probe_put_together(probe, route);
	probe_end(probe);
}

void probes_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->probes) {
		probe_poll(container_of(link, struct probe, link));
	}
}

void probes_end_client(struct client *client)
{
	list_for_each_safe (link, &client->probes) {
		probe_end(container_of(link, struct probe, client));
	}
}

void probes_end_broker(struct offload *offload, const struct broker *broker)
{
	list_for_each_safe (link, &offload->probes) {
		struct probe *probe = container_of(link, struct probe, link);

		if (probe->publisher->broker == broker)
			probe_end(probe);
	}
}
