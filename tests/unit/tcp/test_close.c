// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every way to end: shutdown, close, abort, both at once, TIME-WAIT and its end.

#include "tcp_tests.h"

#include <rte_mbuf.h>

static uint32_t pcbs_in_use(const struct fixture *f)
{
	struct tcp_usage usage;

	tcp_stack_usage(f->stack, &usage);
	return usage.pcbs;
}

static void we_close_first(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	send_text(f, pcb, 1, 10);
	tcp_close(pcb);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 10);
	peer(f, ACK, 1, 12, 0);
	peer(f, ACK | FIN, 1, 12, 0);
	flush(f);
	expect(f, ACK, 12, 2, 0);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 1);
	pass(f, f->config.time_wait_us - SECOND);
	assert_int_equal(pcbs_in_use(f), 2);
	pass(f, SECOND + 2 * MS);
	assert_int_equal(pcbs_in_use(f), 1);
	expect_events(f, NULL, 0);
	expect_nothing(f);
	assert_int_equal(tcp_next_deadline(f->stack), UINT64_MAX);
}

static void the_peer_closes_first(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK | FIN, 1, 1, 10);
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_EOF);
	expect_text(f, pcb, 1, 10);
	send_text(f, pcb, 1, 10); // half closed: we may go on
	flush(f);
	expect(f, ACK, 1, 12, 10);
	tcp_close(pcb);
	flush(f);
	expect(f, ACK | FIN, 11, 12, 0);
	peer(f, ACK, 12, 12, 0);
	assert_int_equal(pcbs_in_use(f), 1);
}

static void half_closed_we_go_on_receiving(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_shutdown(pcb);
	tcp_shutdown(pcb);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK, 1, 2, 100);
	pass(f, 1000 * SECOND); // with an owner FIN-WAIT-2 has no end
	expect(f, ACK, 2, 101, 0);
	expect_text(f, pcb, 1, 100);
	peer(f, ACK | FIN, 101, 2, 0);
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_EOF);
	assert_int_equal(state_of(pcb), TCP_TIME_WAIT);
	pass(f, f->config.time_wait_us + 2 * MS);
	assert_int_equal(state_of(pcb), TCP_CLOSED); // and still the user's
	assert_int_equal(pcbs_in_use(f), 2);
	tcp_close(pcb);
	assert_int_equal(pcbs_in_use(f), 1);
	drop_sent(f);
}

static void both_close_at_once(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_close(pcb);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK | FIN, 1, 1, 0);
	flush(f);
	expect(f, ACK, 2, 2, 0);
	assert_int_equal(count_of(f, "tcp_connections", "CLOSING"), 1);
	peer(f, ACK, 2, 2, 0);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 1);
}

static void fin_wait_2_of_nobodys_has_an_end(void **state)
{
	struct fixture *f = *state;

	tcp_close(established_passive(f));
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK, 1, 2, 0);
	pass(f, f->config.fin_wait_us - SECOND);
	assert_int_equal(pcbs_in_use(f), 2);
	pass(f, 2 * SECOND);
	assert_int_equal(pcbs_in_use(f), 1);
}

static void closing_with_unread_text_resets(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK, 1, 1, 10);
	tcp_close(pcb);
	expect(f, RST | ACK, 1, 11, 0);
	assert_int_equal(pcbs_in_use(f), 1);
}

static void text_for_nobody_is_reset(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	tcp_close(pcb);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK, 1, 2, 10);
	expect(f, RST | ACK, 2, 1, 0);
	assert_int_equal(pcbs_in_use(f), 1);
}

static void abort_resets_and_drops(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	send_text(f, pcb, 1, 3 * MSS);
	flush(f);
	drop_sent(f);
	peer(f, ACK, 1, 1, 10);
	tcp_abort(pcb);
	expect(f, RST | ACK, 1 + 3 * MSS, 11, 0);
	assert_int_equal(pcbs_in_use(f), 1);
	expect_events(f, NULL, 0); // READABLE was pending
	flush(f);
	expect_nothing(f);
}

static void abort_after_send_follows_the_last_text(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	send_text(f, pcb, 1, 100);
	tcp_abort_after_send(pcb);
	flush(f);
	expect(f, ACK, 1, 1, 100);
	expect(f, RST | ACK, 101, 1, 0);
	assert_int_equal(pcbs_in_use(f), 1);
}

static void abort_after_send_of_nothing_is_at_once(void **state)
{
	struct fixture *f = *state;

	tcp_abort_after_send(established_passive(f));
	expect(f, RST | ACK, 1, 1, 0);
	assert_int_equal(pcbs_in_use(f), 1);
}

// Nothing is sent into a closed window, and probing it is not for ever.
static void abort_after_send_ends_when_given_up(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_send(
		f, &(struct peer_segment){.flags = ACK, .seq = 1, .ack = 1, .wnd = PEER_WND_ZERO});
	send_text(f, pcb, 1, 100);
	tcp_abort_after_send(pcb);
	flush(f);
	assert_int_equal(pcbs_in_use(f), 2);
	for (unsigned i = 0; i <= f->config.retries; i++)
		pass(f, 61 * SECOND);
	assert_int_equal(pcbs_in_use(f), 1);
	drop_sent(f);
}

