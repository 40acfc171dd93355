// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A client's life: it connects, subscribes, publishes and leaves, in one way or another.

#include "world.h"

#include "base/clock.h"
#include "base/wheel.h"

#include <stdio.h>
#include <string.h>

#define PACKET_MAX 10000u

void life_say(struct life *life, const uint8_t *packet, size_t length)
{
	CHECK(life->world, length > 0);
	talker_say(&life->talker, packet, length);
	life->said_us = life->world->now_us;
	if (life->keep_alive > 0)
		life->next_ping_us = life->said_us + life->keep_alive * US_IN_S * 3 / 4;
}

bool life_stands(const struct life *life)
{
	return life->state == LIFE_SERVED && !life->broken;
}

void life_over(struct life *life)
{
	life->broken = life->broken || life->state != LIFE_LEAVES;
	life->state = LIFE_OVER;
}

// --- connecting ----------------------------------------------------------------------------------

static void begin(struct life *life)
{
	struct host *host = life->talker.host;
	struct net_endpoint local = {.address = host_address(host->index), .port = life->port};
	const struct net_endpoint remote = {
		.address = host_address(HOST_BROKER), .port = PORT_BROKER};
	struct tcp_pcb *pcb;
	int rc = tcp_connect(host->stack, &local, &remote, NULL, &life->talker, &pcb);

	if (rc < 0) { // an earlier life's connection is not over yet
		local.port = (uint16_t)(PORT_CLIENTS + LIVES_MAX + life->serial);
		rc = tcp_connect(host->stack, &local, &remote, NULL, &life->talker, &pcb);
	}
	CHECK(life->world, rc == 0);
	talker_open(&life->talker, pcb, life->no_delay);
	life->state = LIFE_CONNECTS;
	life->next_step_us = life->world->now_us + life->hesitates_us;
}

static void greet(struct life *life)
{
	uint8_t packet[PACKET_MAX];
	uint8_t properties[3] = {
		0x21, (uint8_t)(life->receive_max >> 8), (uint8_t)life->receive_max};
	char id[8], user[8];
	struct mqtt_connect connect = {
		.version = life->version, .clean_start = true, .keep_alive = life->keep_alive};

	snprintf(id, sizeof(id), "c%u", life->client);
	snprintf(user, sizeof(user), "%u", life->serial);
	connect.client_id = mqtt_bytes(id, strlen(id));
	connect.has_username = true;
	connect.username = mqtt_bytes(user, strlen(user));
	if (life->version == MQTT_VERSION_5)
		connect.properties = mqtt_bytes(properties, sizeof(properties));
	life_say(life, packet, mqtt_connect_encode(&connect, packet, sizeof(packet)));
	life->state = LIFE_GREETS;
	life->next_step_us = WHEEL_NEVER;
}

// --- what it asks for ----------------------------------------------------------------------------

static unsigned filters_of(const struct life *life, unsigned topic, char out[8])
{
	if (life->wild)
		return (unsigned)snprintf(out, 8, "t/+");
	return (unsigned)snprintf(out, 8, "t/%u", topic);
}

static void interests_set(struct life *life, unsigned topic, enum interest_state state)
{
	for (unsigned t = 0; t < TOPICS; t++)
		if (life->wild || t == topic)
			life->interests[t].state = state;
}

void life_subscribe(struct life *life, unsigned topic)
{
	uint8_t packet[64];
	char filter[8];
	struct mqtt_subscribe_filter asked = {.qos = (uint8_t)random_below(&life->talker.rng, 3)};

	asked.filter = mqtt_bytes(filter, filters_of(life, topic, filter));
	if (asked.qos > life->world->qos)
		asked.qos = (uint8_t)life->world->qos;
	for (unsigned t = 0; t < TOPICS; t++)
		if (life->wild || t == topic)
			life->interests[t].asked |= (uint8_t)(1u << asked.qos);
	interests_set(life, topic, INTEREST_ASKED);
	life->waits_id = life->next_id++;
	life_say(life, packet,
		mqtt_subscribe_encode(life->version, life->waits_id, mqtt_bytes(NULL, 0), &asked, 1,
			packet, sizeof(packet)));
}

static void unsubscribe(struct life *life, unsigned topic)
{
	uint8_t packet[64];
	char filter[8];
	const struct mqtt_bytes asked = mqtt_bytes(filter, filters_of(life, topic, filter));

	interests_set(life, topic, INTEREST_LEAVING);
	life->waits_id = life->next_id++;
	life_say(life, packet,
		mqtt_unsubscribe_encode(life->version, life->waits_id, mqtt_bytes(NULL, 0), &asked,
			1, packet, sizeof(packet)));
}

// A packet that passes, whatever has become of those before it.
static void barrier(struct life *life)
{
	const struct mqtt_bytes asked = mqtt_bytes("t/9", 3);
	uint8_t packet[64];

	life->barrier = true;
	life->waits_id = life->next_id++;
	life_say(life, packet,
		mqtt_unsubscribe_encode(life->version, life->waits_id, mqtt_bytes(NULL, 0), &asked,
			1, packet, sizeof(packet)));
}

static void change_interest(struct life *life)
{
	unsigned topic = random_below(&life->talker.rng, TOPICS);

	if (!life->listens || life->waits_id != 0)
		return;
	if (life->interests[topic].state == INTEREST_ACTIVE)
		unsubscribe(life, topic);
	else
		life_subscribe(life, topic);
}

static void ping(struct life *life)
{
	const uint8_t packet[2] = {MQTT_PINGREQ << 4, 0};

	life->pings++;
	life_say(life, packet, sizeof(packet));
}

