// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The SACK option: what is reported (RFC 2018 4, RFC 2883), what is believed, and what a
// peer that goes back on its word costs (RFC 2018 8).

#include "tcp_tests.h"

static void expect_blocks(struct fixture *f, unsigned count, ...)
{
	va_list args;

	assert_int_equal(
		f->last.options.present & TCP_OPTION_SACK ? f->last.options.sack_count : 0, count);
	va_start(args, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(f->last.options.sack[i].start - PEER_ISN, va_arg(args, unsigned));
		assert_int_equal(f->last.options.sack[i].end - PEER_ISN, va_arg(args, unsigned));
	}
	va_end(args);
}

static void early(struct fixture *f, uint32_t seq, uint32_t length)
{
	peer(f, ACK, seq, 1, length);
	flush(f);
	assert_int_not_equal(f->sent_count, 0);
	expect(f, ACK, 1, 1, 0);
}

static void it_is_negotiated(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	struct tcp_info info;

	pcb = established_sack(f);
	assert_true(f->last.options.present & TCP_OPTION_SACK_PERMITTED);
	tcp_pcb_info(pcb, &info);
	assert_true(info.sack);
}

static void it_is_refused_when_off(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb;
	struct tcp_info info;

	f->config.sack = f->config.timestamps = false;
	fixture_restart(f);
	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	pcb = established_sack(f);
	assert_int_equal(f->last.options.present, TCP_OPTION_MSS | TCP_OPTION_WSCALE);
	tcp_pcb_info(pcb, &info);
	assert_false(info.sack);
	assert_false(info.timestamps);
	peer(f, ACK, 11, 1, 10);
	flush(f);
	expect(f, ACK, 1, 1, 0);
	expect_blocks(f, 0);
}

static void blocks_are_reported_the_newest_first(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	early(f, 101, 10);
	expect_blocks(f, 1, 101, 111);
	early(f, 301, 10);
	expect_blocks(f, 2, 301, 311, 101, 111);
	early(f, 201, 10);
	expect_blocks(f, 3, 201, 211, 301, 311, 101, 111);
	early(f, 401, 10);
	early(f, 501, 10);
	expect_blocks(f, 4, 501, 511, 401, 411, 201, 211, 301, 311);
	early(f, 111, 10); // the oldest one grows
	expect_blocks(f, 4, 101, 121, 501, 511, 401, 411, 201, 211);
	peer(f, ACK, 1, 1, 100);
	flush(f);
	expect(f, ACK, 1, 121, 0);
	expect_blocks(f, 4, 501, 511, 401, 411, 201, 211, 301, 311);
	peer(f, ACK, 121, 1, 390);
	flush(f);
	expect(f, ACK, 1, 511, 0);
	expect_text(f, pcb, 1, 510);
}

static void timestamps_leave_room_for_three(void **state)
{
	struct fixture *f = *state;

	f->peer_options.present |= TCP_OPTION_TIMESTAMPS;
	established_sack(f);
	for (uint32_t seq = 101; seq <= 501; seq += 100)
		early(f, seq, 10);
	expect_blocks(f, 3, 501, 511, 401, 411, 301, 311);
	assert_int_equal(f->last.header_length, TCP_HEADER_MAX);
}

static void acks_in_a_row_report_everything_new(void **state)
{
	struct fixture *f = *state;

	established_sack(f);
	for (uint32_t seq = 101; seq <= 601; seq += 100) // in one turn
		peer(f, ACK, seq, 1, 10);
	flush(f);
	for (uint32_t seq = 101; seq <= 601; seq += 100) {
		expect(f, ACK, 1, 1, 0);
		assert_int_equal(f->last.options.sack[0].start - PEER_ISN, seq);
	}
	expect_nothing(f);
	for (uint32_t seq = 1501; seq > 700; seq -= 100) // more than are kept in order
		peer(f, ACK, seq, 1, 10);
	flush(f);
	while (f->sent_count > 0) {
		expect(f, ACK, 1, 1, 0);
		for (unsigned i = 0; i < f->last.options.sack_count; i++)
			assert_int_equal((f->last.options.sack[i].start - PEER_ISN) % 100, 1);
	}
	expect_blocks(f, 4, 701, 711, 801, 811, 901, 911, 1001, 1011);
}

