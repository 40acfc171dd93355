// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The way to the broker. Slow path: small packets are copied, gathered ones referred to.

#include "offload/pass.h"

#include <errno.h>

#include "offload/message.h"

#define KEEP_ALIVE_SHARE 8

static int passed(struct client *client, int rc)
{
	if (rc == 0)
		client->up_last_us = client->offload->now_us;
	// A broker that is gone takes everything: its end is carried to the client elsewhere.
	return rc == -EPIPE ? 0 : rc;
}

int pass_packet(struct client *client, const struct mqtt_frame *frame)
{
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX];
	struct payload *copy;
	unsigned count;
	int rc;

	if (frame->parts_count == 0)
		return passed(
			client, client->link->send_copy(client, frame->head.data, frame->length));
	rc = frame_pieces(client->offload, frame, pieces, &count, &copy);
	if (rc < 0)
		return rc;
	return passed(client, client->link->send(client, pieces, count));
}

int pass_bytes(struct client *client, const uint8_t *bytes, unsigned length)
{
	return passed(client, client->link->send_copy(client, bytes, length));
}

// A payload of these bytes. NULL: no memory.
static struct payload *payload_of(struct client *client, struct mqtt_bytes bytes)
{
	struct payload *payload = payload_alloc(client->offload->payloads, bytes.length);

	if (payload == NULL)
		return NULL;
	if (bytes.length > 0)
		memcpy(payload->data, bytes.data, bytes.length);
	payload->length = bytes.length;
	return payload;
}

int pass_between(struct client *client, struct mqtt_bytes before, const struct mqtt_frame *frame,
	struct mqtt_bytes after)
{
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX + 2];
	struct payload *copy = NULL, *front = payload_of(client, before),
		       *back = payload_of(client, after);
	unsigned count = 0;
	int rc = -ENOMEM;

	if (front != NULL && back != NULL)
		rc = frame_pieces(client->offload, frame, pieces + 1, &count, &copy);
	if (rc == 0) {
		pieces[0] = (struct tcp_piece){.payload = front, .length = front->length};
		pieces[count + 1] = (struct tcp_piece){.payload = back, .length = back->length};
		rc = passed(client, client->link->send(client, pieces, count + 2));
	}
	if (copy != NULL)
		payload_put(copy);
	if (front != NULL)
		payload_put(front);
	if (back != NULL)
		payload_put(back);
	return rc;
}

int pass_stream(struct client *client, struct mqtt_bytes bytes)
{
	int rc = passed(client, client->link->send_copy(client, bytes.data, bytes.length));

	if (rc == -ENOMEM)
		client->failed = true;
	return rc;
}

int pass_inline(struct client *client, const struct tcp_piece *packet)
{
	return passed(client, client->link->send(client, packet, 1));
}

bool pass_ping(struct client *client, uint64_t what)
{
	struct tcp_piece pingreq = {
		.bytes = {MQTT_PINGREQ << 4, 0},
		.offset = TCP_PIECE_INLINE,
		.length = 2,
	};

	// Only between two packets, and to who listens.
	if (client->state != CLIENT_ACCEPTED || pings_full(&client->pings) || client->up_in_packet)
		return false;
	if (pass_inline(client, &pingreq) < 0)
		return false;
	pings_sent(&client->pings, what);
	counter_inc(&client->offload->counters.pings);
	return true;
}

void pass_keep_alive(struct client *client)
{
	uint64_t silence_us = client->offload->now_us - client->up_last_us;

	if (client->keep_alive != 0 &&
		silence_us >= client->keep_alive * US_IN_S / KEEP_ALIVE_SHARE)
		pass_ping(client, PING_KEEP_ALIVE);
}

bool pass_has_room(const struct client *client)
{
	return client->link->queued(client) < PASS_HIGH_WATER;
}