static void a_reset_leaves_what_was_received_readable(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer(f, ACK, 1, 1, 20);
	peer(f, RST, 21, 0, 0);
	expect_events(f, pcb, TCP_EVENT_READABLE | TCP_EVENT_RESET);
	flush(f);
	expect_text(f, pcb, 1, 20);
	tcp_close(pcb);
	assert_int_equal(pcbs_in_use(f), 1);
	expect_nothing(f);
}

static void a_time_wait_gives_way_to_a_new_syn(void **state)
{
	struct fixture *f = *state;
	uint32_t old;
	struct tcp_pcb *pcb;

	tcp_close(established_passive(f));
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK | FIN, 1, 2, 0);
	flush(f);
	expect(f, ACK, 2, 2, 0);
	old = f->last.seq;
	peer(f, SYN, 1, 0, 0); // not beyond the old numbers: an old duplicate
	flush(f);
	expect(f, ACK, 2, 2, 0);
	peer(f, SYN, 10, 0, 0);
	assert_int_equal(events(f, &pcb), TCP_EVENT_SYN);
	tcp_accept(pcb);
	flush(f);
	assert_int_equal(f->sent_count, 1);
	f->iss = 0;
	f->iss = (rte_pktmbuf_mtod(f->sent[0], uint8_t *)[24] << 24 |
		  rte_pktmbuf_mtod(f->sent[0], uint8_t *)[25] << 16 |
		  rte_pktmbuf_mtod(f->sent[0], uint8_t *)[26] << 8 |
		  rte_pktmbuf_mtod(f->sent[0], uint8_t *)[27]);
	expect(f, SYN | ACK, 0, 11, 0);
	assert_true((int32_t)(f->iss - old) >= 65536);
	assert_int_equal(count_of(f, "tcp_time_wait_reused_total", NULL), 1);
}

static void without_free_pcbs_the_oldest_time_wait_goes(void **state)
{
	struct fixture *f = *state;

	f->config.connections_max = 3; // a listener and two
	fixture_restart(f);
	for (unsigned i = 0; i < 6; i++) {
		f->remote.port++;
		tcp_close(established_passive(f));
		flush(f);
		expect(f, ACK | FIN, 1, 1, 0);
		peer(f, ACK | FIN, 1, 2, 0);
		flush(f);
		drop_sent(f);
	}
	assert_int_equal(pcbs_in_use(f), 3);
	assert_int_equal(count_of(f, "tcp_time_wait_recycled_total", NULL), 4);
	// Those in use are not taken.
	f->remote.port++;
	established_passive(f);
	f->remote.port++;
	established_passive(f);
	f->remote.port++;
	peer(f, SYN, 0, 0, 0);
	expect_events(f, NULL, 0);
	assert_int_equal(count_of(f, "tcp_syn_dropped_total", "connections_max"), 1);
}

static void closing_while_connecting_is_silent(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	send_text(f, pcb, 1, 10);
	tcp_close(pcb);
	flush(f);
	expect_nothing(f);
	assert_int_equal(pcbs_in_use(f), 0);
	peer(f, SYN | ACK, 0, 1, 0); // the late answer
	expect(f, RST, 1, 0, 0);
}

static void closing_a_half_open_connection_waits_for_the_handshake(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	tcp_close(pcb);
	flush(f);
	expect_nothing(f);
	peer(f, ACK, 1, 1, 0);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK | FIN, 1, 2, 0);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 1);
}

int test_tcp_close(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(we_close_first),
		FIXTURE_TEST(the_peer_closes_first),
		FIXTURE_TEST(half_closed_we_go_on_receiving),
		FIXTURE_TEST(both_close_at_once),
		FIXTURE_TEST(fin_wait_2_of_nobodys_has_an_end),
		FIXTURE_TEST(closing_with_unread_text_resets),
		FIXTURE_TEST(text_for_nobody_is_reset),
		FIXTURE_TEST(abort_resets_and_drops),
		FIXTURE_TEST(abort_after_send_follows_the_last_text),
		FIXTURE_TEST(abort_after_send_of_nothing_is_at_once),
		FIXTURE_TEST(abort_after_send_ends_when_given_up),
		FIXTURE_TEST(a_reset_leaves_what_was_received_readable),
		FIXTURE_TEST(a_time_wait_gives_way_to_a_new_syn),
		FIXTURE_TEST(without_free_pcbs_the_oldest_time_wait_goes),
		FIXTURE_TEST(closing_while_connecting_is_silent),
		FIXTURE_TEST(closing_a_half_open_connection_waits_for_the_handshake),
	};

	return cmocka_run_group_tests_name("tcp_close", tests, NULL, NULL);
}
