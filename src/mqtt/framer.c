// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Cuts a byte stream into packets; see framer.h for the states. The way taken by
// nearly all traffic, a whole packet in one piece, costs the decoding of its header.
// Worker's thread. MQTT 2.1.

#include "mqtt/framer.h"

#include <string.h>

#include "base/assert.h"

enum framer_state {
	STATE_HEADER, // between packets or inside a fixed header
	STATE_GATHER, // filling payloads
	STATE_STREAM, // inside a packet too long to gather
	STATE_SPILL,  // what was gathered has been shown; it lives until the next push, then STREAM
	STATE_SHOWN,  // a gathered packet has been returned; its payloads live until the next push
	STATE_BROKEN, // no MQTT; error says why
};

void mqtt_framer_init(struct mqtt_framer *framer, struct payload_pool *pool, uint32_t gather_max)
{
	ASSERT(gather_max <= MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST);
	*framer = (struct mqtt_framer){
		.pool = pool,
		.gather_max = gather_max,
		.state = STATE_HEADER,
	};
}

static struct payload **parts(struct mqtt_framer *framer)
{
	return framer->table ? (struct payload **)framer->table->data : &framer->first;
}

// Gives back the parts from number `keep` on.
static void parts_free(struct mqtt_framer *framer, unsigned keep)
{
	while (framer->parts_count > keep)
		payload_put(parts(framer)[--framer->parts_count]);
	if (keep == 0 && framer->table) {
		payload_put(framer->table);
		framer->table = NULL;
	}
}

// To the start of the next packet.
static void packet_reset(struct mqtt_framer *framer)
{
	parts_free(framer, 0);
	framer->first = NULL;
	framer->state = STATE_HEADER;
	framer->head_length = 0;
	framer->length = 0;
	framer->have = 0;
}

void mqtt_framer_fini(struct mqtt_framer *framer)
{
	packet_reset(framer);
}

bool mqtt_framer_idle(const struct mqtt_framer *framer)
{
	return framer->state == STATE_SHOWN ||
	       (framer->state == STATE_HEADER && framer->head_length == 0);
}

// --- gathering -----------------------------------------------------------------------------------

// Takes payloads until the first `upto` bytes of the packet have a place; all or nothing.
static bool parts_reserve(struct mqtt_framer *framer, uint32_t upto)
{
	unsigned before = framer->parts_count;

	if (framer->length > PAYLOAD_LARGEST && framer->table == NULL) {
		framer->table = payload_alloc(
			framer->pool, MQTT_FRAME_PARTS_MAX * sizeof(struct payload *));
		if (framer->table == NULL)
			return false;
	}
	while (framer->parts_count * PAYLOAD_LARGEST < upto) {
		uint32_t rest = framer->length - framer->parts_count * PAYLOAD_LARGEST;
		struct payload *part = payload_alloc(
			framer->pool, rest < PAYLOAD_LARGEST ? rest : PAYLOAD_LARGEST);

		if (part == NULL) {
			parts_free(framer, before);
			return false;
		}
		parts(framer)[framer->parts_count++] = part;
	}
	return true;
}

// Appends to the packet; its place has been reserved.
static void parts_fill(struct mqtt_framer *framer, const uint8_t *data, uint32_t n)
{
	while (n > 0) {
		struct payload *part = parts(framer)[framer->have / PAYLOAD_LARGEST];
		uint32_t room = PAYLOAD_LARGEST - framer->have % PAYLOAD_LARGEST;
		uint32_t size = n < room ? n : room;

		DASSERT(part->length + size <= part->capacity);
		memcpy(part->data + part->length, data, size);
		part->length += size;
		framer->have += size;
		data += size;
		n -= size;
	}
}

static enum mqtt_framer_result gathered_show(
	struct mqtt_framer *framer, struct mqtt_frame *ret_packet)
{
	struct payload *const *all = parts(framer);

	framer->state = STATE_SHOWN;
	*ret_packet = (struct mqtt_frame){
		.header = framer->header,
		.head = mqtt_bytes(all[0]->data, all[0]->length),
		.length = framer->length,
		.parts = all,
		.parts_count = framer->parts_count,
	};
	return MQTT_FRAMER_PACKET;
}

