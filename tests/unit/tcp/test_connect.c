// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Active opening: handshake, the held ACK, retries, refusals, crossing SYNs.

#include "tcp_tests.h"

#include <errno.h>

static struct tcp_info info_of(const struct tcp_pcb *pcb)
{
	struct tcp_info info;

	tcp_pcb_info(pcb, &info);
	return info;
}

static void the_handshake_is_completed(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_active(f);

	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
	assert_null(tcp_pcb_listener(pcb));
	assert_int_equal(tcp_pcb_remote(pcb).port, PEER_PORT);
}

static void the_syn_offers_everything(void **state)
{
	struct fixture *f = *state;

	connecting(f, NULL);
	assert_int_equal(f->last.options.present, TCP_OPTION_MSS | TCP_OPTION_WSCALE |
							  TCP_OPTION_TIMESTAMPS |
							  TCP_OPTION_SACK_PERMITTED);
	assert_int_equal(f->last.wnd, 65528); // in whole units of the scale
}

static void a_tuple_is_used_once(void **state)
{
	struct fixture *f = *state;
	struct net_endpoint ephemeral = {.address = f->local.address};
	struct net_endpoint foreign = {.address = f->remote.address};
	struct net_address found;
	struct tcp_pcb *pcb;

	connecting(f, NULL);
	assert_int_equal(tcp_connect(f->stack, &f->local, &f->remote, NULL, f, &pcb), -EADDRINUSE);
	assert_int_equal(
		tcp_connect(f->stack, &foreign, &f->remote, NULL, f, &pcb), -EADDRNOTAVAIL);
	assert_int_equal(tcp_connect(f->stack, &ephemeral, &f->remote, NULL, f, &pcb), 0);
	assert_in_range(tcp_pcb_local(pcb).port, 32768, 60999);
	memset(&ephemeral, 0, sizeof(ephemeral)); // an address of ours is found, too
	assert_int_equal(tcp_connect(f->stack, &ephemeral, &f->remote, NULL, f, &pcb), 0);
	found = tcp_pcb_local(pcb).address;
	assert_true(net_address_equal(&found, &f->local.address));
}

static void a_held_ack_waits_for_confirmation(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, &(struct tcp_connect_options){.hold_ack = true});

	peer(f, SYN | ACK, 0, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	pass(f, SECOND);
	peer(f, SYN | ACK, 0, 1, 0); // the peer repeats; still not
	pass(f, SECOND);
	expect_nothing(f);
	tcp_confirm(pcb);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	tcp_confirm(pcb);
	flush(f);
	expect_nothing(f);
}

static void a_held_ack_echoes_the_last_syn_ack(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	f->peer_options.tsval = 1000;
	pcb = connecting(f, &(struct tcp_connect_options){.hold_ack = true});
	peer(f, SYN | ACK, 0, 1, 0);
	f->peer_options.tsval = 2000;
	peer(f, SYN | ACK, 0, 1, 0);
	f->peer_options.tsval = 1000;
	peer(f, SYN | ACK, 0, 1, 0); // an old one that was late
	flush(f);
	expect_nothing(f);
	tcp_confirm(pcb);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	assert_int_equal(f->last.options.tsecr, 2000);
}

static void text_confirms_a_held_ack(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, &(struct tcp_connect_options){.hold_ack = true});

	peer(f, SYN | ACK, 0, 1, 0);
	flush(f);
	expect_nothing(f);
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	peer(f, ACK, 1, 11, 0);
	peer(f, ACK, 1, 11, 10); // from now on ACKs flow
	pass(f, f->config.delayed_ack_us);
	expect(f, ACK, 11, 11, 0);
}

static void text_queued_before_the_handshake_follows_it(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	send_text(f, pcb, 1, 100);
	flush(f);
	expect_nothing(f);
	assert_int_equal(tcp_send_unsent(pcb), 100);
	peer(f, SYN | ACK, 0, 1, 0);
	flush(f);
	expect(f, ACK, 1, 1, 100);
	assert_int_equal(tcp_send_unsent(pcb), 0);
	assert_int_equal(tcp_send_queued(pcb), 100);
}

