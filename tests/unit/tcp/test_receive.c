// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Receiving: order, overlap, settling, windows, acknowledgements.

#include "tcp_tests.h"

static void text_is_readable_at_once_and_acknowledged_later(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK | PSH, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	expect_text(f, pcb, 1, 100);
	flush(f);
	expect_nothing(f);
	pass(f, f->config.delayed_ack_us - 2 * MS);
	expect_nothing(f);
	pass(f, 4 * MS);
	expect(f, ACK, 1, 101, 0);
	pass(f, SECOND);
	expect_nothing(f);
}

static void two_segments_are_acknowledged_at_once(void **state)
{
	struct fixture *f = *state;

	established_passive(f);
	peer(f, ACK, 1, 1, 100);
	peer(f, ACK, 101, 1, 100);
	flush(f);
	expect(f, ACK, 1, 201, 0);
	expect_nothing(f);
	peer(f, ACK, 201, 1, 100);
	flush(f);
	peer(f, ACK, 301, 1, 100);
	flush(f);
	expect(f, ACK, 1, 401, 0);
}

static void a_one_way_peer_that_pushes_is_not_kept_waiting(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	pass(f, SECOND);
	peer(f, ACK | PSH, 1, 1, 100);
	flush(f);
	expect_nothing(f); // not read yet
	pass(f, f->config.delayed_ack_us + 2 * MS);
	expect(f, ACK, 1, 101, 0);
	expect_text(f, pcb, 1, 100);
	peer(f, ACK | PSH, 101, 1, 100);
	expect_text(f, pcb, 101, 100);
	flush(f);
	expect(f, ACK, 1, 201, 0); // its Nagle would hold back the next message
	send_text(f, pcb, 1, 4);
	flush(f);
	expect(f, ACK, 1, 201, 4);
	peer(f, ACK | PSH, 201, 5, 100);
	expect_text(f, pcb, 201, 100);
	flush(f);
	expect_nothing(f); // a conversation: text will take it along
	pass(f, f->config.delayed_ack_us + 2 * MS);
	expect(f, ACK, 5, 301, 0);
}

static void an_ack_rides_on_text(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK, 1, 1, 100);
	send_text(f, pcb, 1, 4);
	flush(f);
	expect(f, ACK, 1, 101, 4);
	peer(f, ACK, 101, 5, 0);
	pass(f, SECOND);
	expect_nothing(f);
}

static void unread_text_is_settled_and_joined(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	uint32_t seq = 1;

	// Small and large segments, some read in the turn, most later.
	for (unsigned i = 0; i < 40; i++) {
		uint32_t n = 1 + random_below(&f->rng, i % 3 ? 50 : MSS);

		peer(f, ACK, seq, 1, n);
		if (random_below(&f->rng, 3))
			flush(f);
		seq += n;
	}
	expect_text(f, pcb, 1, seq - 1);
	flush(f);
	drop_sent(f);
}

static void spans_show_settled_and_new_text_in_order(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_span spans[4];

	peer(f, ACK, 1, 1, 100);
	flush(f);
	peer(f, ACK, 101, 1, 50);
	assert_int_equal(tcp_recv_peek(pcb, spans, 4), 2);
	assert_int_equal(spans[0].length, 100);
	assert_int_equal(spans[1].length, 50);
	assert_int_equal(tcp_recv_peek(pcb, spans, 1), 1);
	tcp_recv_consume(pcb, 120); // across both
	assert_int_equal(tcp_recv_peek(pcb, spans, 4), 1);
	assert_int_equal(spans[0].data[0], text_octet(121));
	flush(f);
	expect(f, ACK, 1, 151, 0);
	expect_text(f, pcb, 121, 30);
}

static void early_text_waits_for_what_is_missing(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK, 101, 1, 100);
	peer(f, ACK, 301, 1, 100);
	peer(f, ACK, 201, 1, 100);
	expect_events(f, NULL, 0);
	flush(f);
	for (unsigned i = 0; i < 3; i++) // one duplicate ACK each
		expect(f, ACK, 1, 1, 0);
	expect_nothing(f);
	peer(f, ACK, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	flush(f);
	expect(f, ACK, 1, 401, 0);
	expect_text(f, pcb, 1, 400);
}

// Segments of a stream in any order, overlapping in any way, come out as the stream.
static void any_order_and_overlap_gives_the_stream(void **state)
{
	enum { TOTAL = 12000 };
	struct fixture *f = *state;

	for (unsigned round = 0; round < 200; round++) {
		struct tcp_pcb *pcb;
		struct tcp_info info;
		uint32_t read = 0;

		f->remote.port++;
		pcb = established_passive(f);
		do {
			uint32_t seq, n, end;

			tcp_pcb_info(pcb, &info);
			end = info.rcv_nxt - PEER_ISN - 1 + 3000;
			if (end > TOTAL)
				end = TOTAL;
			seq = random_below(&f->rng, end);
			n = 1 + random_below(&f->rng, end - seq);
			peer(f, ACK, 1 + seq, 1, n < MSS ? n : MSS);
			if (random_below(&f->rng, 2)) {
				uint32_t readable = tcp_recv_readable(pcb);

				expect_text(f, pcb, 1 + read, readable);
				read += readable;
			}
			flush(f);
			drop_sent(f);
		} while (read < TOTAL);
		tcp_abort(pcb);
		drop_sent(f);
	}
}

