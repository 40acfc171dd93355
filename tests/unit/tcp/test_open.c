// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Passive opening: the deferred decision, options, backlog, repeats.

#include "tcp_tests.h"

static void a_syn_is_answered_only_when_it_is_accepted(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	pass(f, 5 * SECOND);
	expect_nothing(f);
	assert_int_equal(state_of(pcb), TCP_SYN_DEFERRED);
	peer(f, SYN, 0, 0, 0); // it repeats
	assert_int_equal(count_of(f, "tcp_syn_dropped_total", "repeated"), 1);
	expect_events(f, NULL, 0);
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(state_of(pcb), TCP_SYN_RECEIVED);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
	assert_int_equal(count_of(f, "tcp_connections", "ESTABLISHED"), 1);
}

static void a_refused_syn_gets_a_reset(void **state)
{
	struct fixture *f = *state;

	tcp_refuse(knock(f));
	assert_int_equal(f->sent_count, 1);
	f->iss = 0;
	expect(f, RST | ACK, 0, 1, 0);
}

static void a_knock_can_be_withdrawn(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	peer(f, RST, 5, 0, 0); // not the exact number
	expect_events(f, NULL, 0);
	peer(f, RST, 1, 0, 0);
	expect_events(f, pcb, TCP_EVENT_RESET);
	tcp_accept(pcb); // too late, and harmless
	flush(f);
	expect_nothing(f);
	tcp_close(pcb);
}

static void the_syn_ack_is_repeated(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	peer(f, SYN, 0, 0, 0); // at once when the SYN comes again
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	for (unsigned i = 0; i < f->config.syn_retries; i++) {
		pass(f, 61 * SECOND);
		expect(f, SYN | ACK, 0, 1, 0);
	}
	pass(f, 61 * SECOND);
	expect_nothing(f);
	expect_events(f, pcb, TCP_EVENT_TIMEOUT);
	tcp_close(pcb);
}

// The peer measures its round trip from the SYN that was answered, not from the first.
static void a_repeated_syn_is_echoed(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	f->peer_options.tsval = 1000;
	pcb = knock(f);
	f->peer_options.tsval = 2000;
	peer(f, SYN, 0, 0, 0); // before anybody has decided
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(f->last.options.tsecr, 2000);
	f->peer_options.tsval = 3000;
	peer(f, SYN, 0, 0, 0);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(f->last.options.tsecr, 3000);
	f->peer_options.tsval = 1000;
	peer(f, SYN, 0, 0, 0); // an old one that was late
	flush(f);
	drop_sent(f);
	pass(f, 61 * SECOND);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(f->last.options.tsecr, 3000);
	tcp_abort(pcb);
}

static void the_backlog_bounds_what_is_half_open(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *first, *second, *pcb;

	f->config.backlog = 2;
	f->config.syn_cookies = false;
	fixture_restart(f);
	first = knock(f);
	f->remote.port++;
	second = knock(f);
	f->remote.port++;
	peer(f, SYN, 0, 0, 0);
	expect_events(f, NULL, 0);
	assert_int_equal(count_of(f, "tcp_syn_dropped_total", "backlog"), 1);
	f->remote.port -= 2;
	tcp_accept(first);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, first, TCP_EVENT_ESTABLISHED);
	f->remote.port += 2;
	pcb = knock(f); // there is room again
	tcp_refuse(second);
	tcp_refuse(pcb);
}

