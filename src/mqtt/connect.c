// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// CONNECT (3.1) of MQTT 3.1, 3.1.1 and 5.0. Pure.
//
// An empty or long client identifier is legal here: the broker decides whether to
// take it ([MQTT-3.1.3-8] of 3.1.1, [MQTT-3.1.3-5]), and answers with a CONNACK.

#include "mqtt/packet.h"

#include <string.h>

#include "mqtt/property.h"
#include "mqtt/writer.h"

#define LEVEL_BRIDGE 0x80u // what mosquitto's bridges add to the level of 3.1 and 3.1.1

// 3.1.2.3
#define FLAG_RESERVED	 0x01u
#define FLAG_CLEAN	 0x02u
#define FLAG_WILL	 0x04u
#define FLAG_WILL_QOS	 0x18u
#define FLAG_WILL_RETAIN 0x20u
#define FLAG_PASSWORD	 0x40u
#define FLAG_USERNAME	 0x80u

static struct mqtt_bytes protocol_name(enum mqtt_version version)
{
	return version == MQTT_VERSION_3_1 ? mqtt_bytes("MQIsdp", 6) : mqtt_bytes("MQTT", 4);
}

// 3.1.2.1, 3.1.2.2 [MQTT-3.1.2-1], [MQTT-3.1.2-2]
static void protocol_read(struct mqtt_reader *r, struct mqtt_connect *c)
{
	struct mqtt_bytes name = mqtt_reader_binary(r);
	uint8_t level = mqtt_reader_u8(r);

	c->version = level & ~LEVEL_BRIDGE;
	c->bridge = level & LEVEL_BRIDGE;
	mqtt_reader_expect(r,
		c->version == MQTT_VERSION_3_1 || c->version == MQTT_VERSION_3_1_1 ||
			(c->version == MQTT_VERSION_5 && !c->bridge),
		MQTT_ERROR_PROTOCOL);
	mqtt_reader_expect(
		r, mqtt_bytes_equal(name, protocol_name(c->version)), MQTT_ERROR_PROTOCOL);
}

// 3.1.2.3 to 3.1.2.9. 3.1 leaves the reserved bit and a missing will's bits undefined.
static void flags_read(struct mqtt_reader *r, struct mqtt_connect *c)
{
	uint8_t flags = mqtt_reader_u8(r);
	bool strict = c->version != MQTT_VERSION_3_1;

	c->clean_start = flags & FLAG_CLEAN;
	c->has_will = flags & FLAG_WILL;
	c->has_username = flags & FLAG_USERNAME;
	c->has_password = flags & FLAG_PASSWORD;
	if (c->has_will) {
		c->will.qos = (flags & FLAG_WILL_QOS) >> 3;
		c->will.retain = flags & FLAG_WILL_RETAIN;
		mqtt_reader_expect(r, c->will.qos != 3, MQTT_ERROR_QOS); // [MQTT-3.1.2-12]
	} else if (strict) { // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
		mqtt_reader_expect(
			r, !(flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN)), MQTT_ERROR_FIELD);
	}
	if (strict) // [MQTT-3.1.2-3]
		mqtt_reader_expect(r, !(flags & FLAG_RESERVED), MQTT_ERROR_FIELD);
	if (c->version != MQTT_VERSION_5) // 3.1.1: [MQTT-3.1.2-22]
		mqtt_reader_expect(r, c->has_username || !c->has_password, MQTT_ERROR_FIELD);
}

// 3.1.2.11
static void properties_read(struct mqtt_reader *r, struct mqtt_connect *c)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, r, MQTT_CONNECT);
	while (mqtt_properties_next(&walk, &property)) {
		switch (property.id) {
		case MQTT_PROPERTY_SESSION_EXPIRY:
			c->session_expiry = property.number;
			break;
		case MQTT_PROPERTY_RECEIVE_MAXIMUM:
			c->receive_maximum = (uint16_t)property.number;
			break;
		case MQTT_PROPERTY_MAXIMUM_PACKET_SIZE:
			c->maximum_packet_size = property.number;
			break;
		case MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM:
			c->topic_alias_maximum = (uint16_t)property.number;
			break;
		}
	}
	c->properties = mqtt_properties_close(&walk, r);
	// 3.1.2.11.10: no authentication data without a method.
	mqtt_reader_expect(r,
		mqtt_properties_seen(&walk, MQTT_PROPERTY_AUTH_METHOD) ||
			!mqtt_properties_seen(&walk, MQTT_PROPERTY_AUTH_DATA),
		MQTT_ERROR_PROPERTY);
}