static enum mqtt_framer_result gather(struct mqtt_framer *framer, const uint8_t *data, size_t n,
	size_t *ret_used, struct mqtt_frame *ret_packet)
{
	uint32_t missing = framer->length - framer->have;
	uint32_t size = n < missing ? (uint32_t)n : missing;

	if (!parts_reserve(framer, framer->have + size))
		return MQTT_FRAMER_NOMEM;
	parts_fill(framer, data, size);
	*ret_used += size;
	return framer->have == framer->length ? gathered_show(framer, ret_packet)
					      : MQTT_FRAMER_MORE;
}

// --- streams -------------------------------------------------------------------------------------

static enum mqtt_framer_result broken_show(
	struct mqtt_framer *framer, struct mqtt_bytes bytes, bool first, struct mqtt_stream *ret)
{
	framer->state = STATE_BROKEN;
	*ret = (struct mqtt_stream){.bytes = bytes, .first = first, .type = MQTT_RESERVED};
	return MQTT_FRAMER_STREAM;
}

// Shows bytes of a long packet; at its end the next one begins.
static enum mqtt_framer_result stream_show(
	struct mqtt_framer *framer, const uint8_t *data, size_t n, struct mqtt_stream *ret)
{
	*ret = (struct mqtt_stream){
		.bytes = mqtt_bytes(data, n),
		.first = framer->have == 0,
		.last = framer->have + n == framer->length,
		.type = framer->header.type,
		.length = framer->length,
	};
	framer->have += (uint32_t)n;
	framer->state = STATE_STREAM;
	if (ret->last)
		packet_reset(framer);
	return MQTT_FRAMER_STREAM;
}

static enum mqtt_framer_result stream(struct mqtt_framer *framer, const uint8_t *data, size_t n,
	size_t *ret_used, struct mqtt_stream *ret_stream)
{
	uint32_t missing = framer->length - framer->have;

	if (n > missing)
		n = missing;
	*ret_used = n;
	return stream_show(framer, data, n, ret_stream);
}

// --- headers -------------------------------------------------------------------------------------

// The packet's header stands in framer->header and nothing of it lies in framer->head.
static enum mqtt_framer_result packet_begin(struct mqtt_framer *framer, const uint8_t *data,
	size_t n, size_t *ret_used, struct mqtt_frame *ret_packet, struct mqtt_stream *ret_stream)
{
	enum mqtt_framer_result result;

	framer->length = framer->header.size + framer->header.remaining;
	if (n >= framer->length) {
		*ret_packet = (struct mqtt_frame){
			.header = framer->header,
			.head = mqtt_bytes(data, framer->length),
			.length = framer->length,
		};
		*ret_used = framer->length;
		framer->length = 0;
		return MQTT_FRAMER_PACKET;
	}
	if (framer->length > framer->gather_max)
		return stream(framer, data, n, ret_used, ret_stream);
	framer->state = STATE_GATHER;
	result = gather(framer, data, n, ret_used, ret_packet);
	if (result == MQTT_FRAMER_NOMEM)
		packet_reset(framer);
	return result;
}

// The header was split: it has just been completed in framer->head by the first `taken` of data.
static enum mqtt_framer_result split_begin(struct mqtt_framer *framer, const uint8_t *data,
	size_t n, uint8_t taken, size_t *ret_used, struct mqtt_frame *ret_packet,
	struct mqtt_stream *ret_stream)
{
	uint8_t earlier = framer->head_length - taken;
	uint32_t missing, size;

	framer->length = framer->header.size + framer->header.remaining;
	if (framer->length > framer->gather_max) {
		*ret_used = taken;
		return stream_show(framer, framer->head, framer->head_length, ret_stream);
	}
	missing = framer->length - framer->head_length;
	size = n - taken < missing ? (uint32_t)(n - taken) : missing;
	// Reserved for all of it before anything is kept: out of memory must leave no trace.
	if (!parts_reserve(framer, framer->head_length + size)) {
		packet_reset(framer);
		framer->head_length = earlier;
		return MQTT_FRAMER_NOMEM;
	}
	framer->state = STATE_GATHER;
	parts_fill(framer, framer->head, framer->head_length);
	*ret_used = taken;
	return gather(framer, data + taken, n - taken, ret_used, ret_packet);
}

