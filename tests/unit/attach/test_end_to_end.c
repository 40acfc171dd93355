// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// `ack: end-to-end`: what passes is acknowledged when it has arrived, what is captured when it is
// captured, in the order of the stream.

#include "wire.h"

#include "attach/passage.h"

#define UP   (1 + CONNECT_LENGTH) // the client's next octet
#define DOWN (1 + CONNACK_LENGTH) // the broker's

#define PING	  "\xc0\x00"
#define PINGED	  "\xd0\x00"
#define RETAINS	  "\x31\x05\x00\x01t+-" // passes
#define CAPTURED  "\x30\x05\x00\x01t+-"
#define SUBSCRIBE "\x82\x06\x00\x01\x00\x01t\x00"
#define SUBACK	  "\x90\x03\x00\x01\x00"

static void test_what_passes_waits_for_the_other_end(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, RETAINS, 7);
	wire_expect(w, BROKER, ACK, UP, DOWN, RETAINS, 7);
	wire_wait(w, SECOND / 10);
	wire_expect_nothing(w);
	wire_say(w, BROKER, ACK, DOWN, UP + 7, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 7, NULL, 0); // in the same turn
	// And the other way. Here the ACK has text to travel with.
	wire_say(w, CLIENT, ACK, UP + 7, DOWN, PING, 2);
	wire_expect(w, BROKER, ACK, UP + 7, DOWN, PING, 2);
	wire_say(w, BROKER, ACK, DOWN, UP + 9, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 9, PINGED, 2);
	wire_wait(w, SECOND / 10);
	wire_expect_nothing(w);
	wire_say(w, CLIENT, ACK, UP + 9, DOWN + 2, NULL, 0);
	wire_expect(w, BROKER, ACK, UP + 9, DOWN + 2, NULL, 0);
	wire_expect_nothing(w);
}

static void test_what_is_captured_waits_for_what_passed_before_it(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, CAPTURED, 7);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 7, NULL, 0);
	wire_say(w, CLIENT, ACK, UP + 7, DOWN, CAPTURED PING CAPTURED, 16);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 14, NULL, 0);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_expect_nothing(w);
	wire_say(w, BROKER, ACK, DOWN, UP + 2, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 23, NULL, 0);
}

// Nagle's algorithm sends the rest of a packet when its beginning is acknowledged.
static void test_the_beginning_of_a_packet_is_acknowledged(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	for (uint32_t i = 0; i < 6; i++) {
		wire_say(w, CLIENT, ACK, UP + i, DOWN, &RETAINS[i], 1);
		wire_expect(w, CLIENT, ACK, DOWN, UP + i + 1, NULL, 0);
		wire_expect_nothing(w);
	}
	wire_say(w, CLIENT, ACK, UP + 6, DOWN, &RETAINS[6], 1);
	wire_expect(w, BROKER, ACK, UP, DOWN, RETAINS, 7);
	wire_wait(w, SECOND / 10);
	wire_expect_nothing(w); // its last octet says that it was delivered
	wire_say(w, BROKER, ACK, DOWN, UP + 7, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 7, NULL, 0);
}

static void test_octets_of_ours_count_for_nobody(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, SUBSCRIBE, 8);
	wire_expect(w, BROKER, ACK, UP, DOWN, SUBSCRIBE, 8);
	wire_say(w, BROKER, ACK, DOWN, UP + 8, SUBACK, 5);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 8, SUBACK, 5);
	wire_say(w, CLIENT, ACK, UP + 8, DOWN + 5, NULL, 0);
	wire_expect(w, BROKER, ACK, UP + 8, DOWN + 5, NULL, 0);
	wire_say(w, CLIENT, ACK, UP + 8, DOWN + 5, CAPTURED, 7);
	wire_expect(w, CLIENT, ACK, DOWN + 5, UP + 15, CAPTURED, 7); // delivered to itself
	wire_say(w, BROKER, ACK, DOWN + 5, UP + 8, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN + 12, UP + 15, PINGED, 2);
	wire_say(w, CLIENT, ACK, UP + 15, DOWN + 12, NULL, 0); // the delivery, no more
	wire_expect_nothing(w);
	wire_say(w, CLIENT, ACK, UP + 15, DOWN + 14, NULL, 0);
	wire_expect(w, BROKER, ACK, UP + 8, DOWN + 7, NULL, 0);
	wire_expect_nothing(w);
}

