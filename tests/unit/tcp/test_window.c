// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The peer's window: limits, closing, probes, shrinking, silly windows.

#include "tcp_tests.h"

static void peer_window(struct fixture *f, uint32_t ack, uint32_t wnd)
{
	peer_send(f, &(struct peer_segment){
			     .flags = ACK, .seq = 1, .ack = ack, .wnd = wnd ? wnd : PEER_WND_ZERO});
}

static void nothing_beyond_the_window_is_sent(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_window(f, 1, 3 * MSS + 100);
	send_text(f, pcb, 1, 8 * MSS);
	flush(f);
	for (unsigned i = 0; i < 3; i++)
		expect(f, ACK, 1 + i * MSS, 1, MSS);
	expect_nothing(f); // 100 octets would be silly
	peer_window(f, 1 + MSS, 3 * MSS);
	flush(f);
	expect(f, ACK, 1 + 3 * MSS, 1, MSS);
	expect_nothing(f);
}

static void a_closed_window_is_probed_until_it_opens(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	uint64_t wait;
	struct tcp_info info;

	peer_window(f, 1, 0);
	send_text(f, pcb, 1, 100);
	flush(f);
	expect_nothing(f);
	tcp_pcb_info(pcb, &info);
	wait = info.rto_us;
	// For ever, while the peer answers: more often than the retries allow.
	for (unsigned i = 0; i < 2 * f->config.retries; i++) {
		pass(f, wait + 2 * MS);
		expect(f, ACK, 1, 1, 1);
		peer_window(f, 1, 0);
		flush(f);
		expect_nothing(f);
		wait = 2 * wait < f->config.rto_max_us ? 2 * wait : f->config.rto_max_us;
	}
	peer_window(f, 1, 50);
	flush(f);
	expect_nothing(f); // half of what there is, and the window has been much larger
	pass(f, wait + 2 * MS);
	expect(f, ACK, 1, 1, 50); // the override
	peer_window(f, 51, PEER_WND);
	flush(f);
	expect(f, ACK, 51, 1, 50);
	peer_window(f, 101, PEER_WND);
	pass(f, 100 * SECOND);
	expect_nothing(f);
}

static void a_probe_that_is_taken_counts(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_window(f, 1, 0);
	send_text(f, pcb, 1, 10);
	flush(f);
	pass(f, SECOND);
	expect(f, ACK, 1, 1, 1);
	peer_window(f, 2, 0);
	assert_int_equal(tcp_send_queued(pcb), 9);
	flush(f);
	expect_nothing(f);
	peer_window(f, 2, 100);
	flush(f);
	expect(f, ACK, 2, 1, 9);
}

// Each end has taken the other's probe and stands one octet further than the other's ACKs.
static void probes_that_cross_do_not_lock_both_ends(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_window(f, 1, 0);
	send_text(f, pcb, 1, 10);
	flush(f);
	pass(f, SECOND);
	expect(f, ACK, 1, 1, 1);
	peer_send(f, &(struct peer_segment){ACK, 1, 1, 1, PEER_WND_ZERO});
	flush(f);
	drop_sent(f);
	peer(f, ACK, 1, 2, 0);
	assert_int_equal(tcp_send_queued(pcb), 9);
	flush(f);
	expect(f, ACK, 2, 2, 9);
	// Nothing else that is old has a say.
	peer(f, ACK, 1, 11, 0);
	peer(f, ACK, 0, 11, 0);
	assert_int_equal(tcp_send_queued(pcb), 9);
	drop_sent(f);
}

static void a_silent_peer_with_a_closed_window_times_out(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_window(f, 1, 0);
	send_text(f, pcb, 1, 10);
	flush(f);
	for (unsigned i = 0; i < f->config.retries; i++) {
		pass(f, 61 * SECOND);
		expect(f, ACK, 1, 1, 1);
	}
	pass(f, 61 * SECOND);
	expect_events(f, pcb, TCP_EVENT_TIMEOUT);
	drop_sent(f);
	tcp_close(pcb);
}

static void of_nobodys_it_does_not_last_though_the_peer_answers(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_usage usage;

	peer_window(f, 1, 0);
	send_text(f, pcb, 1, 10);
	tcp_close(pcb);
	flush(f);
	for (unsigned i = 0; i < f->config.retries; i++) {
		pass(f, 61 * SECOND);
		expect(f, ACK, 1, 1, 1);
		peer_window(f, 1, 0);
	}
	pass(f, 61 * SECOND);
	tcp_stack_usage(f->stack, &usage);
	assert_int_equal(usage.pcbs, 1); // the listener
	drop_sent(f);
}

static void a_shrunk_window_is_survived(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_window(f, 1, 4 * MSS);
	send_text(f, pcb, 1, 4 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 4);
	peer_window(f, 1 + MSS, 0); // it has taken back three
	pass(f, 2 * SECOND);
	drop_sent(f);
	pass(f, 2 * SECOND);
	expect(f, ACK, 1 + MSS, 1, 1); // probes, not retransmissions
	peer_window(f, 1 + MSS, 4 * MSS);
	flush(f);
	for (unsigned i = 1; i < 4 && f->sent_count > 0; i++) {
		expect(f, ACK, 1 + i * MSS, 1, MSS);
		peer_window(f, 1 + (i + 1) * MSS, 4 * MSS);
		flush(f);
	}
	assert_int_equal(tcp_send_queued(pcb), 0);
}

static void a_fin_waits_for_the_window_too(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);

	peer_window(f, 1, 10);
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	tcp_shutdown(pcb);
	peer_window(f, 11, 0);
	flush(f);
	expect_nothing(f);
	pass(f, SECOND);
	expect(f, ACK | FIN, 11, 1, 0); // as the probe
	peer_window(f, 12, 0);
	assert_int_equal(state_of(pcb), TCP_FIN_WAIT_2);
	pass(f, 100 * SECOND);
	expect_nothing(f);
}

static void old_segments_do_not_change_the_window(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_passive(f);
	struct tcp_info info;

	peer(f, ACK, 1, 1, 10);
	peer_send(f, &(struct peer_segment){.flags = ACK, .seq = 11, .ack = 1, .wnd = 5000});
	peer_send(f, &(struct peer_segment){
			     .flags = ACK, .seq = 1, .ack = 1, .length = 11, .wnd = 9000});
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.snd_wnd, 5000);
}

int test_tcp_window(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(nothing_beyond_the_window_is_sent),
		FIXTURE_TEST(a_closed_window_is_probed_until_it_opens),
		FIXTURE_TEST(a_probe_that_is_taken_counts),
		FIXTURE_TEST(probes_that_cross_do_not_lock_both_ends),
		FIXTURE_TEST(a_silent_peer_with_a_closed_window_times_out),
		FIXTURE_TEST(of_nobodys_it_does_not_last_though_the_peer_answers),
		FIXTURE_TEST(a_shrunk_window_is_survived),
		FIXTURE_TEST(a_fin_waits_for_the_window_too),
		FIXTURE_TEST(old_segments_do_not_change_the_window),
	};

	return cmocka_run_group_tests_name("tcp_window", tests, NULL, NULL);
}