// 3.1.3.2 to 3.1.3.4
static void will_read(struct mqtt_reader *r, struct mqtt_connect *c)
{
	if (c->version == MQTT_VERSION_5)
		c->will.properties = mqtt_properties_check(r, MQTT_PROPERTY_OF_WILL);
	c->will.topic = mqtt_reader_string(r); // [MQTT-3.1.3-11]
	mqtt_reader_expect(r, mqtt_topic_valid(c->will.topic), MQTT_ERROR_TOPIC);
	c->will.payload = mqtt_reader_binary(r);
}

// 3.1.3.5, 3.1.3.6. MQTT 3.1, 3.1: "the Remaining Length field takes precedence over the User Name
// flag" and the Password flag; what is announced but missing is simply not there.
static void credentials_read(struct mqtt_reader *r, struct mqtt_connect *c)
{
	bool may_miss = c->version == MQTT_VERSION_3_1;

	if (may_miss && mqtt_reader_left(r) == 0)
		c->has_username = false;
	if (c->has_username)
		c->username = mqtt_reader_string(r); // [MQTT-3.1.3-12]
	if (may_miss && mqtt_reader_left(r) == 0)
		c->has_password = false;
	if (c->has_password)
		c->password = mqtt_reader_binary(r);
}

enum mqtt_error mqtt_connect_decode(struct mqtt_bytes body, struct mqtt_connect *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_connect c = {
		.receive_maximum = UINT16_MAX,
		.maximum_packet_size = UINT32_MAX,
	};
	enum mqtt_error error;

	protocol_read(&r, &c);
	flags_read(&r, &c);
	c.keep_alive = mqtt_reader_u16(&r);
	if (c.version == MQTT_VERSION_5)
		properties_read(&r, &c);
	else
		c.session_expiry = c.clean_start ? 0 : UINT32_MAX;
	c.client_id = mqtt_reader_string(&r); // [MQTT-3.1.3-4]
	if (c.has_will)
		will_read(&r, &c);
	credentials_read(&r, &c);
	error = mqtt_reader_end(&r);
	if (error == MQTT_OK)
		*ret = c;
	return error;
}

static void connect_write(struct mqtt_writer *w, const void *packet)
{
	const struct mqtt_connect *c = packet;

	mqtt_writer_string(w, protocol_name(c->version));
	mqtt_writer_u8(w, (uint8_t)(c->version | (c->bridge ? LEVEL_BRIDGE : 0)));
	mqtt_writer_u8(w, (uint8_t)((c->clean_start ? FLAG_CLEAN : 0) |
				    (c->has_will ? FLAG_WILL | c->will.qos << 3 : 0) |
				    (c->has_will && c->will.retain ? FLAG_WILL_RETAIN : 0) |
				    (c->has_password ? FLAG_PASSWORD : 0) |
				    (c->has_username ? FLAG_USERNAME : 0)));
	mqtt_writer_u16(w, c->keep_alive);
	if (c->version == MQTT_VERSION_5)
		mqtt_writer_properties(w, c->properties);
	mqtt_writer_string(w, c->client_id);
	if (c->has_will) {
		if (c->version == MQTT_VERSION_5)
			mqtt_writer_properties(w, c->will.properties);
		mqtt_writer_string(w, c->will.topic);
		mqtt_writer_string(w, c->will.payload);
	}
	if (c->has_username)
		mqtt_writer_string(w, c->username);
	if (c->has_password)
		mqtt_writer_string(w, c->password);
}

size_t mqtt_connect_encode(const struct mqtt_connect *packet, uint8_t *out, size_t size)
{
	return mqtt_writer_packet(MQTT_CONNECT, 0, connect_write, packet, out, size);
}
