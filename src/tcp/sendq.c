// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The send and retransmission queue: pieces in blocks, and the pool of blocks.
// Runs on the worker; references to payloads are given back when acknowledged.

#include "tcp/sendq.h"

#include "base/assert.h"
#include "base/payload.h"
#include "base/sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct tcp_block *block_of(const struct tcp_piece *piece)
{
	return (struct tcp_block *)((uintptr_t)piece & ~(uintptr_t)(sizeof(struct tcp_block) - 1));
}

// The piece behind one that is not the tail.
static struct tcp_piece *piece_next(const struct tcp_piece *piece)
{
	struct tcp_block *block = block_of(piece);

	if (piece == &block->pieces[TCP_BLOCK_PIECES - 1])
		return block->next->pieces;
	return (struct tcp_piece *)piece + 1;
}

int tcp_piece_pool_init(struct tcp_piece_pool *pool, uint32_t pieces_max, uint32_t queues_max)
{
	uint64_t total = pieces_max / TCP_BLOCK_PIECES + 2 * (uint64_t)queues_max;

	memset(pool, 0, sizeof(*pool));
	if (total > UINT32_MAX)
		return -ENOMEM;
	// Not zeroed on purpose: pages are touched when they are first needed.
	pool->blocks = aligned_alloc(sizeof(struct tcp_block), total * sizeof(struct tcp_block));
	if (!pool->blocks)
		return -ENOMEM;
	pool->total = (uint32_t)total;
	pool->pieces_max = pieces_max;
	return 0;
}

void tcp_piece_pool_fini(struct tcp_piece_pool *pool)
{
	free(pool->blocks);
	pool->blocks = NULL;
}

static struct tcp_block *block_alloc(struct tcp_piece_pool *pool)
{
	struct tcp_block *block = pool->free;

	if (block) {
		pool->free = block->next;
	} else {
		ASSERT(pool->fresh < pool->total); // see the bound in the header
		block = &pool->blocks[pool->fresh++];
	}
	block->next = NULL;
	pool->used++;
	return block;
}

static void block_free(struct tcp_piece_pool *pool, struct tcp_block *block)
{
	block->next = pool->free;
	pool->free = block;
	pool->used--;
}

void tcp_sendq_push(struct tcp_piece_pool *pool, struct tcp_sendq *q, const struct tcp_piece *piece)
{
	struct tcp_piece *slot;

	DASSERT(piece->length > 0);
	DASSERT(pool->pieces < pool->pieces_max);
	if (!q->head) {
		slot = block_alloc(pool)->pieces;
		q->head = q->next = slot;
		q->head_skip = q->next_offset = 0;
	} else {
		struct tcp_block *last = block_of(q->tail);

		if (q->tail == &last->pieces[TCP_BLOCK_PIECES - 1]) {
			last->next = block_alloc(pool);
			slot = last->next->pieces;
		} else {
			slot = q->tail + 1;
		}
	}
	*slot = *piece;
	q->tail = slot;
	q->pieces++;
	q->bytes += piece->length;
	pool->pieces++;
}

void tcp_sendq_truncate(
	struct tcp_piece_pool *pool, struct tcp_sendq *q, const struct tcp_sendq *before)
{
	struct tcp_piece *piece = q->head;

	if (before->tail)
		piece = before->tail == q->tail ? NULL : piece_next(before->tail);
	for (uint32_t n = q->pieces - before->pieces; n > 0; n--) {
		struct tcp_piece *next = n > 1 ? piece_next(piece) : NULL;

		if (piece->offset != TCP_PIECE_INLINE)
			payload_put(piece->payload);
		// A block that began with one of ours goes when its last one does.
		if ((!next || block_of(next) != block_of(piece)) &&
			(!before->tail || block_of(piece) != block_of(before->tail)))
			block_free(pool, block_of(piece));
		pool->pieces--;
		piece = next;
	}
	if (before->tail)
		block_of(before->tail)->next = NULL;
	*q = *before;
}

const uint8_t *tcp_cursor_octets(struct tcp_cursor at)
{
	if (at.piece->offset == TCP_PIECE_INLINE)
		return at.piece->bytes + at.offset;
	return at.piece->payload->data + at.piece->offset + at.offset;
}