// --- what it publishes ---------------------------------------------------------------------------

struct exchange *life_exchange(struct life *life, uint16_t id)
{
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (life->exchanges[i].id == id)
			return &life->exchanges[i];
	return NULL;
}

static uint32_t size_draw(struct life *life)
{
	struct random *rng = &life->talker.rng;
	bool big = random_below(rng, 100) < life->world->big;

	return 4 + random_below(rng, big ? 8000 : random_below(rng, 5) == 0 ? 1400 : 50);
}

static void publish(struct life *life)
{
	struct random *rng = &life->talker.rng;
	struct exchange *exchange = life_exchange(life, 0);
	struct message message = {.life = life->serial,
		.topic = (uint8_t)random_below(rng, TOPICS),
		.qos = (uint8_t)random_below(rng, 3),
		.retain = random_below(rng, 100) < life->world->retain,
		.size = size_draw(life)};
	uint8_t packet[PACKET_MAX], payload[PACKET_MAX];
	char topic[8];
	struct mqtt_publish publish = {.retain = message.retain};
	uint32_t number;

	if (message.qos > life->world->qos || !exchange)
		message.qos = 0;
	number = oracle_message(life->world, &message);
	if (number == NOBODY)
		return;
	snprintf(topic, sizeof(topic), "t/%u", message.topic);
	publish.topic = mqtt_bytes(topic, strlen(topic));
	publish.qos = message.qos;
	if (message.qos > 0) {
		publish.packet_id = life->next_id++;
		*exchange = (struct exchange){.id = publish.packet_id, .message = number};
		life->messages[publish.packet_id] = number;
	}
	message_payload(number, message.size, payload);
	if (life->world->verbose)
		fprintf(stderr, "%10lu life %u says %u: QoS %u, topic %u, identifier %u%s\n",
			(unsigned long)life->world->now_us, life->serial, number, message.qos,
			message.topic, publish.packet_id, message.retain ? ", retain" : "");
	life_say(life, packet,
		mqtt_publish_encode(life->version, &publish, mqtt_bytes(payload, message.size),
			packet, sizeof(packet)));
}

// --- its script ----------------------------------------------------------------------------------

static bool settled(const struct life *life)
{
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (life->exchanges[i].id != 0)
			return false;
	return life->waits_id == 0 && life->acks_count == 0;
}

void life_leave(struct life *life)
{
	uint8_t packet[8];
	const struct mqtt_disconnect disconnect = {0};

	if (life->ending == ENDING_ORDERLY || life->last)
		life_say(life, packet,
			mqtt_disconnect_encode(life->version, &disconnect, packet, sizeof(packet)));
	talker_end(&life->talker);
	life->state = LIFE_LEAVES;
}

static void leave(struct life *life)
{
	switch (life->last ? ENDING_ORDERLY : life->ending) {
	case ENDING_ORDERLY:
	case ENDING_HALF:
		if (settled(life))
			life_leave(life);
		else
			life->next_step_us = life->world->now_us + 20 * US_IN_MS;
		return;
	case ENDING_CLOSE:
		talker_close(&life->talker);
		break;
	default:
		life->reset = true;
		talker_abort(&life->talker);
		break;
	}
	life->broken = true;
	life_over(life);
}

static void step(struct life *life)
{
	struct random *rng = &life->talker.rng;
	uint32_t what = random_below(rng, 20);

	if (life->steps == 0) {
		if (life->last)
			life->next_step_us = WHEEL_NEVER;
		else
			leave(life);
		return;
	}
	life->steps--;
	life->next_step_us = life->world->now_us;
	if (life->think_us > 0)
		life->next_step_us += random_below(rng, life->think_us);
	if (what == 0)
		change_interest(life);
	else if (what == 1)
		ping(life);
	else
		publish(life);
}

// --- turns ---------------------------------------------------------------------------------------

// The life before must be over.
static bool may_begin(const struct life *life)
{
	const struct world *world = life->world;

	if (life->state != LIFE_WAITS || world->now_us < life->begins_us)
		return false;
	return life->serial % LIVES_EACH == 0 || life[-1].state == LIFE_OVER;
}

void life_turn(struct life *life)
{
	const struct world *world = life->world;

	if (may_begin(life))
		begin(life);
	if (!life->talker.pcb)
		return;
	if (life->state == LIFE_CONNECTS && life->talker.established &&
		world->now_us >= life->next_step_us)
		greet(life);
	talker_turn(&life->talker);
	if (!life->talker.pcb)
		return;
	life_acks_say(life);
	for (unsigned i = 0; life_stands(life) && i < 64 && world->now_us >= life->next_step_us;
		i++)
		step(life);
	if (life_stands(life) && world->settle_us > 0 && !life->barrier && settled(life))
		barrier(life);
	if (life_stands(life) && life->keep_alive > 0 && world->now_us >= life->next_ping_us)
		ping(life);
	talker_turn(&life->talker);
}

uint64_t life_next_us(const struct life *life)
{
	uint64_t next = talker_next_us(&life->talker);

	if (life->state == LIFE_WAITS)
		return life->world->now_us < life->begins_us ? life->begins_us : WHEEL_NEVER;
	if (!life->talker.pcb)
		return WHEEL_NEVER;
	if (life->state == LIFE_CONNECTS ? life->talker.established : life_stands(life))
		next = least(next, life->next_step_us);
	if (life_stands(life) && life->keep_alive > 0)
		next = least(next, life->next_ping_us);
	if (life->acks_count > 0)
		next = least(next, life->acks[0].due_us);
	return next;
}
