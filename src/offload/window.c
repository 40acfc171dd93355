// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The window lives in a payload while something is unacknowledged; where it goes on when it
// is made anew is remembered in the client.

#include "offload/window.h"

#include "base/assert.h"
#include "offload/output.h"
#include "offload/owed.h"

static struct identifiers *window_get(struct client *client)
{
	if (client->identifiers == NULL) {
		client->identifiers =
			payload_alloc(client->offload->payloads, sizeof(struct identifiers));
		if (client->identifiers == NULL)
			return NULL;
		identifiers_init(client_identifiers(client), client->identifier_next,
			client->identifier_broker);
	}
	return client_identifiers(client);
}

void window_release(struct client *client)
{
	if (client->identifiers == NULL || !identifiers_empty(client_identifiers(client)))
		return;
	client->identifier_next = identifiers_next(client_identifiers(client));
	payload_put(client->identifiers);
	client->identifiers = NULL;
}

uint32_t output_inflight(const struct client *client)
{
	return client->identifiers == NULL ? 0 : client_identifiers(client)->inflight;
}

bool output_broker_settled(const struct client *client)
{
	return client->windowed_broker == 0 &&
	       (client->identifiers == NULL || client_identifiers(client)->broker_count == 0);
}

// Room in the client's Receive Maximum, which counts the broker's and ours ([MQTT-3.3.4-9]).
static bool budget_left(const struct client *client, const struct identifiers *ids)
{
	return ids->inflight - client->resends + ids->broker_count < client->receive_maximum;
}

static bool none_of_ours(const struct client *client, const struct identifiers *ids)
{
	return ids->inflight == client->resends;
}

// A full window of the broker's, and one more of its own waits: it has gone beyond the budget, as
// mosquitto does.
static bool broker_beyond(const struct client *client)
{
	return client->windowed_numbered > 0 || (client->broker_waits && client->broker_needs);
}

// What of the broker's is unacknowledged may wait for a PUBREL behind a packet that waits for ours
// to go first. When the broker has gone beyond the budget they go, one at a time, lest nothing ever
// goes; when it has not, nothing but QoS 0 is before that packet, and need not wait for ours.
static bool may_take(const struct client *client, const struct identifiers *ids)
{
	return budget_left(client, ids) ||
	       (client->broker_waits && broker_beyond(client) && none_of_ours(client, ids));
}

uint16_t window_take(struct client *client, uint8_t qos)
{
	struct identifiers *ids = window_get(client);

	if (ids == NULL || !may_take(client, ids) ||
		ids->inflight >= client->broker->config->client.inflight)
		return 0;
	return identifiers_take(ids, qos == 2);
}

uint16_t window_resend(struct client *client, uint16_t id)
{
	DASSERT(client->resends > 0 && identifiers_ours(client_identifiers(client), id));
	if (!may_take(client, client_identifiers(client)))
		return 0;
	client->resends--;
	return id;
}

void window_resend_undo(struct client *client)
{
	client->resends++;
}

void window_resend_drop(struct client *client, uint16_t id)
{
	client->resends--;
	identifiers_give(client_identifiers(client), id);
	window_release(client);
}

bool window_idle(const struct client *client)
{
	const struct identifiers *ids;

	if (client->identifiers == NULL)
		return true;
	ids = client_identifiers(client);
	return ids->inflight == client->resends && ids->broker_count == 0;
}

bool window_begin(struct client *client)
{
	return window_get(client) != NULL;
}

bool window_restore(struct client *client, uint16_t id)
{
	if (!identifiers_restore(client_identifiers(client), id))
		return false;
	client->resends++;
	return true;
}

void window_position(const struct client *client, uint16_t *ret_next, uint16_t *ret_broker)
{
	*ret_next = client->identifiers == NULL ? client->identifier_next
						: identifiers_next(client_identifiers(client));
	*ret_broker = client->identifier_broker;
}

// With nothing of ours under way, how much the broker has under way is its own affair.
bool window_broker_take(struct client *client, uint16_t id)
{
	struct identifiers *ids = window_get(client);

	if (ids == NULL || (!budget_left(client, ids) && !none_of_ours(client, ids)) ||
		identifiers_broker_take(ids, id) < 0)
		return false;
	client->identifier_broker = id;
	client->broker_publishes++;
	if (ids->broker_count > client->broker_peak)
		client->broker_peak = ids->broker_count;
	client->broker_publish_us = client->offload->now_us;
	return true;
}

bool output_is_ours(const struct client *client, uint16_t packet_id, uint8_t type)
{
	const struct identifiers *ids;

	if (client->identifiers == NULL)
		return false;
	ids = client_identifiers(client);
	// An acknowledgement of the wrong kind is for the broker to judge.
	return identifiers_ours(ids, packet_id) &&
	       identifiers_exactly(ids, packet_id) == (type != MQTT_PUBACK);
}

// 4.3.3: a delivery of ours at QoS 2 has been recorded; it is over when the release is answered.
static void send_pubrel(struct client *client, uint16_t packet_id)
{
	uint8_t bytes[MQTT_ACK_MAX];

	output_control(
		client, bytes, mqtt_ack_encode(client->version, MQTT_PUBREL, packet_id, 0, bytes));
}

void output_acknowledged(struct client *client, const struct mqtt_ack *ack, uint8_t type)
{
	bool recorded = type == MQTT_PUBREC && ack->reason < 0x80; // [MQTT-4.3.3-4]
	struct identifiers *ids;

	if (client->identifiers == NULL)
		return;
	ids = client_identifiers(client);
	if (!output_is_ours(client, ack->packet_id, type)) {
		if (!recorded)
			identifiers_broker_give(ids, ack->packet_id);
	} else if (recorded) {
		send_pubrel(client, ack->packet_id);
	} else {
		owed_acknowledged(client, ack->packet_id);
		identifiers_give(ids, ack->packet_id);
	}
	window_release(client);
}
