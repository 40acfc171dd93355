// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Kept PUBLISHes are few (a publisher's in-flight window) and lie in a list.

#include "offload/exact.h"

#include "offload/capture.h"
#include "offload/output.h"
#include "offload/pass.h"

// Of one publisher; a broker's receive maximum is rarely above a few dozen.
#define UNRELEASED_MAX 256u
// The broker has so long to take a message that comes late; then what follows may overtake it.
#define LATE_US (2 * US_IN_S)

bool exact_has_room(const struct client *client, const struct mqtt_frame *frame)
{
	const struct offload_client_config *bounds = &client->broker->config->client;
	uint64_t bytes = client->unreleased_bytes + frame->length;

	return client->unreleased_count < UNRELEASED_MAX && bytes <= bounds->queue_bytes &&
	       bytes <= client->offload->share_bytes;
}

bool exact_take(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, bool in_order)
{
	struct delivery *held = held_take(client->offload, frame, client->version);

	if (held == NULL)
		return false;
	held->id = publish->packet_id;
	held->in_order = in_order;
	list_append(&client->unreleased, &held->link);
	client->unreleased_count++;
	client->unreleased_bytes += held->length;
	return true;
}

struct delivery *exact_find(const struct client *client, uint16_t packet_id)
{
	list_for_each (link, &client->unreleased) {
		struct delivery *held = container_of(link, struct delivery, link);

		if (held->id == packet_id)
			return held;
	}
	return NULL;
}

static void exact_drop(struct client *client, struct delivery *held)
{
	client->unreleased_count--;
	client->unreleased_bytes -= held->length;
	delivery_drop(client->offload, held);
}

void exact_complete(struct client *client, uint16_t packet_id)
{
	uint8_t bytes[MQTT_ACK_MAX];

	output_control(
		client, bytes, mqtt_ack_encode(client->version, MQTT_PUBCOMP, packet_id, 0, bytes));
}

// --- passed exchanges ----------------------------------------------------------------------------

static bool exchange_begin(struct client *client, uint16_t packet_id, bool late)
{
	if (client->exchanges == NULL) {
		client->exchanges =
			payload_alloc(client->offload->payloads, sizeof(struct exchanges));
		if (client->exchanges == NULL)
			return false;
		exchanges_init(client_exchanges(client));
	}
	if (late && exchanges_full(client_exchanges(client)))
		return false;
	exchanges_begin(client_exchanges(client), packet_id, late);
	return true;
}

static void exchange_end(struct client *client, uint16_t packet_id)
{
	exchanges_end(client_exchanges(client), packet_id);
	if (!exchanges_settled(client_exchanges(client)))
		return;
	payload_put(client->exchanges);
	client->exchanges = NULL;
}

bool exact_broker_has_none(const struct client *client)
{
	return client->exchanges == NULL && !client->unaccounted && !client->resumed;
}

// Brokers drop what had the identifier before, and what has expired, and may count them still.
void exact_account(struct client *client, const struct mqtt_publish *publish)
{
	if ((publish->qos == 2 && publish->has_message_expiry) ||
		(client->exchanges != NULL &&
			exchanges_under_way(client_exchanges(client), publish->packet_id)))
		client->unaccounted = true;
}

bool exact_passing(struct client *client, const struct mqtt_publish *publish)
{
	return exchange_begin(client, publish->packet_id, false);
}

void exact_not_passed(struct client *client, const struct mqtt_publish *publish)
{
	// Sent again, it was there before.
	if (!publish->dup)
		exchange_end(client, publish->packet_id);
}

// --- release -------------------------------------------------------------------------------------

static bool pass_late(struct client *client, struct delivery *held,
	const struct held_packet *packet, enum proof_reason reason)
{
	if (client->crossings > 0 || !exchange_begin(client, held->id, true))
		return false;
	if (pass_packet(client, &packet->frame) < 0) {
		exchange_end(client, held->id);
		return false;
	}
	client->late_until_us = client->offload->now_us + LATE_US;
	// What was taken behind it is behind it still.
	list_for_each (link, &client->unreleased) {
		container_of(link, struct delivery, link)->in_order = false;
	}
	capture_passed(client, packet->publish.topic, 2, reason);
	counter_inc(&client->offload->counters.passed_late);
	exact_drop(client, held);
	return true;
}

// Before it was released: nobody gets it ([MQTT-3.3.2-5]).
static int expired(struct client *client)
{
	counter_inc(&client->offload->counters.dropped[OFFLOAD_DROP_EXPIRED]);
	return CAPTURE_DONE;
}

bool exact_release(struct client *client, struct delivery *held)
{
	enum proof_reason reason = PROOF_FENCE;
	struct held_packet packet;
	int rc = 0;

	held_open(held, &packet);
	if (!held_age(held, client->offload->now_us, &packet.publish))
		rc = expired(client);
	else if (!held->late)
		rc = capture_released(client, held, &packet, &reason);
	if (rc < 0)
		return false;
	if (rc == 0)
		return pass_late(client, held, &packet, reason);
	if (rc == CAPTURE_DONE)
		exact_complete(client, held->id);
	exact_drop(client, held);
	return true;
}

// --- the broker's side ---------------------------------------------------------------------------

static bool send_pubrel(struct client *client, uint16_t packet_id)
{
	struct tcp_piece piece = {.offset = TCP_PIECE_INLINE};

	piece.length = mqtt_ack_encode(client->version, MQTT_PUBREL, packet_id, 0, piece.bytes);
	return !client->up_in_packet && pass_inline(client, &piece) == 0;
}

enum exact_verdict exact_broker_ack(struct client *client, const struct mqtt_ack *ack, uint8_t type)
{
	bool recorded = type == MQTT_PUBREC && ack->reason < 0x80;

	if (type == MQTT_PUBCOMP || client->exchanges == NULL ||
		!exchanges_late(client_exchanges(client), ack->packet_id))
		return EXACT_PASS;
	if (recorded && !send_pubrel(client, ack->packet_id))
		return EXACT_WAIT;
	if (!recorded) {
		// It ends here (a broker without QoS 2 answers PUBACK); the publisher, which has
		// released its message, waits for a PUBCOMP.
		exchange_end(client, ack->packet_id);
		exact_complete(client, ack->packet_id);
	}
	client->late_until_us = 0;
	client_kick(client);
	return EXACT_SWALLOW;
}

void exact_broker_acked(struct client *client, const struct mqtt_ack *ack, uint8_t type)
{
	if (client->exchanges != NULL && (type != MQTT_PUBREC || ack->reason >= 0x80))
		exchange_end(client, ack->packet_id);
}

bool exact_is_late(const struct client *client)
{
	return client->late_until_us != 0 && client->offload->now_us < client->late_until_us;
}

void exact_clear(struct client *client)
{
	list_for_each_safe (link, &client->unreleased) {
		counter_inc(&client->offload->counters.abandoned);
		exact_drop(client, container_of(link, struct delivery, link));
	}
	if (client->exchanges != NULL)
		payload_put(client->exchanges);
	client->exchanges = NULL;
}
