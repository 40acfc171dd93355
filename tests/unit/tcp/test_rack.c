// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Recovery with SACK: RACK and tail loss probes (RFC 8985), phases and pipe (RFC 6675),
// proportional rate reduction (RFC 6937). S(i) is where the i-th full segment begins.

#include "tcp_tests.h"

#define S(i) (1 + (i)*MSS)
// min_rtt / 4, RFC 8985 6.2 step 4.
#define REORDERING (SACK_RTT / 4)

static struct tcp_info info_of(const struct tcp_pcb *pcb)
{
	struct tcp_info info;

	tcp_pcb_info(pcb, &info);
	return info;
}

// `count` segments under way for one round trip.
static struct tcp_pcb *with_segments_sent(struct fixture *f, unsigned count)
{
	struct tcp_pcb *pcb = established_sack(f);

	send_text(f, pcb, 1, count * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), count);
	f->now_us += SACK_RTT;
	tcp_advance(f->stack, f->now_us);
	return pcb;
}

static void three_segments_behind_a_hole_prove_its_loss(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 8);

	peer_sack(f, 1, S(1), S(3), 0, 0);
	flush(f);
	expect_nothing(f);
	peer_sack(f, 1, S(1), S(4), 0, 0);
	flush(f);
	expect(f, ACK, S(0), 1, MSS);
	expect_nothing(f);
	assert_true(info_of(pcb).recovery);
	assert_int_equal(info_of(pcb).ssthresh, 4 * MSS);
	peer_sack(f, S(8), 0, 0, 0, 0);
	assert_false(info_of(pcb).recovery);
	assert_int_equal(info_of(pcb).cwnd, 4 * MSS);
	assert_int_equal(count_of(f, "tcp_retransmits_total", NULL), 1);
}

static void a_thin_flow_waits_for_the_reordering_window(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 2);

	peer_sack(f, 1, S(1), S(2), 0, 0);
	pass(f, REORDERING - 2 * MS);
	expect_nothing(f);
	pass(f, 4 * MS);
	expect(f, ACK, S(0), 1, MSS);
	assert_true(info_of(pcb).recovery);
	assert_int_equal(count_of(f, "tcp_timeouts_total", NULL), 0);
}

static void what_comes_late_is_no_loss(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 3);

	peer_sack(f, 1, S(1), S(3), 0, 0);
	pass(f, REORDERING / 2);
	peer(f, ACK, 1, S(3), 0);
	pass(f, SECOND);
	expect_nothing(f);
	assert_int_equal(info_of(pcb).cwnd, 10 * MSS); // not in use, so it did not grow either
}

static void once_reordering_was_seen_duplicates_prove_nothing(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 3);

	peer_sack(f, 1, S(1), S(3), 0, 0);
	peer(f, ACK, 1, S(3), 0);
	send_text(f, pcb, S(3), 8 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 8);
	f->now_us += SACK_RTT;
	tcp_advance(f->stack, f->now_us);
	peer_sack(f, S(3), S(4), S(11), 0, 0);
	flush(f);
	expect_nothing(f);
	pass(f, REORDERING + 2 * MS);
	expect(f, ACK, S(3), 1, MSS);
}

static void duplicates_reported_widen_the_window(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 2);

	peer_sack(f, 1, S(1), S(2), 0, 0);
	pass(f, REORDERING + 2 * MS);
	expect(f, ACK, S(0), 1, MSS);
	peer(f, ACK, 1, S(2), 0);	      // the first copy, late
	peer_sack(f, S(2), S(0), S(1), 0, 0); // the second one
	assert_int_equal(count_of(f, "tcp_dsacks_received_total", NULL), 1);
	send_text(f, pcb, S(2), 2 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 2);
	pass(f, SACK_RTT);
	peer_sack(f, S(2), S(3), S(4), 0, 0);
	pass(f, REORDERING + 2 * MS);
	expect_nothing(f);
	pass(f, REORDERING);
	expect(f, ACK, S(2), 1, MSS);
}

