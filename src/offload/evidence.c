// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Runs for every PUBLISH that brokers send, which is what has passed; captured ones do not
// come here.

#include "offload/evidence.h"

#include "offload/fencing.h"
#include "offload/hooks.h"
#include "offload/output.h"
#include "offload/probes.h"

// A broker drops QoS 0 for a client with so many packets before it (mosquitto: 1,000 by default).
// Where fewer than this came, it had no reason to.
#define TRAFFIC_MAX 64u
// The number of PUBLISHes that have come is remembered so often.
#define CHECKPOINT_US (50 * US_IN_MS)
// Bytes that a broker may add to a PUBLISH: properties, a subscription identifier.
#define ADDED_MAX 64u
// A message that expires sooner may have expired.
#define EXPIRY_MIN_S 10u

static bool watched(const struct client *client)
{
	return client->broker->config->authorization == OFFLOAD_AUTHORIZATION_BROKER &&
	       client->broker->stream.up && !client->broker->stream.told.complete;
}

static uint64_t read_key(const struct client *client, uint64_t topic_hash)
{
	return grant_key(topic_hash, client->identity, client->broker->stream.epoch);
}

struct grant *evidence_find(const struct client *client, uint64_t topic_hash)
{
	return grants_find(client->broker->reads, read_key(client, topic_hash));
}

// --- fresh legs ----------------------------------------------------------------------------------

bool evidence_fresh(const struct client *client)
{
	const struct broker_stream *stream = &client->broker->stream;
	uint64_t from =
		stream->fresh_from > client->fresh_from ? stream->fresh_from : client->fresh_from;

	if (client->clean_epoch == stream->epoch)
		return true;
	// Where a PINGRESP proves nothing, time has to do.
	if (client->broker->config->fence != OFFLOAD_FENCE_PING)
		return output_broker_settled(client) && client->fresh_from == 0 &&
		       client->offload->now_us - stream->since_us >=
			       client->broker->config->capture.hold_us;
	return client->settled_epoch >= from;
}

void evidence_freshen(struct client *client)
{
	const struct broker_stream *stream = &client->broker->stream;

	if (!watched(client) || evidence_fresh(client))
		return;
	fencing_ask(client,
		stream->fresh_from > client->fresh_from ? stream->fresh_from : client->fresh_from);
}

void evidence_connect(struct client *client)
{
	client->connect_epoch = client->broker->stream.epoch;
}

void evidence_clean(struct client *client)
{
	// Of an epoch that is over, CONNECT may have been before what ended it.
	if (client->connect_epoch == client->broker->stream.epoch)
		client->clean_epoch = client->connect_epoch;
}

void evidence_identity(struct client *client)
{
	if (!stream_wanted(client->broker))
		return;
	client->identity = ++client->offload->serial;
	client->clean_epoch = 0;
	client->fresh_from = fencing_epoch(client->offload);
	client->written = (struct client_written){.epoch = 0};
	// What was asked was asked of who it was.
	probes_end_client(client);
	hooks_unlike(client);
	// Routes with it as a target are to be looked at again.
	if (client->session == NULL)
		return;
	evidence_bind(client);
	client->session->changed_us = client->offload->now_us;
	session_touch(client->broker->map, client->session, true);
}

void evidence_bind(struct client *client)
{
	struct session *session = client->session;

	session->identity_before = session->identity;
	session->identity = client->identity;
	session->identity_us = client->offload->now_us;
}

// --- deliveries ----------------------------------------------------------------------------------

static void traffic_count(struct client *client)
{
	uint64_t now_us = client->offload->now_us;

	if (now_us >= client->traffic[1].since_us + CHECKPOINT_US) {
		client->traffic[0] = client->traffic[1];
		client->traffic[1] = (struct client_traffic){now_us, client->traffic_count};
	}
	client->traffic_count++;
}

// At most so many have come since.
static uint32_t traffic_since(const struct client *client, uint64_t since_us)
{
	for (unsigned i = 2; i-- > 0;)
		if (client->traffic[i].since_us < since_us)
			return client->traffic_count - client->traffic[i].count;
	return UINT32_MAX;
}

void evidence_unseen(struct client *client)
{
	traffic_count(client);
	client->unseen_us = client->offload->now_us;
}

void evidence_delivered(struct client *client, const struct mqtt_publish *publish)
{
	struct broker *broker = client->broker;
	uint64_t now_us = client->offload->now_us, hash;
	struct proof_route *route;
	struct grant *grant;

	if (!watched(client))
		return;
	traffic_count(client);
	if (publish->topic.length == 0) {
		client->unseen_us = now_us; // an alias of the broker's: it may be any topic
		return;
	}
	// It may be from before: neither does it show anything, nor the silence behind it.
	if (!evidence_fresh(client)) {
		client->unseen_us = now_us;
		return;
	}
	// A retained message was let through when the client subscribed, or for that reason.
	if (publish->retain)
		return;
	hash = proof_topic_hash(broker->routes, publish->topic);
	route = proof_route_peek(broker->routes, publish->topic, hash);
	if (route == NULL)
		return; // nobody publishes it here
	grant = grants_get(broker->reads, read_key(client, hash), now_us);
	// It may after all: whoever is left out of the fan-out is not any longer.
	if (grant->state == GRANT_DENIED) {
		route->standing.epoch = 0;
		if (route->marks == PROOF_MARKS_ALL)
			route->marks = PROOF_MARKS_OLD;
	}
	grant->state = GRANT_ALLOWED;
	grant->mark_us = now_us;
	grant->until_us = now_us + broker->config->proof.ttl_us;
}

// --- silence -------------------------------------------------------------------------------------

bool evidence_silence(const struct client *client, const struct sighting *sighting)
{
	if (!evidence_fresh(client) || client->unseen_us >= sighting->since_us)
		return false;
	// What came may have been forgotten for want of room.
	if (grants_evicted_us(client->broker->reads) >= sighting->since_us)
		return false;
	if (sighting->expires && sighting->expiry_s < EXPIRY_MIN_S)
		return false;
	// What is too large for it is not sent to it ([MQTT-3.1.2-25]).
	if (sighting->length + ADDED_MAX > client->maximum_packet_size)
		return false;
	return traffic_since(client, sighting->since_us) < TRAFFIC_MAX;
}

void evidence_denied(struct client *client, uint64_t topic_hash, uint64_t until_us)
{
	struct grant *grant = grants_get(
		client->broker->reads, read_key(client, topic_hash), client->offload->now_us);

	grant->state = GRANT_DENIED;
	grant->mark_us = client->offload->now_us;
	grant->until_us = until_us;
}
