// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table of properties (2.2.2.2, table 2-4) and the walk over it. A property
// block that is ill in any way makes the packet malformed.

#include "mqtt/property.h"

#define OF(type)  (1u << (type))
#define OF_WILL	  OF(MQTT_PROPERTY_OF_WILL)
#define OF_ANY	  (OF(MQTT_AUTH + 1) - 1 - OF(MQTT_PINGREQ) - OF(MQTT_PINGRESP))
#define OF_ACKS	  (OF(MQTT_PUBACK) | OF(MQTT_PUBREC) | OF(MQTT_PUBREL) | OF(MQTT_PUBCOMP))
#define OF_REPLY  (OF_ACKS | OF(MQTT_SUBACK) | OF(MQTT_UNSUBACK))
#define OF_OPEN	  (OF(MQTT_CONNECT) | OF(MQTT_CONNACK))
#define OF_CLOSE  (OF(MQTT_CONNACK) | OF(MQTT_DISCONNECT))
#define OF_SIGNIN (OF_OPEN | OF(MQTT_AUTH))
#define OF_TEXT	  (OF(MQTT_PUBLISH) | OF_WILL)

enum property_type { // 1.5, 2.2.2.2
	TYPE_NONE,   // no such property
	TYPE_BYTE,
	TYPE_U16,
	TYPE_U32,
	TYPE_VARINT,
	TYPE_BINARY,
	TYPE_STRING,
	TYPE_TOPIC, // a string that is a topic name
	TYPE_PAIR,
};

struct property_rule {
	uint8_t type;
	uint32_t packets; // OF(packet type)
	uint32_t least;	  // smallest and, unless 0, largest legal number
	uint32_t most;
	uint32_t repeats; // packets in which it may come more than once
};

static const struct property_rule rules[MQTT_PROPERTY_IDS] = {
	// 3.3.2.3, 3.1.3.2
	[MQTT_PROPERTY_PAYLOAD_FORMAT] = {TYPE_BYTE, OF_TEXT, .most = 1},
	[MQTT_PROPERTY_MESSAGE_EXPIRY] = {TYPE_U32, OF_TEXT},
	[MQTT_PROPERTY_CONTENT_TYPE] = {TYPE_STRING, OF_TEXT},
	[MQTT_PROPERTY_RESPONSE_TOPIC] = {TYPE_TOPIC, OF_TEXT}, // [MQTT-3.3.2-14]
	[MQTT_PROPERTY_CORRELATION_DATA] = {TYPE_BINARY, OF_TEXT},
	// 3.3.2.3.8 (one for each matching subscription), 3.8.2.1.2
	[MQTT_PROPERTY_SUBSCRIPTION_ID] = {TYPE_VARINT, OF(MQTT_PUBLISH) | OF(MQTT_SUBSCRIBE),
		.least = 1, .repeats = OF(MQTT_PUBLISH)},
	[MQTT_PROPERTY_SESSION_EXPIRY] = {TYPE_U32, OF_OPEN | OF(MQTT_DISCONNECT)},
	[MQTT_PROPERTY_ASSIGNED_CLIENT_ID] = {TYPE_STRING, OF(MQTT_CONNACK)},
	[MQTT_PROPERTY_SERVER_KEEP_ALIVE] = {TYPE_U16, OF(MQTT_CONNACK)},
	[MQTT_PROPERTY_AUTH_METHOD] = {TYPE_STRING, OF_SIGNIN},
	[MQTT_PROPERTY_AUTH_DATA] = {TYPE_BINARY, OF_SIGNIN},
	[MQTT_PROPERTY_REQUEST_PROBLEM] = {TYPE_BYTE, OF(MQTT_CONNECT), .most = 1},
	[MQTT_PROPERTY_WILL_DELAY] = {TYPE_U32, OF_WILL},
	[MQTT_PROPERTY_REQUEST_RESPONSE] = {TYPE_BYTE, OF(MQTT_CONNECT), .most = 1},
	[MQTT_PROPERTY_RESPONSE_INFORMATION] = {TYPE_STRING, OF(MQTT_CONNACK)},
	[MQTT_PROPERTY_SERVER_REFERENCE] = {TYPE_STRING, OF_CLOSE},
	[MQTT_PROPERTY_REASON_STRING] = {TYPE_STRING, OF_REPLY | OF_CLOSE | OF(MQTT_AUTH)},
	[MQTT_PROPERTY_RECEIVE_MAXIMUM] = {TYPE_U16, OF_OPEN, .least = 1},
	[MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM] = {TYPE_U16, OF_OPEN},
	[MQTT_PROPERTY_TOPIC_ALIAS] = {TYPE_U16, OF(MQTT_PUBLISH), .least = 1}, // [MQTT-3.3.2-8]
	[MQTT_PROPERTY_MAXIMUM_QOS] = {TYPE_BYTE, OF(MQTT_CONNACK), .most = 1},
	[MQTT_PROPERTY_RETAIN_AVAILABLE] = {TYPE_BYTE, OF(MQTT_CONNACK), .most = 1},
	[MQTT_PROPERTY_USER] = {TYPE_PAIR, OF_ANY, .repeats = OF_ANY},
	[MQTT_PROPERTY_MAXIMUM_PACKET_SIZE] = {TYPE_U32, OF_OPEN, .least = 1},
	[MQTT_PROPERTY_WILDCARD_AVAILABLE] = {TYPE_BYTE, OF(MQTT_CONNACK), .most = 1},
	[MQTT_PROPERTY_SUBSCRIPTION_ID_AVAILABLE] = {TYPE_BYTE, OF(MQTT_CONNACK), .most = 1},
	[MQTT_PROPERTY_SHARED_AVAILABLE] = {TYPE_BYTE, OF(MQTT_CONNACK), .most = 1},
};