static void an_early_fin_waits_too(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK | FIN, 101, 1, 100);
	expect_events(f, NULL, 0);
	assert_false(tcp_recv_eof(pcb));
	flush(f);
	expect(f, ACK, 1, 1, 0);
	peer(f, ACK, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_EOF);
	assert_true(tcp_recv_eof(pcb));
	assert_int_equal(state_of(pcb), TCP_CLOSE_WAIT);
	flush(f);
	expect(f, ACK, 1, 202, 0);
	expect_text(f, pcb, 1, 200);
}

static void nothing_follows_a_fin(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	// Early text, and then a FIN in front of it.
	peer(f, ACK, 102, 1, 60);
	peer(f, ACK | FIN, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_EOF);
	flush(f);
	expect(f, ACK, 1, 102, 0);
	expect_events(f, NULL, 0);
	expect_text(f, pcb, 1, 100);
}

static void urgent_text_stays_in_line(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK | URG, 1, 1, 20);
	expect_text(f, pcb, 1, 20);
}

static void the_window_closes_and_opens_by_whole_steps(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t seq = 1;

	f->config.receive_buffer = 10 * MSS;
	fixture_restart(f);
	pcb = established_passive(f);
	while (seq < 10 * MSS) {
		peer(f, ACK, seq, 1, MSS);
		seq += MSS;
	}
	flush(f);
	expect(f, ACK, 1, seq, 0);
	assert_int_equal(f->last.wnd, 0);
	peer(f, ACK, seq, 1, 1); // a probe
	flush(f);
	expect(f, ACK, 1, seq, 0);
	assert_int_equal(tcp_recv_readable(pcb), 10 * MSS);
	tcp_recv_consume(pcb, MSS); // too little to be worth telling
	flush(f);
	expect_nothing(f);
	tcp_recv_consume(pcb, MSS);
	flush(f);
	expect(f, ACK, 1, seq, 0);
	assert_int_equal(f->last.wnd, 2 * MSS);
}

static void a_small_buffer_still_tells_of_room(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.receive_buffer = 1000;
	fixture_restart(f);
	pcb = established_passive(f);
	peer(f, ACK, 1, 1, 1000);
	pass(f, SECOND);
	expect(f, ACK, 1, 1001, 0);
	assert_int_equal(f->last.wnd, 0);
	tcp_recv_consume(pcb, 600);
	flush(f);
	expect(f, ACK, 1, 1001, 0);
	assert_int_equal(f->last.wnd, 600);
}

static void text_beyond_the_window_is_cut_off(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.receive_buffer = 1000;
	fixture_restart(f);
	pcb = established_passive(f);
	peer(f, ACK | FIN, 1, 1, 1200);
	assert_false(tcp_recv_eof(pcb)); // the FIN was beyond it
	flush(f);
	drop_sent(f);
	expect_text(f, pcb, 1, 1000);
	flush(f); // tells of the room
	drop_sent(f);
	peer(f, ACK | FIN, 1001, 1, 200);
	assert_true(tcp_recv_eof(pcb));
	expect_text(f, pcb, 1001, 200);
}

static void old_timestamps_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	f->peer_options.tsval = 1000;
	pcb = established_passive(f);
	f->peer_options.tsval = 1005;
	peer(f, ACK, 1, 1, 10);
	flush(f);
	f->peer_options.tsval = 999; // PAWS
	peer(f, ACK, 11, 1, 10);
	flush(f);
	expect(f, ACK, 1, 11, 0);
	assert_int_equal(f->last.options.tsecr, 1005);
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_old_timestamp"), 1);
	f->timestamps = false; // RFC 7323 3.2
	peer(f, ACK, 11, 1, 10);
	flush(f);
	expect_nothing(f);
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_no_timestamp"), 1);
	assert_int_equal(tcp_recv_readable(pcb), 10);
	// After 24 days of silence TS.Recent means nothing any more.
	f->timestamps = true;
	pass(f, 25ull * 86400 * SECOND);
	peer(f, ACK, 11, 1, 10);
	assert_int_equal(tcp_recv_readable(pcb), 20);
}

int test_tcp_receive(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(text_is_readable_at_once_and_acknowledged_later),
		FIXTURE_TEST(two_segments_are_acknowledged_at_once),
		FIXTURE_TEST(a_one_way_peer_that_pushes_is_not_kept_waiting),
		FIXTURE_TEST(an_ack_rides_on_text),
		FIXTURE_TEST(unread_text_is_settled_and_joined),
		FIXTURE_TEST(spans_show_settled_and_new_text_in_order),
		FIXTURE_TEST(early_text_waits_for_what_is_missing),
		FIXTURE_TEST(any_order_and_overlap_gives_the_stream),
		FIXTURE_TEST(an_early_fin_waits_too),
		FIXTURE_TEST(nothing_follows_a_fin),
		FIXTURE_TEST(urgent_text_stays_in_line),
		FIXTURE_TEST(the_window_closes_and_opens_by_whole_steps),
		FIXTURE_TEST(a_small_buffer_still_tells_of_room),
		FIXTURE_TEST(text_beyond_the_window_is_cut_off),
		FIXTURE_TEST(old_timestamps_are_dropped),
	};

	return cmocka_run_group_tests_name("tcp_receive", tests, NULL, NULL);
}
