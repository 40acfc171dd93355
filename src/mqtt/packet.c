// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The judge of "well-formed": hands any packet to the decoder of its type. Pure.
//
//                        3.1  3.1.1  5.0   body
//   CONNECT               x     x     x    carries its version itself
//   CONNACK .. UNSUBACK   x     x     x    of the connection's version
//   PINGREQ, PINGRESP     x     x     x    empty
//   DISCONNECT            x     x     x    empty in 3.x
//   AUTH                  -     -     x

#include "mqtt/packet.h"

static enum mqtt_error body_check(
	enum mqtt_version version, const struct mqtt_header *header, struct mqtt_bytes body)
{
	union {
		struct mqtt_connack connack;
		struct mqtt_publish publish;
		struct mqtt_ack ack;
		struct mqtt_subscribe subscribe;
		struct mqtt_suback suback;
		struct mqtt_unsubscribe unsubscribe;
		struct mqtt_disconnect disconnect;
		struct mqtt_auth auth;
	} dropped;

	switch (header->type) {
	case MQTT_CONNACK:
		return mqtt_connack_decode(version, body, &dropped.connack);
	case MQTT_PUBLISH:
		return mqtt_publish_decode(version, header, body, &dropped.publish);
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		return mqtt_ack_decode(version, header->type, body, &dropped.ack);
	case MQTT_SUBSCRIBE:
		return mqtt_subscribe_decode(version, body, &dropped.subscribe);
	case MQTT_SUBACK:
		return mqtt_suback_decode(version, body, &dropped.suback);
	case MQTT_UNSUBSCRIBE:
		return mqtt_unsubscribe_decode(version, body, &dropped.unsubscribe);
	case MQTT_UNSUBACK:
		return mqtt_unsuback_decode(version, body, &dropped.suback);
	case MQTT_PINGREQ: // 3.12, 3.13
	case MQTT_PINGRESP:
		return body.length ? MQTT_ERROR_TRAILING : MQTT_OK;
	case MQTT_DISCONNECT:
		return mqtt_disconnect_decode(version, body, &dropped.disconnect);
	case MQTT_AUTH:
		return mqtt_auth_decode(version, body, &dropped.auth);
	default:
		return MQTT_ERROR_TYPE;
	}
}

enum mqtt_error mqtt_packet_check(
	enum mqtt_version version, const struct mqtt_header *header, struct mqtt_bytes body)
{
	struct mqtt_connect connect;
	enum mqtt_error error;

	if (body.length != header->remaining)
		return body.length < header->remaining ? MQTT_ERROR_TRUNCATED : MQTT_ERROR_TRAILING;
	if (header->type == MQTT_CONNECT) {
		error = mqtt_connect_decode(body, &connect);
		return error ? error : mqtt_header_check(connect.version, header);
	}
	if (version < MQTT_VERSION_3_1 || version > MQTT_VERSION_5)
		return MQTT_ERROR_PROTOCOL;
	error = mqtt_header_check(version, header);
	return error ? error : body_check(version, header, body);
}