static uint8_t property_type(uint8_t id)
{
	return id < MQTT_PROPERTY_IDS ? rules[id].type : (uint8_t)TYPE_NONE;
}

// Reads identifier and value. Identifiers are variable byte integers too (2.2.2.2), but all that
// exist are of one byte, and a longer form of those is not the shortest [MQTT-1.5.5-1].
static void property_read(struct mqtt_reader *r, struct mqtt_property *p, bool validate)
{
	const uint8_t *start = r->at;

	*p = (struct mqtt_property){.id = mqtt_reader_u8(r)};
	switch (property_type(p->id)) {
	case TYPE_BYTE:
		p->number = mqtt_reader_u8(r);
		break;
	case TYPE_U16:
		p->number = mqtt_reader_u16(r);
		break;
	case TYPE_U32:
		p->number = mqtt_reader_u32(r);
		break;
	case TYPE_VARINT:
		p->number = mqtt_reader_varint(r);
		break;
	case TYPE_BINARY:
		p->text = mqtt_reader_binary(r);
		break;
	case TYPE_STRING:
	case TYPE_TOPIC:
		p->text = validate ? mqtt_reader_string(r) : mqtt_reader_binary(r);
		break;
	case TYPE_PAIR:
		p->text = validate ? mqtt_reader_string(r) : mqtt_reader_binary(r);
		p->pair = validate ? mqtt_reader_string(r) : mqtt_reader_binary(r);
		break;
	default:
		mqtt_reader_fail(r, MQTT_ERROR_PROPERTY);
	}
	p->raw = mqtt_bytes(start, (size_t)(r->at - start));
}

static void property_validate(struct mqtt_properties *walk, const struct mqtt_property *p)
{
	const struct property_rule *rule = &rules[p->id];
	uint64_t bit = UINT64_C(1) << p->id;

	mqtt_reader_expect(&walk->reader, rule->packets & OF(walk->type), MQTT_ERROR_PROPERTY);
	if (walk->seen & bit)
		mqtt_reader_expect(
			&walk->reader, rule->repeats & OF(walk->type), MQTT_ERROR_PROPERTY_TWICE);
	mqtt_reader_expect(&walk->reader,
		p->number >= rule->least && (rule->most == 0 || p->number <= rule->most),
		MQTT_ERROR_PROPERTY);
	if (rule->type == TYPE_TOPIC)
		mqtt_reader_expect(&walk->reader, mqtt_topic_valid(p->text), MQTT_ERROR_TOPIC);
	walk->seen |= bit;
}

void mqtt_properties_open(struct mqtt_properties *walk, struct mqtt_reader *packet, uint8_t type)
{
	struct mqtt_bytes raw = mqtt_reader_take(packet, mqtt_reader_varint(packet));

	*walk = (struct mqtt_properties){.reader = mqtt_reader(raw), .raw = raw, .type = type};
}

bool mqtt_properties_next(struct mqtt_properties *walk, struct mqtt_property *ret)
{
	if (mqtt_reader_left(&walk->reader) == 0)
		return false;
	property_read(&walk->reader, ret, true);
	if (walk->reader.error == MQTT_OK)
		property_validate(walk, ret);
	return walk->reader.error == MQTT_OK;
}

bool mqtt_properties_seen(const struct mqtt_properties *walk, enum mqtt_property_id id)
{
	return walk->seen >> id & 1;
}

struct mqtt_bytes mqtt_properties_close(
	const struct mqtt_properties *walk, struct mqtt_reader *packet)
{
	enum mqtt_error error = walk->reader.error;

	// The packet itself goes on after its properties: one that runs over their end is a bad
	// property, not a packet cut short.
	if (error)
		mqtt_reader_fail(
			packet, error == MQTT_ERROR_TRUNCATED ? MQTT_ERROR_PROPERTY : error);
	packet->discouraged |= walk->reader.discouraged;
	return walk->raw;
}

struct mqtt_bytes mqtt_properties_check(struct mqtt_reader *packet, uint8_t type)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, packet, type);
	while (mqtt_properties_next(&walk, &property))
		;
	return mqtt_properties_close(&walk, packet);
}

bool mqtt_property_skim(struct mqtt_reader *properties, struct mqtt_property *ret)
{
	if (mqtt_reader_left(properties) == 0)
		return false;
	property_read(properties, ret, false);
	return properties->error == MQTT_OK;
}
