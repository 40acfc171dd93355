// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 to 3.7): one shape. In 5.0 a packet of two
// bytes means reason 0, one of three has no properties (3.4.2.1, 3.4.2.2.1). Pure.

#include "mqtt/packet.h"

#include "mqtt/property.h"
#include "mqtt/reason.h"

enum mqtt_error mqtt_ack_decode(
	enum mqtt_version version, uint8_t type, struct mqtt_bytes body, struct mqtt_ack *ret)
{
	struct mqtt_reader r = mqtt_reader(body);
	struct mqtt_ack ack = {.packet_id = mqtt_reader_packet_id(&r)};
	enum mqtt_error error;

	if (version == MQTT_VERSION_5 && mqtt_reader_left(&r) > 0) {
		ack.reason = mqtt_reader_u8(&r);
		mqtt_reader_expect(&r, mqtt_reason_valid(type, ack.reason), MQTT_ERROR_REASON);
		if (mqtt_reader_left(&r) > 0)
			ack.properties = mqtt_properties_check(&r, type);
	}
	error = mqtt_reader_end(&r);
	if (error == MQTT_OK)
		*ret = ack;
	return error;
}

unsigned mqtt_ack_encode(enum mqtt_version version, uint8_t type, uint16_t packet_id,
	uint8_t reason, uint8_t out[MQTT_ACK_MAX])
{
	unsigned remaining = version == MQTT_VERSION_5 && reason != 0 ? 3 : 2;

	// [MQTT-3.6.1-1]
	mqtt_header_encode(type, type == MQTT_PUBREL ? 2 : 0, remaining, out);
	out[2] = (uint8_t)(packet_id >> 8);
	out[3] = (uint8_t)packet_id;
	if (remaining == 3)
		out[4] = reason;
	return 2 + remaining;
}
