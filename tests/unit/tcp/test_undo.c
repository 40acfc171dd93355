// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Recoveries that were not needed are taken back: by timestamps (RFC 3522), by duplicates
// reported (RFC 3708), by what follows a timeout (RFC 5682); RFC 9438 4.9 says what is restored.
// S(i) is where the i-th full segment begins.

#include "tcp_tests.h"

#include "tcp/pcb.h"

#define S(i) (1 + (i)*MSS)

static struct tcp_info info_of(const struct tcp_pcb *pcb)
{
	struct tcp_info info;

	tcp_pcb_info(pcb, &info);
	return info;
}

// `count` segments under way for one round trip; f->ts_recent is the time of the first.
static struct tcp_pcb *with_segments_sent(struct fixture *f, bool timestamps, unsigned count)
{
	struct tcp_pcb *pcb;

	if (timestamps)
		f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	pcb = established_sack(f);
	send_text(f, pcb, 1, count * (MSS - (timestamps ? TCP_TIMESTAMPS_SIZE : 0)));
	flush(f);
	expect(f, ACK, 1, 1, MSS - (timestamps ? TCP_TIMESTAMPS_SIZE : 0));
	assert_int_equal(drop_sent(f), count - 1);
	f->now_us += SACK_RTT;
	tcp_advance(f->stack, f->now_us);
	return pcb;
}

#define T(i) (1 + (i) * (MSS - TCP_TIMESTAMPS_SIZE))

static uint64_t undone(struct fixture *f, const char *reason)
{
	return count_of(f, "tcp_recoveries_undone_total", reason);
}

static void time_out(struct fixture *f)
{
	for (unsigned i = 0; i < 100 && count_of(f, "tcp_timeouts_total", NULL) == 0; i++)
		pass(f, 10 * MS);
	assert_int_equal(count_of(f, "tcp_timeouts_total", NULL), 1);
}

static void an_echo_of_the_first_transmission_undoes_a_timeout(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, true, 8);
	struct tcp_info before = info_of(pcb);

	time_out(f);
	drop_sent(f);
	assert_int_equal(info_of(pcb).cwnd, before.mss);
	peer(f, ACK, 1, T(2), 0);
	assert_int_equal(undone(f, "timestamps"), 1);
	assert_int_equal(info_of(pcb).cwnd, before.cwnd + 2 * before.mss); // slow start goes on
	assert_int_equal(info_of(pcb).ssthresh, before.ssthresh);
	flush(f);
	expect_nothing(f); // what has not come yet is not lost
	peer(f, ACK, 1, T(8), 0);
	pass(f, SECOND);
	expect_nothing(f);
	assert_int_equal(tcp_send_queued(pcb), 0);
}

static void a_single_segment_s_timeout_is_undone_too(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, true, 1);
	struct tcp_info before = info_of(pcb);

	pass(f, 2 * SECOND);
	assert_in_range(count_of(f, "tcp_timeouts_total", NULL), 1, 4);
	drop_sent(f);
	peer(f, ACK, 1, T(1), 0);
	assert_int_equal(undone(f, "timestamps"), 1);
	assert_int_equal(info_of(pcb).cwnd, before.cwnd);
	assert_int_equal(info_of(pcb).rto_us, info_of(pcb).srtt_us + 4 * info_of(pcb).rttvar_us);
}

static void an_echo_of_the_second_transmission_undoes_nothing(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, true, 8);

	time_out(f);
	expect(f, ACK, T(7), 1, info_of(pcb).mss); // the probe
	expect(f, ACK, T(0), 1, info_of(pcb).mss);
	expect_nothing(f);
	peer(f, ACK, 1, T(1), 0);
	assert_int_equal(undone(f, "timestamps"), 0);
	assert_in_range(info_of(pcb).cwnd, MSS, 3 * MSS);
	assert_int_equal(info_of(pcb).ssthresh, 4 * info_of(pcb).mss);
}

static void an_echo_of_the_first_transmission_undoes_a_recovery(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, true, 8);
	struct tcp_info before = info_of(pcb);

	peer_sack(f, 1, T(1), T(5), 0, 0);
	flush(f);
	expect(f, ACK, 1, 1, before.mss);
	assert_true(info_of(pcb).recovery);
	f->ts_recent = f->ts_recent - (uint32_t)(SACK_RTT / MS); // of what came late
	peer_sack(f, T(5), 0, 0, 0, 0);
	assert_int_equal(undone(f, "timestamps"), 1);
	assert_false(info_of(pcb).recovery);
	assert_int_equal(info_of(pcb).cwnd, before.cwnd + 2 * before.mss);
	assert_int_equal(info_of(pcb).ssthresh, before.ssthresh);
}

static void duplicates_of_all_that_was_sent_again_undo_a_recovery(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, false, 8);
	struct tcp_info before = info_of(pcb);

	peer_sack(f, 1, S(2), S(6), 0, 0); // two are missing
	flush(f);
	expect(f, ACK, S(0), 1, MSS);
	peer_sack(f, 1, S(2), S(7), 0, 0);
	peer_sack(f, 1, S(2), S(8), 0, 0);
	flush(f);
	expect(f, ACK, S(1), 1, MSS);
	send_text(f, pcb, S(8), 4 * MSS);
	flush(f);
	drop_sent(f);
	peer_sack(f, S(8), S(0), S(1), 0, 0);
	assert_int_equal(undone(f, "duplicates"), 0);
	peer_sack(f, S(8), S(1), S(2), 0, 0);
	assert_int_equal(undone(f, "duplicates"), 1);
	assert_int_equal(info_of(pcb).cwnd, before.cwnd);
	assert_int_equal(info_of(pcb).ssthresh, before.ssthresh);
}

