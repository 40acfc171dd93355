// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Rings of control messages: each a length (four octets, and four of nothing), then as many octets,
// a multiple of eight. Heads and tails count octets for ever; a record may go round the end.

#include <errno.h>
#include <string.h>

#include "channel/shared_state.h"

#define HEAD 8u

static void ring_write(uint8_t *ring, uint32_t at, const void *data, uint32_t length)
{
	uint32_t place = at % CHANNEL_MESSAGES_BYTES;
	uint32_t first =
		CHANNEL_MESSAGES_BYTES - place < length ? CHANNEL_MESSAGES_BYTES - place : length;

	memcpy(ring + place, data, first);
	memcpy(ring, (const uint8_t *)data + first, length - first);
}

static void ring_read(const uint8_t *ring, uint32_t at, void *data, uint32_t length)
{
	uint32_t place = at % CHANNEL_MESSAGES_BYTES;
	uint32_t first =
		CHANNEL_MESSAGES_BYTES - place < length ? CHANNEL_MESSAGES_BYTES - place : length;

	memcpy(data, ring + place, first);
	memcpy((uint8_t *)data + first, ring, length - first);
}

int shared_message_put(struct shared_lane *lane, const struct channel_message *message)
{
	uint8_t *ring = lane->memory + lane->layout.messages[lane->lane.side];
	uint32_t tail =
		atomic_load_explicit(&shared_theirs(lane)->messages_tail, memory_order_acquire);
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	uint32_t length = (uint32_t)channel_message_encode(message, bytes);
	uint32_t head[2] = {length, 0};
	uint32_t used = lane->messages_head - tail;

	if (used > CHANNEL_MESSAGES_BYTES) {
		lane->broken = true;
		return -EPIPE;
	}
	if (CHANNEL_MESSAGES_BYTES - used < HEAD + length)
		return -EAGAIN;
	ring_write(ring, lane->messages_head, head, HEAD);
	ring_write(ring, lane->messages_head + HEAD, bytes, length);
	lane->messages_head += HEAD + length;
	atomic_store_explicit(
		&shared_mine(lane)->messages_head, lane->messages_head, memory_order_release);
	shared_notify(lane, CHANNEL_MESSAGES);
	return 0;
}

bool shared_message_take(struct shared_lane *lane, struct channel_message *ret_message)
{
	const uint8_t *ring = lane->memory + lane->layout.messages[shared_other(lane)];
	uint32_t came =
		atomic_load_explicit(&shared_theirs(lane)->messages_head, memory_order_acquire) -
		lane->messages_tail;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	uint32_t head[2];

	if (came == 0)
		return false;
	lane->broken = true; // unless everything is in order
	if (came < HEAD || came > CHANNEL_MESSAGES_BYTES)
		return false;
	ring_read(ring, lane->messages_tail, head, HEAD);
	if (head[0] > CHANNEL_MESSAGE_MAX || head[0] > came - HEAD)
		return false;
	ring_read(ring, lane->messages_tail + HEAD, bytes, head[0]);
	if (channel_message_decode(bytes, head[0], ret_message) < 0)
		return false;
	lane->broken = false;
	lane->messages_tail += HEAD + head[0];
	atomic_store_explicit(
		&shared_mine(lane)->messages_tail, lane->messages_tail, memory_order_release);
	return true;
}
