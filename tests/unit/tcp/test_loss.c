// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Loss and its repair: RTO (RFC 6298), fast retransmit and recovery (RFC 6582), limited
// transmit (RFC 3042), Karn's rule, giving up.

#include "tcp_tests.h"

static struct tcp_info info_of(const struct tcp_pcb *pcb)
{
	struct tcp_info info;

	tcp_pcb_info(pcb, &info);
	return info;
}

// `count` full segments under way.
static struct tcp_pcb *with_segments_sent(struct fixture *f, unsigned count)
{
	struct tcp_pcb *pcb = established_passive(f);

	tcp_set_no_delay(pcb, true);
	send_text(f, pcb, 1, count * MSS);
	flush(f);
	for (unsigned i = 0; i < count; i++)
		expect(f, ACK, 1 + i * MSS, 1, MSS);
	expect_nothing(f);
	return pcb;
}

static void a_lost_segment_is_sent_again_with_backoff(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	uint64_t rto;

	send_text(f, pcb, 1, 100);
	flush(f);
	expect(f, ACK, 1, 1, 100);
	rto = info_of(pcb).rto_us;
	for (unsigned i = 0; i < f->config.retries; i++) {
		pass(f, rto - 2 * MS);
		expect_nothing(f);
		pass(f, 4 * MS);
		expect(f, ACK, 1, 1, 100);
		rto = 2 * rto < f->config.rto_max_us ? 2 * rto : f->config.rto_max_us;
		assert_in_range(info_of(pcb).rto_us, rto - 1, rto);
	}
	assert_int_equal(count_of(f, "tcp_retransmits_total", NULL), f->config.retries);
	assert_int_equal(info_of(pcb).retransmits, f->config.retries);
	pass(f, 61 * SECOND);
	expect(f, RST | ACK, 101, 1, 0);
	expect_events(f, pcb, TCP_EVENT_TIMEOUT);
	tcp_close(pcb);
}

static void the_timer_restarts_with_each_new_acknowledgement(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 4);
	uint64_t rto = info_of(pcb).rto_us;

	for (unsigned i = 1; i < 4; i++) {
		pass(f, rto - 10 * MS);
		expect_nothing(f);
		peer(f, ACK, 1, 1 + i * MSS, 0);
		rto = info_of(pcb).rto_us;
	}
	peer(f, ACK, 1, 1 + 4 * MSS, 0);
	pass(f, 100 * SECOND);
	expect_nothing(f);
}

static void the_rto_follows_the_round_trip_time(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f); // its handshake took no time
	uint32_t seq = 1;

	for (unsigned i = 0; i < 60; i++) {
		send_text(f, pcb, seq, 10);
		flush(f);
		drop_sent(f);
		pass(f, 50 * MS);
		seq += 10;
		peer(f, ACK, 1, seq, 0);
	}
	assert_in_range(info_of(pcb).srtt_us, 49 * MS, 51 * MS);
	assert_in_range(info_of(pcb).rto_us, 249 * MS, 260 * MS); // SRTT and the floor
}

static void karns_rule_keeps_the_backoff_until_a_sample(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	uint32_t rto = info_of(pcb).rto_us;

	send_text(f, pcb, 1, 10);
	flush(f);
	pass(f, rto + 2 * MS);
	assert_int_equal(drop_sent(f), 2);
	peer(f, ACK, 1, 11, 0); // of which transmission?
	assert_int_equal(info_of(pcb).rto_us, 2 * rto);
	send_text(f, pcb, 11, 10);
	flush(f);
	peer(f, ACK, 1, 21, 0);
	assert_true(info_of(pcb).rto_us <= rto);
	drop_sent(f);
}

static void timestamps_give_a_sample_in_spite_of_a_retransmission(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t rto;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	pcb = established_passive(f);
	rto = info_of(pcb).rto_us;
	send_text(f, pcb, 1, 10);
	flush(f);
	pass(f, rto + 2 * MS);
	expect(f, ACK, 1, 1, 10);
	expect(f, ACK, 1, 1, 10);
	peer(f, ACK, 1, 11, 0); // echoes the second one
	assert_true(info_of(pcb).rto_us <= rto + 10 * MS);
}

