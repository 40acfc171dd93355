// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who has said what, and who has heard it. A client hears the broker's packets, octet for octet and
// in order, and between them what was put in; the broker hears the client's, but for what was
// captured and what answers to things put in. Each message comes to whom it is owed, once, and
// those of one publisher, topic and QoS in order (MQTT 4.6).

#include "world.h"

#include "base/clock.h"

#include <string.h>

// As long as Offramp holds up who follows such a message (offload/exact.c).
#define LATE_US (2 * US_IN_S)

static const char *type_of(const struct mqtt_header *header)
{
	return mqtt_type_name(header->type);
}

// Of an acknowledgement; of what has no room for one, 0.
static uint16_t id_of(const struct mqtt_header *header, const uint8_t *packet)
{
	if (header->remaining < 2)
		return 0;
	return (uint16_t)(packet[header->size] << 8 | packet[header->size + 1]);
}

// What the life has published under an identifier.
static struct message *message_of(const struct life *life, uint16_t id)
{
	CHECK(life->world, id < MESSAGES_MAX);
	return &life->world->messages[life->messages[id]];
}

static void trace(const struct life *life, const char *what, const struct mqtt_header *header,
	const uint8_t *packet)
{
	if (life->world->verbose)
		fprintf(stderr, "%10lu life %u: %s %s, %u octets, identifier %u\n",
			(unsigned long)life->world->now_us, life->serial, what, type_of(header),
			header->remaining,
			header->remaining < 2 || header->type == MQTT_PUBLISH
				? 0
				: id_of(header, packet));
}

// --- messages ------------------------------------------------------------------------------------

uint32_t oracle_message(struct world *world, const struct message *message)
{
	if (world->messages_count == MESSAGES_MAX)
		return NOBODY;
	world->messages[world->messages_count] = *message;
	world->messages[world->messages_count].said_us = world->now_us;
	return world->messages_count++;
}

void message_payload(uint32_t number, uint32_t size, uint8_t *out)
{
	out[0] = (uint8_t)(number >> 24);
	out[1] = (uint8_t)(number >> 16);
	out[2] = (uint8_t)(number >> 8);
	out[3] = (uint8_t)number;
	for (uint32_t i = 4; i < size; i++)
		out[i] = (uint8_t)((number + 7) * 31 + i * 13 + (i >> 8));
}

// Of a PUBLISH that is whole; the message it bears is one that was said.
static uint32_t publish_read(const struct world *world, enum mqtt_version version,
	const struct mqtt_header *header, const uint8_t *packet, struct mqtt_publish *ret_publish)
{
	const struct mqtt_bytes body = mqtt_bytes(packet + header->size, header->remaining);
	const uint8_t *payload;
	uint8_t expected[16384];
	uint32_t number;

	CHECK(world, mqtt_publish_decode(version, header, body, ret_publish) == MQTT_OK);
	CHECK(world, ret_publish->payload_length >= 4);
	payload = body.data + ret_publish->head_length;
	number = (uint32_t)payload[0] << 24 | (uint32_t)payload[1] << 16 |
		 (uint32_t)payload[2] << 8 | payload[3];
	CHECK(world, number < world->messages_count);
	CHECK(world, ret_publish->payload_length == world->messages[number].size);
	message_payload(number, world->messages[number].size, expected);
	CHECK(world, memcmp(expected, payload, ret_publish->payload_length) == 0);
	CHECK(world, ret_publish->topic.length == 3 &&
			     ret_publish->topic.data[2] == '0' + world->messages[number].topic);
	return number;
}

static bool interest_allows(const struct interest *interest, const struct message *message)
{
	return interest->state != INTEREST_NONE || interest->until_us > message->said_us;
}

// The lower of the message's and the subscription's (MQTT 4.3), which may have changed.
static bool qos_allows(const struct interest *interest, const struct message *message, uint8_t qos)
{
	return qos == message->qos ? interest->asked >> qos : interest->asked >> qos & 1;
}

uint32_t oracle_delivery(
	struct life *life, const struct mqtt_header *header, const uint8_t *packet, uint32_t length)
{
	struct world *world = life->world;
	struct mqtt_publish publish;
	uint32_t number = publish_read(world, life->version, header, packet, &publish);
	const struct message *message = &world->messages[number];
	const struct interest *interest = &life->interests[message->topic];
	unsigned publisher = message->life == NOBODY ? LIVES_MAX : message->life;
	uint32_t *latest = &life->latest[publisher][message->topic][message->qos][publish.qos];

