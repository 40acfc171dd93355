// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Queues on malloc; see tcp_double.h.

#include "tcp_double.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/payload.h"

void tcp_double_open(struct tcp_pcb *pcb, struct tcp_stack *stack)
{
	memset(pcb, 0, sizeof(*pcb));
	pcb->stack = stack;
	pcb->pieces = malloc(sizeof(pcb->pieces[0]) * TCP_DOUBLE_PIECES);
	pcb->progress_us = stack->now_us;
}

static void piece_put(const struct tcp_piece *piece)
{
	if (piece->offset != TCP_PIECE_INLINE)
		payload_put(piece->payload);
}

void tcp_double_close(struct tcp_pcb *pcb)
{
	tcp_recv_consume(pcb, pcb->readable);
	for (uint32_t i = 0; i < pcb->pieces_count; i++)
		piece_put(&pcb->pieces[i]);
	pcb->stack->pieces -= pcb->pieces_count;
	free(pcb->pieces);
	free(pcb->got);
	memset(pcb, 0, sizeof(*pcb));
}

// --- receiving -----------------------------------------------------------------------------------

void tcp_double_arrive(struct tcp_pcb *pcb, const void *data, size_t length)
{
	unsigned max = sizeof(pcb->spans) / sizeof(pcb->spans[0]);
	struct tcp_double_span *span;

	if (length == 0)
		return;
	if (pcb->spans_count == max)
		tcp_double_settle(pcb);
	span = &pcb->spans[(pcb->spans_first + pcb->spans_count++) % max];
	*span = (struct tcp_double_span){malloc(length), (uint32_t)length, 0};
	memcpy(span->data, data, length);
	pcb->readable += (uint32_t)length;
}

void tcp_double_settle(struct tcp_pcb *pcb)
{
	uint32_t length = pcb->readable, at = 0;
	unsigned max = sizeof(pcb->spans) / sizeof(pcb->spans[0]);
	uint8_t *all;

	if (pcb->spans_count < 2)
		return;
	all = malloc(length);
	for (unsigned i = 0; i < pcb->spans_count; i++) {
		struct tcp_double_span *span = &pcb->spans[(pcb->spans_first + i) % max];

		memcpy(all + at, span->data + span->skip, span->length - span->skip);
		at += span->length - span->skip;
		free(span->data);
	}
	pcb->spans_count = 1;
	pcb->spans[pcb->spans_first] = (struct tcp_double_span){all, length, 0};
}

unsigned tcp_recv_peek(struct tcp_pcb *pcb, struct tcp_span *ret_spans, unsigned max)
{
	unsigned n = 0;

	for (; n < max && n < pcb->spans_count; n++) {
		const struct tcp_double_span *span =
			&pcb->spans[(pcb->spans_first + n) %
				    (sizeof(pcb->spans) / sizeof(pcb->spans[0]))];

		ret_spans[n] =
			(struct tcp_span){span->data + span->skip, span->length - span->skip};
	}
	return n;
}

void tcp_recv_consume(struct tcp_pcb *pcb, uint32_t n)
{
	ASSERT(n <= pcb->readable);
	pcb->readable -= n;
	while (n > 0) {
		struct tcp_double_span *span = &pcb->spans[pcb->spans_first];
		uint32_t part = span->length - span->skip;

		if (part > n) {
			span->skip += n;
			return;
		}
		n -= part;
		free(span->data);
		pcb->spans_first =
			(pcb->spans_first + 1) % (sizeof(pcb->spans) / sizeof(pcb->spans[0]));
		pcb->spans_count--;
	}
}

uint32_t tcp_recv_readable(const struct tcp_pcb *pcb)
{
	return pcb->readable;
}

bool tcp_recv_eof(const struct tcp_pcb *pcb)
{
	return pcb->eof;
}

// --- sending -------------------------------------------------------------------------------------

int tcp_send(struct tcp_pcb *pcb, const struct tcp_piece *pieces, unsigned count)
{
	if (pcb->shut || pcb->dead)
		return -EPIPE;
	if (count > pcb->stack->pieces_max - pcb->stack->pieces)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		if (pieces[i].length == 0)
			continue;
		if (pieces[i].offset == TCP_PIECE_INLINE) {
			ASSERT(pieces[i].length <= TCP_PIECE_INLINE_MAX);
		} else {
			ASSERT(pieces[i].offset + pieces[i].length <= pieces[i].payload->length);
			payload_get(pieces[i].payload);
		}
		ASSERT(pcb->pieces_count < TCP_DOUBLE_PIECES);
		pcb->pieces[pcb->pieces_count++] = pieces[i];
		pcb->stack->pieces++;
		pcb->queued += pieces[i].length;
	}
	return 0;
}

