// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A broker as small as one can be, that does what mosquitto does: it answers at once, routes QoS 2
// with PUBREL, keeps an in-flight window for each client, takes sessions over, and ends who is
// silent for too long. All sessions are clean, nothing is retained.

#include "world.h"

#include "base/clock.h"
#include "base/wheel.h"

#include <stdio.h>
#include <string.h>

#define PACKET_MAX   10000u
#define INFLIGHT_MAX 20u // mosquitto's max_inflight_messages

static void say(struct conn *conn, const uint8_t *packet, size_t length)
{
	CHECK(conn->world, length > 0);
	if (conn->talker.pcb)
		talker_say(&conn->talker, packet, length);
}

static enum mqtt_version version_of(const struct conn *conn)
{
	return conn->life ? conn->life->version : MQTT_VERSION_UNKNOWN;
}

// What it does of itself is no fault of who sees it.
static void give_up(struct conn *conn, bool hard)
{
	if (conn->life)
		conn->life->broken = true;
	conn->connected = false;
	conn->gone = true;
	conn->reset = hard;
	if (hard)
		talker_abort(&conn->talker);
	else
		talker_close(&conn->talker);
}

// --- to clients ----------------------------------------------------------------------------------

static struct flight *flight_find(struct conn *conn, uint16_t id)
{
	for (unsigned i = 0; i < ACKS_MAX; i++)
		if (conn->flights[i].id == id)
			return &conn->flights[i];
	return NULL;
}

bool conn_owns(const struct conn *conn, uint16_t id)
{
	return flight_find((struct conn *)conn, id) != NULL;
}

static unsigned in_flight(const struct conn *conn)
{
	unsigned count = 0;

	for (unsigned i = 0; i < ACKS_MAX; i++)
		count += conn->flights[i].id != 0;
	return count;
}

static unsigned window(const struct conn *conn)
{
	return conn->life->receive_max < INFLIGHT_MAX ? conn->life->receive_max : INFLIGHT_MAX;
}

static void publish_say(struct conn *conn, uint32_t number, uint8_t qos)
{
	const struct message *message = &conn->world->messages[number];
	uint8_t packet[PACKET_MAX], payload[PACKET_MAX];
	char topic[8];
	struct mqtt_publish publish = {.qos = qos};

	snprintf(topic, sizeof(topic), "t/%u", message->topic);
	publish.topic = mqtt_bytes(topic, strlen(topic));
	if (qos > 0) {
		struct flight *flight = flight_find(conn, 0);

		publish.packet_id = conn->next_id++;
		*flight = (struct flight){.id = publish.packet_id, .qos = qos, .message = number};
	}
	message_payload(number, message->size, payload);
	say(conn, packet,
		mqtt_publish_encode(version_of(conn), &publish, mqtt_bytes(payload, message->size),
			packet, sizeof(packet)));
}

static uint8_t qos_of(const struct conn *conn, uint32_t number)
{
	const struct message *message = &conn->world->messages[number];
	uint8_t granted = conn->qos[message->topic];

	return message->qos < granted ? message->qos : granted;
}

static void deliver(struct conn *conn, uint32_t number)
{
	uint8_t qos = qos_of(conn, number);

	if (qos == 0)
		publish_say(conn, number, 0);
	else if (conn->waiting_count == 0 && in_flight(conn) < window(conn))
		publish_say(conn, number, qos);
	else
		conn->waiting[conn->waiting_count++] = number | (uint32_t)qos << 30;
}

static void window_opens(struct conn *conn)
{
	while (conn->waiting_count > 0 && in_flight(conn) < window(conn)) {
		uint32_t next = conn->waiting[0];

		memmove(conn->waiting, conn->waiting + 1, --conn->waiting_count * sizeof(next));
		publish_say(conn, next & 0x3fffffff, (uint8_t)(next >> 30));
	}
}

static void route(struct world *world, uint32_t number)
{
	for (unsigned i = 0; i < CONNS_MAX; i++) {
		struct conn *conn = &world->conns[i];

		if (conn->connected && conn->subscribed[world->messages[number].topic])
			deliver(conn, number);
	}
}

// --- from clients --------------------------------------------------------------------------------

static struct conn *conn_of_client(struct world *world, unsigned client)
{
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (world->conns[i].connected && world->conns[i].life->client == client)
			return &world->conns[i];
	return NULL;
}

static void hears_connect(struct conn *conn, struct mqtt_bytes body)
{
	struct world *world = conn->world;
	const struct mqtt_connack connack = {0};
	struct mqtt_connect connect;
	char user[8] = "";
	uint8_t packet[16];
	struct conn *before;

	CHECK(world, !conn->life && mqtt_connect_decode(body, &connect) == MQTT_OK);
	CHECK(world, connect.has_username && connect.username.length < sizeof(user));
	memcpy(user, connect.username.data, connect.username.length);
	before = conn_of_client(world, world->lives[atoi(user)].client);
	if (before)
		give_up(before, false); // MQTT-3.1.4-2
	conn->life = &world->lives[atoi(user)];
	CHECK(world, !conn->life->conn);
	conn->life->conn = conn;
	conn->connected = true;
	say(conn, packet, mqtt_connack_encode(version_of(conn), &connack, packet, sizeof(packet)));
}