static void after_a_timeout_everything_is_sent_again_as_acks_allow(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 6);

	pass(f, SECOND);
	expect(f, ACK, 1, 1, MSS);
	expect_nothing(f); // one segment (RFC 5681 3.1)
	assert_int_equal(info_of(pcb).cwnd, MSS);
	assert_int_equal(info_of(pcb).ssthresh, 3 * MSS);
	peer(f, ACK, 1, 1 + MSS, 0);
	flush(f);
	expect(f, ACK, 1 + MSS, 1, MSS);
	expect(f, ACK, 1 + 2 * MSS, 1, MSS);
	expect_nothing(f);
	peer(f, ACK, 1, 1 + 6 * MSS, 0); // it had the rest
	pass(f, 10 * SECOND);
	expect_nothing(f);
	assert_int_equal(tcp_send_queued(pcb), 0);
}

static void three_duplicates_cause_a_fast_retransmit(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 10);

	send_text(f, pcb, 1 + 10 * MSS, 10 * MSS);
	flush(f);
	expect_nothing(f); // CWND is used up
	for (unsigned i = 0; i < 2; i++) {
		peer(f, ACK, 1, 1, 0);
		flush(f);
		expect(f, ACK, 1 + (10 + i) * MSS, 1, MSS); // limited transmit
		expect_nothing(f);
	}
	peer(f, ACK, 1, 1, 0);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	expect_nothing(f);
	assert_int_equal(info_of(pcb).ssthresh, 6 * MSS); // half of twelve
	assert_int_equal(info_of(pcb).cwnd, 9 * MSS);
	assert_int_equal(count_of(f, "tcp_fast_retransmits_total", NULL), 1);
	for (unsigned i = 0; i < 4; i++) {
		peer(f, ACK, 1, 1, 0); // each tells that a segment has arrived
		flush(f);
	}
	expect(f, ACK, 1 + 12 * MSS, 1, MSS); // 13 segments of CWND, 12 under way
	expect_nothing(f);
	peer(f, ACK, 1, 1 + 12 * MSS, 0);
	flush(f);
	assert_int_equal(info_of(pcb).cwnd, 2 * MSS); // what is under way, and one
	drop_sent(f);
}

static void a_partial_ack_sends_the_next_missing_segment(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = with_segments_sent(f, 8);

	for (unsigned i = 0; i < 3; i++)
		peer(f, ACK, 1, 1, 0);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	peer(f, ACK, 1, 1 + 2 * MSS, 0);
	flush(f);
	expect(f, ACK, 1 + 2 * MSS, 1, MSS);
	expect_nothing(f);
	peer(f, ACK, 1, 1 + 8 * MSS, 0);
	flush(f);
	expect_nothing(f);
	assert_int_equal(tcp_send_queued(pcb), 0);
}

static void window_updates_and_text_are_no_duplicates(void **state)
{
	struct fixture *f = *state;

	with_segments_sent(f, 8);
	for (unsigned i = 1; i < 6; i++)
		peer_send(f, &(struct peer_segment){
				     .flags = ACK, .seq = 1, .ack = 1, .wnd = PEER_WND + i});
	for (unsigned i = 0; i < 5; i++)
		peer_send(f, &(struct peer_segment){.flags = ACK,
				     .seq = 1 + 10 * i,
				     .ack = 1,
				     .length = 10,
				     .wnd = PEER_WND + 5});
	flush(f);
	assert_int_equal(count_of(f, "tcp_fast_retransmits_total", NULL), 0);
	drop_sent(f);
}

