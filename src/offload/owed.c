// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A delivery with an identifier has been sent before; one without waits for its first time. The
// former always come first, in the order of sending, for that is the order of sending again.

#include "offload/owed.h"

#include <errno.h>

#include "base/assert.h"
#include "mqtt/property.h"
#include "offload/pending.h"
#include "offload/recall.h"
#include "offload/window.h"

// Permille of payloads in use above which nothing more is kept beyond connections.
#define PRESSURE_KEEP 500
#define PRESSURE_LATE 750

bool owed_keeps(const struct client *client, uint8_t qos)
{
	return qos == 1 && client->session != NULL && session_outlives(client->session);
}

bool owed_has_room(const struct offload *offload)
{
	return offload->owed_count < slab_count(offload->deliveries) / 2 &&
	       payload_pool_pressure(offload->payloads) < PRESSURE_KEEP;
}

bool owed_takes_late(const struct offload *offload)
{
	return offload->owed_count < slab_count(offload->deliveries) / 4 * 3 &&
	       payload_pool_pressure(offload->payloads) < PRESSURE_LATE;
}

// --- the list ------------------------------------------------------------------------------------

void owed_append(struct offload *offload, struct session *session, struct delivery *delivery)
{
	list_append(&session->owed, &delivery->link);
	session->owed_count++;
	session->owed_bytes += delivery->length;
	offload->owed_count++;
}

// Takes it off the list.
static void owed_remove(struct offload *offload, struct session *session, struct delivery *delivery)
{
	list_remove(&delivery->link);
	session->owed_count--;
	session->owed_bytes -= delivery->length;
	offload->owed_count--;
}

void owed_sent(struct client *client, struct delivery *delivery)
{
	owed_append(client->offload, client->session, delivery);
}

void owed_acknowledged(struct client *client, uint16_t id)
{
	struct session *session = client->session;

	if (session == NULL)
		return;
	// Clients acknowledge in order ([MQTT-4.6.0-2]): it is the first.
	list_for_each (link, &session->owed) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		if (delivery->id != id)
			continue;
		owed_remove(client->offload, session, delivery);
		delivery_drop(client->offload, delivery);
		return;
	}
	output_resend_acknowledged(client, id);
}

void owed_forget(struct offload *offload, struct session *session)
{
	list_for_each_safe (link, &session->owed) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		owed_remove(offload, session, delivery);
		delivery_drop(offload, delivery);
	}
}

void owed_drop(void *ctx, struct session *session)
{
	struct offload *offload = ctx;

	if (!session->doomed) // else another worker has it now
		counter_add(&offload->counters.dropped[OFFLOAD_DROP_SESSION], session->owed_count);
	owed_forget(offload, session);
}

// --- away and back -------------------------------------------------------------------------------

void owed_park(struct client *client, struct session *session)
{
	struct delivery *delivery;

	if (!session_outlives(session))
		return;
	while ((delivery = output_take_windowed(client)) != NULL)
		owed_append(client->offload, session, delivery);
	pending_park(client, session);
	window_position(client, &session->identifier_next, &session->identifier_broker);
}

void owed_resume(struct client *client)
{
	struct session *session = client->session;

	if (!recall(client)) {
		client->failed = true;
		return;
	}
	client->identifier_next = session->identifier_next;
	client->identifier_broker = session->identifier_broker;
	if (list_empty(&session->owed))
		return;
	if (!window_begin(client)) {
		client->failed = true; // it comes again, and finds what it is owed
		return;
	}
	while (!list_empty(&session->owed)) {
		struct delivery *delivery = container_of(session->owed.next, struct delivery, link);

		owed_remove(client->offload, session, delivery);
		if (delivery->id != 0 && !window_restore(client, delivery->id))
			delivery->id = 0;
		output_wait(client, delivery);
	}
	output_pump(client);
}

// --- from one version to another -----------------------------------------------------------------

// A form of ours above QoS 0 has three pieces (offload/message.h):
//
//   │ header, topic ├ identifier ┤ properties │ message …
//
// Towards v5 the properties are in place, behind the identifier: none, or the message expiry.
#define ID_LENGTH	  2 // v3, or the properties stand in the third piece
#define ID_NO_PROPERTIES  3
#define ID_EXPIRY	  8
#define EXPIRY_PROPERTIES 5 // their length

// Bytes of properties at the beginning of the third piece, their length included.
static uint32_t properties_size(const struct tcp_piece *tail)
{
	const uint8_t *p = tail->payload->data + tail->offset;
	uint32_t length = 0, n = 0;

	do
		length |= (p[n] & 0x7fu) << (7 * n);
	while (p[n++] & 0x80);
	return n + length;
}

// Header and topic anew, for a packet that is `change` bytes longer.
static int adapt_head(struct offload *offload, struct delivery *delivery, int32_t change)
{
	struct tcp_piece *head = &delivery->pieces[0];
	const uint8_t *bytes = head->payload->data + head->offset;
	struct mqtt_header header;
	enum mqtt_error error = mqtt_header_decode(bytes, head->length, &header);
	uint8_t out[MQTT_HEADER_MAX];
	uint32_t remaining = header.remaining + change, topic = head->length - header.size, size;
	struct payload *payload;

	ASSERT(error == MQTT_OK);
	if (remaining > MQTT_REMAINING_MAX)
		return -E2BIG;
	size = mqtt_header_encode(MQTT_PUBLISH, header.flags, remaining, out);
	if (size + topic > PAYLOAD_LARGEST)
		return -E2BIG;
	payload = payload_alloc(offload->payloads, size + topic);
	if (payload == NULL)
		return -ENOMEM;
	memcpy(payload->data, out, size);
	memcpy(payload->data + size, bytes + header.size, topic);
	payload->length = size + topic;
	payload_put(head->payload);
	*head = (struct tcp_piece){.payload = payload, .length = payload->length};
	delivery->length = size + remaining;
	return 0;
}

static int adapt_to_v5(struct offload *offload, struct delivery *delivery)
{
	struct tcp_piece *id = &delivery->pieces[1];
	uint32_t length = delivery->expires ? ID_EXPIRY : ID_NO_PROPERTIES;
	int rc = adapt_head(offload, delivery, (int32_t)(length - ID_LENGTH));

	if (rc < 0)
		return rc;
	id->length = length;
	id->bytes[2] = delivery->expires ? EXPIRY_PROPERTIES : 0;
	id->bytes[3] = MQTT_PROPERTY_MESSAGE_EXPIRY;
	return 0;
}

static int adapt_to_v3(struct offload *offload, struct delivery *delivery)
{
	struct tcp_piece *id = &delivery->pieces[1], *tail = &delivery->pieces[2];
	uint32_t in_place = id->length - ID_LENGTH;
	uint32_t in_tail = in_place == 0 ? properties_size(tail) : 0;
	int rc = adapt_head(offload, delivery, -(int32_t)(in_place + in_tail));

	if (rc < 0)
		return rc;
	id->length = ID_LENGTH;
	tail->offset += in_tail;
	tail->length -= in_tail;
	delivery->expiry_offset = 0;
	return 0;
}

int owed_adapt(struct client *client, struct delivery *delivery)
{
	bool v5 = client->version == MQTT_VERSION_5;
	int rc;

	if ((delivery->version == MQTT_VERSION_5) == v5)
		return 0;
	rc = v5 ? adapt_to_v5(client->offload, delivery) : adapt_to_v3(client->offload, delivery);
	if (rc == 0)
		delivery->version = client->version;
	return rc;
}