static void duplicates_are_reported_once(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	peer(f, ACK, 1, 1, 100);
	expect_text(f, pcb, 1, 100);
	peer(f, ACK, 1, 1, 100); // all of it again
	flush(f);
	expect(f, ACK, 1, 101, 0);
	expect_blocks(f, 1, 1, 101);
	peer(f, ACK, 51, 1, 100); // partly
	flush(f);
	expect(f, ACK, 1, 151, 0);
	expect_blocks(f, 1, 51, 101);
	peer(f, ACK, 201, 1, 50);
	flush(f);
	expect(f, ACK, 1, 151, 0);
	expect_blocks(f, 1, 201, 251);
	peer(f, ACK, 211, 1, 10); // RFC 2883 4.2: within a block, which follows
	flush(f);
	expect(f, ACK, 1, 151, 0);
	expect_blocks(f, 2, 211, 221, 201, 251);
	peer(f, ACK, 151, 1, 10);
	flush(f);
	expect(f, ACK, 1, 161, 0);
	expect_blocks(f, 1, 201, 251);
	expect_text(f, pcb, 101, 60);
}

static void text_leaves_the_blocks_to_an_ack_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	peer(f, ACK, 101, 1, 10);
	send_text(f, pcb, 1, MSS);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	expect_blocks(f, 0);
	expect(f, ACK, 1 + MSS, 1, 0);
	expect_blocks(f, 1, 101, 111);
	expect_nothing(f);
}

static void impossible_blocks_are_ignored(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);
	struct tcp_info info;

	send_text(f, pcb, 1, 4 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 4);
	peer_sack(f, 1, 1 + 3 * MSS, 2 + 4 * MSS, 0, 0); // never sent
	peer_sack(f, 1, 1 + 3 * MSS, 1 + 2 * MSS, 0, 0); // upside down
	peer_sack(f, 1, 0x80000000u, 0x80000100u, 0, 0);
	assert_int_equal(count_of(f, "packets_dropped_total", "tcp_bad_sack"), 3);
	tcp_pcb_info(pcb, &info);
	assert_int_equal(info.pipe, 4 * MSS);
	flush(f);
	expect_nothing(f);
}

static void a_block_is_not_sent_again_after_a_timeout(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);

	send_text(f, pcb, 1, 4 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 4);
	peer_sack(f, 1, 1 + MSS, 1 + 3 * MSS, 0, 0);
	hoard_frames(f); // neither fast retransmit nor probe can leave
	pass(f, SECOND);
	hoard_release(f);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	expect_nothing(f);
	peer_sack(f, 1 + 3 * MSS, 0, 0, 0, 0);
	flush(f);
	expect(f, ACK, 1 + 3 * MSS, 1, MSS);
	expect_nothing(f);
}

static void a_peer_that_reneges_gets_everything_again(void **state)
{
	struct fixture *f = *state;
	struct tcp_pcb *pcb = established_sack(f);
	struct tcp_info info;

	send_text(f, pcb, 1, 6 * MSS);
	flush(f);
	assert_int_equal(drop_sent(f), 6);
	peer_sack(f, 1, 1 + MSS, 1 + 6 * MSS, 0, 0);
	flush(f);
	expect(f, ACK, 1, 1, MSS);
	peer(f, ACK, 1, 1 + MSS, 0); // and threw away the rest
	flush(f);
	expect_nothing(f);
	for (uint32_t i = 1; i < 6; i += 2) {
		pass(f, SECOND);
		drop_sent(f);
		tcp_pcb_info(pcb, &info);
		assert_int_equal(info.snd_una - f->iss, 1 + i * MSS);
		peer(f, ACK, 1, 1 + (i + 2 < 6 ? i + 2 : 6) * MSS, 0);
	}
	assert_int_equal(tcp_send_queued(pcb), 0);
	flush(f);
	drop_sent(f);
}

int test_tcp_sack(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(it_is_negotiated),
		FIXTURE_TEST(it_is_refused_when_off),
		FIXTURE_TEST(blocks_are_reported_the_newest_first),
		FIXTURE_TEST(timestamps_leave_room_for_three),
		FIXTURE_TEST(acks_in_a_row_report_everything_new),
		FIXTURE_TEST(duplicates_are_reported_once),
		FIXTURE_TEST(text_leaves_the_blocks_to_an_ack_of_their_own),
		FIXTURE_TEST(impossible_blocks_are_ignored),
		FIXTURE_TEST(a_block_is_not_sent_again_after_a_timeout),
		FIXTURE_TEST(a_peer_that_reneges_gets_everything_again),
	};

	return cmocka_run_group_tests_name("tcp_sack", tests, NULL, NULL);
}
