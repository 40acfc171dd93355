// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Encoding of deliveries (3.3). RETAIN and DUP are 0: only first deliveries of
// messages that were not retained are Offramp's.

#include "offload/message.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "mqtt/property.h"
#include "offload/state.h"

// --- the application message ---------------------------------------------------------------------

// A message that lies in receive buffers is gone after this turn: copy it once.
static int message_copy_body(struct message *message, const uint8_t *data, uint32_t length)
{
	struct payload *copy = NULL;

	if (length <= PAYLOAD_LARGEST)
		copy = payload_alloc(message->offload->payloads, length);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy->data, data, length);
	copy->length = length;
	message->copy = copy;
	message->body[0] = (struct tcp_piece){.payload = copy, .length = length};
	message->body_count = 1;
	return 0;
}

static void message_refer_body(
	struct message *message, const struct mqtt_frame *frame, uint32_t offset)
{
	for (unsigned i = 0; i < frame->parts_count; i++) {
		struct payload *part = frame->parts[i];

		if (offset < part->length)
			message->body[message->body_count++] = (struct tcp_piece){
				.payload = part,
				.offset = offset,
				.length = part->length - offset,
			};
		offset = offset < part->length ? 0 : offset - part->length;
	}
}

int message_init(struct message *message, struct offload *offload, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish)
{
	uint32_t offset = frame->header.size + publish->head_length;
	uint32_t length = publish->payload_length;

	message->offload = offload;
	message->publish = publish;
	message->bytes = (struct mqtt_bytes){0};
	message->copy = message->table = NULL;
	message->body_count = message->forms_next = 0;
	for (unsigned i = 0; i < MESSAGE_FORMS; i++)
		message->forms[i].payload = NULL;
	if (length <= MESSAGE_COPY_MAX && offset + length <= frame->head.length)
		message->bytes = mqtt_bytes(frame->head.data + offset, length);
	else if (frame->parts_count == 0)
		return message_copy_body(message, frame->head.data + offset, length);
	else
		message_refer_body(message, frame, offset);
	return 0;
}

void message_fini(struct message *message)
{
	for (unsigned i = 0; i < MESSAGE_FORMS; i++)
		if (message->forms[i].payload != NULL)
			payload_put(message->forms[i].payload);
	if (message->copy != NULL)
		payload_put(message->copy);
	piece_table_put(message->table);
}

// --- forms ---------------------------------------------------------------------------------------

// Where the message expiry's value stands among the forwarded properties; UINT32_MAX: nowhere.
static uint32_t expiry_find(const uint8_t *properties, uint32_t length)
{
	struct mqtt_reader reader = mqtt_reader(mqtt_bytes(properties, length));
	struct mqtt_property property;

	while (mqtt_property_skim(&reader, &property))
		if (property.id == MQTT_PROPERTY_MESSAGE_EXPIRY)
			return (uint32_t)(property.raw.data + 1 - properties);
	return UINT32_MAX;
}

// The properties that go on; most messages have none, those of v3 publishers never.
static uint32_t properties_forward(const struct mqtt_publish *publish, uint8_t *out)
{
	if (publish->properties.length == 0)
		return 0;
	return mqtt_publish_properties_forward(publish, publish->message_expiry, out);
}

// Properties of a v5 delivery; returns where they end.
static uint8_t *form_encode_properties(
	struct form *form, const struct mqtt_publish *publish, uint32_t length, uint8_t *p)
{
	uint32_t forwarded;

	p += mqtt_varint_encode(length, p);
	forwarded = properties_forward(publish, p);
	if (publish->has_message_expiry)
		form->expiry_offset = p - form->payload->data + expiry_find(p, forwarded);
	p += forwarded;
	if (form->id != 0) {
		*p++ = MQTT_PROPERTY_SUBSCRIPTION_ID;
		p += mqtt_varint_encode(form->id, p);
	}
	return p;
}

static void form_encode(
	struct form *form, const struct message *message, uint32_t properties, uint32_t prefix)
{
	const struct mqtt_publish *publish = message->publish;
	uint8_t *p = form->payload->data;

	p += mqtt_header_encode(MQTT_PUBLISH, form->qos << 1, form->length - prefix, p);
	*p++ = publish->topic.length >> 8;
	*p++ = publish->topic.length & 0xff;
	memcpy(p, publish->topic.data, publish->topic.length);
	p += publish->topic.length;
	form->head_length = p - form->payload->data;
	if (form->v5)
		p = form_encode_properties(form, publish, properties, p);
	if (message->bytes.length > 0)
		memcpy(p, message->bytes.data, message->bytes.length);
	p += message->bytes.length;
	form->payload->length = p - form->payload->data;
}

