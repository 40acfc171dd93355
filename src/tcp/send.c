// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the user sends: pieces and copies join the queue, the flush does the rest. A message
// for a thousand connections costs each of them one piece here and nothing else.
// RFC 9293 3.10.2. Runs on the worker.

#include "tcp/pcb.h"
#include "tcp/stack.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/payload.h"

#include <errno.h>
#include <string.h>

// Copies smaller than this still get a payload with room for what is likely to follow.
#define COPY_PAYLOAD_LEAST 992u

static bool may_send(const struct tcp_pcb *pcb)
{
	if (pcb->flags & TCP_PCB_FIN_QUEUED)
		return false;
	return pcb->state >= TCP_SYN_DEFERRED && pcb->state <= TCP_CLOSE_WAIT;
}

static uint64_t pieces_length(const struct tcp_piece *pieces, unsigned count)
{
	uint64_t length = 0;

	for (unsigned i = 0; i < count; i++)
		length += pieces[i].length;
	return length;
}

int tcp_send(struct tcp_pcb *pcb, const struct tcp_piece *pieces, unsigned count)
{
	struct tcp_piece_pool *pool = &pcb->stack->pieces;

	if (!may_send(pcb))
		return -EPIPE;
	if (count > pool->pieces_max - pool->pieces)
		return -ENOMEM;
	if (pcb->send_kib && tcp_send_room_check(pcb, pieces_length(pieces, count)))
		return -EAGAIN;
	for (unsigned i = 0; i < count; i++) {
		if (pieces[i].length == 0)
			continue;
		if (pieces[i].offset == TCP_PIECE_INLINE)
			ASSERT(pieces[i].length <= TCP_PIECE_INLINE_MAX);
		else
			payload_get(pieces[i].payload);
		tcp_sendq_push(pool, &pcb->sendq, &pieces[i]);
	}
	tcp_pcb_mark_flush(pcb);
	return 0;
}

// Octets that fit behind the queue's last piece, in a payload that is the queue's alone.
static uint32_t tail_room(const struct tcp_sendq *q)
{
	const struct tcp_piece *tail = q->tail;

	if (!tail)
		return 0;
	if (tail->offset == TCP_PIECE_INLINE)
		return TCP_PIECE_INLINE_MAX - tail->length;
	if (tail->payload->refs != 1 || tail->offset + tail->length != tail->payload->length)
		return 0;
	return tail->payload->capacity - tail->payload->length;
}

static void tail_append(
	struct tcp_sendq *q, struct tcp_piece *tail, const uint8_t *data, uint32_t n)
{
	if (tail->offset == TCP_PIECE_INLINE) {
		memcpy(tail->bytes + tail->length, data, n);
	} else {
		memcpy(tail->payload->data + tail->payload->length, data, n);
		tail->payload->length += n;
	}
	tail->length += n;
	q->bytes += n;
}

// Payloads filled with the data join the queue. -ENOMEM: some may have joined.
static int copies_push(struct tcp_pcb *pcb, const uint8_t *data, size_t length)
{
	struct tcp_piece_pool *pool = &pcb->stack->pieces;

	while (length > 0) {
		uint32_t part = length < PAYLOAD_LARGEST ? (uint32_t)length : PAYLOAD_LARGEST;
		uint32_t size = part > COPY_PAYLOAD_LEAST ? part : COPY_PAYLOAD_LEAST;
		struct tcp_piece piece = {.length = part};

		if (pool->pieces == pool->pieces_max)
			return -ENOMEM;
		piece.payload = payload_alloc(pcb->stack->payloads, size);
		if (!piece.payload)
			return -ENOMEM;
		memcpy(piece.payload->data, data, part);
		piece.payload->length = part;
		tcp_sendq_push(pool, &pcb->sendq, &piece);
		data += part;
		length -= part;
	}
	return 0;
}

// A few octets, such as an acknowledgement, need no payload.
static int inline_push(struct tcp_pcb *pcb, const uint8_t *data, size_t length)
{
	struct tcp_piece_pool *pool = &pcb->stack->pieces;
	struct tcp_piece piece = {.offset = TCP_PIECE_INLINE, .length = (uint32_t)length};

	if (pool->pieces == pool->pieces_max)
		return -ENOMEM;
	memcpy(piece.bytes, data, length);
	tcp_sendq_push(pool, &pcb->sendq, &piece);
	return 0;
}

int tcp_send_copy(struct tcp_pcb *pcb, const void *data, size_t length)
{
	struct tcp_sendq *q = &pcb->sendq;
	struct tcp_sendq before = *q;
	uint32_t room = tail_room(q);
	int err = 0;

	if (!may_send(pcb))
		return -EPIPE;
	if (tcp_send_room_check(pcb, length))
		return -EAGAIN;
	if (room > length)
		room = (uint32_t)length;
	length -= room;
	if (length > TCP_PIECE_INLINE_MAX)
		err = copies_push(pcb, (const uint8_t *)data + room, length);
	else if (length > 0)
		err = inline_push(pcb, (const uint8_t *)data + room, length);
	if (err) {
		tcp_sendq_truncate(&pcb->stack->pieces, q, &before);
		return err;
	}
	// Last, for it could not be undone so simply; nobody has looked meanwhile.
	if (room > 0)
		tail_append(q, before.tail, data, room);
	tcp_pcb_mark_flush(pcb);
	return 0;
}

uint64_t tcp_send_queued(const struct tcp_pcb *pcb)
{
	return pcb->sendq.bytes;
}

uint64_t tcp_send_unsent(const struct tcp_pcb *pcb)
{
	uint32_t sent = pcb->snd_max - pcb->snd_una; // SYN and FIN included

	if (pcb->state < TCP_ESTABLISHED || pcb->sendq.bytes == 0)
		return pcb->sendq.bytes;
	return sent < pcb->sendq.bytes ? pcb->sendq.bytes - sent : 0;
}

uint32_t tcp_send_pieces(const struct tcp_pcb *pcb)
{
	return pcb->sendq.pieces;
}

uint32_t tcp_send_end(const struct tcp_pcb *pcb)
{
	bool queued = (pcb->flags & TCP_PCB_FIN_QUEUED) != 0;
	bool waits = pcb->state == TCP_FIN_WAIT_1 || pcb->state == TCP_CLOSING ||
		     pcb->state == TCP_LAST_ACK;
	bool lost = pcb->state == TCP_CLOSED && !queued;

	return pcb->snd_una + (uint32_t)pcb->sendq.bytes + (waits || lost);
}

uint32_t tcp_send_acknowledged(const struct tcp_pcb *pcb)
{
	return pcb->snd_una;
}

void tcp_set_low_water(struct tcp_pcb *pcb, uint32_t bytes)
{
	pcb->low_water = bytes;
}

uint64_t tcp_send_progress_us(const struct tcp_pcb *pcb)
{
	return pcb->stack->now_us - (uint64_t)(pcb->stack->now_ms - pcb->progress_ms) * US_IN_MS;
}

unsigned tcp_pieces_pressure(const struct tcp_stack *stack)
{
	const struct tcp_piece_pool *pool = &stack->pieces;

	if (pool->pieces_max == 0)
		return 1000;
	return (unsigned)(pool->pieces * UINT64_C(1000) / pool->pieces_max);
}
