// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What CONNECT, CONNACK, SUBSCRIBE and DISCONNECT change (3.1, 3.2, 3.8, 3.14).

#include "offload/client.h"

#include "offload/capture.h"
#include "offload/evidence.h"
#include "offload/fencing.h"
#include "offload/hooks.h"
#include "offload/markers.h"
#include "offload/move.h"
#include "offload/output.h"
#include "offload/owed.h"
#include "offload/pass.h"
#include "offload/peers.h"
#include "offload/pending.h"
#include "offload/recall.h"

void client_connect(struct client *client, const struct mqtt_connect *connect)
{
	client->state = CLIENT_CONNECT;
	client->connect_us = client->offload->now_us;
	evidence_connect(client);
	hooks_connect(client);
	client->version = connect->version;
	client->clean = connect->clean_start;
	client->bridge = connect->bridge;
	client->keep_alive = connect->keep_alive;
	client->receive_maximum = connect->receive_maximum;
	client->maximum_packet_size = connect->maximum_packet_size;
	client->session_expiry = connect->session_expiry;
	client->has_will = connect->has_will;
	if (connect->has_will)
		client->will_key =
			fence_key(proof_topic_hash(client->broker->routes, connect->will.topic),
				connect->will.qos);
	if (connect->client_id.length == 0)
		return;
	client->client_id =
		connect->client_id.length <= PAYLOAD_LARGEST
			? payload_alloc(client->offload->payloads, connect->client_id.length)
			: NULL;
	if (client->client_id == NULL) {
		client_set_unknown(client);
		return;
	}
	memcpy(client->client_id->data, connect->client_id.data, connect->client_id.length);
	client->client_id->length = connect->client_id.length;
}

struct mqtt_bytes client_id_in_force(
	const struct client *client, const struct mqtt_connack *connack)
{
	if (client->client_id != NULL)
		return mqtt_bytes(client->client_id->data, client->client_id->length);
	return connack->assigned_client_id; // empty when the broker (v3) keeps it to itself
}

// The client may be back so soon that its will is still on its way.
#define WILL_US (10 * US_IN_S)

static uint64_t client_hash(const struct client *client)
{
	return proof_topic_hash(client->broker->routes,
		mqtt_bytes(client->client_id->data, client->client_id->length));
}

// The broker publishes its will now, or has done so.
static void client_leave_will(struct client *client)
{
	if (client->has_will && client->client_id != NULL)
		wills_add(&client->broker->wills, client_hash(client), client->will_key,
			client->offload->now_us + WILL_US);
	client->has_will = false;
}

static void found_will(void *ctx, uint64_t key)
{
	capture_behind(ctx, key);
}

// The connection that had the session delivers no more; its broker leg is about to be closed.
void client_lose_session(struct client *client)
{
	if (client->state == CLIENT_ACCEPTED)
		client_leave_will(client);
	client->session = NULL;
	if (client->state == CLIENT_ACCEPTED)
		client->state = CLIENT_ENDED;
	pending_clear(client);
}

// MQTT 3.1 has no Session Present: its CONNACK never says that the broker has resumed a session. It
// has when it holds one, which Offramp has seen made, in this run or (it owes it something) before.
static bool is_resumed(const struct client *client, const struct mqtt_connack *connack)
{
	if (client->version != MQTT_VERSION_3_1)
		return connack->session_present;
	return client->session_expiry != 0 &&
	       (session_is_kept(client->broker->map, client_id_in_force(client, connack)) ||
		       recall_has(client, client_id_in_force(client, connack)));
}

bool client_settled(const struct client *client)
{
	return client->offload->peers == NULL || peers_settled(client->broker, client->due);
}

void client_mark(struct client *client)
{
	if (client->offload->peers != NULL)
		client->due = replica_now(client->broker->map->replica);
}

void client_bind(struct client *client, const struct mqtt_connack *connack, bool known)
{
	bool resumed = known || is_resumed(client, connack);
	struct session_bind bind = {
		.version = client->version,
		.client_id = client_id_in_force(client, connack),
		.id = client->client_id,
		.session_present = resumed,
		.expiry_s = connack->has_session_expiry ? connack->session_expiry
							: client->session_expiry,
		.bridge = client->bridge,
		.known = known,
		.now_us = client->connect_us,
		.owner = client,
	};
	void *previous = NULL;

	if (!resumed)
		recall_forget(client, bind.client_id);
	if (client->unknown)
		return; // it has no identifier that could be followed
	if (session_bind(client->broker->map, &bind, &client->session, &previous) < 0)
		client_set_unknown(client);
	else
		evidence_bind(client);
	if (previous != NULL) {
		// The session has moved: what waited in the other connection's output comes along.
		if (resumed)
			owed_park(previous, client->session);
		client_lose_session(previous);
	}
	client->resumed = resumed;
}

void client_connack(struct client *client, const struct mqtt_connack *connack)
{
	if (connack->reason != 0) {
		client->state = CLIENT_ENDED;
		return;
	}
	client->state = CLIENT_ACCEPTED;
	client->broker_packet_size = connack->maximum_packet_size;
	client->broker_qos = connack->maximum_qos;
	client->broker_aliases = connack->topic_alias_maximum;
	if (connack->has_server_keep_alive)
		client->keep_alive = connack->server_keep_alive;
	if (client->offload->peers == NULL)
		client_bind(client, connack, false);
	else
		move_arrived(client);
	if (!client->resumed)
		evidence_clean(client);
	marker_join(client);
	hooks_connack(client);
	if (client->client_id != NULL)
		wills_find(&client->broker->wills, client_hash(client), client->offload->now_us,
			found_will, client);
	if (client->resumed && client->session != NULL)
		owed_resume(client);
	if (client->session != NULL)
		pending_release(client); // what came in while it moved
}