	(void)length;
	if (world->verbose)
		fprintf(stderr, "%10lu life %u gets %u, QoS %u, of life %d\n",
			(unsigned long)world->now_us, life->serial, number, publish.qos,
			(int)message->life);
	CHECK(world, !publish.retain && !publish.dup);
	CHECK(world, life->got[number] == 0);
	CHECK(world, interest_allows(interest, message));
	CHECK(world, qos_allows(interest, message, publish.qos));
	if (*latest > number && !message->overtaken)
		FAIL(world, "life %u: message %u comes behind %u", life->serial, number,
			*latest - 1);
	*latest = *latest > number ? *latest : number + 1;
	life->got[number]++;
	world->result.deliveries++;
	return number;
}

// --- what a client hears -------------------------------------------------------------------------

static uint8_t type_at(const struct said *said, uint32_t i)
{
	return said->text.data[said->packets[i].offset] >> 4;
}

// Offramp answers the PUBREC of a message that it has had before.
static bool is_for_offramp(const struct conn *conn, uint32_t i)
{
	const struct said *said = &conn->talker.said;
	const uint8_t *packet = said->text.data + said->packets[i].offset;
	uint16_t id = (uint16_t)(packet[2] << 8 | packet[3]);

	return type_at(said, i) == MQTT_PINGRESP ||
	       (type_at(said, i) == MQTT_PUBREC && message_of(conn->life, id)->late);
}

// The next of the broker's packets that is (not) a PUBLISH; PINGRESPs are counted elsewhere.
static uint32_t next_said(const struct conn *conn, uint32_t from, bool publish)
{
	const struct said *said = &conn->talker.said;

	while (from < said->count &&
		((type_at(said, from) == MQTT_PUBLISH) != publish || is_for_offramp(conn, from)))
		from++;
	return from;
}

static bool same(const struct said *said, uint32_t i, const uint8_t *packet, uint32_t length)
{
	return said->packets[i].length == length &&
	       memcmp(said->text.data + said->packets[i].offset, packet, length) == 0;
}

// Is it one that the broker has said, or must have?
static bool is_brokers(
	const struct life *life, const struct mqtt_header *header, const uint8_t *packet)
{
	const struct world *world = life->world;
	struct mqtt_publish publish;
	uint16_t id;

	if (header->type == MQTT_PUBLISH)
		return world->messages[publish_read(world, life->version, header, packet, &publish)]
			.at_broker;
	if (header->type == MQTT_CONNACK || header->type == MQTT_SUBACK ||
		header->type == MQTT_UNSUBACK)
		return true;
	id = id_of(header, packet);
	if (header->type != MQTT_PUBREL)
		return message_of(life, id)->at_broker;
	for (unsigned i = 0; i < ACKS_MAX; i++)
		if (life->incoming[i].id == id)
			return life->incoming[i].by_broker;
	FAIL(world, "life %u: PUBREL of %u, which is nothing", life->serial, id);
}

void oracle_client(
	struct life *life, const struct mqtt_header *header, const uint8_t *packet, uint32_t length)
{
	const struct world *world = life->world;
	bool publish = header->type == MQTT_PUBLISH;
	struct conn *conn = life->conn;
	uint32_t *seen, next;

	trace(life, "life hears", header, packet);
	if (header->type == MQTT_PUBREC)
		message_of(life, id_of(header, packet))->received = true;
	if (header->type == MQTT_PINGRESP || !is_brokers(life, header, packet))
		return;
	CHECK(world, conn);
	seen = publish ? &conn->seen_publishes : &conn->seen_others;
	next = next_said(conn, *seen, publish);
	// What waits for a client that has said DISCONNECT is dropped.
	while (life->state == LIFE_LEAVES && next < conn->talker.said.count &&
		!same(&conn->talker.said, next, packet, length))
		next = next_said(conn, next + 1, publish);
	if (next == conn->talker.said.count || !same(&conn->talker.said, next, packet, length))
		FAIL(world, "life %u hears a %s that the broker did not say next", life->serial,
			type_of(header));
	*seen = next + 1;
}

// --- what the broker hears -----------------------------------------------------------------------

// Packet i of the life has not come to the broker. May it be so?
static void taken_check(struct conn *conn, uint32_t i)
{
	struct life *life = conn->life;
	struct world *world = life->world;
	const struct said *said = &life->talker.said;
	const uint8_t *packet = said->text.data + said->packets[i].offset;
	struct mqtt_publish publish;
	struct mqtt_header header;
	struct message *message;
	uint16_t id;

	mqtt_header_decode(packet, said->packets[i].length, &header);
	id = id_of(&header, packet);
	switch (header.type) {
	case MQTT_PUBLISH:
		message = &world->messages[publish_read(
			world, life->version, &header, packet, &publish)];
		CHECK(world, !message->retain && said->packets[i].length <= world->max_size);
		if (message->late)
			return;
		CHECK(world, !message->at_broker);
		if (!message->captured)
			world->result.captured++;
		message->captured = true;
		return;
	case MQTT_PUBREL:
		message = message_of(life, id);
		CHECK(world, !message->at_broker || message->late);
		return;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBCOMP:
		CHECK(world, !conn_owns(conn, id));
		return;
	case MQTT_PINGREQ: // these are counted
		return;
	default:
		FAIL(world, "life %u: its %s has not come to the broker", life->serial,
			type_of(&header));
	}
}

