// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a user may set on a connection: keep-alive (RFC 1122 4.2.3.6), linger, buffers,
// MSS; and that a listener hands it down.

#include "tcp_tests.h"

#include <errno.h>

static const struct tcp_keep_alive keep_alive = {.idle_s = 60, .interval_s = 10, .probes = 3};

static void keep_alives_are_off_by_default(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	for (unsigned i = 0; i < 10; i++)
		pass(f, 3600 * SECOND);
	expect_nothing(f);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
}

// The peer's answer: it has heard all this before.
static void answer(struct fixture *f)
{
	peer(f, ACK, 1, 1, 0);
}

static void a_silent_peer_is_asked_and_given_up(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_keep_alive(pcb, &keep_alive);
	pass(f, 59 * SECOND);
	expect_nothing(f);
	pass(f, 2 * SECOND);
	expect(f, ACK, 0, 1, 0); // SND.NXT - 1, without text
	answer(f);
	for (unsigned i = 0; i < 5; i++) {
		pass(f, 11 * SECOND);
		expect_nothing(f);
	}
	pass(f, 8 * SECOND);
	for (unsigned i = 0; i < keep_alive.probes; i++) {
		expect(f, ACK, 0, 1, 0);
		pass(f, 10 * SECOND);
	}
	expect(f, RST | ACK, 1, 1, 0);
	expect_nothing(f);
	expect_events(f, pcb, TCP_EVENT_TIMEOUT);
	assert_int_equal(count_of(f, "tcp_keep_alives_total", NULL), 4);
	tcp_close(pcb);
}

static void traffic_puts_keep_alives_off(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t seq = 1;

	f->config.keep_alive = keep_alive;
	fixture_restart(f);
	pcb = established_passive(f);
	for (unsigned i = 0; i < 10; i++) {
		pass(f, 50 * SECOND);
		expect_nothing(f);
		if (i % 2) {
			send_text(f, pcb, seq, 10);
			flush(f);
			expect(f, ACK, seq, 1, 10);
			seq += 10;
		}
		peer(f, ACK, 1, seq, 0);
	}
	// Text under way has a timer of its own.
	send_text(f, pcb, seq, 10);
	flush(f);
	expect(f, ACK, seq, 1, 10);
	pass(f, 61 * SECOND);
	expect(f, ACK, seq, 1, 10);
}

static void half_closed_connections_are_kept_alive(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_keep_alive(pcb, &keep_alive);
	tcp_shutdown(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 1, 0);
	peer(f, ACK, 1, 2, 0);
	assert_int_equal(state_of(pcb), TCP_FIN_WAIT_2);
	pass(f, 61 * SECOND);
	expect(f, ACK, 1, 1, 0);
	tcp_set_keep_alive(pcb, &(struct tcp_keep_alive){0});
	for (unsigned i = 0; i < 10; i++)
		pass(f, 61 * SECOND);
	expect_nothing(f);
}

static void keep_alives_are_answered(void **state)
{
	struct fixture *f = *state;

	established_passive(f);
	peer(f, ACK, 0, 1, 0);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	pass(f, SECOND);
	peer(f, ACK, 0, 1, 1); // with the octet of RFC 1122's garbage
	flush(f);
	expect(f, ACK, 1, 1, 0);
}

static void linger_zero_resets(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_linger(pcb, 0);
	tcp_close(pcb);
	expect(f, RST | ACK, 1, 1, 0);
}

static void linger_bounds_a_close(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_linger(pcb, 5);
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	tcp_close(pcb);
	flush(f);
	expect(f, FIN | ACK, 11, 1, 0);
	for (unsigned i = 0; i < 48; i++) {
		pass(f, 100 * MS);
		for (unsigned k = 0; k < f->sent_count; k++)
			assert_true(count_of(f, "tcp_resets_sent_total", NULL) == 0);
	}
	drop_sent(f);
	pass(f, SECOND);
	expect(f, RST | ACK, 12, 1, 0);
	expect_nothing(f);
}