static void options_are_negotiated(void **state)
{
	static const struct {
		struct tcp_options syn;
		uint8_t answer;
		uint32_t mss;
	} cases[] = {
		{{0}, TCP_OPTION_MSS, 536},
		{{.present = TCP_OPTION_MSS, .mss = 1000}, TCP_OPTION_MSS, 1000},
		{{.present = TCP_OPTION_MSS, .mss = 9000}, TCP_OPTION_MSS, MSS},
		{{.present = TCP_OPTION_MSS, .mss = 1}, TCP_OPTION_MSS, 64},
		{{.present = TCP_OPTION_MSS | TCP_OPTION_WSCALE, .mss = 1400, .wscale = 9},
			TCP_OPTION_MSS | TCP_OPTION_WSCALE, 1400},
		{{.present = TCP_OPTION_MSS | TCP_OPTION_TIMESTAMPS, .mss = 1400, .tsval = 77},
			TCP_OPTION_MSS | TCP_OPTION_TIMESTAMPS, 1388},
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tcp_pcb *pcb;
		struct tcp_info info;

		f->peer_options = cases[i].syn;
		f->remote.port++;
		pcb = established_passive(f);
		assert_int_equal(f->last.options.present, cases[i].answer);
		assert_int_equal(f->last.options.mss, MSS);
		if (cases[i].answer & TCP_OPTION_WSCALE)
			assert_int_equal(f->last.options.wscale, 3); // for 256 KiB
		if (cases[i].answer & TCP_OPTION_TIMESTAMPS)
			assert_int_equal(f->last.options.tsecr, 77);
		tcp_pcb_info(pcb, &info);
		assert_int_equal(info.mss, cases[i].mss);
		assert_int_equal(info.snd_wnd,
			(uint32_t)PEER_WND << (cases[i].answer & TCP_OPTION_WSCALE ? 9 : 0));
		tcp_abort(pcb);
		drop_sent(f);
	}
}

static void an_ack_of_something_else_is_reset(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	peer(f, ACK, 1, 5, 0);
	expect(f, RST, 5, 0, 0);
	assert_int_equal(state_of(pcb), TCP_SYN_RECEIVED);
}

static void text_on_the_last_ack_counts(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	peer(f, ACK | PSH, 1, 1, 100);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED | TCP_EVENT_READABLE);
	expect_text(f, pcb, 1, 100);
}

static void children_outlive_their_listener(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = knock(f);

	tcp_close(f->listener);
	f->listener = NULL;
	tcp_stack_check(f->stack);
	assert_null(tcp_pcb_listener(pcb));
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	peer(f, ACK, 1, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	tcp_abort(pcb);
	expect(f, RST | ACK, 1, 1, 0);
	struct tcp_usage usage;

	tcp_stack_usage(f->stack, &usage);
	assert_int_equal(usage.pcbs, 0);
}

static void without_a_listener_a_syn_is_reset_within_a_rate(void **state)
{
	struct fixture *f = *state;

	f->config.resets_per_s = 3;
	fixture_restart(f);
	f->iss = 0;
	for (unsigned i = 0; i < 5; i++)
		peer(f, SYN, 0, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		expect(f, RST | ACK, 0, 1, 0);
	expect_nothing(f);
	assert_int_equal(count_of(f, "tcp_resets_suppressed_total", NULL), 2);
	pass(f, SECOND);
	peer(f, ACK, 7, 9, 10);
	expect(f, RST, 9, 0, 0);
	peer(f, RST, 0, 0, 0); // never a reset for a reset
	expect_nothing(f);
}

int test_tcp_open(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_syn_is_answered_only_when_it_is_accepted),
		FIXTURE_TEST(a_refused_syn_gets_a_reset),
		FIXTURE_TEST(a_knock_can_be_withdrawn),
		FIXTURE_TEST(the_syn_ack_is_repeated),
		FIXTURE_TEST(a_repeated_syn_is_echoed),
		FIXTURE_TEST(the_backlog_bounds_what_is_half_open),
		FIXTURE_TEST(options_are_negotiated),
		FIXTURE_TEST(an_ack_of_something_else_is_reset),
		FIXTURE_TEST(text_on_the_last_ack_counts),
		FIXTURE_TEST(children_outlive_their_listener),
		FIXTURE_TEST(without_a_listener_a_syn_is_reset_within_a_rate),
	};

	return cmocka_run_group_tests_name("tcp_open", tests, NULL, NULL);
}
