// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is held is the packet as it came; everything else is found out anew.

#include "offload/held.h"

#include "base/assert.h"

struct delivery *held_take(
	struct offload *offload, const struct mqtt_frame *frame, enum mqtt_version version)
{
	struct delivery *delivery = delivery_take(offload, DELIVERY_HELD);
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX];
	struct payload *copy;
	unsigned count;

	if (delivery == NULL)
		return NULL;
	if (frame_pieces(offload, frame, pieces, &count, &copy) == 0) {
		delivery->body = piece_table_create(offload, pieces, count);
		if (copy != NULL)
			payload_put(copy);
	}
	if (delivery->body == NULL) {
		delivery_drop(offload, delivery);
		return NULL;
	}
	delivery->length = frame->length;
	delivery->version = version;
	return delivery;
}

void held_open(const struct delivery *delivery, struct held_packet *ret_packet)
{
	const struct piece_table *table = piece_table(delivery->body);
	struct mqtt_frame *frame = &ret_packet->frame;
	enum mqtt_error error;

	for (unsigned i = 0; i < table->count; i++)
		ret_packet->parts[i] = table->pieces[i].payload;
	*frame = (struct mqtt_frame){
		.length = delivery->length,
		.parts = ret_packet->parts,
		.parts_count = table->count,
		.head = mqtt_bytes(ret_packet->parts[0]->data, ret_packet->parts[0]->length),
	};
	error = mqtt_header_decode(frame->head.data, frame->head.length, &frame->header);
	ASSERT(error == MQTT_OK);
	error = mqtt_publish_decode(
		delivery->version, &frame->header, mqtt_frame_body(frame), &ret_packet->publish);
	ASSERT(error == MQTT_OK);
}

bool held_age(const struct delivery *delivery, uint64_t now_us, struct mqtt_publish *publish)
{
	uint64_t waited_s = (now_us - delivery->since_us) / US_IN_S;

	if (!publish->has_message_expiry || waited_s == 0)
		return true;
	if (waited_s >= publish->message_expiry)
		return false;
	publish->message_expiry -= (uint32_t)waited_s;
	return true;
}