static void a_lost_retransmission_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 10);

	send_text(f, pcb, S(10), 10 * MSS);
	peer_sack(f, 1, S(1), S(6), 0, 0);
	flush(f);
	expect(f, ACK, S(0), 1, MSS);
	drop_sent(f);
	pass(f, SACK_RTT);
	drop_sent(f);
	peer_sack(f, 1, S(1), S(10), 0, 0); // which lets new segments go
	flush(f);
	drop_sent(f);
	pass(f, SACK_RTT);
	peer_sack(f, 1, S(1), S(12), 0, 0); // sent after the retransmission
	flush(f);
	expect(f, ACK, S(0), 1, MSS);
	drop_sent(f);
	assert_int_equal(count_of(f, "tcp_timeouts_total", NULL), 0);
	assert_int_equal(info_of(pcb).ssthresh, 5 * MSS); // it is the same recovery
}

static void holes_are_filled_from_below(void **state)
{
	struct fixture *f = *state;

	with_segments_sent(f, 10);
	peer_sack(f, 1, S(7), S(10), S(3), S(5));
	flush(f);
	assert_int_equal(f->sent_count, 5);
	// Five are SACKed and five lost: nothing is under way, half the window may be (RFC 6937).
	expect(f, ACK, S(0), 1, MSS);
	expect(f, ACK, S(1), 1, MSS);
	expect(f, ACK, S(2), 1, MSS);
	expect(f, ACK, S(5), 1, MSS);
	expect(f, ACK, S(6), 1, MSS);
	expect_nothing(f);
}

static void a_lost_tail_is_found_by_the_ack_of_the_retransmission(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 10);

	peer_sack(f, 1, S(1), S(8), 0, 0);
	flush(f);
	expect(f, ACK, S(0), 1, MSS);
	pass(f, SACK_RTT);
	expect_nothing(f);
	peer(f, ACK, 1, S(8), 0); // the retransmission has arrived, and what was sent before it?
	flush(f);
	expect(f, ACK, S(8), 1, MSS);
	peer(f, ACK, 1, S(9), 0);
	flush(f);
	expect(f, ACK, S(9), 1, MSS);
	peer(f, ACK, 1, S(10), 0);
	assert_int_equal(tcp_send_queued(pcb), 0);
	assert_int_equal(count_of(f, "tcp_timeouts_total", NULL), 0);
}

static void the_rate_is_reduced_in_proportion(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 10);
	unsigned sent = 0;

	send_text(f, pcb, S(10), 20 * MSS);
	peer_sack(f, 1, S(1), S(4), 0, 0);
	flush(f);
	sent += drop_sent(f);
	for (unsigned i = 5; i <= 10; i++) {
		peer_sack(f, 1, S(1), S(i), 0, 0);
		flush(f);
		sent += drop_sent(f);
		assert_true(info_of(pcb).pipe <= info_of(pcb).cwnd);
	}
	assert_in_range(sent, 4, 6); // half of what was delivered
	assert_true(info_of(pcb).pipe <= 6 * MSS);
}

static void silence_draws_a_probe_of_new_text(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	send_text(f, pcb, 1, 12 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 10);
	pass(f, 2 * SACK_RTT - 2 * MS);
	expect_nothing(f);
	pass(f, 4 * MS);
	expect(f, ACK, S(10), 1, MSS); // one more than CWND
	expect_nothing(f);
	peer_sack(f, 1, S(10), S(11), 0, 0); // all before it is lost
	pass(f, REORDERING + 2 * MS);
	expect(f, ACK, S(0), 1, MSS);
	drop_sent(f);
	assert_int_equal(count_of(f, "tcp_timeouts_total", NULL), 0);
	assert_int_equal(count_of(f, "tcp_tail_probes_total", NULL), 1);
}

static void a_lost_tail_is_repaired_by_a_probe(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	send_text(f, pcb, 1, 3 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 3);
	pass(f, 2 * SACK_RTT + 2 * MS);
	expect(f, ACK, S(2), 1, MSS);
	peer(f, ACK, 1, S(3), 0);
	assert_int_equal(info_of(pcb).cwnd, 10 * MSS); // who knows which copy that was
	send_text(f, pcb, S(3), 10);
	flush(f);
	drop_sent(f);
	pass(f, SACK_RTT);
	peer(f, ACK, 1, S(3) + 10, 0); // no duplicate was reported: the first one was lost
	assert_true(info_of(pcb).cwnd < 10 * MSS);
}

