// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The send queue of a connection, which is its retransmission queue too: pieces of
// the byte stream from SND.UNA on, in blocks of one pool. Everything is O(1) a
// piece; nothing walks the queue.
//
//   block (128 bytes, aligned)          next ─▶ block
//   ┌──────┬──┬──┬──┬──┬──┬──┬──┐      ┌──────┬──┬──┬──┬─
//   │ next │  │P0│P1│P2│P3│P4│P5│      │ next │P6│P7│  │
//   └──────┴──┴──┴──┴──┴──┴──┴──┘      └──────┴──┴──┴──┴─
//              ▲     ▲                          ▲
//            head   next (+ next_offset)      tail
//            (+ head_skip: octets of P0 that are acknowledged)
//
// A queue of n pieces occupies fewer than n / 7 + 2 blocks, so a pool of
// pieces_max / 7 + 2 * queues blocks never runs out before pieces_max does.
// An empty queue holds no block.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tcp/tcp.h"

#define TCP_BLOCK_PIECES 7

struct tcp_block {
	struct tcp_block *next;
	uint64_t unused;
	struct tcp_piece pieces[TCP_BLOCK_PIECES];
} __attribute__((aligned(128)));

_Static_assert(sizeof(struct tcp_piece) == 16, "a piece is 16 bytes");
_Static_assert(sizeof(struct tcp_block) == 128, "a block is two cache lines");

// Blocks of all queues of a stack.
struct tcp_piece_pool {
	struct tcp_block *blocks;
	struct tcp_block *free;
	uint32_t fresh, total; // blocks never used begin at `fresh`: their memory is untouched
	uint32_t used;	       // blocks
	uint32_t pieces, pieces_max;
};

// -ENOMEM.
int tcp_piece_pool_init(struct tcp_piece_pool *pool, uint32_t pieces_max, uint32_t queues_max);
void tcp_piece_pool_fini(struct tcp_piece_pool *pool);

struct tcp_sendq {
	struct tcp_piece *head; // NULL: empty
	struct tcp_piece *tail; // the last one
	struct tcp_piece *next; // holds the octet at SND.NXT (or its end is there)
	uint32_t head_skip;	// octets of the head that are acknowledged
	uint32_t next_offset;
	uint32_t pieces;
	uint32_t sent;	// octets between head and next
	uint64_t bytes; // octets not acknowledged
};

// Where copying begins.
struct tcp_cursor {
	const struct tcp_piece *piece;
	uint32_t offset;
};

static inline struct tcp_cursor tcp_sendq_first(const struct tcp_sendq *q)
{
	return (struct tcp_cursor){.piece = q->head, .offset = q->head_skip};
}

static inline struct tcp_cursor tcp_sendq_next(const struct tcp_sendq *q)
{
	return (struct tcp_cursor){.piece = q->next, .offset = q->next_offset};
}

static inline uint64_t tcp_sendq_unsent(const struct tcp_sendq *q)
{
	return q->bytes - q->sent;
}

// The queue takes over the caller's reference to the piece's payload. The caller has checked that
// pool->pieces < pool->pieces_max and that the piece is not empty.
void tcp_sendq_push(
	struct tcp_piece_pool *pool, struct tcp_sendq *q, const struct tcp_piece *piece);
// Takes back what was pushed since `before` was copied from the queue.
void tcp_sendq_truncate(
	struct tcp_piece_pool *pool, struct tcp_sendq *q, const struct tcp_sendq *before);
// Copies n octets from the cursor on and returns the cursor behind them.
struct tcp_cursor tcp_sendq_copy(struct tcp_cursor from, uint8_t *to, uint32_t n);
// The cursor n octets further on. Costs the pieces that it passes.
struct tcp_cursor tcp_sendq_skip(struct tcp_cursor from, uint32_t n);
// The same; adds the octets' ones'-complement sum, the first at an even offset, to *sum.
struct tcp_cursor tcp_sendq_copy_summed(
	struct tcp_cursor from, uint8_t *to, uint32_t n, uint16_t *sum);
// The octets of one piece from the cursor on, at most n: where they begin, and how many there are.
// The cursor moves behind them. There is at least one.
uint32_t tcp_cursor_take(struct tcp_cursor *from, uint32_t n, struct tcp_cursor *ret_at);
// What tcp_cursor_take() has found: the octets themselves, and the sum of n of them.
const uint8_t *tcp_cursor_octets(struct tcp_cursor at);
uint16_t tcp_cursor_sum(struct tcp_cursor at, uint32_t n);
// SND.NXT moves on by n octets, to `next` (as returned by tcp_sendq_copy()).
static inline void tcp_sendq_advance(struct tcp_sendq *q, struct tcp_cursor next, uint32_t n)
{
	q->next = (struct tcp_piece *)next.piece;
	q->next_offset = next.offset;
	q->sent += n;
}
// SND.NXT goes back to SND.UNA.
void tcp_sendq_rewind(struct tcp_sendq *q);
// The first n octets are acknowledged. SND.NXT moves along when it would be left behind.
void tcp_sendq_drop(struct tcp_piece_pool *pool, struct tcp_sendq *q, uint64_t n);
// Drops everything.
static inline void tcp_sendq_clear(struct tcp_piece_pool *pool, struct tcp_sendq *q)
{
	tcp_sendq_drop(pool, q, q->bytes);
}
void tcp_sendq_check(const struct tcp_sendq *q);
