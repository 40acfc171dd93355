// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The naive walk: where does the packet begin that holds byte `at`? See framer_twin.h.

#include "framer_twin.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct span {
	size_t start, length; // length 0: no MQTT from `start` on; SIZE_MAX: header incomplete
	struct mqtt_header header;
};

// The packet that begins at or holds `at`, by walking from the very start.
static struct span span_at(const struct framer_run *run, size_t at)
{
	struct span span = {.start = 0};

	for (;;) {
		enum mqtt_error error = mqtt_header_decode(
			run->data + span.start, run->size - span.start, &span.header);

		if (error == MQTT_ERROR_TRUNCATED)
			span.length = SIZE_MAX;
		else if (error)
			span.length = 0;
		else
			span.length = (size_t)span.header.size + span.header.remaining;
		if (error || span.start + span.length > at)
			return span;
		span.start += span.length;
	}
}

static bool same_header(const struct mqtt_header *a, const struct mqtt_header *b)
{
	return a->type == b->type && a->flags == b->flags && a->size == b->size &&
	       a->remaining == b->remaining;
}

static void packet_check(struct framer_run *run, const struct mqtt_frame *frame)
{
	struct span span = span_at(run, run->shown);
	const uint8_t *expected = run->data + run->shown;
	size_t at = 0;

	ASSERT(span.start == run->shown && span.length == frame->length);
	ASSERT(same_header(&span.header, &frame->header));
	ASSERT(frame->head.length <= frame->length);
	ASSERT(memcmp(frame->head.data, expected, frame->head.length) == 0);
	ASSERT(frame->parts_count <= MQTT_FRAME_PARTS_MAX);
	if (frame->parts_count == 0) {
		ASSERT(frame->head.length == frame->length);
	} else {
		ASSERT(frame->length <= run->gather_max);
		ASSERT(frame->head.data == frame->parts[0]->data);
		for (unsigned i = 0; i < frame->parts_count; i++) {
			const struct payload *part = frame->parts[i];

			ASSERT(at + part->length <= frame->length);
			ASSERT(memcmp(part->data, expected + at, part->length) == 0);
			ASSERT(i + 1 == frame->parts_count || part->length == PAYLOAD_LARGEST);
			at += part->length;
		}
		ASSERT(at == frame->length);
	}
	run->shown += frame->length;
	run->packets++;
}

static void stream_check(struct framer_run *run, const struct mqtt_stream *stream)
{
	struct span span = span_at(run, run->shown);
	bool broken = span.length == 0;

	ASSERT(span.length != SIZE_MAX && stream->bytes.length > 0);
	ASSERT(stream->first == (span.start == run->shown));
	ASSERT(memcmp(stream->bytes.data, run->data + run->shown, stream->bytes.length) == 0);
	run->shown += stream->bytes.length;
	if (broken) {
		ASSERT(!stream->last && stream->type == MQTT_RESERVED && stream->length == 0);
	} else {
		ASSERT(span.length > run->gather_max);
		ASSERT(stream->type == span.header.type && stream->length == span.length);
		ASSERT(run->shown <= span.start + span.length);
		ASSERT(stream->last == (run->shown == span.start + span.length));
	}
	run->in_stream++;
}

void framer_run_init(struct framer_run *run, struct payload_pool *pool, uint32_t gather_max,
	const uint8_t *data, size_t size)
{
	*run = (struct framer_run){
		.pool = pool,
		.data = data,
		.size = size,
		.gather_max = gather_max,
	};
	mqtt_framer_init(&run->framer, pool, gather_max);
}

static enum mqtt_framer_result push(struct framer_run *run, const uint8_t *data, size_t n,
	size_t *ret_used, struct mqtt_frame *ret_frame, struct mqtt_stream *ret_stream,
	bool memory_ends)
{
	bool idle = mqtt_framer_idle(&run->framer);
	enum mqtt_framer_result result = MQTT_FRAMER_NOMEM;

	// With 0, 1, 2 … allocations left, until it is enough.
	run->pool->left = memory_ends ? 0 : UINT32_MAX;
	for (unsigned left = 0; result == MQTT_FRAMER_NOMEM; left++) {
		if (memory_ends)
			run->pool->left = left;
		result = mqtt_framer_push(&run->framer, data, n, ret_used, ret_frame, ret_stream);
		mqtt_framer_check(&run->framer);
		if (result != MQTT_FRAMER_NOMEM)
			break;
		ASSERT(memory_ends && *ret_used == 0);
		ASSERT(mqtt_framer_idle(&run->framer) == idle);
		run->out_of_memory++;
	}
	return result;
}

void framer_run_push(struct framer_run *run, size_t n, bool memory_ends)
{
	// A copy of exactly these bytes: a sanitizer sees what is read beyond them, and the framer
	// cannot rely on bytes that are gone.
	uint8_t *copy = malloc(n ? n : 1), *data = copy;

	ASSERT(copy != NULL && run->kept + n <= run->size);
	if (n)
		memcpy(copy, run->data + run->kept, n);
	for (;;) {
		enum mqtt_framer_result result;
		struct mqtt_frame frame;
		struct mqtt_stream stream;
		size_t used;

		result = push(run, data, n, &used, &frame, &stream, memory_ends);
		ASSERT(used <= n);
		run->kept += used;
		data += used;
		n -= used;
		if (result == MQTT_FRAMER_MORE)
			break;
		ASSERT(used > 0);
		if (result == MQTT_FRAMER_PACKET)
			packet_check(run, &frame);
		else
			stream_check(run, &stream);
		ASSERT(run->shown == run->kept);
	}
	ASSERT(n == 0);
	ASSERT(mqtt_framer_idle(&run->framer) ==
		(run->framer.error == MQTT_OK && run->shown == run->kept &&
			span_at(run, run->kept).start == run->kept));
	free(copy);
}

void framer_run_fini(struct framer_run *run)
{
	struct span span = span_at(run, run->shown);

	ASSERT(run->kept == run->size);
	// What has not been shown is one packet that is not complete and may be gathered.
	if (run->shown < run->size) {
		ASSERT(span.start == run->shown && span.length != 0);
		ASSERT(span.length == SIZE_MAX ||
			(span.length > run->size - run->shown && span.length <= run->gather_max));
	}
	mqtt_framer_fini(&run->framer);
	ASSERT(run->pool->in_use == 0);
}
