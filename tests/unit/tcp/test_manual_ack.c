// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Delivery apart from acknowledgement: what the user has read is acknowledged when the user says
// so, as if the ACK came from whoever it was passed on to.

#include "tcp_tests.h"

#include <errno.h>

static struct tcp_pcb *manual(struct fixture *f)
{
	struct tcp_pcb *pcb = established_sack(f);

	tcp_set_receive_buffer(pcb, 60 << 10); // all of which the handshake has advertised
	tcp_set_manual_ack(pcb, true);
	return pcb;
}

static void text_is_acknowledged_when_the_user_says_so(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	for (uint32_t seq = 1; seq < 401; seq += 100)
		peer(f, ACK | PSH, seq, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	expect_text(f, pcb, 1, 400);
	assert_int_equal(tcp_recv_held(pcb), 400);
	pass(f, SECOND);
	expect_nothing(f);
	send_text(f, pcb, 1, 10); // what we say ourselves tells nothing either
	flush(f);
	expect(f, ACK, 1, 1, 10);
	peer(f, ACK, 401, 11, 0);
	tcp_recv_acknowledge(pcb, 150);
	flush(f);
	expect(f, ACK, 11, 151, 0);
	tcp_recv_acknowledge(pcb, 250);
	flush(f);
	expect(f, ACK, 11, 401, 0);
	assert_int_equal(tcp_recv_held(pcb), 0);
	expect_nothing(f);
}

static void what_is_not_consumed_is_not_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, ACK, 1, 1, 100);
	peer(f, ACK, 101, 1, 100);
	flush(f);
	tcp_recv_consume(pcb, 50);
	tcp_recv_acknowledge(pcb, 50);
	pass(f, SECOND);
	expect(f, ACK, 1, 51, 0);
	expect_nothing(f);
	tcp_recv_consume(pcb, 150);
	tcp_recv_acknowledge(pcb, 150);
	flush(f);
	expect(f, ACK, 1, 201, 0);
}

static void held_octets_take_no_room(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);
	uint32_t edge = 0;

	tcp_set_receive_buffer(pcb, 8192);
	for (unsigned i = 0; i < 400; i++) {
		uint32_t seq = 1 + i * 1000;

		peer(f, ACK, seq, 1, 1000);
		expect_text(f, pcb, seq, 1000);
		flush(f);
		while (f->sent_count > 0) { // now and then the peer hears of room
			expect(f, ACK, 1, 1, 0);
			assert_true(f->last.wnd << 3 >= edge);
			edge = (uint32_t)f->last.wnd << 3;
		}
	}
	assert_int_equal(tcp_recv_held(pcb), 400000);
	assert_true(edge > 400000);
	tcp_recv_acknowledge(pcb, 400000);
	flush(f);
	expect(f, ACK, 1, 400001, 0);
	assert_true(400001 + (f->last.wnd << 3) >= 1 + edge); // the right edge stays
}

static void what_is_not_read_closes_the_window_and_probes_are_answered(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);
	struct tcp_info info;
	uint32_t seq = 1;

	tcp_pcb_info(pcb, &info);
	while (info.rcv_wnd > 0) {
		uint32_t n = info.rcv_wnd < MSS ? info.rcv_wnd : MSS;

		peer(f, ACK, seq, 1, n);
		flush(f);
		seq += n;
		tcp_pcb_info(pcb, &info);
	}
	expect_nothing(f);
	peer(f, ACK, seq, 1, 1); // a probe
	flush(f);
	expect(f, ACK, 1, 1, 0);
	assert_int_equal(f->last.wnd << 3, seq - 1); // nothing beyond what it has sent
	peer(f, ACK, 0, 1, 0);			     // a keep-alive
	flush(f);
	expect(f, ACK, 1, 1, 0);
	tcp_recv_consume(pcb, seq - 1);
	flush(f);
	expect(f, ACK, 1, 1, 0); // the window is open again
	assert_true(f->last.wnd << 3 > seq - 1);
	assert_int_equal(tcp_recv_held(pcb), seq - 1);
}

