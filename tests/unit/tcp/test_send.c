// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sending: pieces into segments, Nagle, partial acknowledgement, low water, errors.

#include "tcp_tests.h"

#include <errno.h>

static struct payload *payload_of(struct fixture *f, uint32_t seq, uint32_t length)
{
	struct payload *p = payload_alloc(f->payloads, length);

	for (uint32_t i = 0; i < length; i++)
		p->data[i] = text_octet(seq + i);
	p->length = length;
	return p;
}

static struct tcp_piece inline_of(uint32_t seq, uint32_t length)
{
	struct tcp_piece piece = {.offset = TCP_PIECE_INLINE, .length = length};

	for (uint32_t i = 0; i < length; i++)
		piece.bytes[i] = text_octet(seq + i);
	return piece;
}

static void pieces_are_packed_into_segments(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct payload *p = payload_of(f, 1, 4000);
	// The middle of a payload, octets in place, an empty piece, the rest.
	const struct tcp_piece pieces[] = {
		{.payload = p, .offset = 0, .length = 1000},
		inline_of(1001, 8),
		{.payload = p, .offset = 1, .length = 0},
		{.payload = p, .offset = 1008, .length = 2992},
	};

	assert_int_equal(tcp_send(pcb, pieces, 4), 0);
	payload_put(p);
	assert_int_equal(tcp_send_queued(pcb), 4000);
	assert_int_equal(tcp_send_pieces(pcb), 3);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	assert_int_equal(f->last.flags & PSH, 0);
	expect(f, ACK, 1 + MSS, 1, MSS);
	expect_nothing(f); // Nagle: the rest is small
	peer(f, ACK, 1, 1 + 2 * MSS, 0);
	flush(f);
	expect(f, ACK, 1 + 2 * MSS, 1, 4000 - 2 * MSS);
	assert_int_equal(f->last.flags & PSH, PSH);
	peer(f, ACK, 1, 4001, 0);
	assert_int_equal(tcp_send_queued(pcb), 0);
	assert_int_equal(payload_pool_pressure(f->payloads), 0);
}

static void one_payload_stands_in_many_queues(void **state)
{
	enum { COUNT = 20 };
	struct fixture *f = *state;
	struct tcp_pcb *pcbs[COUNT];
	struct payload *p = payload_of(f, 1, 100);
	const struct tcp_piece piece = {.payload = p, .length = 100};

	for (unsigned i = 0; i < COUNT; i++) {
		f->remote.port++;
		pcbs[i] = established_passive(f);
	}
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(tcp_send(pcbs[i], &piece, 1), 0);
	assert_int_equal(p->refs, 1 + COUNT);
	flush(f);
	assert_int_equal(drop_sent(f), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		tcp_abort(pcbs[i]);
		assert_int_equal(p->refs, COUNT - i);
	}
	payload_put(p);
	drop_sent(f);
}

static void nagle_holds_small_segments_and_no_delay_does_not(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	send_text(f, pcb, 11, 10);
	flush(f);
	expect_nothing(f);
	tcp_set_no_delay(pcb, true);
	flush(f);
	expect(f, ACK, 11, 1, 10);
	send_text(f, pcb, 21, 10);
	send_text(f, pcb, 31, 10);
	flush(f);
	expect(f, ACK, 21, 1, 20); // one turn, one segment
}

// Every way in which an ACK can fall into pieces, and the timer sending what is left.
static void an_ack_may_fall_inside_a_piece(void **state)
{
	struct fixture *f = *state;

	for (uint32_t acked = 1; acked < 40; acked++) {
		struct tcp_pcb *pcb;
		struct payload *p = payload_of(f, 9, 20);
		const struct tcp_piece pieces[] = {
			inline_of(1, 8),
			{.payload = p, .length = 20},
			inline_of(29, 5),
			inline_of(34, 7),
		};

		f->remote.port++;
		pcb = established_passive(f);
		assert_int_equal(tcp_send(pcb, pieces, 4), 0);
		payload_put(p);
		flush(f);
		expect(f, ACK, 1, 1, 40);
		peer(f, ACK, 1, 1 + acked, 0);
		assert_int_equal(tcp_send_queued(pcb), 40 - acked);
		flush(f);
		pass(f, SECOND);
		expect(f, ACK, 1 + acked, 1, 40 - acked);
		tcp_abort(pcb);
		drop_sent(f);
	}
}

