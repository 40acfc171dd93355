// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Deliveries that wait hold references; this is where they are taken and put, and made into what
// goes out.

#include "offload/output.h"

struct delivery *delivery_take(struct offload *offload, enum delivery_kind kind)
{
	struct delivery *delivery = slab_take(offload->deliveries);

	if (delivery == NULL)
		return NULL;
	list_init(&delivery->link);
	delivery->kind = kind;
	delivery->since_us = offload->now_us;
	return delivery;
}

void delivery_drop(struct offload *offload, struct delivery *delivery)
{
	for (unsigned i = 0; i < delivery->count; i++)
		if (delivery->pieces[i].offset != TCP_PIECE_INLINE)
			payload_put(delivery->pieces[i].payload);
	piece_table_put(delivery->body);
	list_remove(&delivery->link);
	slab_give(offload->deliveries, delivery);
}

struct delivery *delivery_create(
	struct offload *offload, struct message *message, const struct form *form)
{
	struct delivery *delivery = delivery_take(offload, DELIVERY_OURS);
	struct tcp_piece pieces[MESSAGE_PIECES_MAX];
	int error;

	if (delivery == NULL)
		return NULL;
	delivery->body = message_body_table(message, &error);
	if (error < 0) {
		delivery_drop(offload, delivery);
		return NULL;
	}
	delivery->count = message_pieces(message, form, 0, pieces) - message->body_count;
	for (unsigned i = 0; i < delivery->count; i++) {
		delivery->pieces[i] = pieces[i];
		if (pieces[i].offset != TCP_PIECE_INLINE)
			payload_get(pieces[i].payload);
	}
	delivery->qos = form->qos;
	delivery->version = form->v5 ? MQTT_VERSION_5 : MQTT_VERSION_3_1_1;
	delivery->length = form->length;
	delivery->expires = message->publish->has_message_expiry;
	delivery->expiry_s = message->publish->message_expiry;
	delivery->expiry_offset = form->expiry_offset;
	return delivery;
}

// --- of another worker ---------------------------------------------------------------------------

// The bytes up to `length`, at the same offsets.
static struct payload *payload_copy(struct offload *offload, const uint8_t *data, uint32_t length)
{
	struct payload *copy = payload_alloc(offload->payloads, length);

	if (copy == NULL)
		return NULL;
	memcpy(copy->data, data, length);
	copy->length = length;
	return copy;
}

// Pieces of one payload stay so.
static bool pieces_copy(
	struct offload *offload, struct delivery *own, const struct delivery *theirs)
{
	for (unsigned i = 0; i < theirs->count; i++) {
		struct tcp_piece piece = theirs->pieces[i];
		struct payload *copy = NULL;

		for (unsigned n = 0; piece.offset != TCP_PIECE_INLINE && n < i; n++)
			if (theirs->pieces[n].offset != TCP_PIECE_INLINE &&
				theirs->pieces[n].payload == piece.payload)
				copy = payload_get(own->pieces[n].payload);
		if (piece.offset != TCP_PIECE_INLINE && copy == NULL)
			copy = payload_copy(offload, piece.payload->data, piece.payload->length);
		if (piece.offset != TCP_PIECE_INLINE && copy == NULL)
			return false;
		if (piece.offset != TCP_PIECE_INLINE)
			piece.payload = copy;
		own->pieces[own->count++] = piece;
	}
	return true;
}

static struct payload *body_copy(struct offload *offload, const struct piece_table *theirs)
{
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX] = {0};
	struct payload *table = NULL;
	unsigned count = 0;

	for (; count < theirs->count; count++) {
		const struct tcp_piece *piece = &theirs->pieces[count];
		struct payload *copy =
			payload_copy(offload, piece->payload->data + piece->offset, piece->length);

		if (copy == NULL)
			break;
		pieces[count] = (struct tcp_piece){.payload = copy, .length = piece->length};
	}
	if (count == theirs->count)
		table = piece_table_create(offload, pieces, count);
	for (unsigned i = 0; i < count; i++)
		payload_put(pieces[i].payload);
	return table;
}

struct delivery *delivery_copy(struct offload *offload, const struct delivery *theirs)
{
	struct delivery *own = slab_take(offload->deliveries);

	if (own == NULL)
		return NULL;
	*own = *theirs;
	list_init(&own->link);
	own->count = 0;
	own->body = NULL;
	if (pieces_copy(offload, own, theirs) && theirs->body != NULL)
		own->body = body_copy(offload, piece_table(theirs->body));
	if (own->count < theirs->count || (theirs->body != NULL && own->body == NULL)) {
		delivery_drop(offload, own);
		return NULL;
	}
	return own;
}

// --- going out -----------------------------------------------------------------------------------

uint32_t delivery_waited_s(const struct offload *offload, const struct delivery *delivery)
{
	return (uint32_t)((offload->now_us - delivery->since_us) / US_IN_S);
}

// The first byte of a PUBLISH that is sent again ([MQTT-3.3.1-1]); the rest is the form's.
static struct tcp_piece dup_piece(const struct delivery *delivery)
{
	return (struct tcp_piece){
		.bytes = {MQTT_PUBLISH << 4 | 8 | delivery->qos << 1},
		.offset = TCP_PIECE_INLINE,
		.length = 1,
	};
}

unsigned delivery_pieces(
	const struct delivery *delivery, uint16_t id, uint32_t waited_s, struct tcp_piece *out)
{
	uint32_t at = delivery->expiry_offset, left = delivery->expiry_s - waited_s;
	bool dup = delivery->kind == DELIVERY_OURS && delivery->id != 0;
	unsigned n = 0;

	for (unsigned i = 0; i < delivery->count; i++) {
		struct tcp_piece piece = delivery->pieces[i];

		if (piece.offset == TCP_PIECE_INLINE && delivery->kind == DELIVERY_OURS) {
			const uint8_t bytes[] = {left >> 24, left >> 16, left >> 8, left};

			piece.bytes[0] = id >> 8;
			piece.bytes[1] = id & 0xff;
			if (delivery->expires)
				memcpy(piece.bytes + 4, bytes, 4);
		} else if (piece.offset != TCP_PIECE_INLINE && at != 0 && waited_s > 0 &&
			   at >= piece.offset && at < piece.offset + piece.length) {
			out[n] = piece;
			out[n++].length = at - piece.offset;
			out[n++] = (struct tcp_piece){
				.bytes = {left >> 24, left >> 16, left >> 8, left},
				.offset = TCP_PIECE_INLINE,
				.length = 4,
			};
			piece.length -= at + 4 - piece.offset;
			piece.offset = at + 4;
		} else if (dup && i == 0) {
			out[n++] = dup_piece(delivery);
			piece.offset++;
			piece.length--;
		}
		out[n++] = piece;
	}
	if (delivery->body != NULL)
		for (unsigned i = 0; i < piece_table(delivery->body)->count; i++)
			out[n++] = piece_table(delivery->body)->pieces[i];
	return n;
}
