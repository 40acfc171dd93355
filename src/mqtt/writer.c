// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Puts a fixed header before a body of unknown length (2.1.4) by measuring the body
// first: two passes, no second buffer.

#include "mqtt/writer.h"

size_t mqtt_writer_packet(uint8_t type, uint8_t flags,
	void (*body)(struct mqtt_writer *w, const void *packet), const void *packet, uint8_t *out,
	size_t size)
{
	struct mqtt_writer measure = {.out = out}, w = {.out = out, .size = size};
	uint8_t header[MQTT_HEADER_MAX];

	body(&measure, packet);
	if (measure.illegal || measure.length > MQTT_REMAINING_MAX)
		return 0;
	mqtt_writer_bytes(&w, mqtt_bytes(header, mqtt_header_encode(type, flags,
							 (uint32_t)measure.length, header)));
	if (w.length + measure.length > size)
		return 0;
	body(&w, packet);
	return w.length;
}
