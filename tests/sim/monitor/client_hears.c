// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a client hears, and how it answers (MQTT 4.3, 4.4, 4.6).

#include "world.h"

#include <string.h>

static void ack_later(struct life *life, uint8_t type, uint16_t id)
{
	uint64_t due_us = life->world->now_us;

	if (life->ack_us > 0)
		due_us += random_below(&life->talker.rng, life->ack_us);
	CHECK(life->world, life->acks_count < ACKS_MAX);
	// In the order of what they answer (MQTT-4.6.0-2, MQTT-4.6.0-3).
	if (life->acks_count > 0 && life->acks[life->acks_count - 1].due_us > due_us)
		due_us = life->acks[life->acks_count - 1].due_us;
	life->acks[life->acks_count++] = (struct ack){.type = type, .id = id, .due_us = due_us};
}

static struct incoming *incoming_find(struct life *life, uint16_t id)
{
	for (unsigned i = 0; i < ACKS_MAX; i++)
		if (life->incoming[i].id == id)
			return &life->incoming[i];
	return NULL;
}

void life_acks_say(struct life *life)
{
	while (life->acks_count > 0 && life->acks[0].due_us <= life->world->now_us) {
		struct ack ack = life->acks[0];
		uint8_t packet[MQTT_ACK_MAX];

		memmove(life->acks, life->acks + 1, --life->acks_count * sizeof(ack));
		if (ack.type == MQTT_PUBACK || ack.type == MQTT_PUBCOMP)
			incoming_find(life, ack.id)->id = 0;
		if (ack.type == MQTT_PUBREL)
			life->world->messages[life->messages[ack.id]].released_us =
				life->world->now_us;
		life_say(life, packet, mqtt_ack_encode(life->version, ack.type, ack.id, 0, packet));
	}
}

static void hears_publish(
	struct life *life, const struct mqtt_header *header, const uint8_t *packet, uint32_t length)
{
	uint32_t number = oracle_delivery(life, header, packet, length);
	struct mqtt_publish publish;
	struct incoming *incoming;
	unsigned under_way = 0;

	CHECK(life->world,
		mqtt_publish_decode(life->version, header,
			mqtt_bytes(packet + header->size, header->remaining), &publish) == MQTT_OK);
	if (publish.qos == 0)
		return;
	for (unsigned i = 0; i < ACKS_MAX; i++)
		under_way += life->incoming[i].id != 0;
	// MQTT-3.3.4-9; when the broker ends, what it has sent comes all the same, to who can take
	// it.
	CHECK(life->world, under_way < life->receive_max ||
				   (life->conn && !life->conn->connected && !life->talker.shut));
	CHECK(life->world, !incoming_find(life, publish.packet_id)); // MQTT-2.2.1-4
	incoming = incoming_find(life, 0);
	CHECK(life->world, incoming);
	*incoming = (struct incoming){.id = publish.packet_id,
		.qos = publish.qos,
		.by_broker = life->world->messages[number].at_broker};
	ack_later(life, publish.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, publish.packet_id);
}

static void exchange_done(struct life *life, struct exchange *exchange)
{
	life->world->messages[exchange->message].acked = true;
	exchange->id = 0;
}

// MQTT-4.6.0-2, MQTT-4.6.0-3: answered in the order in which they were said.
static void oldest_check(struct life *life, const struct exchange *answered)
{
	const struct message *messages = life->world->messages;
	uint8_t qos = messages[answered->message].qos;

	for (unsigned i = 0; i < EXCHANGES; i++) {
		const struct exchange *e = &life->exchanges[i];

		if (e->id != 0 && !e->released && messages[e->message].qos == qos)
			CHECK(life->world, e->message >= answered->message);
	}
}

static void hears_ack(struct life *life, uint8_t type, const struct mqtt_ack *ack)
{
	struct exchange *exchange = life_exchange(life, ack->packet_id);
	uint8_t qos;

	CHECK(life->world, exchange && ack->packet_id != 0 && ack->reason < 0x80);
	qos = life->world->messages[exchange->message].qos;
	switch (type) {
	case MQTT_PUBACK:
		CHECK(life->world, qos == 1);
		oldest_check(life, exchange);
		exchange_done(life, exchange);
		break;
	case MQTT_PUBREC:
		CHECK(life->world, qos == 2 && !exchange->released);
		oldest_check(life, exchange);
		exchange->released = true;
		ack_later(life, MQTT_PUBREL, ack->packet_id);
		break;
	default:
		CHECK(life->world, qos == 2 && exchange->released);
		exchange_done(life, exchange);
		break;
	}
}

static void hears_release(struct life *life, const struct mqtt_ack *ack)
{
	struct incoming *incoming = incoming_find(life, ack->packet_id);

	CHECK(life->world, incoming && ack->packet_id != 0 && incoming->qos == 2);
	ack_later(life, MQTT_PUBCOMP, ack->packet_id);
}

// SUBACK or UNSUBACK.
static void hears_granted(struct life *life)
{
	CHECK(life->world, life->waits_id != 0);
	life->waits_id = 0;
	for (unsigned t = 0; t < TOPICS; t++) {
		struct interest *interest = &life->interests[t];

		if (interest->state == INTEREST_ASKED) {
			interest->state = INTEREST_ACTIVE;
			interest->since_us = life->world->now_us;
		} else if (interest->state == INTEREST_LEAVING) {
			interest->state = INTEREST_NONE;
			interest->until_us = life->world->now_us;
		}
	}
}

static void served(struct life *life)
{
	CHECK(life->world, life->state == LIFE_GREETS);
	life->state = LIFE_SERVED;
	life->next_step_us = life->world->now_us;
	if (life->listens)
		life_subscribe(life, random_below(&life->talker.rng, TOPICS));
}

static void hears(struct talker *talker, const uint8_t *packet, uint32_t length)
{
	struct life *life = (struct life *)talker;
	struct mqtt_header header;
	struct mqtt_ack ack;

	mqtt_header_decode(packet, length, &header);
	CHECK(life->world, mqtt_packet_check(life->version, &header,
				   mqtt_bytes(packet + header.size, header.remaining)) == MQTT_OK);
	oracle_client(life, &header, packet, length);
	switch (header.type) {
	case MQTT_CONNACK:
		served(life);
		return;
	case MQTT_PUBLISH:
		hears_publish(life, &header, packet, length);
		return;
	case MQTT_SUBACK:
	case MQTT_UNSUBACK:
		hears_granted(life);
		return;
	case MQTT_PINGRESP:
		CHECK(life->world, ++life->pongs <= life->pings);
		return;
	default:
		break;
	}
	CHECK(life->world,
		mqtt_ack_decode(life->version, header.type,
			mqtt_bytes(packet + header.size, header.remaining), &ack) == MQTT_OK);
	if (header.type == MQTT_PUBREL)
		hears_release(life, &ack);
	else
		hears_ack(life, header.type, &ack);
}

static void eof(struct talker *talker)
{
	struct life *life = (struct life *)talker;

	CHECK(life->world, !life->conn || !life->conn->reset); // a reset is a reset
	talker_close(talker);
	life_over(life);
}

static void reset(struct talker *talker)
{
	struct life *life = (struct life *)talker;

	life->broken = true;
	life_over(life);
}

const struct talker_ops life_ops = {.hears = hears, .eof = eof, .reset = reset};
