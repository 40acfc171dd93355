// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Ends that move to another port of Offramp, or get another Ethernet address, while their
// connection stands; and those who only say so.

#include "wire.h"

#include <string.h>

#define UP   (1 + CONNECT_LENGTH) // the client's next octet
#define DOWN (1 + CONNACK_LENGTH) // the broker's

#define PING	"\xc0\x00"
#define PINGED	"\xd0\x00"
#define AWAY	2 // the port where nobody is
#define CONNECT CONNECT_PACKET, CONNECT_LENGTH

static void moves(struct wire *w, unsigned side, unsigned port, uint8_t mac)
{
	w->at[side] = port;
	w->macs[side][5] = mac;
	wire_drop_port(w, AWAY); // what was flooded
}

static void expect_followed(const struct wire *w, uint64_t count)
{
	assert_int_equal(wire_count(w, "flow_moves_total", "followed"), count);
}

// A PINGREQ passes, and its answer comes back to where the client is.
static void ping_and_answer(struct wire *w)
{
	wire_say(w, CLIENT, ACK, UP, DOWN, PING, 2);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_say(w, BROKER, ACK, DOWN, UP + 2, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 2, PINGED, 2);
}

static void test_a_client_at_another_port_is_followed(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	moves(w, CLIENT, AWAY, 7);
	ping_and_answer(w);
	expect_followed(w, 1);
	assert_int_equal(wire_drop_port(w, 0), 0);
}

static void test_a_broker_at_another_port_is_followed(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	moves(w, BROKER, AWAY, 9);
	wire_say(w, BROKER, ACK, DOWN, UP, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN, UP, PINGED, 2);
	wire_say(w, CLIENT, ACK, UP, DOWN + 2, PING, 2);
	wire_expect(w, BROKER, ACK, UP, DOWN + 2, PING, 2);
	expect_followed(w, 1);
	assert_int_equal(wire_drop_port(w, 1), 0);
}

static void test_another_address_is_followed_and_shown_to_the_other_end(void **state)
{
	struct wire *w = *state;

	for (unsigned side = 0; side < ENDS; side++) {
		wire_adopt(w);
		moves(w, side, side, (uint8_t)(0x20 + side));
		if (side == BROKER)
			wire_say(w, BROKER, ACK, DOWN, UP, NULL, 0);
		// wire_expect() compares the addresses of every frame; the other end still
		// sends to the old one, and that turns nothing back.
		ping_and_answer(w);
		expect_followed(w, side + 1);
		memcpy(w->heard[side], w->macs[side], 6);
		wire_say(w, BROKER, RST, DOWN + 2, 0, NULL, 0);
		wire_drop(w, CLIENT);
		wire_wait(w, SECOND / 10);
		wire_drop(w, BROKER);
		w->isn[CLIENT] += 100000;
		w->isn[BROKER] += 100000;
	}
}

static void test_what_is_sent_again_from_there_is_followed(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP, DOWN, PING, 2);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_wait(w, SECOND / 10);
	wire_drop(w, CLIENT); // the ACK goes where the client is no more
	wire_drop(w, BROKER);
	moves(w, CLIENT, AWAY, 7);
	wire_say(w, CLIENT, ACK, UP, DOWN, PING, 2);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 2, NULL, 0);
	expect_followed(w, 1);
	wire_drop(w, BROKER);
}

static void test_a_keep_alive_from_there_is_followed(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	moves(w, CLIENT, AWAY, 7);
	wire_say(w, CLIENT, ACK, UP - 1, DOWN, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN, UP, NULL, 0);
	expect_followed(w, 1);
}

