// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The reader's counterpart. A writer counts what does not fit instead of writing
// it, so one function that writes a body also measures it: a fixed header needs the
// length of what follows. Internal to the floor.
//
// MQTT 1.5 (data representation).

#pragma once

#include <string.h>

#include "mqtt/packet.h"

struct mqtt_writer {
	uint8_t *out;
	size_t size;   // of out
	size_t length; // wanted so far; > size: does not fit
	bool illegal;  // a field is longer than its length prefix can say
};

static inline void mqtt_writer_bytes(struct mqtt_writer *w, struct mqtt_bytes bytes)
{
	if (bytes.length && w->length + bytes.length <= w->size)
		memcpy(w->out + w->length, bytes.data, bytes.length);
	w->length += bytes.length;
}

static inline void mqtt_writer_u8(struct mqtt_writer *w, uint8_t value)
{
	mqtt_writer_bytes(w, mqtt_bytes(&value, 1));
}

static inline void mqtt_writer_u16(struct mqtt_writer *w, uint16_t value)
{
	mqtt_writer_u8(w, (uint8_t)(value >> 8));
	mqtt_writer_u8(w, (uint8_t)value);
}

// A UTF-8 string or binary data, 1.5.4, 1.5.6.
static inline void mqtt_writer_string(struct mqtt_writer *w, struct mqtt_bytes text)
{
	w->illegal |= text.length > UINT16_MAX;
	mqtt_writer_u16(w, (uint16_t)text.length);
	mqtt_writer_bytes(w, text);
}

// Raw properties behind their length, 2.2.2.
static inline void mqtt_writer_properties(struct mqtt_writer *w, struct mqtt_bytes properties)
{
	uint8_t length[MQTT_VARINT_MAX];

	if (properties.length > MQTT_REMAINING_MAX) {
		w->illegal = true;
		return;
	}
	mqtt_writer_bytes(w, mqtt_bytes(length, mqtt_varint_encode(properties.length, length)));
	mqtt_writer_bytes(w, properties);
}

// A whole packet: measures `body`, writes the fixed header, then the body. 0 when it does not fit
// into `size` bytes or cannot be said in MQTT.
size_t mqtt_writer_packet(uint8_t type, uint8_t flags,
	void (*body)(struct mqtt_writer *w, const void *packet), const void *packet, uint8_t *out,
	size_t size);
