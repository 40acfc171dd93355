// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A marker is forty-odd bytes; the walk over all clients is paced, so that ten thousand of
// them are no burst to the broker.

#include "offload/markers.h"

#include "base/assert.h"
#include "offload/evidence.h"
#include "offload/pass.h"
#include "session/keys.h"

// Clients looked at in a turn.
#define TURN 64u
// Without an answer the question is put again.
#define AGAIN_US US_IN_S

static const char topic_text[] = MARKER_TOPIC;
#define TOPIC_LENGTH ((unsigned)sizeof(topic_text) - 1)

uint64_t marker_token(struct offload *offload, uint32_t index)
{
	uint64_t self = offload->peers == NULL ? 0 : offload->config.peers.self;

	DASSERT(index <= 0xffffff);
	if (++offload->token_count == 0)
		offload->token_count = 1;
	return self << 56 | (uint64_t)index << 32 | offload->token_count;
}

static unsigned packet_write(const struct client *client, const struct marker *marker, uint8_t *out)
{
	bool v5 = client->version == MQTT_VERSION_5;
	uint8_t payload[MARKER_SIZE_MAX];
	size_t size = marker_encode(client->broker->stream.told.marker_key, marker, payload);
	unsigned n =
		mqtt_header_encode(MQTT_PUBLISH, 0, (uint32_t)(2 + TOPIC_LENGTH + v5 + size), out);

	out[n++] = TOPIC_LENGTH >> 8;
	out[n++] = TOPIC_LENGTH & 0xff;
	memcpy(out + n, topic_text, TOPIC_LENGTH);
	n += TOPIC_LENGTH;
	if (v5)
		out[n++] = 0; // no properties
	memcpy(out + n, payload, size);
	return n + (unsigned)size;
}

unsigned marker_packet(
	const struct client *client, enum marker_kind kind, uint64_t token, uint8_t *out)
{
	const struct marker marker = {.kind = kind, .token = token};

	return packet_write(client, &marker, out);
}

unsigned marker_skip_packet(
	const struct client *client, const uint64_t *except, uint32_t count, uint8_t *out)
{
	struct marker marker = {
		.kind = MARKER_SKIP,
		.token = client->broker->stream.heard,
		.except_count = (uint8_t)count,
	};

	DASSERT(count <= MARKER_EXCEPT_MAX);
	if (count > 0)
		memcpy(marker.except, except, count * sizeof(*except));
	return packet_write(client, &marker, out);
}

bool markers_possible(const struct client *client)
{
	const struct broker_stream *stream = &client->broker->stream;

	return stream->up && stream->told.markers && stream_wanted(client->broker) &&
	       client->state == CLIENT_ACCEPTED && !client->up_in_packet &&
	       client->broker_packet_size >= MARKER_PACKET_MAX;
}

bool marker_topic(const struct broker *broker, struct mqtt_bytes topic)
{
	return topic.length == TOPIC_LENGTH && stream_wanted(broker) &&
	       memcmp(topic.data, topic_text, TOPIC_LENGTH) == 0;
}

bool marker_is_joined(const struct client *client)
{
	return client->session != NULL && client->session->key != 0 && client->nonce == 0 &&
	       client->joined_stream == client->broker->stream.serial;
}

void marker_join(struct client *client)
{
	struct offload *offload = client->offload;
	uint8_t packet[MARKER_PACKET_MAX];
	uint64_t nonce;

	if (client->session == NULL || marker_is_joined(client) || !markers_possible(client))
		return;
	if (client->joined_stream == client->broker->stream.serial &&
		offload->now_us < client->joined_us + AGAIN_US)
		return;
	nonce = marker_token(offload, slab_index(offload->clients, client));
	if (pass_bytes(client, packet, marker_packet(client, MARKER_JOIN, nonce, packet)) < 0)
		return;
	client->nonce = nonce;
	client->joined_us = offload->now_us;
	client->joined_stream = client->broker->stream.serial;
}

void marker_joined(struct offload *offload, struct broker *broker, uint64_t nonce, uint64_t key)
{
	unsigned self = offload->peers == NULL ? 0 : offload->config.peers.self;
	struct client *client;

	if (marker_token_worker(nonce) != self || key == 0 ||
		marker_token_index(nonce) >= slab_count(offload->clients))
		return;
	client = slab_at(offload->clients, marker_token_index(nonce));
	// The place may be another client's by now, and its session another connection's.
	if (client == NULL || client->nonce != nonce || client->broker != broker ||
		client->session == NULL)
		return;
	client->nonce = 0;
	session_key_set(broker->map, client->session, key);
}

void markers_begin(struct broker *broker)
{
	broker->stream.walking = true;
	broker->stream.cursor = 0;
}

static void markers_walk(struct offload *offload, struct broker *broker)
{
	struct broker_stream *stream = &broker->stream;

	for (unsigned n = 0; n < TURN; n++) {
		struct client *client;

		if (stream->cursor == slab_count(offload->clients)) {
			stream->walking = false;
			return;
		}
		client = slab_at(offload->clients, stream->cursor++);
		if (client == NULL || client->broker != broker)
			continue;
		marker_join(client);
		evidence_freshen(client);
	}
}

void markers_poll(struct offload *offload)
{
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		if (offload->brokers[i].stream.walking)
			markers_walk(offload, &offload->brokers[i]);
}

bool markers_polled(const struct offload *offload)
{
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		if (offload->brokers[i].stream.walking)
			return true;
	return false;
}
