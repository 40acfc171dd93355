// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// SYN cookies (RFC 4987 3.6): past the backlog nothing is remembered, and whoever comes
// back is let in with the options it has negotiated.

#include "tcp_tests.h"

#define FIRST_PORT 50000

// No room in the backlog, whatever the test does.
static void overload(struct fixture *f)
{
	f->config.backlog = 1;
	fixture_restart(f);
	f->remote.port = FIRST_PORT;
	knock(f);
	f->remote.port = PEER_PORT;
}

static uint32_t pcbs(const struct fixture *f)
{
	struct tcp_usage usage;

	tcp_stack_usage(f->stack, &usage);
	return usage.pcbs;
}

// SYN in, SYN-ACK out, nothing kept.
static void syn_answered(struct fixture *f)
{
	uint32_t before = pcbs(f);

	peer(f, SYN, 0, 0, 0);
	expect_events(f, NULL, 0);
	assert_int_equal(pcbs(f), before);
	expect(f, SYN | ACK, 0, 1, 0);
	f->timestamps = (f->last.options.present & TCP_OPTION_TIMESTAMPS) != 0;
}

static struct tcp_pcb *come_back(struct fixture *f, uint32_t length, uint32_t wanted)
{
	struct tcp_pcb *pcb;

	peer(f, ACK, 1, 1, length);
	assert_int_equal(events(f, &pcb), TCP_EVENT_COOKIE | TCP_EVENT_ESTABLISHED | wanted);
	assert_ptr_equal(tcp_pcb_listener(pcb), f->listener);
	assert_null(tcp_pcb_user(pcb));
	return pcb;
}

static void whoever_comes_back_is_connected(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	overload(f);
	syn_answered(f);
	pcb = come_back(f, 0, 0);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
	peer(f, ACK | PSH, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_READABLE);
	expect_text(f, pcb, 1, 100);
	send_text(f, pcb, 1, 50);
	flush(f);
	expect(f, ACK, 1, 101, 50);
	assert_int_equal(count_of(f, "tcp_syn_cookies_accepted_total", NULL), 1);
}

static void text_may_bring_the_cookie_back(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	overload(f);
	syn_answered(f);
	pcb = come_back(f, 100, TCP_EVENT_READABLE); // the bare ACK was lost
	expect_text(f, pcb, 1, 100);
}

static void the_mss_is_remembered_roughly(void **state)
{
	static const struct {
		uint16_t announced, used;
	} cases[] = {{0, 536}, {1, 64}, {536, 536}, {1300, 1220}, {1452, 1440}, {1460, 1460},
		{9000, 1460}};
	struct fixture *f = *state;

	overload(f);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tcp_info info;

		f->remote.port++;
		f->peer_options = (struct tcp_options){.mss = cases[i].announced,
			.present = cases[i].announced ? TCP_OPTION_MSS : 0};
		syn_answered(f);
		assert_int_equal(f->last.options.mss, MSS);
		tcp_pcb_info(come_back(f, 0, 0), &info);
		assert_int_equal(info.mss, cases[i].used);
	}
}

static void options_come_back_in_the_timestamp(void **state)
{
	struct fixture *f = *state;

	overload(f);
	for (unsigned wscale = 0; wscale <= TCP_WSCALE_MAX; wscale++) {
		struct tcp_pcb *pcb;
		struct tcp_info info;
		uint32_t ts;

		f->remote.port++;
		f->now_us += 7 * MS;
		tcp_advance(f->stack, f->now_us);
		f->peer_options = (struct tcp_options){
			.present = TCP_OPTION_MSS | TCP_OPTION_WSCALE | TCP_OPTION_TIMESTAMPS,
			.mss = MSS,
			.wscale = (uint8_t)wscale,
			.tsval = 1000 + wscale};
		syn_answered(f);
		assert_true(f->last.options.present & TCP_OPTION_WSCALE);
		assert_int_equal(f->last.options.tsecr, 1000 + wscale);
		ts = f->ts_recent;
		pcb = come_back(f, 0, 0);
		tcp_pcb_info(pcb, &info);
		assert_int_equal(info.snd_wnd, (uint32_t)PEER_WND << wscale);
		assert_int_equal(info.mss, MSS - TCP_TIMESTAMPS_SIZE);
		send_text(f, pcb, 1, 10);
		flush(f);
		expect(f, ACK, 1, 1, 10);
		assert_true((int32_t)(f->last.options.tsval - ts) >= 0); // never back
		tcp_abort(pcb);
		drop_sent(f);
	}
}