static void copies_share_payloads(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	send_text(f, pcb, 1, 4);
	send_text(f, pcb, 5, 3);
	assert_int_equal(tcp_send_pieces(pcb), 1); // in place
	send_text(f, pcb, 8, 100);		   // fills the place, then a payload
	assert_int_equal(tcp_send_pieces(pcb), 2);
	send_text(f, pcb, 108, 4);
	send_text(f, pcb, 112, 500);
	assert_int_equal(tcp_send_pieces(pcb), 2);
	flush(f);
	expect(f, ACK, 1, 1, 611);
	send_text(f, pcb, 612, 9); // behind what is sent already
	assert_int_equal(tcp_send_pieces(pcb), 2);
	peer(f, ACK, 1, 612, 0);
	flush(f);
	expect(f, ACK, 612, 1, 9);
	peer(f, ACK, 1, 621, 0);
	assert_int_equal(tcp_send_pieces(pcb), 0);
}

static void a_copy_leaves_payloads_of_others_alone(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct payload *p = payload_of(f, 1, 50);
	const struct tcp_piece piece = {.payload = p, .length = 50};

	assert_int_equal(tcp_send(pcb, &piece, 1), 0);
	send_text(f, pcb, 51, 60);
	assert_int_equal(p->length, 50);
	payload_put(p);
	flush(f);
	expect(f, ACK, 1, 1, 110);
}

static void low_water_is_reported_once(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_low_water(pcb, 100);
	send_text(f, pcb, 1, 300);
	flush(f);
	drop_sent(f);
	peer(f, ACK, 1, 100, 0);
	expect_events(f, NULL, 0);
	peer(f, ACK, 1, 201, 0);
	expect_events(f, pcb, TCP_EVENT_WRITABLE);
	peer(f, ACK, 1, 301, 0);
	expect_events(f, NULL, 0);
}

static void progress_is_the_last_new_acknowledgement(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	assert_int_equal(tcp_send_progress_us(pcb), f->now_us);
	send_text(f, pcb, 1, 10);
	pass(f, 10 * MS);
	peer(f, ACK, 1, 11, 0);
	assert_int_equal(tcp_send_progress_us(pcb), f->now_us);
	pass(f, 10 * MS);
	peer(f, ACK, 1, 11, 0);
	assert_int_equal(tcp_send_progress_us(pcb), f->now_us - 10 * MS);
	drop_sent(f);
}

static void sending_into_a_closed_connection_fails(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	const struct tcp_piece piece = {.offset = TCP_PIECE_INLINE, .length = 1};

	assert_int_equal(tcp_send(f->listener, &piece, 1), -EPIPE);
	tcp_shutdown(pcb);
	assert_int_equal(tcp_send(pcb, &piece, 1), -EPIPE);
	assert_int_equal(tcp_send_copy(pcb, "x", 1), -EPIPE);
	peer(f, RST, 1, 0, 0);
	assert_int_equal(tcp_send(pcb, &piece, 1), -EPIPE);
	tcp_close(pcb);
}

static void all_pieces_or_none_are_queued(void **state)
{
	struct fixture *f = *state;
	struct tcp_piece pieces[8];
	struct tcp_pcb *pcb;
	static uint8_t much[3 * PAYLOAD_LARGEST];

	for (unsigned i = 0; i < 8; i++)
		pieces[i] = inline_of(1 + i, 1);
	f->config.pieces_max = 10;
	fixture_restart(f);
	pcb = established_passive(f);
	assert_int_equal(tcp_send(pcb, pieces, 8), 0);
	assert_int_equal(tcp_pieces_pressure(f->stack), 800);
	assert_int_equal(tcp_send(pcb, pieces, 3), -ENOMEM);
	assert_int_equal(tcp_send_pieces(pcb), 8);
	assert_int_equal(tcp_send_copy(pcb, much, sizeof(much)), -ENOMEM); // 3 more
	assert_int_equal(tcp_send_queued(pcb), 8);
	tcp_stack_check(f->stack);
	assert_int_equal(payload_pool_pressure(f->payloads), 0);
	assert_int_equal(tcp_send(pcb, pieces, 2), 0);
	assert_int_equal(tcp_pieces_pressure(f->stack), 1000);
	flush(f);
	drop_sent(f);
}

int test_tcp_send(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(pieces_are_packed_into_segments),
		FIXTURE_TEST(one_payload_stands_in_many_queues),
		FIXTURE_TEST(nagle_holds_small_segments_and_no_delay_does_not),
		FIXTURE_TEST(an_ack_may_fall_inside_a_piece),
		FIXTURE_TEST(copies_share_payloads),
		FIXTURE_TEST(a_copy_leaves_payloads_of_others_alone),
		FIXTURE_TEST(low_water_is_reported_once),
		FIXTURE_TEST(progress_is_the_last_new_acknowledgement),
		FIXTURE_TEST(sending_into_a_closed_connection_fails),
		FIXTURE_TEST(all_pieces_or_none_are_queued),
	};

	return cmocka_run_group_tests_name("tcp_send", tests, NULL, NULL);
}