uint32_t tcp_cursor_take(struct tcp_cursor *from, uint32_t n, struct tcp_cursor *ret_at)
{
	uint32_t left;

	// A cursor may stand at the end of a piece whose successor came later.
	if (from->offset == from->piece->length) {
		from->piece = piece_next(from->piece);
		from->offset = 0;
	}
	*ret_at = *from;
	left = from->piece->length - from->offset;
	if (left > n)
		left = n;
	from->offset += left;
	return left;
}

struct tcp_cursor tcp_sendq_copy(struct tcp_cursor from, uint8_t *to, uint32_t n)
{
	while (n > 0) {
		struct tcp_cursor at;
		uint32_t part = tcp_cursor_take(&from, n, &at);

		memcpy(to, tcp_cursor_octets(at), part);
		to += part;
		n -= part;
	}
	return from;
}

uint16_t tcp_cursor_sum(struct tcp_cursor at, uint32_t n)
{
	if (at.piece->offset == TCP_PIECE_INLINE)
		return sum_bytes(at.piece->bytes + at.offset, n);
	return payload_sum(at.piece->payload, at.piece->offset + at.offset, n);
}

struct tcp_cursor tcp_sendq_copy_summed(
	struct tcp_cursor from, uint8_t *to, uint32_t n, uint16_t *sum)
{
	uint32_t done = 0;

	while (done < n) {
		struct tcp_cursor at;
		uint32_t part = tcp_cursor_take(&from, n - done, &at);

		memcpy(to + done, tcp_cursor_octets(at), part);
		*sum = sum_add(*sum, sum_at(tcp_cursor_sum(at, part), done));
		done += part;
	}
	return from;
}

struct tcp_cursor tcp_sendq_skip(struct tcp_cursor from, uint32_t n)
{
	struct tcp_cursor at;

	while (n > 0)
		n -= tcp_cursor_take(&from, n, &at);
	return from;
}

void tcp_sendq_rewind(struct tcp_sendq *q)
{
	q->next = q->head;
	q->next_offset = q->head_skip;
	q->sent = 0;
}

// Gives the head back and moves on.
static void head_drop(struct tcp_piece_pool *pool, struct tcp_sendq *q)
{
	struct tcp_piece *head = q->head;
	struct tcp_piece *next = head == q->tail ? NULL : piece_next(head);

	if (head->offset != TCP_PIECE_INLINE)
		payload_put(head->payload);
	if (!next || block_of(next) != block_of(head))
		block_free(pool, block_of(head));
	q->head = next;
	q->head_skip = 0;
	q->pieces--;
	pool->pieces--;
	if (!next)
		q->tail = NULL;
}

void tcp_sendq_drop(struct tcp_piece_pool *pool, struct tcp_sendq *q, uint64_t n)
{
	// A cursor with unacknowledged octets before it stands in or behind a piece that stays.
	bool cursor_stays = n < q->sent;

	DASSERT(n <= q->bytes);
	q->bytes -= n;
	if (cursor_stays)
		q->sent -= (uint32_t)n;
	while (n > 0) {
		uint32_t left = q->head->length - q->head_skip;

		if (n < left) {
			q->head_skip += (uint32_t)n;
			break;
		}
		n -= left;
		head_drop(pool, q);
	}
	if (!cursor_stays)
		tcp_sendq_rewind(q);
}

void tcp_sendq_check(const struct tcp_sendq *q)
{
	const struct tcp_piece *piece = q->head;
	uint64_t bytes = 0;
	uint64_t before_next = 0;
	uint32_t pieces = 0;
	bool found = false;

	if (!piece) {
		ASSERT(!q->tail && !q->next && q->pieces == 0 && q->bytes == 0 && q->sent == 0);
		return;
	}
	ASSERT(q->head_skip < piece->length);
	for (;;) {
		ASSERT(piece->length > 0);
		ASSERT(piece->offset != TCP_PIECE_INLINE || piece->length <= TCP_PIECE_INLINE_MAX);
		if (piece == q->next) {
			ASSERT(q->next_offset <= piece->length);
			before_next = bytes + q->next_offset;
			found = true;
		}
		bytes += piece->length;
		pieces++;
		if (piece == q->tail)
			break;
		piece = piece_next(piece);
	}
	ASSERT(found);
	ASSERT(pieces == q->pieces);
	ASSERT(bytes - q->head_skip == q->bytes);
	ASSERT(before_next - q->head_skip == q->sent);
}
