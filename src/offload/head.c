// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Only the first bytes are copied together, and only for packets that are long.

#include "offload/head.h"

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

enum head_kind head_look(struct offload *offload, const struct tcp_span *spans, unsigned count,
	const struct mqtt_framer *framer, struct mqtt_publish *ret_publish)
{
	uint8_t *head = offload->scratch;
	struct mqtt_header header;
	enum mqtt_error error;
	uint32_t have, needed;

	have = spans_copy(spans, count, head, sizeof(offload->scratch));
	error = mqtt_header_decode(head, have, &header);
	if (error == MQTT_ERROR_TRUNCATED)
		return HEAD_MORE;
	if (error != MQTT_OK || header.type != MQTT_PUBLISH ||
		header.size + header.remaining <= framer->gather_max)
		return HEAD_ORDINARY;
	// Whole in one piece the framer shows it as a packet, however long.
	if (spans[0].length >= header.size + header.remaining)
		return HEAD_ORDINARY;
	*ret_publish = (struct mqtt_publish){
		.qos = (header.flags >> 1) & 3,
		.dup = header.flags & 8,
		.retain = header.flags & 1,
	};
	needed = header.size + 2;
	if (have < needed)
		return HEAD_MORE;
	ret_publish->topic = mqtt_bytes(head + needed, read_u16(head + header.size));
	needed += ret_publish->topic.length + (ret_publish->qos > 0 ? 2 : 0);
	if (have < needed)
		return HEAD_MORE;
	if (ret_publish->qos > 0)
		ret_publish->packet_id = read_u16(head + needed - 2);
	return HEAD_LONG;
}
