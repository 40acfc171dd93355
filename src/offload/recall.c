// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A delivery goes to the ledger as the PUBLISH that would be sent now, in the form of MQTT 5; it
// comes back as a captured message does (offload/message.h), in the form its client asks for.

#include "offload/recall.h"

#include <stdlib.h>

#include "base/assert.h"
#include "mqtt/property.h"
#include "offload/client.h"
#include "offload/ledger.h"
#include "offload/output.h"
#include "offload/owed.h"

// --- out of the ledger ---------------------------------------------------------------------------

static unsigned broker_index(const struct client *client)
{
	return (unsigned)(client->broker - client->offload->brokers);
}

bool recall_has(const struct client *client, struct mqtt_bytes client_id)
{
	const struct ledger *ledger = client->offload->ledger;

	return ledger != NULL && ledger_has(ledger, broker_index(client), client_id);
}

static struct ledger_entry *take(const struct client *client, struct mqtt_bytes client_id)
{
	struct ledger *ledger = client->offload->ledger;

	return ledger == NULL ? NULL : ledger_take(ledger, broker_index(client), client_id);
}

static void count_dropped(struct offload *offload, enum offload_drop reason, uint32_t deliveries)
{
	counter_add(&offload->counters.dropped[reason], deliveries);
}

void recall_forget(struct client *client, struct mqtt_bytes client_id)
{
	const struct ledger_entry *entry = take(client, client_id);

	if (entry != NULL)
		count_dropped(client->offload, OFFLOAD_DROP_SESSION, entry->deliveries);
}

static uint32_t subscription_id(const struct mqtt_publish *publish)
{
	struct mqtt_reader reader = mqtt_reader(publish->properties);
	struct mqtt_property property;

	while (mqtt_property_skim(&reader, &property))
		if (property.id == MQTT_PROPERTY_SUBSCRIPTION_ID)
			return property.number;
	return 0;
}

// A message that is not copied into its form is referred to: it needs payloads of its own.
static bool split(struct offload *offload, struct mqtt_frame *frame, struct payload **parts)
{
	struct mqtt_bytes left = frame->head;

	frame->parts = parts;
	for (; left.length > 0; frame->parts_count++) {
		uint32_t length = left.length < PAYLOAD_LARGEST ? left.length : PAYLOAD_LARGEST;
		struct payload *part = payload_alloc(offload->payloads, length);

		if (part == NULL)
			return false;
		memcpy(part->data, left.data, length);
		part->length = length;
		parts[frame->parts_count] = part;
		left = mqtt_bytes(left.data + length, left.length - length);
	}
	return true;
}

static struct delivery *distribute(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, uint32_t id)
{
	struct delivery *delivery = NULL;
	const struct form *form;
	struct message message;

	if (message_init(&message, client->offload, frame, publish) < 0)
		return NULL;
	form = message_form(&message, client->version == MQTT_VERSION_5, publish->qos, id);
	if (form != NULL)
		delivery = delivery_create(client->offload, &message, form);
	message_fini(&message);
	return delivery;
}

// NULL: no memory.
static struct delivery *delivery_recall(
	struct client *client, const struct ledger_publish *from, uint32_t expiry_s)
{
	struct payload *parts[MQTT_FRAME_PARTS_MAX];
	struct mqtt_publish publish = from->publish;
	struct mqtt_frame frame = {
		.header = from->header,
		.head = from->packet,
		.length = from->packet.length,
	};
	struct delivery *delivery = NULL;

	publish.message_expiry = expiry_s;
	if (publish.payload_length <= MESSAGE_COPY_MAX || split(client->offload, &frame, parts))
		delivery = distribute(client, &frame, &publish, subscription_id(&from->publish));
	for (unsigned i = 0; i < frame.parts_count; i++)
		payload_put(parts[i]);
	if (delivery != NULL && publish.dup)
		delivery->id = publish.packet_id;
	return delivery;
}

// All of an entry, as deliveries, or nothing.
static bool read_entry(
	struct client *client, const struct ledger_entry *entry, struct list *ret_deliveries)
{
	struct offload *offload = client->offload;
	uint64_t waited_s = ledger_waited_s(offload->ledger, entry, offload->now_us);
	struct mqtt_bytes left = entry->publishes;
	struct ledger_publish from;
	uint32_t expired = 0;

	while (ledger_next(&left, &from)) {
		const struct mqtt_publish *publish = &from.publish;
		struct delivery *delivery;

		if (publish->has_message_expiry && publish->message_expiry <= waited_s) {
			expired++;
			continue;
		}
		delivery = delivery_recall(
			client, &from, publish->message_expiry - (uint32_t)waited_s);
		if (delivery == NULL)
			return false;
		list_append(ret_deliveries, &delivery->link);
	}
	count_dropped(offload, OFFLOAD_DROP_EXPIRED, expired);
	return true;
}