static void slow_start_and_congestion_avoidance_grow_the_window(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t acked = 1;

	f->peer_options.present |= TCP_OPTION_WSCALE;
	f->peer_options.wscale = 6;
	pcb = established_passive(f);
	assert_int_equal(info_of(pcb).cwnd, 10 * MSS);
	send_text(f, pcb, 1, 100 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 10);
	for (unsigned i = 0; i < 5; i++) { // every second segment
		acked += 2 * MSS;
		peer(f, ACK, 1, acked, 0);
		flush(f);
	}
	assert_int_equal(info_of(pcb).cwnd, 20 * MSS);
	assert_int_equal(drop_sent(f), 20);
	pass(f, SECOND); // a timeout; SSTHRESH is 10 segments
	assert_int_equal(drop_sent(f), 1);
	assert_int_equal(info_of(pcb).ssthresh, 10 * MSS);
	acked += 20 * MSS;
	peer(f, ACK, 1, acked, 0);
	while (info_of(pcb).cwnd < 10 * MSS) {
		flush(f);
		acked += drop_sent(f) * MSS;
		peer(f, ACK, 1, acked, 0);
	}
	flush(f);
	acked += drop_sent(f) * MSS;
	assert_in_range(info_of(pcb).cwnd, 10 * MSS, 11 * MSS);
	peer(f, ACK, 1, acked, 0);
	assert_in_range(info_of(pcb).cwnd, 10 * MSS, 12 * MSS); // one segment a round trip
}

static void an_idle_connection_starts_slowly_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t acked = 1;

	f->peer_options.present |= TCP_OPTION_WSCALE;
	f->peer_options.wscale = 6;
	pcb = established_passive(f);
	send_text(f, pcb, 1, 30 * MSS);
	while (tcp_send_queued(pcb) > 0) {
		flush(f);
		acked += drop_sent(f) * MSS;
		peer(f, ACK, 1, acked, 0);
	}
	assert_true(info_of(pcb).cwnd > 12 * MSS);
	pass(f, 10 * SECOND);
	send_text(f, pcb, acked, 30 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 10);
}

static void a_lost_fin_is_sent_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	send_text(f, pcb, 1, 10);
	tcp_shutdown(pcb);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 10);
	pass(f, SECOND);
	expect(f, ACK | FIN, 1, 1, 10);
	peer(f, ACK, 1, 11, 0); // all but the FIN
	flush(f);
	pass(f, 2 * SECOND);
	expect(f, ACK | FIN, 11, 1, 0);
	peer(f, ACK, 1, 12, 0);
	assert_int_equal(state_of(pcb), TCP_FIN_WAIT_2);
}

static void frames_that_are_missing_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	hoard_frames(f);
	send_text(f, pcb, 1, 3 * MSS);
	peer(f, ACK, 1, 1, 10);
	peer(f, ACK, 11, 1, 10);
	flush(f);
	expect(f, ACK, 1, 21, 0); // from the reserve
	expect_nothing(f);
	assert_int_equal(count_of(f, "tcp_no_frame_total", NULL), 1);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	assert_int_equal(tcp_next_deadline(f->stack), f->now_us);
	hoard_release(f);
	flush(f);
	for (unsigned i = 0; i < 3; i++)
		expect(f, ACK, 1 + i * MSS, 21, MSS);
	assert_true(tcp_next_deadline(f->stack) > f->now_us);
}

int test_tcp_loss(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_lost_segment_is_sent_again_with_backoff),
		FIXTURE_TEST(the_timer_restarts_with_each_new_acknowledgement),
		FIXTURE_TEST(the_rto_follows_the_round_trip_time),
		FIXTURE_TEST(karns_rule_keeps_the_backoff_until_a_sample),
		FIXTURE_TEST(timestamps_give_a_sample_in_spite_of_a_retransmission),
		FIXTURE_TEST(after_a_timeout_everything_is_sent_again_as_acks_allow),
		FIXTURE_TEST(three_duplicates_cause_a_fast_retransmit),
		FIXTURE_TEST(a_partial_ack_sends_the_next_missing_segment),
		FIXTURE_TEST(window_updates_and_text_are_no_duplicates),
		FIXTURE_TEST(slow_start_and_congestion_avoidance_grow_the_window),
		FIXTURE_TEST(an_idle_connection_starts_slowly_again),
		FIXTURE_TEST(a_lost_fin_is_sent_again),
		FIXTURE_TEST(frames_that_are_missing_lose_nothing),
	};

	return cmocka_run_group_tests_name("tcp_loss", tests, NULL, NULL);
}