static void held_octets_that_come_again_are_no_duplicates(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	peer(f, ACK, 1, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	assert_int_equal(f->last.options.sack_count, 0);
	expect_nothing(f);
	tcp_recv_acknowledge(pcb, 100);
	flush(f);
	expect(f, ACK, 1, 101, 0);
	peer(f, ACK, 1, 1, 100);
	flush(f);
	expect(f, ACK, 1, 101, 0);
	assert_int_equal(f->last.options.sack_count, 1); // now it is one
}

static void early_text_is_reported_when_nothing_is_held_before_it(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	peer(f, ACK, 201, 1, 100);
	pass(f, SECOND);
	expect_nothing(f); // the peer would think octets 1 to 100 lost
	tcp_recv_acknowledge(pcb, 60);
	flush(f);
	expect(f, ACK, 1, 61, 0);
	assert_int_equal(f->last.options.sack_count, 0);
	tcp_recv_acknowledge(pcb, 40);
	flush(f);
	expect(f, ACK, 1, 101, 0);
	assert_int_equal(f->last.options.sack_count, 1);
	peer(f, ACK, 301, 1, 100); // now at once
	flush(f);
	expect(f, ACK, 1, 101, 0);
	assert_int_equal(f->last.options.sack[0].end - PEER_ISN, 401);
	peer(f, ACK, 101, 1, 100);
	expect_text(f, pcb, 101, 300);
	pass(f, SECOND);
	expect_nothing(f);
	tcp_recv_acknowledge(pcb, 300);
	flush(f);
	expect(f, ACK, 1, 401, 0);
}

static void the_fin_counts_as_an_octet(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, FIN | ACK, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_EOF);
	expect_text(f, pcb, 1, 100);
	pass(f, SECOND);
	expect_nothing(f);
	assert_int_equal(tcp_recv_held(pcb), 101);
	tcp_recv_acknowledge(pcb, 100);
	flush(f);
	expect(f, ACK, 1, 101, 0);
	tcp_recv_acknowledge(pcb, 1);
	flush(f);
	expect(f, ACK, 1, 102, 0);
	assert_int_equal(state_of(pcb), TCP_CLOSE_WAIT);
}

static void closing_and_turning_it_off_acknowledge_all(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	tcp_set_manual_ack(pcb, false);
	flush(f);
	expect(f, ACK, 1, 101, 0);
	assert_int_equal(tcp_recv_held(pcb), 0);
	tcp_set_manual_ack(pcb, true);
	peer(f, ACK, 101, 1, 100);
	expect_text(f, pcb, 101, 100);
	tcp_close(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 201, 0);
}

static void a_peer_that_forgot_the_connection_is_believed(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	peer(f, RST, 50, 1, 0);
	expect_events(f, NULL, 0);
	peer(f, RST, 1, 1, 0); // its answer to an ACK of ours
	expect_events(f, pcb, TCP_EVENT_RESET);
	tcp_recv_acknowledge(pcb, 100); // harmless
	tcp_close(pcb);
}

static void a_readable_part_can_be_acknowledged_ahead(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, ACK | PSH, 1, 1, 10);
	tcp_recv_acknowledge(pcb, 10);
	assert_int_equal(tcp_recv_held(pcb), -10);
	flush(f);
	expect(f, ACK, 1, 11, 0);
	peer(f, ACK | PSH, 11, 1, 90);
	expect_text(f, pcb, 1, 100);
	pass(f, SECOND);
	expect_nothing(f);
	assert_int_equal(tcp_recv_held(pcb), 90);
	tcp_recv_acknowledge(pcb, 90);
	flush(f);
	expect(f, ACK, 1, 101, 0);
}

static void what_is_acknowledged_ahead_and_forgotten_comes_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);
	struct payload *hoard[4096];
	unsigned n = 0;

	while (n < 4096 && (hoard[n] = payload_alloc(f->payloads, 1)) != NULL)
		n++;
	peer(f, ACK, 1, 1, 100);
	tcp_recv_acknowledge(pcb, 100);
	flush(f); // there is no memory to keep it in
	expect(f, ACK, 1, 1, 0);
	assert_int_equal(tcp_recv_held(pcb), 0);
	while (n > 0)
		payload_put(hoard[--n]);
	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	tcp_recv_acknowledge(pcb, 100);
	flush(f);
	expect(f, ACK, 1, 101, 0);
}