// More than this worker's memory ever keeps (owed_has_room()).
static bool never_fits(const struct offload *offload, const struct ledger_entry *entry)
{
	return entry->deliveries > slab_count(offload->deliveries) / 2 ||
	       entry->publishes.length > offload->payload_bytes / 2;
}

bool recall(struct client *client)
{
	struct offload *offload = client->offload;
	struct session *session = client->session;
	struct ledger_entry *entry = NULL;
	struct list deliveries;
	bool whole;

	if (session->client_id != NULL)
		entry = take(
			client, mqtt_bytes(session->client_id->data, session->client_id->length));
	if (entry == NULL)
		return true;
	if (never_fits(offload, entry)) {
		count_dropped(offload, OFFLOAD_DROP_QUEUE_FULL, entry->deliveries);
		return true;
	}
	list_init(&deliveries);
	whole = read_entry(client, entry, &deliveries);
	list_for_each_safe (link, &deliveries) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		list_remove(link);
		if (whole)
			owed_append(offload, session, delivery);
		else
			delivery_drop(offload, delivery);
	}
	if (!whole) {
		ledger_give_back(entry);
		return false;
	}
	session->identifier_next = entry->identifier_next;
	session->identifier_broker = entry->identifier_broker;
	return true;
}

void offload_recall(struct offload *offload, struct ledger *ledger)
{
	offload->ledger = ledger;
}

// --- into the ledger -----------------------------------------------------------------------------

// The bytes that go out now, in one piece, from malloc().
static uint8_t *flatten(const struct offload *offload, const struct delivery *delivery)
{
	struct tcp_piece pieces[DELIVERY_PIECES_MAX];
	// An identifier it must have.
	unsigned count = delivery_pieces(delivery, delivery->id != 0 ? delivery->id : 1,
		delivery_waited_s(offload, delivery), pieces);
	uint8_t *packet = malloc(delivery->length), *p = packet;

	for (unsigned i = 0; packet != NULL && i < count; i++) {
		const struct tcp_piece *piece = &pieces[i];
		const uint8_t *bytes = piece->offset == TCP_PIECE_INLINE
					       ? piece->bytes
					       : piece->payload->data + piece->offset;

		ASSERT(p + piece->length <= packet + delivery->length);
		memcpy(p, bytes, piece->length);
		p += piece->length;
	}
	return packet;
}

// The properties of MQTT 5 for a form that has none.
static uint32_t missing_properties(
	const struct offload *offload, const struct delivery *delivery, uint8_t out[6])
{
	uint32_t left = delivery->expiry_s - delivery_waited_s(offload, delivery);
	const uint8_t properties[] = {
		5, MQTT_PROPERTY_MESSAGE_EXPIRY, left >> 24, left >> 16, left >> 8, left};

	if (delivery->version == MQTT_VERSION_5)
		return 0;
	memcpy(out, properties, sizeof(properties));
	if (delivery->expires)
		return sizeof(properties);
	out[0] = 0;
	return 1;
}

static void delivery_write(const struct offload *offload, const struct delivery *delivery,
	struct ledger_writer *writer)
{
	uint8_t *packet, properties[6];
	struct mqtt_header header;
	uint32_t more, head;

	if (delivery->expires && delivery_waited_s(offload, delivery) >= delivery->expiry_s)
		return;
	packet = flatten(offload, delivery);
	if (packet == NULL || mqtt_header_decode(packet, delivery->length, &header) != MQTT_OK) {
		writer->left_out++;
		free(packet);
		return;
	}
	more = missing_properties(offload, delivery, properties);
	// Topic and identifier.
	head = 2u + (packet[header.size] << 8 | packet[header.size + 1]) + 2u;
	ledger_write_publish(writer, header.flags, header.remaining + more);
	ledger_write_bytes(writer, packet + header.size, head);
	ledger_write_bytes(writer, properties, more);
	ledger_write_bytes(writer, packet + header.size + head, header.remaining - head);
	free(packet);
}

static void session_bequeath(const struct offload *offload, const struct broker *broker,
	const struct session *session, struct ledger_writer *writer)
{
	const struct ledger_owner owner = {
		.broker = broker->config->name,
		.client_id = mqtt_bytes(session->client_id->data, session->client_id->length),
		.expiry_s = session->expiry_s,
		.identifier_next = session->identifier_next,
		.identifier_broker = session->identifier_broker,
	};

	ledger_write_begin(writer, &owner);
	list_for_each (link, &session->owed) {
		delivery_write(offload, container_of(link, struct delivery, link), writer);
	}
	ledger_write_end(writer);
}

static void broker_write(
	const struct offload *offload, const struct broker *broker, struct ledger_writer *writer)
{
	for (uint32_t i = 0; i < slab_count(broker->map->sessions); i++) {
		const struct session *session = slab_at(broker->map->sessions, i);

		if (session != NULL && !list_empty(&session->owed))
			session_bequeath(offload, broker, session, writer);
	}
}

void offload_bequeath(struct offload *offload, struct ledger_writer *writer)
{
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		broker_write(offload, &offload->brokers[i], writer);
}
