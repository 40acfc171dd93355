// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The fixed header of every packet (2.1): type, flags, remaining length; and the
// names of types and errors. Pure.

#include "mqtt/packet.h"

#include <string.h>

#include "base/assert.h"

#define FLAG_DUP     0x8u
#define FLAGS_QOS    0x6u
#define FLAGS_ACK_ED 0x2u // PUBREL, SUBSCRIBE, UNSUBSCRIBE: 3.x reads it as QoS 1

const char *const mqtt_type_names[MQTT_TYPES] = {
	[MQTT_RESERVED] = "RESERVED",
	[MQTT_CONNECT] = "CONNECT",
	[MQTT_CONNACK] = "CONNACK",
	[MQTT_PUBLISH] = "PUBLISH",
	[MQTT_PUBACK] = "PUBACK",
	[MQTT_PUBREC] = "PUBREC",
	[MQTT_PUBREL] = "PUBREL",
	[MQTT_PUBCOMP] = "PUBCOMP",
	[MQTT_SUBSCRIBE] = "SUBSCRIBE",
	[MQTT_SUBACK] = "SUBACK",
	[MQTT_UNSUBSCRIBE] = "UNSUBSCRIBE",
	[MQTT_UNSUBACK] = "UNSUBACK",
	[MQTT_PINGREQ] = "PINGREQ",
	[MQTT_PINGRESP] = "PINGRESP",
	[MQTT_DISCONNECT] = "DISCONNECT",
	[MQTT_AUTH] = "AUTH",
};

const char *mqtt_type_name(enum mqtt_type type)
{
	return (unsigned)type < MQTT_TYPES ? mqtt_type_names[type] : mqtt_type_names[MQTT_RESERVED];
}

const char *mqtt_error_name(enum mqtt_error error)
{
	static const char *const names[] = {
		[MQTT_OK] = "ok",
		[MQTT_ERROR_TRUNCATED] = "truncated",
		[MQTT_ERROR_TRAILING] = "trailing",
		[MQTT_ERROR_REMAINING_LENGTH] = "remaining_length",
		[MQTT_ERROR_TYPE] = "type",
		[MQTT_ERROR_FLAGS] = "flags",
		[MQTT_ERROR_QOS] = "qos",
		[MQTT_ERROR_UTF8] = "utf8",
		[MQTT_ERROR_TOPIC] = "topic",
		[MQTT_ERROR_FILTER] = "filter",
		[MQTT_ERROR_PACKET_ID] = "packet_id",
		[MQTT_ERROR_PROTOCOL] = "protocol",
		[MQTT_ERROR_PROPERTY] = "property",
		[MQTT_ERROR_PROPERTY_TWICE] = "property_twice",
		[MQTT_ERROR_REASON] = "reason",
		[MQTT_ERROR_EMPTY] = "empty",
		[MQTT_ERROR_FIELD] = "field",
	};

	_Static_assert(sizeof(names) / sizeof(*names) == MQTT_ERRORS, "a name for every error");
	return (unsigned)error < MQTT_ERRORS ? names[error] : "unknown";
}

bool mqtt_bytes_equal(struct mqtt_bytes a, struct mqtt_bytes b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

unsigned mqtt_varint_size(uint32_t value)
{
	return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

unsigned mqtt_varint_encode(uint32_t value, uint8_t out[MQTT_VARINT_MAX])
{
	unsigned n = 0;

	DASSERT(value <= MQTT_REMAINING_MAX);
	for (; value >= 128; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	return n;
}

unsigned mqtt_header_encode(
	uint8_t type, uint8_t flags, uint32_t remaining, uint8_t out[MQTT_HEADER_MAX])
{
	out[0] = (uint8_t)(type << 4 | flags);
	return 1 + mqtt_varint_encode(remaining, out + 1);
}

// [MQTT-2.1.3-1] and, for the DUP of 3.1's repeated packets, MQTT 3.1, 2.1.
static enum mqtt_error flags_check(uint8_t type, uint8_t flags)
{
	switch (type) {
	case MQTT_RESERVED:
		return MQTT_ERROR_TYPE;
	case MQTT_PUBLISH: // [MQTT-3.3.1-4]
		return (flags & FLAGS_QOS) == FLAGS_QOS ? MQTT_ERROR_QOS : MQTT_OK;
	case MQTT_PUBREL:      // [MQTT-3.6.1-1]
	case MQTT_SUBSCRIBE:   // [MQTT-3.8.1-1]
	case MQTT_UNSUBSCRIBE: // [MQTT-3.10.1-1]
		return (flags & ~FLAG_DUP) == FLAGS_ACK_ED ? MQTT_OK : MQTT_ERROR_FLAGS;
	default:
		return flags == 0 ? MQTT_OK : MQTT_ERROR_FLAGS;
	}
}

enum mqtt_error mqtt_header_decode(const uint8_t *data, size_t n, struct mqtt_header *ret)
{
	uint32_t remaining = 0;
	enum mqtt_error error;

	if (n == 0)
		return MQTT_ERROR_TRUNCATED;
	error = flags_check(data[0] >> 4, data[0] & 0xf);
	if (error)
		return error;
	for (unsigned i = 1; i < MQTT_HEADER_MAX; i++) {
		if (i == n)
			return MQTT_ERROR_TRUNCATED;
		remaining |= (uint32_t)(data[i] & 0x7f) << (7 * (i - 1));
		if (data[i] & 0x80)
			continue;
		*ret = (struct mqtt_header){
			.type = data[0] >> 4,
			.flags = data[0] & 0xf,
			.size = (uint8_t)(i + 1),
			.remaining = remaining,
		};
		return MQTT_OK;
	}
	return MQTT_ERROR_REMAINING_LENGTH;
}

enum mqtt_error mqtt_header_check(enum mqtt_version version, const struct mqtt_header *header)
{
	enum mqtt_error error = flags_check(header->type, header->flags);

	if (error)
		return error;
	if (header->type == MQTT_AUTH && version != MQTT_VERSION_5)
		return MQTT_ERROR_TYPE;
	if (header->flags & FLAG_DUP) {
		if (header->type != MQTT_PUBLISH && version != MQTT_VERSION_3_1)
			return MQTT_ERROR_FLAGS;
		// [MQTT-3.3.1-2]; 3.1 does not say it, but no broker of 3.1 can know such a
		// packet for a repeated one either.
		if (header->type == MQTT_PUBLISH && !(header->flags & FLAGS_QOS))
			return MQTT_ERROR_FLAGS;
	}
	// [MQTT-1.5.5-1]; 3.x does not ask for the shortest form.
	if (version == MQTT_VERSION_5 && header->size != 1 + mqtt_varint_size(header->remaining))
		return MQTT_ERROR_REMAINING_LENGTH;
	return MQTT_OK;
}