static void without_timestamps_nothing_but_the_mss_is_negotiated(void **state)
{
	struct fixture *f = *state;
	struct tcp_info info;

	overload(f);
	f->peer_options.present = TCP_OPTION_MSS | TCP_OPTION_WSCALE | TCP_OPTION_SACK_PERMITTED;
	f->peer_options.wscale = 7;
	syn_answered(f);
	assert_int_equal(f->last.options.present, TCP_OPTION_MSS);
	tcp_pcb_info(come_back(f, 0, 0), &info);
	assert_int_equal(info.snd_wnd, PEER_WND);
}

static void sack_comes_back_with_timestamps_only(void **state)
{
	struct fixture *f = *state;

	overload(f);
	for (unsigned timestamps = 0; timestamps < 2; timestamps++) {
		struct tcp_info info;

		f->remote.port++;
		f->peer_options = (struct tcp_options){
			.present = TCP_OPTION_MSS | TCP_OPTION_SACK_PERMITTED, .mss = MSS};
		if (timestamps)
			f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
		syn_answered(f);
		assert_int_equal(
			(f->last.options.present & TCP_OPTION_SACK_PERMITTED) != 0, timestamps);
		tcp_pcb_info(come_back(f, 0, 0), &info);
		assert_int_equal(info.sack, timestamps);
	}
}

static void a_cookie_is_good_for_one_tuple_and_one_syn(void **state)
{
	struct fixture *f = *state;

	overload(f);
	syn_answered(f);
	f->remote.port++;
	peer(f, ACK, 1, 1, 0);
	expect(f, RST, 1, 0, 0);
	f->remote.port--;
	peer(f, ACK, 2, 1, 0); // of another SYN
	expect(f, RST, 1, 0, 0);
	peer(f, ACK, 1, 2, 0);
	expect(f, RST, 2, 0, 0);
	peer(f, ACK, 1, 9, 0); // the next MSS
	expect(f, RST, 9, 0, 0);
	expect_events(f, NULL, 0);
	assert_int_equal(count_of(f, "tcp_syn_cookies_failed_total", NULL), 4);
	come_back(f, 0, 0);
}

static void cookies_grow_stale(void **state)
{
	struct fixture *f = *state;

	overload(f);
	syn_answered(f);
	pass(f, 60 * SECOND);
	come_back(f, 0, 0);
	f->remote.port++;
	syn_answered(f);
	pass(f, 130 * SECOND);
	drop_sent(f);
	peer(f, ACK, 1, 1, 0);
	expect(f, RST, 1, 0, 0);
	expect_events(f, NULL, 0);
}

static void without_a_connection_left_a_cookie_waits(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.connections_max = 3;
	overload(f);
	syn_answered(f);
	pcb = come_back(f, 0, 0);
	f->remote.port++;
	syn_answered(f);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, NULL, 0);
	expect_nothing(f);
	assert_int_equal(count_of(f, "tcp_syn_dropped_total", "connections_max"), 1);
	tcp_abort(pcb);
	drop_sent(f);
	come_back(f, 10, TCP_EVENT_READABLE);
}

static void the_window_is_what_the_syn_ack_said(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	struct tcp_info info;

	overload(f);
	syn_answered(f);
	pcb = come_back(f, 0, 0);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.rcv_wnd, f->last.wnd);
}

static void a_flood_leaves_the_connected_alone(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->config.backlog = 1;
	fixture_restart(f);
	pcb = established_passive(f);
	f->remote.port = FIRST_PORT;
	knock(f);
	for (unsigned i = 0; i < 10000; i++) {
		f->remote.port = (uint16_t)(10000 + i);
		peer(f, SYN, 0, 0, 0);
		drop_sent(f);
	}
	assert_int_equal(pcbs(f), 3);
	assert_int_equal(count_of(f, "tcp_syn_cookies_sent_total", NULL), 10000);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
}

int test_tcp_cookie(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(whoever_comes_back_is_connected),
		FIXTURE_TEST(text_may_bring_the_cookie_back),
		FIXTURE_TEST(the_mss_is_remembered_roughly),
		FIXTURE_TEST(options_come_back_in_the_timestamp),
		FIXTURE_TEST(without_timestamps_nothing_but_the_mss_is_negotiated),
		FIXTURE_TEST(sack_comes_back_with_timestamps_only),
		FIXTURE_TEST(a_cookie_is_good_for_one_tuple_and_one_syn),
		FIXTURE_TEST(cookies_grow_stale),
		FIXTURE_TEST(without_a_connection_left_a_cookie_waits),
		FIXTURE_TEST(the_window_is_what_the_syn_ack_said),
		FIXTURE_TEST(a_flood_leaves_the_connected_alone),
	};

	return cmocka_run_group_tests_name("tcp_cookie", tests, NULL, NULL);
}
