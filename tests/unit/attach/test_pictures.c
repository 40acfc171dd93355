// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The pictures of docs/monitor.md, frame by frame.

#include "wire.h"

#include <rte_mbuf.h>

#define SUBSCRIBED "\x82\x06\x00\x01\x00\x01t\x00"
#define GRANTED	   "\x90\x03\x00\x01\x00"
#define PING	   "\xc0\x00"
#define PINGED	   "\xd0\x00"
#define MESSAGE	   "\x30\x04\x00\x01t-" // the client is subscribed to it
#define OF_BROKER  "\x30\x04\x00\x01b+"
#define PSH	   TCP_FLAG_PSH

// Where the streams stand, behind SUBSCRIBE and SUBACK.
#define UP   (1 + CONNECT_LENGTH + 8)
#define DOWN (1 + CONNACK_LENGTH + 5)

static void subscribe(struct wire *w)
{
	wire_adopt(w);
	wire_say(w, CLIENT, ACK, UP - 8, DOWN - 5, SUBSCRIBED, 8);
	wire_expect(w, BROKER, ACK, UP - 8, DOWN - 5, SUBSCRIBED, 8);
	wire_say(w, BROKER, ACK, DOWN - 5, UP, GRANTED, 5);
	wire_expect(w, CLIENT, ACK, DOWN - 5, UP, GRANTED, 5);
	wire_say(w, CLIENT, ACK, UP, DOWN, NULL, 0);
	wire_wait(w, SECOND);
	wire_drop(w, BROKER); // the ACK of SUBACK
	wire_expect_nothing(w);
}

// The client publishes what it is subscribed to: captured, and delivered.
static void publish(struct wire *w)
{
	wire_say(w, CLIENT, ACK, UP, DOWN, MESSAGE, 6);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 6, MESSAGE, 6);
	wire_expect_nothing(w);
}

// ... and pings: the numbers towards the broker are 6 behind.
static void ping(struct wire *w)
{
	wire_say(w, CLIENT, ACK, UP + 6, DOWN, PING, 2);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_say(w, BROKER, ACK, DOWN, UP + 2, PINGED, 2);
	wire_expect(w, CLIENT, ACK, DOWN + 6, UP + 8, PINGED, 2);
}

// The one ACK of the PINGRESP, and nothing else.
static void expect_quiet_broker(struct wire *w)
{
	wire_expect(w, BROKER, ACK, UP + 2, DOWN + 2, NULL, 0);
	assert_int_equal(wire_drop(w, BROKER), 0);
}

static void test_one_ack_of_the_client_is_for_both(void **state)
{
	struct wire *w = *state;

	subscribe(w);
	publish(w);
	ping(w);
	wire_say(w, CLIENT, ACK, UP + 8, DOWN + 8, NULL, 0);
	wire_wait(w, 5 * SECOND);
	expect_quiet_broker(w);
	assert_int_equal(wire_drop(w, CLIENT), 0);
}

// Text from there on comes (again).
static bool comes_again(struct wire *w, uint32_t seq)
{
	struct rte_mbuf *m;
	bool found = false;

	while ((m = wire_take(w, CLIENT)) != NULL) {
		struct net_transit t;
		struct tcp_segment seg;

		net_transit_read(&w->netifs[w->at[CLIENT]], m, &t);
		assert_true(tcp_segment_decode(rte_pktmbuf_mtod_offset(m, uint8_t *, t.l4),
			(uint32_t)m->data_len - t.l4, t.l3 + t.length - t.l4, &seg));
		found = found || (seg.length > 0 && seg.seq == w->isn[BROKER] + seq);
		rte_pktmbuf_free(m);
	}
	return found;
}

static void test_a_lost_delivery_is_repeated_by_its_half(void **state)
{
	struct wire *w = *state;

	subscribe(w);
	publish(w); // is lost
	ping(w);
	wire_say(w, CLIENT, ACK, UP + 8, DOWN, NULL, 0); // of what is missing
	wire_wait(w, SECOND);
	assert_true(comes_again(w, DOWN));
	wire_say(w, CLIENT, ACK, UP + 8, DOWN + 8, NULL, 0);
	wire_wait(w, 5 * SECOND);
	expect_quiet_broker(w);
	assert_int_equal(wire_drop(w, CLIENT), 0);
}