static void test_more_than_there_are_edges_is_late_but_not_early(void **state)
{
	const uint32_t count = 3 * PASSAGE_EDGES;
	struct wire *w = *state;
	uint32_t told = 0;

	wire_adopt(w);
	for (uint32_t i = 0; i < count; i++) {
		wire_say(w, CLIENT, ACK, UP + 7 * i, DOWN, RETAINS, 7);
		wire_expect(w, BROKER, ACK, UP + 7 * i, DOWN, RETAINS, 7);
	}
	wire_expect_nothing(w);
	for (uint32_t i = 1; i <= count; i++) {
		wire_say(w, BROKER, ACK, DOWN, UP + 7 * i, NULL, 0);
		if (w->ports[CLIENT].count == 0)
			continue;
		wire_expect(w, CLIENT, ACK, DOWN, UP + 7 * i, NULL, 0);
		wire_expect_nothing(w);
		told++;
	}
	assert_true(told >= PASSAGE_EDGES / 2);
	assert_int_equal(w->last.ack - w->isn[CLIENT], UP + 7 * count);
}

// What was given to an end that was not there any more has not arrived.
static void test_what_a_reset_has_overtaken_is_not_acknowledged(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, RETAINS, 7);
	wire_drop(w, BROKER); // is lost
	wire_say(w, BROKER, RST, DOWN, 0, NULL, 0);
	wire_expect(w, CLIENT, RST | ACK, DOWN, UP, NULL, 0);
	wire_expect_nothing(w);
}

static void end_from(struct wire *w, unsigned side)
{
	uint32_t at[ENDS] = {UP, DOWN};

	wire_say(w, side, FIN | ACK, at[side], at[!side], NULL, 0);
	wire_expect(w, !side, FIN | ACK, at[side], at[!side], NULL, 0);
	wire_wait(w, SECOND / 10);
	wire_expect_nothing(w);
	wire_say(w, !side, ACK, at[!side], at[side] + 1, NULL, 0);
	wire_expect(w, side, ACK, at[!side], at[side] + 1, NULL, 0);
	wire_say(w, !side, FIN | ACK, at[!side], at[side] + 1, NULL, 0);
	wire_expect(w, side, FIN | ACK, at[!side], at[side] + 1, NULL, 0);
	wire_wait(w, SECOND / 10);
	wire_expect_nothing(w);
	wire_say(w, side, ACK, at[side] + 1, at[!side] + 1, NULL, 0);
	wire_expect(w, !side, ACK, at[side] + 1, at[!side] + 1, NULL, 0);
	wire_expect_nothing(w);
}

static void test_the_end_is_acknowledged_from_end_to_end(void **state)
{
	struct wire *w = *state;

	for (unsigned side = 0; side < ENDS; side++) {
		wire_adopt(w);
		end_from(w, side);
		wire_wait(w, 70 * SECOND); // TIME-WAIT
		assert_int_equal(wire_state(w), TRACK_GONE);
		w->isn[CLIENT] += 100000;
		w->isn[BROKER] += 100000;
	}
}

static void test_ends_that_cross_wait_for_each_other(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, FIN | ACK, UP, DOWN, NULL, 0);
	wire_say(w, BROKER, FIN | ACK, DOWN, UP, NULL, 0);
	wire_expect(w, CLIENT, FIN | ACK, DOWN, UP, NULL, 0);
	wire_expect(w, BROKER, FIN | ACK, UP, DOWN, NULL, 0);
	wire_expect_nothing(w);
	wire_say(w, CLIENT, ACK, UP + 1, DOWN + 1, NULL, 0);
	wire_expect(w, BROKER, ACK, UP + 1, DOWN + 1, NULL, 0);
	wire_expect_nothing(w);
	wire_say(w, CLIENT, FIN | ACK, UP, DOWN + 1, NULL, 0); // again
	wire_expect(w, CLIENT, ACK, DOWN + 1, UP, NULL, 0);
	wire_say(w, BROKER, ACK, DOWN + 1, UP + 1, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN + 1, UP + 1, NULL, 0);
	wire_expect_nothing(w);
	assert_true(stack_drained(w->stack));
}