// A message of QoS 2 that Offramp had taken, and its release: out of their place.
static bool is_late(
	const struct life *life, const struct mqtt_header *header, const uint8_t *packet)
{
	const struct world *world = life->world;
	struct message *message;
	struct mqtt_publish publish;

	if (header->type == MQTT_PUBREL) {
		message = message_of(life, id_of(header, packet));
		message->overtaken =
			message->late && world->now_us - message->released_us > LATE_US;
		return message->late;
	}
	if (header->type != MQTT_PUBLISH)
		return false;
	message = &life->world
			   ->messages[publish_read(world, life->version, header, packet, &publish)];
	message->late = publish.qos == 2 && message->received;
	return message->late;
}

static void late_check(const struct life *life, const uint8_t *packet, uint32_t length)
{
	const struct said *said = &life->talker.said;
	uint32_t i = 0;

	while (i < said->count && !same(said, i, packet, length))
		i++;
	CHECK(life->world, i < said->count);
}

void oracle_broker(
	struct conn *conn, const struct mqtt_header *header, const uint8_t *packet, uint32_t length)
{
	struct life *life = conn->life;
	const struct said *said = &life->talker.said;

	trace(life, "broker hears", header, packet);
	if (header->type == MQTT_PINGREQ) {
		conn->pings_heard++;
		return;
	}
	if (is_late(life, header, packet)) {
		late_check(life, packet, length);
		return;
	}
	while (conn->upstream < said->count) {
		uint32_t i = conn->upstream++;

		if (same(said, i, packet, length)) {
			life->world->result.passed += header->type == MQTT_PUBLISH;
			return;
		}
		taken_check(conn, i);
	}
	FAIL(life->world, "the broker hears a %s that life %u has not said", type_of(header),
		life->serial);
}

// --- has everything come? ------------------------------------------------------------------------

static bool is_owed(const struct world *world, const struct life *life, uint32_t number)
{
	const struct message *message = &world->messages[number];
	const struct interest *interest = &life->interests[message->topic];

	if (interest->state != INTEREST_ACTIVE || interest->since_us >= message->said_us)
		return false;
	if (message->life == NOBODY)
		return true;
	return !world->lives[message->life].broken || message->acked;
}

// Everything that was said on its connection is accounted for.
static bool streams_complete(struct life *life)
{
	struct conn *conn = life->conn;
	const struct said *said = &conn->talker.said;

	if (!life->barrier || life->waits_id != 0 || life->acks_count > 0 ||
		life->talker.written < life->talker.said.text.length)
		return false;
	while (conn->upstream < life->talker.said.count)
		taken_check(conn, conn->upstream++);
	return conn->pings_heard >= life->pings && life->pongs == life->pings &&
	       next_said(conn, conn->seen_publishes, true) == said->count &&
	       next_said(conn, conn->seen_others, false) == said->count;
}

static bool life_complete(struct world *world, struct life *life, bool tell)
{
	for (uint32_t n = 0; n < world->messages_count; n++)
		if (life->got[n] == 0 && is_owed(world, life, n)) {
			if (tell)
				fprintf(stderr, "life %u has not got %u of life %d, QoS %u%s%s\n",
					life->serial, n, (int)world->messages[n].life,
					world->messages[n].qos,
					world->messages[n].at_broker ? ", by the broker" : "",
					world->messages[n].captured ? ", captured" : "");
			return false;
		}
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (life->exchanges[i].id != 0) {
			if (tell)
				fprintf(stderr, "life %u: %u was never acknowledged\n",
					life->serial, life->exchanges[i].message);
			return false;
		}
	for (unsigned i = 0; i < ACKS_MAX; i++)
		if (life->incoming[i].id != 0 || life->conn->flights[i].id != 0) {
			if (tell)
				fprintf(stderr, "life %u: %u or %u is under way to it\n",
					life->serial, life->incoming[i].id,
					life->conn->flights[i].id);
			return false;
		}
	if (life->conn->waiting_count == 0 && streams_complete(life))
		return true;
	if (tell)
		fprintf(stderr, "life %u: something is on its way: pings %u/%u/%u, %u of %u\n",
			life->serial, life->pings, life->conn->pings_heard, life->pongs,
			life->conn->upstream, life->talker.said.count);
	return false;
}

bool oracle_complete(struct world *world, bool tell)
{
	for (unsigned i = 0; i < world->lives_count; i++)
		if (life_stands(&world->lives[i]) && !life_complete(world, &world->lives[i], tell))
			return false;
	return true;
}