static void test_broker_and_offramp_meet_between_packets(void **state)
{
	struct wire *w = *state;

	subscribe(w);
	wire_say(w, BROKER, ACK, DOWN, UP, OF_BROKER, 3);
	publish(w); // while the broker's packet is half there
	wire_say(w, BROKER, ACK, DOWN + 3, UP, &OF_BROKER[3], 3);
	wire_expect(w, CLIENT, ACK, DOWN + 6, UP + 6, OF_BROKER, 6);
	wire_drop(w, BROKER);
}

static void test_a_pushed_message_is_acknowledged_at_once(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	// What Nagle's algorithm waits for. Nobody is subscribed, so nothing takes the ACK along.
	wire_say(w, CLIENT, PSH | ACK, UP - 8, DOWN - 5, MESSAGE, 6);
	wire_expect(w, CLIENT, ACK, DOWN - 5, UP - 2, NULL, 0);
	// And what it has glued together meanwhile.
	wire_say(w, CLIENT, PSH | ACK, UP - 2, DOWN - 5, MESSAGE PING MESSAGE, 14);
	wire_expect(w, BROKER, ACK, UP - 8, DOWN - 5, PING, 2);
	wire_expect(w, CLIENT, ACK, DOWN - 5, UP + 12, NULL, 0);
	wire_expect_nothing(w);
	wire_say(w, BROKER, ACK, DOWN - 5, UP - 6, NULL, 0);
}

static void test_keep_alives_are_answered_by_the_half_they_reach(void **state)
{
	struct wire *w = *state;

	wire_adopt(w);
	for (unsigned i = 0; i < 3; i++) {
		// With and without the octet of old (RFC 1122 4.2.3.6).
		wire_say(w, CLIENT, ACK, UP - 9, DOWN - 5, "", i % 2);
		wire_expect(w, CLIENT, ACK, DOWN - 5, UP - 8, NULL, 0);
		wire_say(w, BROKER, ACK, DOWN - 6, UP - 8, "", i % 2);
		wire_expect(w, BROKER, ACK, UP - 8, DOWN - 5, NULL, 0);
		wire_expect_nothing(w);
		wire_wait(w, 100 * SECOND);
	}
	wire_expect_nothing(w); // what the ends ask is not asked by Offramp
}

static void test_a_closed_window_is_probed_and_holds_up_nothing_else(void **state)
{
	struct wire *w = *state;
	struct wire_segment s = {.flags = ACK, .seq = UP, .ack = DOWN, .closed = true};

	subscribe(w);
	s.text = MESSAGE;
	s.length = 6;
	wire_send(w, CLIENT, &s);
	wire_wait(w, SECOND); // the delivery waits, and asks with its first octet
	wire_expect(w, CLIENT, ACK, DOWN, UP + 6, NULL, 0);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 6, MESSAGE, 1);
	wire_drop(w, CLIENT);
	s = (struct wire_segment){.flags = ACK, .seq = UP + 6, .ack = DOWN, .closed = true};
	s.text = PING;
	s.length = 2;
	wire_send(w, CLIENT, &s);
	wire_expect(w, BROKER, ACK, UP, DOWN, PING, 2);
	wire_say(w, BROKER, ACK, DOWN, UP + 2, PINGED, 2);
	wire_wait(w, SECOND / 10);
	wire_drop(w, CLIENT);
	wire_say(w, CLIENT, ACK, UP + 8, DOWN, NULL, 0); // opens
	wire_wait(w, SECOND);
	wire_expect(w, CLIENT, ACK, DOWN, UP + 8, MESSAGE PINGED, 8);
	wire_drop(w, CLIENT);
	wire_say(w, CLIENT, ACK, UP + 8, DOWN + 8, NULL, 0);
	expect_quiet_broker(w);
}

int test_pictures(void)
{
	const struct CMUnitTest tests[] = {
		wire_test(test_one_ack_of_the_client_is_for_both),
		wire_test(test_a_lost_delivery_is_repeated_by_its_half),
		wire_test(test_broker_and_offramp_meet_between_packets),
		wire_test(test_a_pushed_message_is_acknowledged_at_once),
		wire_test(test_keep_alives_are_answered_by_the_half_they_reach),
		wire_test(test_a_closed_window_is_probed_and_holds_up_nothing_else),
	};

	return cmocka_run_group_tests_name("pictures", tests, NULL, NULL);
}