void client_set_expiry(struct client *client, uint32_t seconds)
{
	// 3.14.2.2.2: a session that was to end with the connection cannot be kept after all.
	if (client->session != NULL && client->session->expiry_s != 0)
		client->session->expiry_s = seconds;
}

void client_end_session(struct client *client)
{
	struct session *session;

	move_end(client);
	session = client->session;
	// It goes before its CONNACK has passed: what was held for that stands.
	if (session != NULL && client->state == CLIENT_CONNECT)
		session_settle(client->broker->map, session);
	if (session != NULL)
		owed_park(client, session);
	if (session != NULL)
		session->joining |= client->nonce != 0;
	client_lose_session(client);
	if (client->state != CLIENT_RAW)
		client->state = CLIENT_ENDED;
	if (session != NULL)
		session_unbind(client->broker->map, session, client->offload->now_us);
	if (client->unknown)
		session_map_known_again(client->broker->map);
	client->unknown = false;
}

void client_subscribe(struct client *client, uint16_t packet_id, uint16_t index,
	const struct mqtt_subscribe_filter *filter, uint32_t subscription_id)
{
	// Before the CONNACK there is no session to put it in; the broker will have it.
	if (client->session == NULL) {
		if (client->state == CLIENT_CONNECT || client->state == CLIENT_ACCEPTED)
			client_set_unknown(client);
		return;
	}
	if (session_subscribe(client->broker->map, client->session, packet_id, index, filter,
		    subscription_id) < 0)
		session_set_unknown(client->broker->map, client->session);
	client_mark(client);
}

// A fixed header has begun and lies in the framer.
static bool header_begun(const struct mqtt_framer *framer)
{
	return framer->error == MQTT_OK && framer->length == 0 && !mqtt_framer_idle(framer);
}

// What was kept as the beginning of a packet goes on as the bytes it is.
static void up_flush(struct client *client)
{
	struct mqtt_framer *framer = &client->up.framer;
	struct mqtt_frame part;

	if (mqtt_framer_spill(framer, &part))
		client->failed |= pass_packet(client, &part) < 0;
	else if (header_begun(framer))
		pass_stream(client, mqtt_bytes(framer->head, framer->head_length));
	else
		return;
	mqtt_framer_fini(framer);
}

static void down_raw(struct client *client, struct mqtt_bytes bytes)
{
	const struct mqtt_stream stream = {.bytes = bytes};

	client_raw_answered(client, bytes);
	output_broker_stream(client, &stream);
}

static void down_flush(struct client *client)
{
	struct mqtt_framer *framer = &client->down.framer;
	struct mqtt_frame part = {.parts_count = 0};

	if (header_begun(framer))
		down_raw(client, mqtt_bytes(framer->head, framer->head_length));
	else if (!mqtt_framer_spill(framer, &part))
		return;
	for (unsigned i = 0; i < part.parts_count; i++)
		down_raw(client, mqtt_bytes(part.parts[i]->data, part.parts[i]->length));
	mqtt_framer_fini(framer);
}

void client_set_raw(struct client *client)
{
	if (client->state != CLIENT_NEW && client->state != CLIENT_CONNECT)
		return;
	client->state = CLIENT_RAW;
	up_flush(client);
	down_flush(client);
}

void client_set_broken(struct client *client)
{
	if (client->state == CLIENT_ACCEPTED)
		client_set_unknown(client);
	client_set_raw(client);
}

enum { // client->refusal: what is to come of a CONNACK that refuses (3.2)
	REFUSAL_TYPE,
	REFUSAL_LENGTH,
	REFUSAL_FLAGS,
	REFUSAL_REASON,
	REFUSAL_WHOLE, // the broker serves nobody here
};

// What follows a byte of it; REFUSAL_TYPE: it is none.
static uint8_t refusal_next(uint8_t at, uint8_t byte)
{
	switch (at) {
	case REFUSAL_TYPE:
		return byte == MQTT_CONNACK << 4 ? REFUSAL_LENGTH : REFUSAL_TYPE;
	case REFUSAL_LENGTH:
		return byte & 0x80 ? REFUSAL_LENGTH : REFUSAL_FLAGS;
	case REFUSAL_FLAGS: // [MQTT-3.2.2-6]: no session
		return byte == 0 ? REFUSAL_REASON : REFUSAL_TYPE;
	case REFUSAL_REASON:
		return byte != 0 ? REFUSAL_WHOLE : REFUSAL_TYPE;
	default:
		return REFUSAL_WHOLE;
	}
}

void client_raw_answered(struct client *client, struct mqtt_bytes bytes)
{
	for (uint32_t i = 0; i < bytes.length && client->refusal < REFUSAL_WHOLE; i++) {
		client->refusal = refusal_next(client->refusal, bytes.data[i]);
		if (client->refusal == REFUSAL_TYPE) {
			client_set_unknown(client);
			return;
		}
	}
}

void client_set_unknown(struct client *client)
{
	if (client->unknown || client->state == CLIENT_ENDED)
		return;
	if (client->session != NULL) {
		session_set_unknown(client->broker->map, client->session);
		return;
	}
	client->unknown = true;
	session_map_unknown(client->broker->map);
}
