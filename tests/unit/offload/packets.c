// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What tests write and expect; see packets.h.

#include "packets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void hex(const char *what, const uint8_t *data, size_t length)
{
	fprintf(stderr, "%s (%zu):", what, length);
	for (size_t i = 0; i < length && i < 256; i++)
		fprintf(stderr, " %02x", data[i]);
	fprintf(stderr, "\n");
}

void expect_got(struct tcp_pcb *pcb, const void *data, size_t length, const char *file, int line)
{
	const uint8_t *bytes;
	size_t have = got_take(pcb, &bytes);

	if (have == length && (length == 0 || memcmp(bytes, data, length) == 0))
		return;
	hex("expected", data, length);
	hex("got", bytes, have);
	_fail(file, line);
}

void connect_with(struct bed *bed, unsigned i, const struct mqtt_connect *connect, bool present,
	struct mqtt_bytes announced)
{
	const struct mqtt_connack connack = {
		.session_present = present, .retain_available = true, .properties = announced};
	uint8_t packet[128], answer[128];
	size_t length = mqtt_connect_encode(connect, packet, sizeof(packet));
	size_t answered = mqtt_connack_encode(connect->version, &connack, answer, sizeof(answer));

	bed_open(bed, i);
	client_sends(bed, i, packet, length);
	broker_gets(bed, i, packet, length);
	broker_sends(bed, i, answer, answered);
	client_gets(bed, i, answer, answered);
}

static void connect_clean(struct bed *bed, unsigned i, enum mqtt_version version)
{
	struct mqtt_connect connect = {
		.version = version,
		.clean_start = true,
		.keep_alive = 60,
	};
	char id[8];

	snprintf(id, sizeof(id), "c%u", i);
	connect.client_id = mqtt_bytes(id, strlen(id));
	connect_with(bed, i, &connect, false, mqtt_bytes(NULL, 0));
}

void connect_v4(struct bed *bed, unsigned i)
{
	connect_clean(bed, i, MQTT_VERSION_3_1_1);
}

void connect_v5(struct bed *bed, unsigned i)
{
	connect_clean(bed, i, MQTT_VERSION_5);
}

static void subscribe(struct bed *bed, unsigned i, enum mqtt_version version, const char *filter,
	uint8_t qos, uint8_t id)
{
	const struct mqtt_subscribe_filter one = {
		.filter = mqtt_bytes(filter, strlen(filter)), .qos = qos};
	uint8_t property[2] = {0x0b, id}, packet[256];
	uint8_t suback[] = {0x90, 3, 0, 1, qos}, suback_v5[] = {0x90, 4, 0, 1, 0, qos};
	bool v5 = version == MQTT_VERSION_5;
	size_t length = mqtt_subscribe_encode(version, 1,
		mqtt_bytes(property, id != 0 ? sizeof(property) : 0), &one, 1, packet,
		sizeof(packet));

	client_sends(bed, i, packet, length);
	broker_gets(bed, i, packet, length);
	broker_sends(bed, i, v5 ? suback_v5 : suback, v5 ? sizeof(suback_v5) : sizeof(suback));
	client_gets(bed, i, v5 ? suback_v5 : suback, v5 ? sizeof(suback_v5) : sizeof(suback));
}

void subscribe_v4(struct bed *bed, unsigned i, const char *filter, uint8_t qos)
{
	subscribe(bed, i, MQTT_VERSION_3_1_1, filter, qos, 0);
}

void subscribe_v5(struct bed *bed, unsigned i, const char *filter, uint8_t qos, uint8_t id)
{
	subscribe(bed, i, MQTT_VERSION_5, filter, qos, id);
}

size_t publish_v4(uint8_t *out, const char *topic, uint8_t flags, const void *data, size_t length)
{
	const struct mqtt_publish publish = {
		.qos = (flags >> 1) & 3,
		.dup = flags & 8,
		.retain = flags & 1,
		.topic = mqtt_bytes(topic, strlen(topic)),
		.packet_id = (flags & 6) ? 0x7777 : 0,
	};

	return mqtt_publish_encode(MQTT_VERSION_3_1_1, &publish, mqtt_bytes(data, length), out,
		length + strlen(topic) + 16);
}

void connect_session(struct bed *bed, unsigned i, enum mqtt_version version, bool clean,
	bool present, struct mqtt_bytes properties)
{
	const struct mqtt_connect connect = {
		.version = version,
		.clean_start = clean,
		.keep_alive = 600,
		.client_id = mqtt_bytes("k", 1),
		.properties = properties,
	};
	uint8_t packet[64], connack[] = {0x20, 3, present, 0, 0};
	const uint8_t *got;
	size_t length = mqtt_connect_encode(&connect, packet, sizeof(packet));

	connack[1] = version == MQTT_VERSION_5 ? 3 : 2;
	bed_open(bed, i);
	client_sends(bed, i, packet, length);
	broker_sends(bed, i, connack, 2u + connack[1]);
	got_take(&bed->up[i], &got);
	assert_true(got_take(&bed->down[i], &got) >= 2u + connack[1]);
	bed->down[i].got_read -= bed->down[i].got_length - (2u + connack[1]); // what came behind
}

void resume_v4(struct bed *bed, unsigned i)
{
	connect_session(bed, i, MQTT_VERSION_3_1_1, false, true, mqtt_bytes(NULL, 0));
}

void resume_v5(struct bed *bed, unsigned i, const void *properties, size_t length)
{
	connect_session(bed, i, MQTT_VERSION_5, false, true, mqtt_bytes(properties, length));
}
