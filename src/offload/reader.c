// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The loop, one packet a step.

#include "offload/reader.h"

#include "offload/head.h"
#include "offload/state.h"

// Bytes of one direction dealt with before others get their turn.
#define QUANTUM (64u << 10)

enum step { STEP_ON, STEP_STOP };

void reader_init(struct reader *reader, struct payload_pool *pool)
{
	mqtt_framer_init(&reader->framer, pool, 0);
	reader->has_stuck = false;
	reader->begun = 0;
}

void reader_fini(struct reader *reader)
{
	mqtt_framer_fini(&reader->framer);
}

void reader_settle(struct reader *reader)
{
	struct mqtt_stream stream;
	struct mqtt_frame frame;
	size_t used;

	mqtt_framer_push(&reader->framer, NULL, 0, &used, &frame, &stream);
}

int32_t reader_beyond(const struct reader *reader)
{
	return reader->has_stuck ? -1 : (int32_t)reader->begun;
}

static enum step wait(struct client *client, const struct reader_ops *ops)
{
	ops->wait(client);
	return STEP_STOP;
}

static enum step step_stuck(
	struct client *client, struct reader *reader, const struct reader_ops *ops)
{
	if (!ops->packet(client, &reader->stuck))
		return wait(client, ops);
	reader->has_stuck = false;
	reader_settle(reader);
	return STEP_ON;
}

// At the start of a packet: a long one is announced before its bytes go on.
static enum step step_head(struct client *client, struct reader *reader,
	const struct reader_ops *ops, const struct tcp_span *first)
{
	struct tcp_span spans[HEAD_SPANS];
	struct mqtt_publish publish;
	struct mqtt_header header;
	unsigned count;

	if (head_is_short(first))
		return STEP_ON;
	count = ops->peek(client, spans, HEAD_SPANS);
	switch (head_look(client, spans, count, &reader->framer, &header, &publish)) {
	case HEAD_ORDINARY:
		return STEP_ON;
	case HEAD_MORE:
		for (unsigned i = 0; i < count; i++)
			reader->begun += spans[i].length;
		// What never gets longer than a header is nothing.
		for (unsigned i = 0; i < count && ops->eof(client); i++) {
			reader->begun -= spans[i].length;
			ops->consume(client, spans[i].length);
		}
		return STEP_STOP;
	case HEAD_LONG:
		break;
	}
	return ops->begin(client, &header, &publish) ? STEP_ON : wait(client, ops);
}

// A packet that lies in place is simply seen again; a gathered one is kept.
static enum step step_packet(struct client *client, struct reader *reader,
	const struct reader_ops *ops, const struct mqtt_frame *frame, size_t *used)
{
	if (ops->packet(client, frame)) {
		reader_settle(reader);
		return STEP_ON;
	}
	if (frame->parts_count == 0) {
		*used = 0;
	} else {
		reader->stuck = *frame;
		reader->has_stuck = true;
	}
	return wait(client, ops);
}

static enum step step(struct client *client, struct reader *reader, const struct reader_ops *ops,
	uint32_t *budget)
{
	struct mqtt_framer *framer = &reader->framer;
	struct mqtt_stream stream;
	struct mqtt_frame frame;
	struct tcp_span span;
	enum step next = STEP_ON;
	size_t used;

	if (reader->has_stuck)
		return step_stuck(client, reader, ops);
	reader->begun = 0;
	if (ops->peek(client, &span, 1) == 0)
		return STEP_STOP;
	if (client->state == CLIENT_RAW) {
		ops->raw(client, mqtt_bytes(span.data, span.length));
		ops->consume(client, span.length);
		return STEP_ON;
	}
	if (mqtt_framer_idle(framer)) {
		framer->gather_max = offload_gather_max(client->offload, client->broker);
		if (step_head(client, reader, ops, &span) == STEP_STOP)
			return STEP_STOP;
	}
	switch (mqtt_framer_push(framer, span.data, span.length, &used, &frame, &stream)) {
	case MQTT_FRAMER_MORE:
		break;
	case MQTT_FRAMER_PACKET:
		next = step_packet(client, reader, ops, &frame, &used);
		break;
	case MQTT_FRAMER_STREAM:
		ops->stream(client, &stream);
		break;
	case MQTT_FRAMER_NOMEM:
		return ops->spill(client) ? STEP_ON : wait(client, ops);
	}
	if (used > 0)
		ops->consume(client, (uint32_t)used);
	*budget -= used < *budget ? (uint32_t)used : *budget;
	return next;
}

void reader_run(struct client *client, struct reader *reader, const struct reader_ops *ops)
{
	uint32_t budget = QUANTUM;

	while (ops->may_read(client)) {
		if (budget == 0) {
			client_kick(client);
			break;
		}
		if (step(client, reader, ops, &budget) == STEP_STOP)
			break;
	}
}
