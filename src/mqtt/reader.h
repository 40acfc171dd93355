// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A cursor over the bytes of a packet that never leaves them. The first failure
// sticks: every later read gives zeros and changes nothing, so a decoder reads all
// its fields in a straight line and asks once, at the end. Internal to the floor.
//
// MQTT 1.5 (data representation).

#pragma once

#include "mqtt/packet.h"
#include "mqtt/topic.h"

struct mqtt_reader {
	const uint8_t *at, *end;
	enum mqtt_error error; // the first one
	bool discouraged;      // a text had characters that receivers may refuse, 1.5.4
};

static inline struct mqtt_reader mqtt_reader(struct mqtt_bytes bytes)
{
	return (struct mqtt_reader){.at = bytes.data, .end = bytes.data + bytes.length};
}

static inline uint32_t mqtt_reader_left(const struct mqtt_reader *r)
{
	return (uint32_t)(r->end - r->at);
}

static inline void mqtt_reader_fail(struct mqtt_reader *r, enum mqtt_error error)
{
	if (r->error == MQTT_OK)
		r->error = error;
	r->at = r->end;
}

// For rules: fails unless the condition holds. A field that could not be read is not judged.
static inline void mqtt_reader_expect(struct mqtt_reader *r, bool holds, enum mqtt_error error)
{
	if (!holds)
		mqtt_reader_fail(r, error);
}

static inline struct mqtt_bytes mqtt_reader_take(struct mqtt_reader *r, uint32_t length)
{
	struct mqtt_bytes bytes = {r->at, length};

	if (length > mqtt_reader_left(r)) {
		mqtt_reader_fail(r, MQTT_ERROR_TRUNCATED);
		return (struct mqtt_bytes){r->end, 0};
	}
	r->at += length;
	return bytes;
}

static inline struct mqtt_bytes mqtt_reader_rest(struct mqtt_reader *r)
{
	return mqtt_reader_take(r, mqtt_reader_left(r));
}

static inline uint8_t mqtt_reader_u8(struct mqtt_reader *r)
{
	struct mqtt_bytes b = mqtt_reader_take(r, 1);

	return b.length ? b.data[0] : 0;
}

static inline uint16_t mqtt_reader_u16(struct mqtt_reader *r)
{
	struct mqtt_bytes b = mqtt_reader_take(r, 2);

	return b.length ? (uint16_t)(b.data[0] << 8 | b.data[1]) : 0;
}

static inline uint32_t mqtt_reader_u32(struct mqtt_reader *r)
{
	uint32_t high = mqtt_reader_u16(r);

	return high << 16 | mqtt_reader_u16(r);
}

// A variable byte integer inside a v5 packet: at most four bytes, and no more than its value needs
// [MQTT-1.5.5-1]. Only properties use it, so a bad one is a bad property.
static inline uint32_t mqtt_reader_varint(struct mqtt_reader *r)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 28; shift += 7) {
		uint8_t byte = mqtt_reader_u8(r);

		value |= (uint32_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		mqtt_reader_expect(r, byte != 0 || shift == 0, MQTT_ERROR_PROPERTY);
		return value;
	}
	mqtt_reader_fail(r, MQTT_ERROR_PROPERTY);
	return 0;
}

// Binary data, 1.5.6.
static inline struct mqtt_bytes mqtt_reader_binary(struct mqtt_reader *r)
{
	return mqtt_reader_take(r, mqtt_reader_u16(r));
}

// A UTF-8 string, 1.5.4 [MQTT-1.5.4-1], [MQTT-1.5.4-2].
static inline struct mqtt_bytes mqtt_reader_string(struct mqtt_reader *r)
{
	struct mqtt_bytes text = mqtt_reader_binary(r);

	switch (mqtt_utf8_scan(text)) {
	case MQTT_UTF8_PLAIN:
		break;
	case MQTT_UTF8_DISCOURAGED:
		r->discouraged = true;
		break;
	case MQTT_UTF8_ILL:
		mqtt_reader_fail(r, MQTT_ERROR_UTF8);
		break;
	}
	return text;
}

// [MQTT-2.2.1-3], [MQTT-2.2.1-4]: never zero.
static inline uint16_t mqtt_reader_packet_id(struct mqtt_reader *r)
{
	uint16_t id = mqtt_reader_u16(r);

	mqtt_reader_expect(r, id != 0, MQTT_ERROR_PACKET_ID);
	return id;
}

// The verdict, for packets that must end here.
static inline enum mqtt_error mqtt_reader_end(struct mqtt_reader *r)
{
	mqtt_reader_expect(r, mqtt_reader_left(r) == 0, MQTT_ERROR_TRAILING);
	return r->error;
}
