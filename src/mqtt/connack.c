// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// CONNACK (3.2) of MQTT 3.1, 3.1.1 and 5.0. Pure.

#include "mqtt/packet.h"

#include "mqtt/property.h"
#include "mqtt/reason.h"
#include "mqtt/writer.h"

#define FLAG_SESSION_PRESENT 0x01u
#define RETURN_CODE_MAX	     5u // MQTT 3.1.1, 3.2.2.3: not authorized

// 3.2.2.3
static void properties_read(struct mqtt_reader *r, struct mqtt_connack *c)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, r, MQTT_CONNACK);
	while (mqtt_properties_next(&walk, &property)) {
		switch (property.id) {
		case MQTT_PROPERTY_SESSION_EXPIRY:
			c->has_session_expiry = true;
			c->session_expiry = property.number;
			break;
		case MQTT_PROPERTY_RECEIVE_MAXIMUM:
			c->receive_maximum = (uint16_t)property.number;
			break;
		case MQTT_PROPERTY_MAXIMUM_QOS:
			c->has_maximum_qos = true;
			c->maximum_qos = (uint8_t)property.number;
			break;
		case MQTT_PROPERTY_RETAIN_AVAILABLE:
			c->retain_available = property.number;
			break;
		case MQTT_PROPERTY_MAXIMUM_PACKET_SIZE:
			c->maximum_packet_size = property.number;
			break;
		case MQTT_PROPERTY_ASSIGNED_CLIENT_ID:
			c->has_assigned_client_id = true;
			c->assigned_client_id = property.text;
			break;
		case MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM:
			c->topic_alias_maximum = (uint16_t)property.number;
			break;
		case MQTT_PROPERTY_SERVER_KEEP_ALIVE:
			c->has_server_keep_alive = true;
			c->server_keep_alive = (uint16_t)property.number;
			break;
		}
	}
	c->properties = mqtt_properties_close(&walk, r);
}

enum mqtt_error mqtt_connack_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_connack *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_connack c = {
		.receive_maximum = UINT16_MAX,
		.maximum_packet_size = UINT32_MAX,
		.maximum_qos = 2,
		.retain_available = true,
	};
	uint8_t flags = mqtt_reader_u8(&r);
	enum mqtt_error error;

	c.reason = mqtt_reader_u8(&r);
	if (version == MQTT_VERSION_5) {
		mqtt_reader_expect(
			&r, mqtt_reason_valid(MQTT_CONNACK, c.reason), MQTT_ERROR_REASON);
		properties_read(&r, &c);
	} else {
		mqtt_reader_expect(&r, c.reason <= RETURN_CODE_MAX, MQTT_ERROR_REASON);
	}
	if (version != MQTT_VERSION_3_1) { // 3.1 does not use the byte
		c.session_present = flags & FLAG_SESSION_PRESENT;
		// [MQTT-3.2.2-1]
		mqtt_reader_expect(&r, !(flags & ~FLAG_SESSION_PRESENT), MQTT_ERROR_FIELD);
		// [MQTT-3.2.2-6]; 3.1.1: [MQTT-3.2.2-4]
		mqtt_reader_expect(&r, !c.session_present || c.reason == 0, MQTT_ERROR_FIELD);
	}
	error = mqtt_reader_end(&r);
	if (error == MQTT_OK)
		*ret = c;
	return error;
}

struct connack_args {
	enum mqtt_version version;
	const struct mqtt_connack *connack;
};

static void connack_write(struct mqtt_writer *w, const void *packet)
{
	const struct connack_args *args = packet;

	mqtt_writer_u8(w, args->connack->session_present ? FLAG_SESSION_PRESENT : 0);
	mqtt_writer_u8(w, args->connack->reason);
	if (args->version == MQTT_VERSION_5)
		mqtt_writer_properties(w, args->connack->properties);
}

size_t mqtt_connack_encode(
	enum mqtt_version version, const struct mqtt_connack *packet, uint8_t *out, size_t size)
{
	struct connack_args args = {version, packet};

	return mqtt_writer_packet(MQTT_CONNACK, 0, connack_write, &args, out, size);
}