// A copy is made of pieces in place: it needs no payloads.
int tcp_send_copy(struct tcp_pcb *pcb, const void *data, size_t length)
{
	size_t needed = (length + TCP_PIECE_INLINE_MAX - 1) / TCP_PIECE_INLINE_MAX;
	const uint8_t *bytes = data;

	if (pcb->shut || pcb->dead)
		return -EPIPE;
	if (needed > pcb->stack->pieces_max - pcb->stack->pieces)
		return -ENOMEM;
	while (length > 0) {
		struct tcp_piece piece = {.offset = TCP_PIECE_INLINE,
			.length = length < TCP_PIECE_INLINE_MAX ? (uint32_t)length
								: TCP_PIECE_INLINE_MAX};

		memcpy(piece.bytes, bytes, piece.length);
		bytes += piece.length;
		length -= piece.length;
		ASSERT(tcp_send(pcb, &piece, 1) == 0);
	}
	return 0;
}

static void got(struct tcp_pcb *pcb, const uint8_t *data, uint32_t length)
{
	if (pcb->got_length + length > pcb->got_size) {
		pcb->got_size = 2 * (pcb->got_length + length);
		pcb->got = realloc(pcb->got, pcb->got_size);
	}
	memcpy(pcb->got + pcb->got_length, data, length);
	pcb->got_length += length;
}

void tcp_double_acknowledge(struct tcp_pcb *pcb, uint64_t length)
{
	bool above = pcb->queued > pcb->low_water;
	uint32_t done = 0;

	if (pcb->queued > 0 && length > 0)
		pcb->progress_us = pcb->stack->now_us;
	for (; done < pcb->pieces_count && length > 0; done++) {
		struct tcp_piece *piece = &pcb->pieces[done];
		bool in_place = piece->offset == TCP_PIECE_INLINE;
		const uint8_t *data =
			in_place ? piece->bytes : piece->payload->data + piece->offset;
		uint32_t part = piece->length < length ? piece->length : (uint32_t)length;

		got(pcb, data, part);
		length -= part;
		pcb->queued -= part;
		if (part < piece->length) {
			if (in_place)
				memmove(piece->bytes, piece->bytes + part, piece->length - part);
			else
				piece->offset += part;
			piece->length -= part;
			break;
		}
		piece_put(piece);
	}
	pcb->pieces_count -= done;
	pcb->stack->pieces -= done;
	memmove(pcb->pieces, pcb->pieces + done, pcb->pieces_count * sizeof(pcb->pieces[0]));
	if (above && pcb->queued <= pcb->low_water)
		pcb->writable = true;
}

uint64_t tcp_send_queued(const struct tcp_pcb *pcb)
{
	return pcb->queued;
}

uint32_t tcp_send_pieces(const struct tcp_pcb *pcb)
{
	return pcb->pieces_count;
}

uint64_t tcp_send_progress_us(const struct tcp_pcb *pcb)
{
	return pcb->progress_us;
}

void tcp_set_low_water(struct tcp_pcb *pcb, uint32_t bytes)
{
	pcb->low_water = bytes;
}

unsigned tcp_pieces_pressure(const struct tcp_stack *stack)
{
	return (unsigned)(stack->pieces * UINT64_C(1000) / stack->pieces_max);
}

void tcp_stack_usage(const struct tcp_stack *stack, struct tcp_usage *ret_usage)
{
	*ret_usage = (struct tcp_usage){.pieces = stack->pieces, .pieces_max = stack->pieces_max};
}

void tcp_pcb_info(const struct tcp_pcb *pcb, struct tcp_info *ret_info)
{
	*ret_info = (struct tcp_info){
		.state = TCP_ESTABLISHED, .remote = pcb->remote, .queued = pcb->queued};
}

const char *tcp_state_name(enum tcp_state state)
{
	return state == TCP_ESTABLISHED ? "ESTABLISHED" : "?";
}