static void test_forged_segments_are_not_followed(void **state)
{
	struct wire *w = *state;
	const struct wire_segment forged[] = {
		{.flags = ACK, .seq = UP + 1000000, .ack = DOWN, .text = PING, .length = 2},
		{.flags = ACK, .seq = UP - 1000000, .ack = DOWN, .text = PING, .length = 2},
		{.flags = ACK, .seq = UP, .ack = DOWN + 1},
		{.flags = ACK, .seq = UP, .ack = DOWN - 1},
		{.flags = ACK, .seq = UP, .ack = DOWN, .text = PING, .length = 2, .spoilt = true},
		{.flags = SYN, .seq = UP},
		{.flags = RST, .seq = UP + 1},
	};

	wire_adopt(w);
	for (unsigned i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		moves(w, CLIENT, AWAY, 0x66);
		wire_send(w, CLIENT, &forged[i]);
		assert_int_equal(wire_count(w, "flow_moves_total", "refused"), i + 1);
		moves(w, CLIENT, 0, 7);
		wire_wait(w, 2 * SECOND);
		wire_drop(w, CLIENT); // challenged where it is
		assert_int_equal(wire_drop_port(w, AWAY), 0);
	}
	expect_followed(w, 0);
	wire_drop(w, BROKER);
	ping_and_answer(w);
}

static void test_an_old_timestamp_is_not_followed(void **state)
{
	struct wire *w = *state;
	struct wire_segment s = {
		.flags = SYN, .options = {.present = TCP_OPTION_TIMESTAMPS, .tsval = 500}};

	wire_send(w, CLIENT, &s);
	s.flags = SYN | ACK;
	s.ack = 1;
	wire_send(w, BROKER, &s);
	s = (struct wire_segment){.flags = ACK, .seq = 1, .ack = 1, .text = CONNECT_PACKET};
	s.length = CONNECT_LENGTH;
	s.options = (struct tcp_options){.present = TCP_OPTION_TIMESTAMPS, .tsval = 501};
	wire_send(w, CLIENT, &s);
	wire_wait(w, SECOND / 10);
	wire_drop(w, CLIENT);
	moves(w, CLIENT, AWAY, 7);
	s.options.tsval = 499; // sent before, and underway for long
	wire_send(w, CLIENT, &s);
	assert_int_equal(wire_drop(w, CLIENT), 0);
	expect_followed(w, 0);
	s.options.tsval = 502;
	wire_send(w, CLIENT, &s);
	expect_followed(w, 1);
	wire_drop(w, BROKER);
}

static void test_both_ends_at_one_port_are_not_served_any_more(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	moves(w, CLIENT, 1, 7);
	wire_say(w, CLIENT, ACK, UP, DOWN, PING, 2);
	assert_int_equal(wire_count(w, "flow_moves_total", "refused"), 1);
	wire_drop(w, BROKER);
	wire_drop_port(w, 0);
}

static void test_who_moves_before_the_first_octet_is_adopted_where_it_is(void **state)
{
	struct wire *w = *state;

	wire_handshake(w);
	moves(w, CLIENT, AWAY, 0x17);
	wire_say(w, CLIENT, ACK, 1, 1, CONNECT);
	wire_expect(w, BROKER, ACK, 1, 1, CONNECT);
	wire_wait(w, SECOND / 10);
	wire_expect(w, CLIENT, ACK, 1, 1 + CONNECT_LENGTH, NULL, 0);
	expect_followed(w, 1);
}

static void test_a_stray_is_reset_where_it_is(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	wire_say(w, BROKER, RST, DOWN, 0, NULL, 0);
	wire_wait(w, 10 * SECOND);
	wire_drop(w, CLIENT); // which did not hear of it: it moved
	assert_int_equal(wire_state(w), TRACK_GONE);
	moves(w, CLIENT, AWAY, 0x17);
	wire_say(w, CLIENT, ACK, UP, DOWN, PING, 2);
	wire_expect(w, CLIENT, RST, DOWN, 0, NULL, 0);
}

int test_moves(void)
{
	const struct CMUnitTest tests[] = {
		wire_test(test_a_client_at_another_port_is_followed),
		wire_test(test_a_broker_at_another_port_is_followed),
		wire_test(test_another_address_is_followed_and_shown_to_the_other_end),
		wire_test(test_what_is_sent_again_from_there_is_followed),
		wire_test(test_a_keep_alive_from_there_is_followed),
		wire_test(test_forged_segments_are_not_followed),
		wire_test(test_an_old_timestamp_is_not_followed),
		wire_test(test_both_ends_at_one_port_are_not_served_any_more),
		wire_test(test_who_moves_before_the_first_octet_is_adopted_where_it_is),
		wire_test(test_a_stray_is_reset_where_it_is),
	};

	return cmocka_run_group_tests_name("moves", tests, NULL, NULL);
}