static void hears_subscribe(struct conn *conn, struct mqtt_bytes body, bool leaves)
{
	enum mqtt_version version = version_of(conn);
	struct mqtt_subscribe_filter asked = {0};
	struct mqtt_subscribe subscribe;
	struct mqtt_unsubscribe unsubscribe;
	struct mqtt_suback answer = {0};
	uint8_t code, packet[16];

	if (leaves) {
		CHECK(conn->world, mqtt_unsubscribe_decode(version, body, &unsubscribe) == MQTT_OK);
		mqtt_unsubscribe_next(&unsubscribe.filters, &asked.filter);
		answer.packet_id = unsubscribe.packet_id;
	} else {
		CHECK(conn->world, mqtt_subscribe_decode(version, body, &subscribe) == MQTT_OK);
		mqtt_subscribe_next(&subscribe.filters, &asked);
		answer.packet_id = subscribe.packet_id;
	}
	for (unsigned t = 0; t < TOPICS; t++)
		if (asked.filter.data[2] == '+' || asked.filter.data[2] == '0' + t) {
			conn->subscribed[t] = !leaves;
			conn->qos[t] = asked.qos;
		}
	code = asked.qos;
	answer.codes = mqtt_bytes(&code, 1);
	say(conn, packet,
		mqtt_suback_encode(version, leaves ? MQTT_UNSUBACK : MQTT_SUBACK, &answer, packet,
			sizeof(packet)));
}

static void ack_say(struct conn *conn, uint8_t type, uint16_t id)
{
	uint8_t packet[MQTT_ACK_MAX];

	say(conn, packet, mqtt_ack_encode(version_of(conn), type, id, 0, packet));
}

static uint16_t *held_find(struct conn *conn, uint16_t id)
{
	for (unsigned i = 0; i < ACKS_MAX; i++)
		if (conn->held[i] == id)
			return &conn->held[i];
	return NULL;
}