static bool form_make(struct form *form, const struct message *message)
{
	const struct mqtt_publish *publish = message->publish;
	uint32_t properties = 0, remaining, prefix, in_payload;

	if (form->v5) {
		properties = properties_forward(publish, NULL);
		if (form->id != 0)
			properties += 1 + mqtt_varint_size(form->id);
	}
	remaining = 2 + publish->topic.length + (form->qos > 0 ? 2 : 0) +
		    (form->v5 ? mqtt_varint_size(properties) + properties : 0) +
		    publish->payload_length;
	if (remaining > MQTT_REMAINING_MAX)
		return false;
	prefix = 1 + mqtt_varint_size(remaining);
	form->length = prefix + remaining;
	form->expiry_offset = 0;
	in_payload = form->length - (form->qos > 0 ? 2 : 0) -
		     (message->body_count > 0 ? publish->payload_length : 0);
	if (in_payload > PAYLOAD_LARGEST)
		return false;
	form->payload = payload_alloc(message->offload->payloads, in_payload);
	if (form->payload == NULL)
		return false;
	form_encode(form, message, properties, prefix);
	DASSERT(form->payload->length == in_payload);
	return true;
}

const struct form *message_form(struct message *message, bool v5, uint8_t qos, uint32_t id)
{
	struct form *form;

	for (unsigned i = 0; i < MESSAGE_FORMS; i++) {
		form = &message->forms[i];
		if (form->payload != NULL && form->v5 == v5 && form->qos == qos && form->id == id)
			return form;
	}
	form = &message->forms[message->forms_next++ % MESSAGE_FORMS];
	if (form->payload != NULL)
		payload_put(form->payload);
	*form = (struct form){.id = id, .qos = qos, .v5 = v5};
	if (!form_make(form, message)) {
		form->payload = NULL;
		return NULL;
	}
	return form;
}

unsigned message_pieces(
	const struct message *message, const struct form *form, uint16_t id, struct tcp_piece *out)
{
	unsigned n = 0;

	if (form->qos == 0) {
		out[n++] = (struct tcp_piece){
			.payload = form->payload, .length = form->payload->length};
	} else {
		out[n++] =
			(struct tcp_piece){.payload = form->payload, .length = form->head_length};
		out[n++] = (struct tcp_piece){
			.bytes = {id >> 8, id & 0xff}, .offset = TCP_PIECE_INLINE, .length = 2};
		out[n++] = (struct tcp_piece){
			.payload = form->payload,
			.offset = form->head_length,
			.length = form->payload->length - form->head_length,
		};
	}
	for (unsigned i = 0; i < message->body_count; i++)
		out[n++] = message->body[i];
	return n;
}

// --- pieces that outlive their message -----------------------------------------------------------

struct payload *piece_table_create(
	struct offload *offload, const struct tcp_piece *pieces, unsigned count)
{
	struct payload *payload = payload_alloc(
		offload->payloads, sizeof(struct piece_table) + count * sizeof(pieces[0]));
	struct piece_table *table;

	if (payload == NULL)
		return NULL;
	table = (struct piece_table *)(void *)payload->data;
	table->count = count;
	for (unsigned i = 0; i < count; i++) {
		table->pieces[i] = pieces[i];
		if (pieces[i].offset != TCP_PIECE_INLINE)
			payload_get(pieces[i].payload);
	}
	return payload;
}

void piece_table_put(struct payload *payload)
{
	if (payload == NULL)
		return;
	if (payload->refs == 1) {
		const struct piece_table *table = piece_table(payload);

		for (unsigned i = 0; i < table->count; i++)
			if (table->pieces[i].offset != TCP_PIECE_INLINE)
				payload_put(table->pieces[i].payload);
	}
	payload_put(payload);
}

struct payload *message_body_table(struct message *message, int *ret_error)
{
	*ret_error = 0;
	if (message->body_count == 0)
		return NULL;
	if (message->table == NULL)
		message->table =
			piece_table_create(message->offload, message->body, message->body_count);
	if (message->table == NULL) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	return payload_get(message->table);
}

int frame_pieces(struct offload *offload, const struct mqtt_frame *frame, struct tcp_piece *out,
	unsigned *ret_count, struct payload **ret_copy)
{
	*ret_copy = NULL;
	*ret_count = frame->parts_count;
	for (unsigned i = 0; i < frame->parts_count; i++)
		out[i] = (struct tcp_piece){
			.payload = frame->parts[i], .length = frame->parts[i]->length};
	if (frame->parts_count > 0)
		return 0;
	if (frame->length > PAYLOAD_LARGEST)
		return -ENOMEM;
	*ret_copy = payload_alloc(offload->payloads, frame->length);
	if (*ret_copy == NULL)
		return -ENOMEM;
	memcpy((*ret_copy)->data, frame->head.data, frame->length);
	(*ret_copy)->length = frame->length;
	out[0] = (struct tcp_piece){.payload = *ret_copy, .length = frame->length};
	*ret_count = 1;
	return 0;
}