static void it_is_reported_what_the_peer_acknowledges(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	assert_int_equal(tcp_send_end(pcb), tcp_send_acknowledged(pcb));
	send_text(f, pcb, 1, 100);
	tcp_shutdown(pcb);
	assert_int_equal(tcp_send_end(pcb) - tcp_send_acknowledged(pcb), 101);
	flush(f);
	drop_sent(f);
	peer(f, ACK, 1, 51, 0);
	expect_events(f, pcb, TCP_EVENT_ACKNOWLEDGED);
	assert_int_equal(tcp_send_end(pcb) - tcp_send_acknowledged(pcb), 51);
	peer(f, ACK, 1, 51, 0);
	expect_events(f, NULL, 0);
	peer(f, ACK, 1, 102, 0);
	expect_events(f, pcb, TCP_EVENT_ACKNOWLEDGED | TCP_EVENT_WRITABLE);
	assert_int_equal(tcp_send_end(pcb), tcp_send_acknowledged(pcb));
}

static void what_a_dead_connection_is_given_is_never_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	send_text(f, pcb, 1, 100);
	flush(f);
	drop_sent(f);
	peer(f, RST, 1, 0, 0);
	expect_events(f, pcb, TCP_EVENT_RESET);
	assert_int_equal(tcp_send_copy(pcb, "x", 1), -EPIPE);
	assert_true((int32_t)(tcp_send_end(pcb) - tcp_send_acknowledged(pcb)) > 0);
	tcp_close(pcb);
}

// Both ends have ended at once, and the peer has heard of ours only.
static void its_fin_can_wait_beyond_ours(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	peer(f, FIN | ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_EOF);
	tcp_shutdown(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 1, 0);
	peer(f, ACK, 2, 2, 0);
	expect_events(f, pcb, TCP_EVENT_ACKNOWLEDGED);
	assert_int_equal(state_of(pcb), TCP_TIME_WAIT);
	peer(f, FIN | ACK, 1, 2, 0); // again
	flush(f);
	expect(f, ACK, 2, 1, 0);
	tcp_recv_acknowledge(pcb, 1);
	flush(f);
	expect(f, ACK, 2, 2, 0);
	tcp_close(pcb);
}

static void a_reset_behind_what_is_sent_acknowledges_nothing(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = manual(f);

	const struct peer_segment text = {
		.flags = ACK, .seq = 1, .ack = 1, .length = 100, .wnd = PEER_WND_ZERO};

	peer_send(f, &text);
	tcp_recv_consume(pcb, 40);
	send_text(f, pcb, 1, 20);
	tcp_abort_after_send(pcb);
	flush(f);
	expect_nothing(f);
	peer(f, ACK, 101, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 20);
	expect(f, RST | ACK, 21, 1, 0);
}

static void children_inherit_it(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	listen_here(f);
	tcp_set_manual_ack(f->listener, true);
	pcb = established_passive(f);
	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	assert_int_equal(tcp_recv_held(pcb), 100);
}

int test_tcp_manual_ack(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(text_is_acknowledged_when_the_user_says_so),
		FIXTURE_TEST(what_is_not_consumed_is_not_acknowledged),
		FIXTURE_TEST(held_octets_take_no_room),
		FIXTURE_TEST(what_is_not_read_closes_the_window_and_probes_are_answered),
		FIXTURE_TEST(held_octets_that_come_again_are_no_duplicates),
		FIXTURE_TEST(early_text_is_reported_when_nothing_is_held_before_it),
		FIXTURE_TEST(the_fin_counts_as_an_octet),
		FIXTURE_TEST(closing_and_turning_it_off_acknowledge_all),
		FIXTURE_TEST(a_peer_that_forgot_the_connection_is_believed),
		FIXTURE_TEST(a_readable_part_can_be_acknowledged_ahead),
		FIXTURE_TEST(what_is_acknowledged_ahead_and_forgotten_comes_again),
		FIXTURE_TEST(it_is_reported_what_the_peer_acknowledges),
		FIXTURE_TEST(what_a_dead_connection_is_given_is_never_acknowledged),
		FIXTURE_TEST(its_fin_can_wait_beyond_ours),
		FIXTURE_TEST(a_reset_behind_what_is_sent_acknowledges_nothing),
		FIXTURE_TEST(children_inherit_it),
	};

	return cmocka_run_group_tests_name("tcp_manual_ack", tests, NULL, NULL);
}