static void an_unacceptable_ack_is_reset_and_the_syn_repeated_at_once(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	peer(f, ACK, 500, 777, 0); // from its TIME-WAIT
	flush(f);
	expect(f, RST, 777, 0, 0);
	expect(f, SYN, 0, 0, 0);
	assert_int_equal(count_of(f, "tcp_connect_retries_total", NULL), 1);
	peer(f, SYN | ACK, 0, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
}

static void after_the_retries_it_is_refused(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	peer(f, ACK, 500, 777, 0);
	flush(f);
	drop_sent(f);
	peer(f, ACK, 500, 777, 0);
	expect(f, RST, 777, 0, 0);
	expect_events(f, pcb, TCP_EVENT_REFUSED);
	tcp_close(pcb);
	flush(f);
	expect_nothing(f);
}

static void a_reset_refuses_only_with_the_right_ack(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	peer(f, RST, 0, 0, 0);
	peer(f, RST | ACK, 0, 2, 0);
	expect_events(f, NULL, 0);
	expect_nothing(f);
	peer(f, RST | ACK, 0, 1, 0);
	expect_events(f, pcb, TCP_EVENT_REFUSED);
	assert_int_equal(state_of(pcb), TCP_CLOSED);
	tcp_close(pcb);
}

static void the_syn_is_repeated_with_backoff(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);
	uint64_t wait = SECOND;

	for (unsigned i = 0; i < f->config.syn_retries; i++) {
		pass(f, wait - 2 * MS);
		expect_nothing(f);
		pass(f, 4 * MS);
		expect(f, SYN, 0, 0, 0);
		wait *= 2;
	}
	pass(f, 61 * SECOND);
	expect_nothing(f);
	expect_events(f, pcb, TCP_EVENT_TIMEOUT);
	tcp_abort(pcb);
	expect_nothing(f);
}

static void an_attempt_may_have_fewer_syns(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, &(struct tcp_connect_options){.syn_retries = 1});

	pass(f, SECOND);
	expect(f, SYN, 0, 0, 0);
	pass(f, 2 * SECOND);
	expect_nothing(f);
	expect_events(f, pcb, TCP_EVENT_TIMEOUT);
	tcp_abort(pcb);
}

// SYNs at 0, 1 and 3 s; the answer to the last of them echoes the first or the last.
static struct tcp_pcb *connected_at_last(struct fixture *f, bool first)
{
	struct tcp_pcb *pcb;
	uint32_t echo;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS | TCP_OPTION_SACK_PERMITTED;
	pcb = connecting(f, NULL);
	echo = f->ts_recent;
	pass(f, SECOND);
	expect(f, SYN, 0, 0, 0);
	pass(f, 2 * SECOND);
	expect(f, SYN, 0, 0, 0);
	if (first)
		f->ts_recent = echo;
	pass(f, 5 * MS);
	peer(f, SYN | ACK, 0, 1, 0);
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	return pcb;
}

static void the_echo_of_an_earlier_syn_is_no_sample(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connected_at_last(f, true);

	assert_int_equal(info_of(pcb).srtt_us, 0);
	assert_int_equal(info_of(pcb).rto_us, 3 * SECOND); // RFC 6298 (5.7)
	send_text(f, pcb, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 10);
	pass(f, SECOND - MS);
	expect_nothing(f);
	pass(f, 2 * MS);
	expect(f, ACK, 1, 1, 10); // a probe (RFC 8985 7.2)
	pass(f, 5 * MS);
	peer(f, ACK, 1, 11, 0);
	assert_in_range(info_of(pcb).srtt_us, 1, 10 * MS);
	assert_true(info_of(pcb).rto_us <= f->config.rto_min_us + 10 * MS);
}

// Its repeated SYN is answered then, and it measures the path instead of our timer.
static void a_client_is_the_first_to_repeat_its_syn(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;

	connecting(f, &(struct tcp_connect_options){.hold_ack = true});
	pass(f, 1120 * MS);
	expect_nothing(f);
	pass(f, 10 * MS);
	expect(f, SYN, 0, 0, 0);
	fixture_restart(f);
	listen_here(f);
	pcb = knock(f);
	tcp_accept(pcb);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	pass(f, 1120 * MS);
	expect_nothing(f);
	pass(f, 10 * MS);
	expect(f, SYN | ACK, 0, 1, 0);
}

static void the_echo_of_the_last_syn_is_a_sample(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connected_at_last(f, false);

	assert_in_range(info_of(pcb).srtt_us, 1, 10 * MS);
	assert_true(info_of(pcb).rto_us <= f->config.rto_min_us + 10 * MS);
}

