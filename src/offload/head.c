// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Of a PUBLISH only the first bytes are copied together, and only of those that are long.

#include "offload/head.h"

#include <string.h>

static uint32_t spans_copy(
	const struct tcp_span *spans, unsigned count, uint8_t *out, uint32_t size)
{
	uint32_t length = 0;

	for (unsigned i = 0; i < count && length < size; i++) {
		uint32_t n = spans[i].length;

		if (n > size - length)
			n = size - length;
		memcpy(out + length, spans[i].data, n);
		length += n;
	}
	return length;
}

static uint16_t read_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

// Topic and identifier, which are surely there.
static void front_read(
	const uint8_t *body, const struct mqtt_header *header, struct mqtt_publish *ret_publish)
{
	ret_publish->qos = (header->flags >> 1) & 3;
	ret_publish->dup = header->flags & 8;
	ret_publish->topic = mqtt_bytes(body + 2, read_u16(body));
	if (ret_publish->qos > 0)
		ret_publish->packet_id = read_u16(body + 2 + ret_publish->topic.length);
}

enum head_kind head_look(const struct client *client, const struct tcp_span *spans, unsigned count,
	const struct mqtt_framer *framer, struct mqtt_header *ret_header,
	struct mqtt_publish *ret_publish)
{
	uint8_t *head = client->offload->scratch;
	uint32_t have = spans_copy(spans, count, head, OFFLOAD_SCRATCH);
	enum mqtt_error error = mqtt_header_decode(head, have, ret_header);

	if (error == MQTT_ERROR_TRUNCATED)
		return HEAD_MORE;
	if (error != MQTT_OK || ret_header->type != MQTT_PUBLISH ||
		ret_header->size + ret_header->remaining <= framer->gather_max)
		return HEAD_ORDINARY;
	// Whole in one piece the framer shows it as a packet, however long.
	if (spans[0].length >= ret_header->size + ret_header->remaining)
		return HEAD_ORDINARY;
	*ret_publish = (struct mqtt_publish){.qos = 0};
	error = mqtt_publish_decode(client->version, ret_header,
		mqtt_bytes(head + ret_header->size, have - ret_header->size), ret_publish);
	if (error == MQTT_ERROR_TRUNCATED && have < OFFLOAD_SCRATCH)
		return HEAD_MORE;
	// Longer than any topic: its properties are not waited for.
	if (error == MQTT_ERROR_TRUNCATED)
		front_read(head + ret_header->size, ret_header, ret_publish);
	return HEAD_LONG;
}

struct mqtt_bytes head_body(const struct client *client, const struct mqtt_frame *frame)
{
	uint8_t *packet = client->offload->scratch;
	uint32_t length = 0;

	if (frame->parts_count <= 1)
		return mqtt_frame_body(frame);
	for (unsigned i = 0; i < frame->parts_count; i++) {
		memcpy(packet + length, frame->parts[i]->data, frame->parts[i]->length);
		length += frame->parts[i]->length;
	}
	return mqtt_bytes(packet + frame->header.size, length - frame->header.size);
}