// A timeout whose first ACK tells of one more segment; new text is there to ask with.
static struct tcp_pcb *asked(struct fixture *f)
{
	struct tcp_pcb *pcb = with_segments_sent(f, false, 8);

	send_text(f, pcb, S(8), 8 * MSS);
	flush(f);
	drop_sent(f); // what the window took of it
	assert_int_equal(info_of(pcb).in_flight, 10 * MSS);
	time_out(f);
	drop_sent(f);
	peer(f, ACK, 1, S(1), 0);
	flush(f);
	expect(f, ACK, S(11), 1, MSS); // instead of S(1); S(10) was the probe
	expect(f, ACK, S(12), 1, MSS);
	expect_nothing(f);
	return pcb;
}

static void after_a_timeout_new_text_asks_what_was_lost(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = asked(f);

	peer(f, ACK, 1, S(3), 0); // the first transmissions come in
	assert_int_equal(undone(f, "f_rto"), 1);
	assert_int_equal(info_of(pcb).cwnd, (10 + 2) * MSS);
	assert_int_equal(info_of(pcb).ssthresh, UINT32_MAX / 2);
	flush(f);
	expect(f, ACK, S(13), 1, MSS);
	drop_sent(f);
	peer(f, ACK, 1, S(13), 0);
	assert_int_equal(count_of(f, "tcp_fast_retransmits_total", NULL), 0);
}

static void a_real_loss_is_repaired_after_the_question(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = asked(f);

	peer_sack(f, S(1), S(11), S(12), 0, 0);
	assert_int_equal(undone(f, "f_rto"), 0);
	flush(f);
	expect(f, ACK, S(1), 1, MSS);
	drop_sent(f);
	assert_in_range(info_of(pcb).cwnd, MSS, 3 * MSS);
	assert_int_equal(info_of(pcb).ssthresh, 11 * MSS / 2);
}

static void without_new_text_there_is_no_question(void **state)
{
	struct fixture *f = *state;

	with_segments_sent(f, false, 8);
	time_out(f);
	drop_sent(f);
	peer(f, ACK, 1, S(1), 0);
	flush(f);
	expect(f, ACK, S(1), 1, MSS);
	expect(f, ACK, S(2), 1, MSS);
	drop_sent(f);
	peer(f, ACK, 1, S(3), 0);
	assert_int_equal(undone(f, "f_rto"), 0);
}

static void a_second_timeout_ends_the_question(void **state)
{
	struct fixture *f = *state;

	asked(f);
	pass(f, 2 * SECOND);
	drop_sent(f);
	peer(f, ACK, 1, S(2), 0);
	flush(f);
	expect(f, ACK, S(2), 1, MSS);
	drop_sent(f);
}

static void what_a_router_confirms_is_not_undone(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, true, 8);
	uint32_t ssthresh;

	pcb->flags |= TCP_PCB_ECN;
	time_out(f);
	drop_sent(f);
	ssthresh = info_of(pcb).ssthresh;
	pcb->recover = pcb->snd_una - 1; // a new round
	peer(f, ACK | ECE, 1, T(1), 0);
	assert_int_equal(count_of(f, "tcp_ecn_reductions_total", NULL), 1);
	assert_true(info_of(pcb).ssthresh <= ssthresh);
}

static void cubic_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	union tcp_congestion_state before;
	struct tcp_pcb *pcb;

	f->config.congestion = TCP_CONGESTION_CUBIC;
	fixture_restart(f);
	pcb = with_segments_sent(f, true, 8);
	pcb->congestion_state.cubic.w_max = 50 * MSS;
	pcb->congestion_state.cubic.epoch_ms = 17;
	before = pcb->congestion_state;
	time_out(f);
	drop_sent(f);
	assert_int_equal(pcb->congestion_state.cubic.w_max, 0);
	peer(f, ACK, 1, 1, 0);
	peer(f, ACK, 1, T(1), 0);
	assert_int_equal(undone(f, "timestamps"), 1);
	assert_int_equal(pcb->congestion_state.cubic.w_max, before.cubic.w_max);
	assert_int_equal(pcb->congestion_state.cubic.k_ms, before.cubic.k_ms);
}

int test_tcp_undo(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(an_echo_of_the_first_transmission_undoes_a_timeout),
		FIXTURE_TEST(a_single_segment_s_timeout_is_undone_too),
		FIXTURE_TEST(an_echo_of_the_second_transmission_undoes_nothing),
		FIXTURE_TEST(an_echo_of_the_first_transmission_undoes_a_recovery),
		FIXTURE_TEST(duplicates_of_all_that_was_sent_again_undo_a_recovery),
		FIXTURE_TEST(after_a_timeout_new_text_asks_what_was_lost),
		FIXTURE_TEST(a_real_loss_is_repaired_after_the_question),
		FIXTURE_TEST(without_new_text_there_is_no_question),
		FIXTURE_TEST(a_second_timeout_ends_the_question),
		FIXTURE_TEST(what_a_router_confirms_is_not_undone),
		FIXTURE_TEST(cubic_goes_on_where_it_was),
	};

	return cmocka_run_group_tests_name("tcp_undo", tests, NULL, NULL);
}