static void a_needless_probe_costs_nothing(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	send_text(f, pcb, 1, 3 * MSS);
	flush(f);
	drop_sent(f);
	pass(f, 2 * SACK_RTT + 2 * MS);
	expect(f, ACK, S(2), 1, MSS);
	peer(f, ACK, 1, S(3), 0);
	peer_sack(f, S(3), S(2), S(3), 0, 0);
	send_text(f, pcb, S(3), 10);
	flush(f);
	drop_sent(f);
	pass(f, SACK_RTT);
	peer(f, ACK, 1, S(3) + 10, 0);
	assert_int_equal(info_of(pcb).cwnd, 10 * MSS);
}

static void one_segment_alone_is_left_to_the_timer(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);
	uint64_t rto = info_of(pcb).rto_us;

	send_text(f, pcb, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 100);
	pass(f, rto - 2 * MS); // its ACK may be delayed
	expect_nothing(f);
	pass(f, 4 * MS);
	expect(f, ACK, 1, 1, 100);
}

static void a_fin_is_repaired_like_text(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	send_text(f, pcb, 1, 2 * MSS);
	tcp_shutdown(pcb);
	flush(f);
	assert_int_equal(drop_sent(f), 2);
	pass(f, 2 * SACK_RTT + 2 * MS);
	// The last MSS octets of sequence space: text and FIN.
	expect(f, ACK | FIN, S(1) + 1, 1, MSS - 1);
	peer(f, ACK, 1, S(2) + 1, 0);
	assert_int_equal(state_of(pcb), TCP_FIN_WAIT_2);
	tcp_abort(pcb);
	drop_sent(f);
}

static void many_holes_stay_within_bounds(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	for (unsigned i = 0; i < 200; i++) { // small segments, each of its own time
		send_text(f, pcb, 1 + 10 * i, 10);
		flush(f);
		f->now_us += SACK_RTT / 20;
		tcp_advance(f->stack, f->now_us);
		if (i % 2) // every second one
			peer_sack(f, 1, 1 + 10 * i, 11 + 10 * i, 0, 0);
		drop_sent(f);
	}
	for (unsigned i = 0; i < 20 && tcp_send_queued(pcb) > 0; i++) {
		flush(f);
		drop_sent(f);
		peer(f, ACK, 1, info_of(pcb).snd_nxt - f->iss, 0);
	}
	assert_int_equal(tcp_send_queued(pcb), 0);
	assert_true(count_of(f, "tcp_sacks_forgotten_total", NULL) > 0);
	assert_int_equal(info_of(pcb).pipe, 0);
	flush(f);
	drop_sent(f);
}

int test_tcp_rack(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(three_segments_behind_a_hole_prove_its_loss),
		FIXTURE_TEST(a_thin_flow_waits_for_the_reordering_window),
		FIXTURE_TEST(what_comes_late_is_no_loss),
		FIXTURE_TEST(once_reordering_was_seen_duplicates_prove_nothing),
		FIXTURE_TEST(duplicates_reported_widen_the_window),
		FIXTURE_TEST(a_lost_retransmission_is_noticed),
		FIXTURE_TEST(holes_are_filled_from_below),
		FIXTURE_TEST(a_lost_tail_is_found_by_the_ack_of_the_retransmission),
		FIXTURE_TEST(the_rate_is_reduced_in_proportion),
		FIXTURE_TEST(silence_draws_a_probe_of_new_text),
		FIXTURE_TEST(a_lost_tail_is_repaired_by_a_probe),
		FIXTURE_TEST(a_needless_probe_costs_nothing),
		FIXTURE_TEST(one_segment_alone_is_left_to_the_timer),
		FIXTURE_TEST(a_fin_is_repaired_like_text),
		FIXTURE_TEST(many_holes_stay_within_bounds),
	};

	return cmocka_run_group_tests_name("tcp_rack", tests, NULL, NULL);
}
