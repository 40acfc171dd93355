// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PUBLISH (3.3): the packet this product is about. Decoding looks at everything
// before the application message and at nothing of it, so a prefix is enough. Pure.

#include "mqtt/packet.h"

#include <string.h>

#include "mqtt/property.h"
#include "mqtt/writer.h"

#define FLAG_RETAIN 0x1u
#define FLAG_DUP    0x8u

// 3.3.2.3
static void properties_read(struct mqtt_reader *r, struct mqtt_publish *p)
{
	struct mqtt_properties walk;
	struct mqtt_property property;

	mqtt_properties_open(&walk, r, MQTT_PUBLISH);
	while (mqtt_properties_next(&walk, &property)) {
		switch (property.id) {
		case MQTT_PROPERTY_PAYLOAD_FORMAT:
			p->has_payload_format = true;
			p->payload_format = (uint8_t)property.number;
			break;
		case MQTT_PROPERTY_MESSAGE_EXPIRY:
			p->has_message_expiry = true;
			p->message_expiry = property.number;
			break;
		case MQTT_PROPERTY_TOPIC_ALIAS:
			p->topic_alias = (uint16_t)property.number;
			break;
		case MQTT_PROPERTY_SUBSCRIPTION_ID:
			p->has_subscription_id = true;
			break;
		}
	}
	p->properties = mqtt_properties_close(&walk, r);
}

enum mqtt_error mqtt_publish_decode(enum mqtt_version version, const struct mqtt_header *header,
	struct mqtt_bytes body, struct mqtt_publish *ret)
{
	struct mqtt_publish p = {
		.qos = header->flags >> 1 & 3,
		.dup = header->flags & FLAG_DUP,
		.retain = header->flags & FLAG_RETAIN,
	};
	struct mqtt_reader r;
	enum mqtt_error error = mqtt_header_check(version, header);

	if (error)
		return error;
	if (body.length > header->remaining)
		body.length = header->remaining;
	r = mqtt_reader(body);
	p.topic = mqtt_reader_string(&r); // [MQTT-3.3.2-1]
	if (p.qos > 0)
		p.packet_id = mqtt_reader_packet_id(&r);
	if (version == MQTT_VERSION_5)
		properties_read(&r, &p);
	// [MQTT-3.3.2-2]; 3.3.2.3.4: an alias stands for an empty topic.
	mqtt_reader_expect(&r,
		mqtt_topic_valid(p.topic) || (p.topic.length == 0 && p.topic_alias != 0),
		MQTT_ERROR_TOPIC);
	if (r.error)
		return r.error;
	p.text_discouraged = r.discouraged;
	p.head_length = (uint32_t)(r.at - body.data);
	p.payload_length = header->remaining - p.head_length;
	*ret = p;
	return MQTT_OK;
}

static void expiry_write(uint8_t *out, uint32_t expiry)
{
	out[0] = MQTT_PROPERTY_MESSAGE_EXPIRY;
	out[1] = (uint8_t)(expiry >> 24);
	out[2] = (uint8_t)(expiry >> 16);
	out[3] = (uint8_t)(expiry >> 8);
	out[4] = (uint8_t)expiry;
}

// [MQTT-3.3.2-4] payload format, [MQTT-3.3.2-6] expiry, [MQTT-3.3.2-15] response topic,
// [MQTT-3.3.2-16] correlation data, [MQTT-3.3.2-17], [MQTT-3.3.2-18] user properties in order,
// [MQTT-3.3.2-20] content type.
uint32_t mqtt_publish_properties_forward(
	const struct mqtt_publish *publish, uint32_t expiry, uint8_t *out)
{
	struct mqtt_reader r = mqtt_reader(publish->properties);
	struct mqtt_property property;
	uint32_t length = 0;

	if (!publish->topic_alias && !publish->has_subscription_id &&
		!publish->has_message_expiry) { // nearly always: as they came
		if (out && publish->properties.length)
			memcpy(out, publish->properties.data, publish->properties.length);
		return publish->properties.length;
	}
	while (mqtt_property_skim(&r, &property)) {
		if (property.id == MQTT_PROPERTY_TOPIC_ALIAS ||
			property.id == MQTT_PROPERTY_SUBSCRIPTION_ID)
			continue;
		if (out && property.id == MQTT_PROPERTY_MESSAGE_EXPIRY)
			expiry_write(out + length, expiry);
		else if (out)
			memcpy(out + length, property.raw.data, property.raw.length);
		length += property.raw.length;
	}
	return length;
}

struct publish_args {
	enum mqtt_version version;
	const struct mqtt_publish *publish;
	struct mqtt_bytes payload;
};

static void publish_write(struct mqtt_writer *w, const void *packet)
{
	const struct publish_args *args = packet;

	mqtt_writer_string(w, args->publish->topic);
	if (args->publish->qos > 0)
		mqtt_writer_u16(w, args->publish->packet_id);
	if (args->version == MQTT_VERSION_5)
		mqtt_writer_properties(w, args->publish->properties);
	mqtt_writer_bytes(w, args->payload);
}

size_t mqtt_publish_encode(enum mqtt_version version, const struct mqtt_publish *packet,
	struct mqtt_bytes payload, uint8_t *out, size_t size)
{
	struct publish_args args = {version, packet, payload};
	uint8_t flags = (uint8_t)((packet->dup ? FLAG_DUP : 0) | packet->qos << 1 |
				  (packet->retain ? FLAG_RETAIN : 0));

	return mqtt_writer_packet(MQTT_PUBLISH, flags, publish_write, &args, out, size);
}