static void linger_ends_with_the_last_ack(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_linger(pcb, 5);
	tcp_close(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 1, 0);
	peer(f, ACK, 1, 2, 0);
	pass(f, 20 * SECOND);
	expect_nothing(f);
	assert_int_equal(count_of(f, "tcp_connections", "FIN_WAIT_2"), 1);
}

static void a_full_send_buffer_says_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_piece piece = {.bytes = {1, 2, 3}, .offset = TCP_PIECE_INLINE, .length = 3};
	static const uint8_t text[3000];

	tcp_set_send_buffer(pcb, 2000);
	tcp_set_no_delay(pcb, true);
	assert_int_equal(tcp_send_copy(pcb, text, 3000), 0); // it could never be sent otherwise
	assert_int_equal(tcp_send_copy(pcb, text, 1), -EAGAIN);
	assert_int_equal(tcp_send(pcb, &piece, 1), -EAGAIN);
	flush(f);
	drop_sent(f);
	peer(f, ACK, 1, 3001, 0);
	assert_int_equal(tcp_send_copy(pcb, text, 1000), 0);
	assert_int_equal(tcp_send_copy(pcb, text, 1048), 0);
	assert_int_equal(tcp_send(pcb, &piece, 1), -EAGAIN);
}

static void a_receive_buffer_bounds_the_window(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	listen_here(f);
	tcp_set_receive_buffer(f->listener, 4096);
	pcb = knock(f);
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(f->last.wnd, 4096);
	peer(f, ACK, 1, 1, 0);
	peer(f, ACK, 1, 1, MSS);
	peer(f, ACK, 1 + MSS, 1, MSS);
	flush(f);
	expect(f, ACK, 1, 1 + 2 * MSS, 0);
	assert_int_equal(f->last.wnd, 4096 - 2 * MSS);
	peer(f, ACK, 1 + 2 * MSS, 1, MSS); // more than there is room for
	assert_int_equal(tcp_recv_readable(pcb), 4096);
}

static void an_mss_is_announced_and_kept(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	listen_here(f);
	tcp_set_mss(f->listener, 700);
	pcb = established_passive(f);
	assert_int_equal(f->last.options.mss, 700);
	send_text(f, pcb, 1, 1000);
	flush(f);
	expect(f, ACK, 1, 1, 700);
	drop_sent(f);
	f->remote.port++;
	assert_int_equal(tcp_connect(f->stack, &f->local, &f->remote, NULL, f, &pcb), 0);
	tcp_set_mss(pcb, 1000);
	tcp_set_mss(pcb, 1400); // never up
	flush(f);
	expect(f, SYN, 0, 0, 0);
	assert_int_equal(f->last.options.mss, 1000);
}

static void children_inherit_what_the_listener_has(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	listen_here(f);
	tcp_set_no_delay(f->listener, true);
	tcp_set_keep_alive(f->listener, &keep_alive);
	tcp_set_linger(f->listener, 0);
	pcb = established_passive(f);
	send_text(f, pcb, 1, 10);
	flush(f);
	send_text(f, pcb, 11, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	expect(f, ACK, 11, 1, 10); // no-delay
	peer(f, ACK, 1, 21, 0);
	pass(f, 61 * SECOND);
	expect(f, ACK, 20, 1, 0); // keep-alive
	tcp_close(pcb);
	expect(f, RST | ACK, 21, 1, 0); // linger
}

int test_tcp_options(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(keep_alives_are_off_by_default),
		FIXTURE_TEST(a_silent_peer_is_asked_and_given_up),
		FIXTURE_TEST(traffic_puts_keep_alives_off),
		FIXTURE_TEST(half_closed_connections_are_kept_alive),
		FIXTURE_TEST(keep_alives_are_answered),
		FIXTURE_TEST(linger_zero_resets),
		FIXTURE_TEST(linger_bounds_a_close),
		FIXTURE_TEST(linger_ends_with_the_last_ack),
		FIXTURE_TEST(a_full_send_buffer_says_again),
		FIXTURE_TEST(a_receive_buffer_bounds_the_window),
		FIXTURE_TEST(an_mss_is_announced_and_kept),
		FIXTURE_TEST(children_inherit_what_the_listener_has),
	};

	return cmocka_run_group_tests_name("tcp_options", tests, NULL, NULL);
}