// Whoever has ended may have to wait: the other end is not gone while it is there.
static void test_a_slow_end_is_waited_for(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, BROKER, FIN | ACK, DOWN, UP, PINGED, 2);
	wire_expect(w, CLIENT, FIN | ACK, DOWN, UP, PINGED, 2);
	wire_wait(w, 70 * SECOND);
	assert_true(wire_drop(w, CLIENT) > 1); // again and again
	assert_int_equal(wire_drop(w, BROKER), 0);
	wire_say(w, CLIENT, ACK, UP, DOWN + 3, NULL, 0);
	wire_expect(w, BROKER, ACK, UP, DOWN + 3, NULL, 0);
}

// An orderly stop takes nothing more from clients: they must not think that it did.
static void test_what_a_stop_has_not_taken_is_not_acknowledged(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	stack_drain(w->stack);
	wire_say(w, CLIENT, ACK, UP, DOWN, CAPTURED, 7);
	wire_expect(w, CLIENT, RST | ACK, DOWN, UP, NULL, 0);
	wire_expect(w, BROKER, FIN | ACK, UP, DOWN, NULL, 0);
	wire_expect_nothing(w);
}

// TS.Recent is that of the first segment that is not acknowledged (RFC 7323 4.3); with some always
// on their way it would stay for ever.
static void test_the_timestamp_is_that_of_what_is_acknowledged(void **state)
{
	const struct tcp_options syn = {
		.present = TCP_OPTION_MSS | TCP_OPTION_TIMESTAMPS, .mss = 1460, .tsval = 1000};
	struct wire *w = *state;
	struct wire_segment s = {.flags = SYN, .options = syn};

	wire_send(w, CLIENT, &s);
	s.flags |= ACK;
	s.ack = 1;
	wire_send(w, BROKER, &s);
	s.options.present = TCP_OPTION_TIMESTAMPS;
	s = (struct wire_segment){.flags = ACK,
		.seq = 1,
		.ack = 1,
		.options = s.options,
		.text = CONNECT_PACKET,
		.length = CONNECT_LENGTH};
	wire_send(w, CLIENT, &s);
	s = (struct wire_segment){.flags = ACK,
		.seq = 1,
		.ack = UP,
		.options = s.options,
		.text = CONNACK_PACKET,
		.length = CONNACK_LENGTH};
	wire_send(w, BROKER, &s);
	wire_drop(w, CLIENT);
	wire_drop(w, BROKER);
	s = (struct wire_segment){.flags = ACK,
		.seq = UP,
		.ack = DOWN,
		.options = s.options,
		.text = PING,
		.length = 2};
	for (unsigned i = 0; i < 4; i++, s.seq += 2) {
		s.options.tsval = 2000 + 100 * i;
		wire_send(w, CLIENT, &s);
	}
	wire_drop(w, BROKER);
	for (unsigned i = 0; i < 4; i++) {
		wire_send(w, BROKER,
			&(struct wire_segment){.flags = ACK,
				.seq = DOWN,
				.ack = UP + 2 * (i + 1),
				.options = {.present = TCP_OPTION_TIMESTAMPS, .tsval = 1000}});
		wire_expect(w, CLIENT, ACK, DOWN, UP + 2 * (i + 1), NULL, 0);
		assert_int_equal(w->last.options.tsecr, 2000 + 100 * i);
	}
}

int test_end_to_end(void)
{
#define END_TO_END_TEST(name) \
	cmocka_unit_test_setup_teardown(name, wire_setup_end_to_end, wire_teardown)
	const struct CMUnitTest tests[] = {
		END_TO_END_TEST(test_what_passes_waits_for_the_other_end),
		END_TO_END_TEST(test_what_is_captured_waits_for_what_passed_before_it),
		END_TO_END_TEST(test_the_beginning_of_a_packet_is_acknowledged),
		END_TO_END_TEST(test_octets_of_ours_count_for_nobody),
		END_TO_END_TEST(test_more_than_there_are_edges_is_late_but_not_early),
		END_TO_END_TEST(test_what_a_reset_has_overtaken_is_not_acknowledged),
		END_TO_END_TEST(test_the_end_is_acknowledged_from_end_to_end),
		END_TO_END_TEST(test_ends_that_cross_wait_for_each_other),
		END_TO_END_TEST(test_a_slow_end_is_waited_for),
		END_TO_END_TEST(test_what_a_stop_has_not_taken_is_not_acknowledged),
		END_TO_END_TEST(test_the_timestamp_is_that_of_what_is_acknowledged),
	};

	return cmocka_run_group_tests_name("end_to_end", tests, NULL, NULL);
}