static uint32_t number_of(const struct mqtt_publish *publish, struct mqtt_bytes body)
{
	const uint8_t *at = body.data + publish->head_length;

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void hears_publish(
	struct conn *conn, const struct mqtt_header *header, struct mqtt_bytes body)
{
	struct mqtt_publish publish;
	uint32_t number;

	CHECK(conn->world,
		mqtt_publish_decode(version_of(conn), header, body, &publish) == MQTT_OK);
	number = number_of(&publish, body);
	CHECK(conn->world, number < conn->world->messages_count);
	conn->world->messages[number].at_broker = true;
	if (publish.qos == 2) {
		uint16_t *place = held_find(conn, 0);

		CHECK(conn->world, place && !held_find(conn, publish.packet_id));
		*place = publish.packet_id;
		ack_say(conn, MQTT_PUBREC, publish.packet_id);
		return;
	}
	if (publish.qos == 1)
		ack_say(conn, MQTT_PUBACK, publish.packet_id);
	route(conn->world, number);
}

static void hears_ack(struct conn *conn, uint8_t type, uint16_t id)
{
	struct flight *flight = flight_find(conn, id);

	CHECK(conn->world, flight && id != 0);
	if (type == MQTT_PUBREC) {
		CHECK(conn->world, flight->qos == 2 && !flight->received);
		flight->received = true;
		ack_say(conn, MQTT_PUBREL, id);
		return;
	}
	CHECK(conn->world, type == MQTT_PUBACK ? flight->qos == 1 : flight->received);
	flight->id = 0;
	window_opens(conn);
}

static void hears_release(struct conn *conn, uint16_t id)
{
	uint16_t *place = held_find(conn, id);

	CHECK(conn->world, place && id != 0);
	*place = 0;
	route(conn->world, conn->life->messages[id]);
	ack_say(conn, MQTT_PUBCOMP, id);
}

static void hears_other(struct conn *conn, uint8_t type, struct mqtt_bytes body)
{
	const uint8_t pong[2] = {MQTT_PINGRESP << 4, 0};
	struct mqtt_ack ack;

	switch (type) {
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE:
		hears_subscribe(conn, body, type == MQTT_UNSUBSCRIBE);
		return;
	case MQTT_PINGREQ:
		say(conn, pong, sizeof(pong));
		return;
	case MQTT_DISCONNECT:
		conn->connected = false;
		talker_close(&conn->talker);
		return;
	default:
		CHECK(conn->world, mqtt_ack_decode(version_of(conn), type, body, &ack) == MQTT_OK);
	}
	if (type == MQTT_PUBREL)
		hears_release(conn, ack.packet_id);
	else
		hears_ack(conn, type, ack.packet_id);
}

static void hears(struct talker *talker, const uint8_t *packet, uint32_t length)
{
	struct conn *conn = (struct conn *)talker;
	struct mqtt_header header;
	struct mqtt_bytes body;

	mqtt_header_decode(packet, length, &header);
	body = mqtt_bytes(packet + header.size, header.remaining);
	conn->heard_us = conn->world->now_us;
	if (header.type == MQTT_CONNECT)
		hears_connect(conn, body);
	CHECK(conn->world, conn->life);
	oracle_broker(conn, &header, packet, length);
	if (header.type == MQTT_PUBLISH)
		hears_publish(conn, &header, body);
	else if (header.type != MQTT_CONNECT)
		hears_other(conn, header.type, body);
}

static void eof(struct talker *talker)
{
	struct conn *conn = (struct conn *)talker;

	CHECK(conn->world, !conn->life || !conn->life->reset); // a reset is a reset
	conn->connected = false;
	talker_close(talker);
}

static void reset(struct talker *talker)
{
	struct conn *conn = (struct conn *)talker;

	conn->connected = false;
	conn->gone = true;
	if (conn->life)
		conn->life->broken = true;
}

static const struct talker_ops ops = {.hears = hears, .eof = eof, .reset = reset};

// --- turns ---------------------------------------------------------------------------------------

void broker_accept(struct world *world, struct tcp_pcb *pcb)
{
	struct random *rng = &world->rng;
	bool breaks = random_below(rng, 6) == 0, hard = random_below(rng, 2);
	uint64_t at = random_below(rng, 1u << random_below(rng, 12));
	unsigned i = 0;
	struct conn *conn;

	while (i < CONNS_MAX && world->conns[i].used)
		i++;
	CHECK(world, i < CONNS_MAX);
	conn = &world->conns[i];
	conn->used = true;
	conn->world = world;
	conn->next_id = 1;
	conn->breaks_at = world->broker_breaks && breaks ? at : UINT64_MAX;
	conn->breaks_hard = hard;
	conn->heard_us = world->now_us;
	conn->talker.ops = &ops;
	conn->talker.host = &world->hosts[HOST_BROKER];
	random_init(&conn->talker.rng, world->seed * 1000 + i);
	conn->talker.cuts = world_has(world, CUTS, random_below(rng, 2));
	conn->talker.pause_us = random_below(rng, 2) ? random_below(rng, 2000) : 0;
	talker_open(&conn->talker, pcb, random_below(rng, 2));
	tcp_accept(pcb);
}

// MQTT-3.1.2-22. Whoever has spoken in time has been heard, unless wires keep it.
static void keep_alive_check(struct conn *conn)
{
	const struct world *world = conn->world;
	uint64_t patience_us;

	if (!conn->connected || conn->life->keep_alive == 0)
		return;
	patience_us = conn->life->keep_alive * US_IN_S * 3 / 2;
	if (world->now_us - conn->heard_us <= patience_us)
		return;
	if (world->clean && life_stands(conn->life) &&
		world->now_us - conn->life->said_us <= patience_us)
		FAIL(world, "life %u: the broker has not heard of it for %lu ms",
			conn->life->serial, (unsigned long)(world->now_us - conn->heard_us) / 1000);
	give_up(conn, false);
}

static void conn_turn(struct conn *conn)
{
	if (!conn->talker.pcb)
		return;
	talker_turn(&conn->talker);
	if (conn->talker.pcb && conn->talker.octets >= conn->breaks_at)
		give_up(conn, conn->breaks_hard);
	if (conn->talker.pcb)
		keep_alive_check(conn);
}

// A message of the broker's own.
static void broker_says(struct world *world)
{
	struct random *rng = &world->rng;
	const struct message message = {.life = NOBODY,
		.topic = (uint8_t)random_below(rng, TOPICS),
		.qos = (uint8_t)random_below(rng, world->qos + 1),
		.size = 4 + random_below(rng, 100)};
	uint32_t number = oracle_message(world, &message);

	world->broker_says--;
	world->broker_says_us = world->now_us + random_below(rng, US_IN_S);
	if (number == NOBODY)
		return;
	world->messages[number].at_broker = true;
	route(world, number);
}

void broker_turn(struct world *world)
{
	if (world->broker_says > 0 && world->now_us >= world->broker_says_us)
		broker_says(world);
	for (unsigned i = 0; i < CONNS_MAX; i++)
		conn_turn(&world->conns[i]);
	// What others have caused.
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (world->conns[i].talker.pcb)
			talker_turn(&world->conns[i].talker);
}

uint64_t broker_next_us(const struct world *world)
{
	uint64_t next = world->broker_says > 0 ? world->broker_says_us : WHEEL_NEVER;

	for (unsigned i = 0; i < CONNS_MAX; i++) {
		const struct conn *conn = &world->conns[i];

		if (!conn->talker.pcb)
			continue;
		next = least(next, talker_next_us(&conn->talker));
		if (conn->connected && conn->life->keep_alive > 0)
			next = least(next,
				conn->heard_us + conn->life->keep_alive * US_IN_S * 3 / 2 + 1);
	}
	return next;
}
