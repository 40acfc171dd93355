// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzzes the packet codec. Input: one byte that chooses the version, then a packet.
//
// What must hold: no decoder reads beyond its bytes; what decodes and is encoded again
// decodes to the same; a prefix of a PUBLISH says what the whole says or asks for more;
// what is forwarded of a PUBLISH's properties is legal again.

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "mqtt/packet.h"
#include "mqtt/topic.h"

static void connect_check(struct mqtt_bytes body)
{
	struct mqtt_connect one, two;
	size_t room = body.length + MQTT_HEADER_MAX, n;
	uint8_t *out = malloc(room);
	struct mqtt_header header;

	ASSERT(out != NULL);
	ASSERT(mqtt_connect_decode(body, &one) == MQTT_OK);
	n = mqtt_connect_encode(&one, out, room);
	ASSERT(n > 0 && mqtt_header_decode(out, n, &header) == MQTT_OK);
	ASSERT(mqtt_connect_decode(mqtt_bytes(out + header.size, header.remaining), &two) ==
		MQTT_OK);
	ASSERT(one.version == two.version && one.bridge == two.bridge &&
		one.clean_start == two.clean_start && one.keep_alive == two.keep_alive &&
		one.session_expiry == two.session_expiry && one.has_will == two.has_will);
	ASSERT(mqtt_bytes_equal(one.client_id, two.client_id));
	ASSERT(mqtt_bytes_equal(one.will.payload, two.will.payload));
	ASSERT(mqtt_bytes_equal(one.password, two.password));
	free(out);
}

static void forward_check(const struct mqtt_publish *publish)
{
	uint32_t size = mqtt_publish_properties_forward(publish, 1, NULL);
	struct mqtt_publish again = {.topic = mqtt_bytes("t", 1)}, out;
	struct mqtt_header header;
	uint8_t *properties = malloc(size + 1), *packet = malloc(size + 16);
	size_t n;

	ASSERT(properties != NULL && packet != NULL && size <= publish->properties.length);
	ASSERT(mqtt_publish_properties_forward(publish, 1, properties) == size);
	again.properties = mqtt_bytes(properties, size);
	n = mqtt_publish_encode(
		MQTT_VERSION_5, &again, mqtt_bytes(NULL, 0), packet, (size_t)size + 16);
	ASSERT(n > 0 && mqtt_header_decode(packet, n, &header) == MQTT_OK);
	ASSERT(mqtt_publish_decode(MQTT_VERSION_5, &header,
		       mqtt_bytes(packet + header.size, header.remaining), &out) == MQTT_OK);
	ASSERT(out.topic_alias == 0 && !out.has_subscription_id);
	ASSERT(out.has_message_expiry == publish->has_message_expiry);
	ASSERT(!out.has_message_expiry || out.message_expiry == 1);
	free(properties);
	free(packet);
}

static void publish_check(
	enum mqtt_version version, const struct mqtt_header *header, struct mqtt_bytes body)
{
	struct mqtt_publish whole, part;

	ASSERT(mqtt_publish_decode(version, header, body, &whole) == MQTT_OK);
	ASSERT(whole.head_length + whole.payload_length == body.length);
	ASSERT(whole.topic.length == 0 || mqtt_topic_valid(whole.topic));
	for (uint32_t n = 0; n <= body.length && n <= whole.head_length + 1; n++) {
		// Of its own, so that a sanitizer sees what is read beyond it.
		uint8_t *prefix = malloc(n ? n : 1);
		enum mqtt_error error;

		ASSERT(prefix != NULL);
		if (n)
			memcpy(prefix, body.data, n);
		error = mqtt_publish_decode(version, header, mqtt_bytes(prefix, n), &part);
		ASSERT(error == (n < whole.head_length ? MQTT_ERROR_TRUNCATED : MQTT_OK));
		ASSERT(error || part.payload_length == whole.payload_length);
		free(prefix);
	}
	if (version == MQTT_VERSION_5)
		forward_check(&whole);
}

static void filters_check(
	enum mqtt_version version, const struct mqtt_header *header, struct mqtt_bytes body)
{
	struct mqtt_subscribe s;
	struct mqtt_unsubscribe u;
	struct mqtt_subscribe_filter filter;
	struct mqtt_bytes name;
	unsigned count = 0;

	if (header->type == MQTT_SUBSCRIBE) {
		ASSERT(mqtt_subscribe_decode(version, body, &s) == MQTT_OK);
		for (; mqtt_subscribe_next(&s.filters, &filter); count++)
			ASSERT(mqtt_filter_valid(filter.filter) && filter.qos <= 2);
		ASSERT(count == s.count && count > 0);
	} else {
		ASSERT(mqtt_unsubscribe_decode(version, body, &u) == MQTT_OK);
		for (; mqtt_unsubscribe_next(&u.filters, &name); count++)
			ASSERT(mqtt_filter_valid(name));
		ASSERT(count == u.count && count > 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum mqtt_version versions[] = {
		MQTT_VERSION_3_1, MQTT_VERSION_3_1_1, MQTT_VERSION_5};
	enum mqtt_version version;
	struct mqtt_header header;
	struct mqtt_bytes body;

	if (size < 1)
		return 0;
	version = versions[data[0] % 3];
	data++, size--;
	if (mqtt_header_decode(data, size, &header) != MQTT_OK)
		return 0;
	body = mqtt_bytes(data + header.size, size - header.size);
	// The length is nothing to be found by chance: what is there is the packet.
	header.remaining = body.length;
	header.size = (uint8_t)(1 + mqtt_varint_size(body.length));
	if (mqtt_packet_check(version, &header, body) != MQTT_OK)
		return 0;
	switch (header.type) {
	case MQTT_CONNECT:
		connect_check(body);
		break;
	case MQTT_PUBLISH:
		publish_check(version, &header, body);
		break;
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE:
		filters_check(version, &header, body);
		break;
	}
	return 0;
}