static enum mqtt_framer_result header_continue(struct mqtt_framer *framer, const uint8_t *data,
	size_t n, size_t *ret_used, struct mqtt_frame *ret_packet, struct mqtt_stream *ret_stream)
{
	enum mqtt_error error = MQTT_ERROR_TRUNCATED;
	uint8_t taken = 0;

	while (error == MQTT_ERROR_TRUNCATED && taken < n) {
		framer->head[framer->head_length++] = data[taken++];
		error = mqtt_header_decode(framer->head, framer->head_length, &framer->header);
	}
	if (error == MQTT_OK)
		return split_begin(framer, data, n, taken, ret_used, ret_packet, ret_stream);
	*ret_used = taken;
	if (error == MQTT_ERROR_TRUNCATED)
		return MQTT_FRAMER_MORE;
	framer->error = error;
	return broken_show(framer, mqtt_bytes(framer->head, framer->head_length), true, ret_stream);
}

static enum mqtt_framer_result header_begin(struct mqtt_framer *framer, const uint8_t *data,
	size_t n, size_t *ret_used, struct mqtt_frame *ret_packet, struct mqtt_stream *ret_stream)
{
	enum mqtt_error error = mqtt_header_decode(data, n, &framer->header);

	switch (error) {
	case MQTT_OK:
		return packet_begin(framer, data, n, ret_used, ret_packet, ret_stream);
	case MQTT_ERROR_TRUNCATED: // n < MQTT_HEADER_MAX
		memcpy(framer->head, data, n);
		framer->head_length = (uint8_t)n;
		*ret_used = n;
		return MQTT_FRAMER_MORE;
	default:
		framer->error = error;
		*ret_used = n;
		return broken_show(framer, mqtt_bytes(data, n), true, ret_stream);
	}
}

enum mqtt_framer_result mqtt_framer_push(struct mqtt_framer *framer, const uint8_t *data, size_t n,
	size_t *ret_used, struct mqtt_frame *ret_packet, struct mqtt_stream *ret_stream)
{
	*ret_used = 0;
	if (framer->state == STATE_SHOWN)
		packet_reset(framer);
	if (framer->state == STATE_SPILL) {
		parts_free(framer, 0);
		framer->first = NULL;
		framer->state = STATE_STREAM;
	}
	if (n == 0)
		return MQTT_FRAMER_MORE;
	switch (framer->state) {
	case STATE_HEADER:
		return framer->head_length == 0
			       ? header_begin(framer, data, n, ret_used, ret_packet, ret_stream)
			       : header_continue(framer, data, n, ret_used, ret_packet, ret_stream);
	case STATE_GATHER:
		return gather(framer, data, n, ret_used, ret_packet);
	case STATE_STREAM:
		return stream(framer, data, n, ret_used, ret_stream);
	default:
		*ret_used = n;
		return broken_show(framer, mqtt_bytes(data, n), false, ret_stream);
	}
}

bool mqtt_framer_spill(struct mqtt_framer *framer, struct mqtt_frame *ret_part)
{
	if (framer->state != STATE_GATHER)
		return false;
	gathered_show(framer, ret_part);
	ret_part->length = framer->have;
	framer->state = STATE_SPILL;
	return true;
}

void mqtt_framer_check(const struct mqtt_framer *framer)
{
	struct payload *const *all =
		framer->table ? (struct payload *const *)framer->table->data : &framer->first;
	bool gathering = framer->state == STATE_GATHER || framer->state == STATE_SPILL ||
			 framer->state == STATE_SHOWN;
	uint32_t held = 0;

	ASSERT((framer->error != MQTT_OK) == (framer->state == STATE_BROKEN));
	ASSERT(framer->head_length <= MQTT_HEADER_MAX);
	ASSERT(gathering == (framer->parts_count > 0));
	ASSERT(framer->table == NULL || framer->length > PAYLOAD_LARGEST);
	for (unsigned i = 0; i < framer->parts_count; i++) {
		ASSERT(all[i]->refs > 0 && all[i]->length <= all[i]->capacity);
		ASSERT(i + 1 == framer->parts_count || all[i]->length == PAYLOAD_LARGEST);
		held += all[i]->length;
	}
	if (gathering)
		ASSERT(held == framer->have);
	if (framer->state == STATE_GATHER || framer->state == STATE_SPILL)
		ASSERT(framer->have < framer->length);
	if (framer->state == STATE_SHOWN)
		ASSERT(framer->have == framer->length);
	if (framer->state == STATE_STREAM)
		ASSERT(framer->have < framer->length);
	if (framer->state == STATE_HEADER)
		ASSERT(framer->length == 0 && framer->have == 0);
}