static void crossing_syns_make_one_connection(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	peer(f, SYN, 0, 0, 0);
	flush(f);
	expect(f, SYN | ACK, 0, 1, 0);
	assert_int_equal(state_of(pcb), TCP_SYN_RECEIVED);
	peer(f, SYN | ACK, 0, 1, 0); // the last one needed (RFC 9293 3.5, figure 8)
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED);
	assert_int_equal(state_of(pcb), TCP_ESTABLISHED);
}

static void text_on_the_syn_ack_counts(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = connecting(f, NULL);

	// Its first octet stands behind the SYN.
	peer_send(f, &(struct peer_segment){.flags = SYN | ACK, .seq = 0, .ack = 1, .length = 5});
	expect_events(f, pcb, TCP_EVENT_ESTABLISHED | TCP_EVENT_READABLE);
	assert_int_equal(tcp_recv_readable(pcb), 5);
	tcp_recv_consume(pcb, 5);
	flush(f);
	expect(f, ACK, 1, 6, 0);
}

static void our_time_wait_gives_way_when_timestamps_allow(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	uint32_t old;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	f->peer_options.tsval = 100;
	pcb = established_active(f);
	tcp_close(pcb);
	flush(f);
	expect(f, ACK | FIN, 1, 1, 0);
	peer(f, ACK | FIN, 1, 2, 0);
	flush(f);
	expect(f, ACK, 2, 2, 0);
	assert_int_equal(count_of(f, "tcp_connections", "TIME_WAIT"), 1);
	assert_int_equal(tcp_connect(f->stack, &f->local, &f->remote, NULL, f, &pcb), -EADDRINUSE);
	pass(f, 2 * MS);
	old = f->iss;
	pcb = connecting(f, NULL);
	assert_true((int32_t)(f->iss - old) > 2);
	assert_int_equal(count_of(f, "tcp_time_wait_reused_total", NULL), 1);
}

static void sequence_numbers_depend_on_tuple_secret_and_clock(void **state)
{
	struct fixture *f = *state;
	uint32_t iss[4];

	connecting(f, NULL);
	iss[0] = f->iss;
	f->remote.port++;
	connecting(f, NULL);
	iss[1] = f->iss;
	f->config.secret[3] ^= 1;
	fixture_restart(f);
	connecting(f, NULL);
	iss[2] = f->iss;
	f->now_us += 400;
	fixture_restart(f);
	connecting(f, NULL);
	iss[3] = f->iss;
	assert_int_not_equal(iss[0], iss[1]);
	assert_int_not_equal(iss[1], iss[2]);
	assert_int_equal(iss[3] - iss[2], 100); // RFC 6528: one every 4 us
}

int test_tcp_connect(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(the_handshake_is_completed),
		FIXTURE_TEST(the_syn_offers_everything),
		FIXTURE_TEST(a_tuple_is_used_once),
		FIXTURE_TEST(a_held_ack_waits_for_confirmation),
		FIXTURE_TEST(a_held_ack_echoes_the_last_syn_ack),
		FIXTURE_TEST(text_confirms_a_held_ack),
		FIXTURE_TEST(text_queued_before_the_handshake_follows_it),
		FIXTURE_TEST(an_unacceptable_ack_is_reset_and_the_syn_repeated_at_once),
		FIXTURE_TEST(after_the_retries_it_is_refused),
		FIXTURE_TEST(a_reset_refuses_only_with_the_right_ack),
		FIXTURE_TEST(the_syn_is_repeated_with_backoff),
		FIXTURE_TEST(an_attempt_may_have_fewer_syns),
		FIXTURE_TEST(the_echo_of_an_earlier_syn_is_no_sample),
		FIXTURE_TEST(the_echo_of_the_last_syn_is_a_sample),
		FIXTURE_TEST(a_client_is_the_first_to_repeat_its_syn),
		FIXTURE_TEST(crossing_syns_make_one_connection),
		FIXTURE_TEST(text_on_the_syn_ack_counts),
		FIXTURE_TEST(our_time_wait_gives_way_when_timestamps_allow),
		FIXTURE_TEST(sequence_numbers_depend_on_tuple_secret_and_clock),
	};

	return cmocka_run_group_tests_name("tcp_connect", tests, NULL, NULL);
}
