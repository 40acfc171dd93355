// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Cuts what a connection receives into MQTT packets; the connection's thread.

#include "bench/stream.h"

#include "base/assert.h"
#include "bench/memory.h"

#include <stdlib.h>
#include <string.h>

void bench_stream_fini(struct bench_stream *stream)
{
	free(stream->partial);
	memset(stream, 0, sizeof(*stream));
}

int bench_stream_room(
	const struct bench_stream *stream, const struct bench_buffer *buffer, struct iovec iov[2])
{
	int count = 0;

	if (stream->length)
		iov[count++] = (struct iovec){
			stream->partial + stream->have, stream->length - stream->have};
	iov[count++] = (struct iovec){buffer->data + MQTT_HEADER_MAX, buffer->size};
	return count;
}

// Keeps the beginning of a packet; `length` is 0 while its header is not complete.
static void stream_keep(
	struct bench_stream *stream, const uint8_t *data, uint32_t n, uint32_t length)
{
	uint32_t need = length > MQTT_HEADER_MAX ? length : MQTT_HEADER_MAX;

	if (stream->capacity < need) {
		stream->partial = bench_memory_resize(stream->partial, need, 1);
		stream->capacity = need;
	}
	if (n)
		memcpy(stream->partial, data, n);
	stream->have = n;
	stream->length = length;
}

static bool stream_show(const uint8_t *packet, const struct mqtt_header *header,
	bench_stream_handler *handler, void *context)
{
	return handler(context, header, mqtt_bytes(packet + header->size, header->remaining));
}

// The packets in contiguous bytes; what is left at the end is kept.
static bool stream_cut(struct bench_stream *stream, const uint8_t *data, size_t n,
	bench_stream_handler *handler, void *context, enum mqtt_error *ret_error)
{
	struct mqtt_header header;

	while (n) {
		enum mqtt_error error = mqtt_header_decode(data, n, &header);
		uint32_t length;

		if (error == MQTT_ERROR_TRUNCATED) {
			stream_keep(stream, data, n, 0);
			return true;
		}
		if (error) {
			*ret_error = error;
			return false;
		}
		length = header.size + header.remaining;
		if (length > n) {
			stream_keep(stream, data, n, length);
			return true;
		}
		if (!stream_show(data, &header, handler, context))
			return false;
		data += length;
		n -= length;
	}
	return true;
}

// The rest of a split packet came straight into `partial`; returns how many of the n bytes it took.
static size_t stream_fill(struct bench_stream *stream, size_t n)
{
	size_t missing = stream->length - stream->have;
	size_t taken = n < missing ? n : missing;

	stream->have += taken;
	return taken;
}

bool bench_stream_take(struct bench_stream *stream, const struct bench_buffer *buffer, size_t n,
	bench_stream_handler *handler, void *context, enum mqtt_error *ret_error)
{
	const uint8_t *data = buffer->data + MQTT_HEADER_MAX;
	struct mqtt_header header;

	*ret_error = MQTT_OK;
	if (stream->length) {
		n -= stream_fill(stream, n);
		if (stream->have < stream->length)
			return true;
		ASSERT(mqtt_header_decode(stream->partial, stream->have, &header) == MQTT_OK);
		stream->have = 0;
		stream->length = 0;
		if (!stream_show(stream->partial, &header, handler, context))
			return false;
	} else if (stream->have) {
		// Part of a fixed header: it goes into the headroom, so that all is contiguous.
		data -= stream->have;
		memcpy((uint8_t *)data, stream->partial, stream->have);
		n += stream->have;
		stream->have = 0;
	}
	return stream_cut(stream, data, n, handler, context, ret_error);
}
