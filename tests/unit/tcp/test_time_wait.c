// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// TIME-WAIT (RFC 9293 3.6.1) and when a new SYN may end it (RFC 6191 2), as a table.

#include "tcp_tests.h"

#define OLD_TS 1000

// Connection closed by us first; its SYN and the peer's last segment bore OLD_TS when `timestamps`.
static struct tcp_pcb *time_wait(struct fixture *f, bool timestamps)
{
	struct tcp_pcb *pcb;

	f->peer_options = (struct tcp_options){.present = TCP_OPTION_MSS, .mss = MSS};
	if (timestamps)
		f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	f->peer_options.tsval = OLD_TS;
	pcb = established_passive(f);
	tcp_shutdown(pcb);
	flush(f);
	expect(f, FIN | ACK, 1, 1, 0);
	peer(f, FIN | ACK, 1, 2, 0);
	flush(f);
	expect(f, ACK, 2, 2, 0);
	assert_int_equal(state_of(pcb), TCP_TIME_WAIT);
	tcp_close(pcb);
	return pcb;
}

static void a_later_syn_ends_it(void **state)
{
	static const struct {
		bool before, now; // timestamps
		int32_t ts;	  // of the SYN, relative to the last one
		bool beyond;	  // its sequence number is
		bool taken;
	} cases[] = {
		{true, true, 1, true, true},
		{true, true, 1, false, true},
		{true, true, 0, true, true},
		{true, true, 0, false, false},
		{true, true, -1, true, false},
		{true, true, -1, false, false},
		{true, false, 0, true, true},
		{true, false, 0, false, false},
		{false, true, 0, true, true},
		{false, true, 0, false, true},
		{false, false, 0, true, true},
		{false, false, 0, false, false},
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tcp_pcb *pcb;
		uint32_t old;

		fixture_restart(f);
		time_wait(f, cases[i].before);
		old = f->iss;
		f->timestamps = cases[i].now;
		f->peer_options.present &= (uint8_t)~TCP_OPTION_TIMESTAMPS;
		if (cases[i].now)
			f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
		f->peer_options.tsval = OLD_TS + (uint32_t)cases[i].ts;
		peer(f, SYN, cases[i].beyond ? 100000 : 1, 0, 0);
		if (events(f, &pcb) != (cases[i].taken ? TCP_EVENT_SYN : 0))
			fail_msg("case %u", i);
		if (cases[i].taken) {
			assert_int_equal(count_of(f, "tcp_time_wait_reused_total", NULL), 1);
			tcp_accept(pcb);
			flush(f);
			expect(f, SYN | ACK, 0, cases[i].beyond ? 100001 : 2, 0);
			assert_true((int32_t)(f->iss - old) > 2); // RFC 9293 3.4.1
			tcp_abort(pcb);
		}
		drop_sent(f);
	}
}

static void it_lasts_two_segment_lifetimes(void **state)
{
	struct fixture *f = *state;

	time_wait(f, false);
	pass(f, 30 * SECOND);
	peer(f, FIN | ACK, 1, 2, 0); // our last ACK was lost: from the beginning
	flush(f);
	expect(f, ACK, 2, 2, 0);
	pass(f, 59 * SECOND);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 1);
	pass(f, 2 * SECOND);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 0);
}

static void old_text_does_not_get_out_of_it(void **state)
{
	struct fixture *f = *state;

	time_wait(f, false);
	peer(f, ACK, 1, 2, 100);
	pass(f, SECOND);
	drop_sent(f);
	peer(f, RST, 1000, 0, 0);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 1);
}

int test_tcp_time_wait(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_later_syn_ends_it),
		FIXTURE_TEST(it_lasts_two_segment_lifetimes),
		FIXTURE_TEST(old_text_does_not_get_out_of_it),
	};

	return cmocka_run_group_tests_name("tcp_time_wait", tests, NULL, NULL);
}
