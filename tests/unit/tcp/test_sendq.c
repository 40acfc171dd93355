// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The send queue against a naive twin: a flat array of octets and two indices.

#include "tcp_tests.h"

#include "tcp/sendq.h"

#define STREAM_MAX 200000
#define STEPS	   20000

struct twin {
	uint8_t octets[STREAM_MAX];
	uint32_t una, next, end; // acknowledged up to, sent up to, queued up to
};

static void compare(const struct tcp_sendq *q, const struct twin *twin)
{
	tcp_sendq_check(q);
	assert_int_equal(q->bytes, twin->end - twin->una);
	assert_int_equal(q->sent, twin->next - twin->una);
	assert_int_equal(tcp_sendq_unsent(q), twin->end - twin->next);
}

static void push(
	struct fixture *f, struct tcp_piece_pool *pool, struct tcp_sendq *q, struct twin *twin)
{
	struct tcp_piece piece = {.offset = TCP_PIECE_INLINE};
	uint8_t *to = twin->octets + twin->end;

	if (pool->pieces == pool->pieces_max || twin->end + 300 > STREAM_MAX)
		return;
	if (random_below(&f->rng, 2)) {
		piece.length = 1 + random_below(&f->rng, TCP_PIECE_INLINE_MAX);
		for (uint32_t i = 0; i < piece.length; i++)
			piece.bytes[i] = to[i] = (uint8_t)random_next(&f->rng);
	} else {
		piece.payload = payload_alloc(f->payloads, 300);
		if (!piece.payload)
			return;
		piece.offset = random_below(&f->rng, 10);
		piece.length = 1 + random_below(&f->rng, 200);
		for (uint32_t i = 0; i < piece.length; i++)
			piece.payload->data[piece.offset + i] = to[i] =
				(uint8_t)random_next(&f->rng);
		piece.payload->length = piece.offset + piece.length;
	}
	tcp_sendq_push(pool, q, &piece);
	twin->end += piece.length;
}

static void transmit(struct fixture *f, struct tcp_sendq *q, struct twin *twin)
{
	uint32_t n = twin->end - twin->next;
	uint8_t text[1500];
	struct tcp_cursor next;

	n = n > 0 ? random_below(&f->rng, n < 1500 ? n + 1 : 1500) : 0;
	next = tcp_sendq_copy(tcp_sendq_next(q), text, n);
	assert_memory_equal(text, twin->octets + twin->next, n);
	tcp_sendq_advance(q, next, n);
	twin->next += n;
}

static void first_again(struct tcp_sendq *q, struct twin *twin)
{
	uint32_t n = twin->end - twin->una < 1000 ? twin->end - twin->una : 1000;
	uint8_t text[1000];

	if (n == 0)
		return;
	tcp_sendq_copy(tcp_sendq_first(q), text, n);
	assert_memory_equal(text, twin->octets + twin->una, n);
}

static void acknowledge(
	struct fixture *f, struct tcp_piece_pool *pool, struct tcp_sendq *q, struct twin *twin)
{
	// Now and then beyond what is sent: after a rewind that happens.
	uint32_t limit = random_below(&f->rng, 4) ? twin->next : twin->end;
	uint32_t n = random_below(&f->rng, limit - twin->una + 1);

	tcp_sendq_drop(pool, q, n);
	twin->una += n;
	if (twin->next < twin->una)
		twin->next = twin->una;
}

static void regret(
	struct fixture *f, struct tcp_piece_pool *pool, struct tcp_sendq *q, struct twin *twin)
{
	struct tcp_sendq before = *q;
	uint32_t end = twin->end;

	for (unsigned n = random_below(&f->rng, 20); n > 0; n--)
		push(f, pool, q, twin);
	tcp_sendq_truncate(pool, q, &before);
	twin->end = end;
}

static void the_queue_equals_its_naive_twin(void **state)
{
	struct fixture *f = *state;
	struct twin *twin = test_calloc(1, sizeof(*twin));
	struct tcp_piece_pool pool;
	struct tcp_sendq q = {0};

	assert_int_equal(tcp_piece_pool_init(&pool, 100, 1), 0);
	for (unsigned step = 0; step < STEPS; step++) {
		switch (random_below(&f->rng, 8)) {
		case 0:
			transmit(f, &q, twin);
			break;
		case 1:
			acknowledge(f, &pool, &q, twin);
			break;
		case 2:
			first_again(&q, twin);
			break;
		case 3:
			if (random_below(&f->rng, 8) == 0) {
				tcp_sendq_rewind(&q);
				twin->next = twin->una;
			}
			break;
		case 4:
			regret(f, &pool, &q, twin);
			break;
		default:
			push(f, &pool, &q, twin);
		}
		compare(&q, twin);
		assert_int_equal(pool.pieces, q.pieces);
		assert_true(pool.used <= q.pieces / TCP_BLOCK_PIECES + 2);
		if (twin->una == twin->end && twin->end > STREAM_MAX / 2)
			twin->una = twin->next = twin->end = 0;
	}
	tcp_sendq_clear(&pool, &q);
	assert_int_equal(pool.used, 0);
	assert_int_equal(pool.pieces, 0);
	tcp_piece_pool_fini(&pool);
	test_free(twin);
}

static void pieces_max_is_reached_before_blocks_run_out(void **state)
{
	enum { QUEUES = 50, PIECES = 500 };
	struct fixture *f = *state;
	struct tcp_piece_pool pool;
	struct tcp_sendq queues[QUEUES] = {0};
	const struct tcp_piece piece = {.offset = TCP_PIECE_INLINE, .length = 1};

	assert_int_equal(tcp_piece_pool_init(&pool, PIECES, QUEUES), 0);
	for (unsigned round = 0; round < 10000; round++) {
		struct tcp_sendq *q = &queues[random_below(&f->rng, QUEUES)];

		// Full all the time, with heads and tails in all positions.
		while (pool.pieces < pool.pieces_max)
			tcp_sendq_push(&pool, &queues[random_below(&f->rng, QUEUES)], &piece);
		tcp_sendq_drop(&pool, q, random_below(&f->rng, (uint32_t)q->bytes + 1));
	}
	for (unsigned i = 0; i < QUEUES; i++)
		tcp_sendq_clear(&pool, &queues[i]);
	assert_int_equal(pool.used, 0);
	tcp_piece_pool_fini(&pool);
}

int test_tcp_sendq(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(the_queue_equals_its_naive_twin),
		FIXTURE_TEST(pieces_max_is_reached_before_blocks_run_out),
	};

	return cmocka_run_group_tests_name("tcp_sendq", tests, NULL, NULL);
}
