// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Properties of MQTT 5.0 (2.2.2): one table says for each identifier its type, the
// packets that may carry it, its legal values and whether it may repeat. Internal to
// the floor.

#pragma once

#include "mqtt/reader.h"

enum mqtt_property_id { // 2.2.2.2
	MQTT_PROPERTY_PAYLOAD_FORMAT = 0x01,
	MQTT_PROPERTY_MESSAGE_EXPIRY = 0x02,
	MQTT_PROPERTY_CONTENT_TYPE = 0x03,
	MQTT_PROPERTY_RESPONSE_TOPIC = 0x08,
	MQTT_PROPERTY_CORRELATION_DATA = 0x09,
	MQTT_PROPERTY_SUBSCRIPTION_ID = 0x0b,
	MQTT_PROPERTY_SESSION_EXPIRY = 0x11,
	MQTT_PROPERTY_ASSIGNED_CLIENT_ID = 0x12,
	MQTT_PROPERTY_SERVER_KEEP_ALIVE = 0x13,
	MQTT_PROPERTY_AUTH_METHOD = 0x15,
	MQTT_PROPERTY_AUTH_DATA = 0x16,
	MQTT_PROPERTY_REQUEST_PROBLEM = 0x17,
	MQTT_PROPERTY_WILL_DELAY = 0x18,
	MQTT_PROPERTY_REQUEST_RESPONSE = 0x19,
	MQTT_PROPERTY_RESPONSE_INFORMATION = 0x1a,
	MQTT_PROPERTY_SERVER_REFERENCE = 0x1c,
	MQTT_PROPERTY_REASON_STRING = 0x1f,
	MQTT_PROPERTY_RECEIVE_MAXIMUM = 0x21,
	MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM = 0x22,
	MQTT_PROPERTY_TOPIC_ALIAS = 0x23,
	MQTT_PROPERTY_MAXIMUM_QOS = 0x24,
	MQTT_PROPERTY_RETAIN_AVAILABLE = 0x25,
	MQTT_PROPERTY_USER = 0x26,
	MQTT_PROPERTY_MAXIMUM_PACKET_SIZE = 0x27,
	MQTT_PROPERTY_WILDCARD_AVAILABLE = 0x28,
	MQTT_PROPERTY_SUBSCRIPTION_ID_AVAILABLE = 0x29,
	MQTT_PROPERTY_SHARED_AVAILABLE = 0x2a,
	MQTT_PROPERTY_IDS,
};

// Will properties have no packet type of their own: they take the reserved one.
#define MQTT_PROPERTY_OF_WILL MQTT_RESERVED

struct mqtt_property {
	uint8_t id;
	uint32_t number;	// of the numeric types
	struct mqtt_bytes text; // strings and binary data; a pair's name
	struct mqtt_bytes pair; // a pair's value
	struct mqtt_bytes raw;	// as it stands in the packet, identifier included
};

// A walk over the properties of one packet, each validated as it comes.
struct mqtt_properties {
	struct mqtt_reader reader; // over the properties only
	struct mqtt_bytes raw;
	uint64_t seen; // one bit an identifier
	uint8_t type;  // of the packet
};

// Takes the length and the properties off the packet.
void mqtt_properties_open(struct mqtt_properties *walk, struct mqtt_reader *packet, uint8_t type);
// The next one; false at the end or at a bad one.
bool mqtt_properties_next(struct mqtt_properties *walk, struct mqtt_property *ret);
// Was this identifier among those walked over?
bool mqtt_properties_seen(const struct mqtt_properties *walk, enum mqtt_property_id id);
// Hands the verdict to the packet; returns the raw properties.
struct mqtt_bytes mqtt_properties_close(
	const struct mqtt_properties *walk, struct mqtt_reader *packet);

// For packets whose properties matter to nobody: open, walk, close.
struct mqtt_bytes mqtt_properties_check(struct mqtt_reader *packet, uint8_t type);

// Walks properties that have been validated before; no checks but bounds.
bool mqtt_property_skim(struct mqtt_reader *properties, struct mqtt_property *ret);
