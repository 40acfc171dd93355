// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ECN (RFC 3168 6.1), segment by segment.

#include "tcp_tests.h"

#define ECT0 2
#define CE   3

static struct tcp_info info_of(const struct tcp_pcb *pcb)
{
	struct tcp_info info;

	tcp_pcb_info(pcb, &info);
	return info;
}

static struct tcp_pcb *with_ecn(struct fixture *f)
{
	struct tcp_pcb *pcb;

	listen_here(f);
	f->peer_options.present |= TCP_OPTION_SACK_PERMITTED | TCP_OPTION_WSCALE;
	f->peer_options.wscale = 6;
	peer(f, SYN | ECE | CWR, 0, 0, 0);
	assert_int_equal(events(f, &pcb), TCP_EVENT_SYN);
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK | ECE, 0, 1, 0);
	assert_int_equal(f->last_ecn, 0);
	pass(f, 40 * MS);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	tcp_set_no_delay(pcb, true);
	return pcb;
}

static void it_is_accepted_but_not_offered_by_default(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_ecn(f);

	assert_true(info_of(pcb).ecn);
	tcp_abort(pcb);
	flush(f);
	drop_sent(f);
	pcb = connecting(f, NULL); // which expects a SYN without flags
	peer(f, SYN | ACK | ECE, 0, 1, 0);
	assert_false(info_of(pcb).ecn);
	flush(f);
	drop_sent(f);
}

static void it_is_offered_when_asked_for(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.ecn = TCP_ECN_ACTIVE;
	fixture_restart(f);
	assert_int_equal(tcp_connect(f->stack, &f->local, &f->remote, NULL, f, &pcb), 0);
	flush(f);
	expect(f, SYN | ECE | CWR, 0, 0, 0);
	peer(f, SYN | ACK | ECE, 0, 1, 0);
	assert_true(info_of(pcb).ecn);
	flush(f);
	drop_sent(f);
}

static void a_lost_offer_is_not_repeated(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.ecn = TCP_ECN_ACTIVE;
	fixture_restart(f);
	assert_int_equal(tcp_connect(f->stack, &f->local, &f->remote, NULL, f, &pcb), 0);
	flush(f);
	expect(f, SYN | ECE | CWR, 0, 0, 0);
	pass(f, 1100 * MS);
	expect(f, SYN, 0, 0, 0);
	peer(f, SYN | ACK | ECE, 0, 1, 0);
	assert_false(info_of(pcb).ecn);
	flush(f);
	drop_sent(f);
}

static void it_can_be_off(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.ecn = TCP_ECN_OFF;
	fixture_restart(f);
	listen_here(f);
	peer(f, SYN | ECE | CWR, 0, 0, 0);
	assert_int_equal(events(f, &pcb), TCP_EVENT_SYN);
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	tcp_abort(pcb);
	drop_sent(f);
}

static void only_new_text_is_marked_as_capable(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_ecn(f);

	send_text(f, pcb, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 100);
	assert_int_equal(f->last_ecn, ECT0);
	pass(f, SECOND);
	expect(f, ACK, 1, 1, 100); // again
	assert_int_equal(f->last_ecn, 0);
	drop_sent(f);
	peer(f, ACK, 1, 101, 1000);
	pass(f, 50 * MS);
	expect(f, ACK, 101, 1001, 0);
	assert_int_equal(f->last_ecn, 0);
}

static void congestion_is_echoed_until_the_window_is_reduced(void **state)
{
	struct fixture *f = *state;
	uint32_t seq = 1;

	with_ecn(f);
	for (unsigned i = 0; i < 6; i++, seq += 10) {
		// Marked; unmarked; CWR; unmarked; marked together with CWR; a marked ACK.
		static const uint8_t marks[] = {CE, ECT0, ECT0, ECT0, CE, CE};
		static const bool echoed[] = {true, true, false, false, true, true};

		peer_send(f, &(struct peer_segment){.flags = i == 2 || i == 4 ? ACK | CWR : ACK,
				     .seq = seq,
				     .ack = 1,
				     .length = 10,
				     .ecn = marks[i]});
		pass(f, 50 * MS);
		expect(f, echoed[i] ? ACK | ECE : ACK, 1, seq + 10, 0);
		expect_nothing(f);
	}
	peer(f, ACK | CWR, seq, 1, 10);
	peer_send(f, &(struct peer_segment){.flags = ACK, .seq = seq + 10, .ack = 1, .ecn = CE});
	pass(f, 50 * MS);
	expect(f, ACK, 1, seq + 10, 0); // a marked pure ACK is not echoed
}

static void the_window_is_reduced_once_a_round_trip(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_ecn(f);
	uint32_t cwnd;

	send_text(f, pcb, 1, 20 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 10);
	peer(f, ACK | ECE, 1, 1 + MSS, 0);
	cwnd = info_of(pcb).cwnd;
	assert_int_equal(cwnd, 5 * MSS);
	for (unsigned i = 2; i <= 10; i++) { // the rest of that round trip
		peer(f, ACK | ECE, 1, 1 + i * MSS, 0);
		assert_true(info_of(pcb).cwnd >= cwnd);
	}
	flush(f);
	assert_true(f->sent_count > 1);
	expect(f, ACK | CWR, 1 + 10 * MSS, 1, MSS);
	expect(f, ACK, 1 + 11 * MSS, 1, MSS);
	drop_sent(f);
	assert_int_equal(count_of(f, "tcp_ecn_reductions_total", NULL), 1);
	peer(f, ACK | ECE, 1, 1 + 12 * MSS, 0);
	assert_int_equal(count_of(f, "tcp_ecn_reductions_total", NULL), 2);
	assert_int_equal(count_of(f, "tcp_retransmits_total", NULL), 0);
	flush(f);
	drop_sent(f);
}

static void a_loss_in_the_same_window_does_not_reduce_it_twice(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_ecn(f);

	send_text(f, pcb, 1, 10 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 10);
	pass(f, 40 * MS);
	peer(f, ACK | ECE, 1, 1 + MSS, 0);
	assert_int_equal(info_of(pcb).ssthresh, 5 * MSS);
	peer_sack(f, 1 + MSS, 1 + 2 * MSS, 1 + 6 * MSS, 0, 0);
	flush(f);
	expect(f, ACK, 1 + MSS, 1, MSS);
	drop_sent(f);
	assert_true(info_of(pcb).recovery);
	assert_int_equal(info_of(pcb).ssthresh, 5 * MSS);
}

int test_tcp_ecn(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(it_is_accepted_but_not_offered_by_default),
		FIXTURE_TEST(it_is_offered_when_asked_for),
		FIXTURE_TEST(a_lost_offer_is_not_repeated),
		FIXTURE_TEST(it_can_be_off),
		FIXTURE_TEST(only_new_text_is_marked_as_capable),
		FIXTURE_TEST(congestion_is_echoed_until_the_window_is_reduced),
		FIXTURE_TEST(the_window_is_reduced_once_a_round_trip),
		FIXTURE_TEST(a_loss_in_the_same_window_does_not_reduce_it_twice),
	};

	return cmocka_run_group_tests_name("tcp_ecn", tests, NULL, NULL);
}
