// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Clients that do not wait: for their CONNACK, for their SUBACK.

#include "offload_tests.h"

#include <string.h>

#define CONNECT_X	     "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"
#define SUBSCRIBE(id, topic) "\x82\x06\x00" id "\x00\x01" topic "\x00"
#define SUBACK(id, code)     "\x90\x03\x00" id code
#define PUBLISH(topic, text) "\x30\x04\x00\x01" topic text
// "a" with No Local, "+" without.
#define SUBSCRIBE_A_AND_PLUS           \
	"\x82\x0b\x00\x01\x00\x00\x01" \
	"a\x04\x00\x01+\x00"
#define PUBLISH_V5(topic, text) "\x30\x05\x00\x01" topic "\x00" text

static void own_message_right_after_subscribe(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	client_sends(bed, 0, BYTES(SUBSCRIBE("\x01", "a") PUBLISH("a", "1") PUBLISH("a", "2")));
	broker_gets(bed, 0, BYTES(SUBSCRIBE("\x01", "a")));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->held, 2);
	broker_dribbles(bed, 0, BYTES(SUBACK("\x01", "\x00")));
	client_gets(bed, 0, BYTES(SUBACK("\x01", "\x00") PUBLISH("a", "1") PUBLISH("a", "2")));
}

static void everything_at_once_before_connack(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	for (unsigned dribble = 0; dribble < 2; dribble++) {
		static const char all[] =
			CONNECT_X SUBSCRIBE("\x01", "a") PUBLISH("a", "1") "\xc0\x00";

		bed_open(bed, dribble);
		if (dribble)
			client_dribbles(bed, dribble, BYTES(all));
		else
			client_sends(bed, dribble, BYTES(all));
		broker_gets(bed, dribble, BYTES(CONNECT_X));
		broker_sends(bed, dribble, BYTES("\x20\x02\x00\x00"));
		broker_gets(bed, dribble, BYTES(SUBSCRIBE("\x01", "a") "\xc0\x00"));
		broker_sends(bed, dribble, BYTES(SUBACK("\x01", "\x00") "\xd0\x00"));
		client_gets(bed, dribble,
			BYTES("\x20\x02\x00\x00" SUBACK("\x01", "\x00")
					PUBLISH("a", "1") "\xd0\x00"));
		bed_close(bed, dribble);
	}
}

#define UNSUBSCRIBE(id, topic) "\xa2\x05\x00" id "\x00\x01" topic

// [MQTT-3.10.4-2]: the broker has ended the subscription by then, and knows whether any is left.
static void own_message_right_after_unsubscribe(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 0);
	client_sends(bed, 0, BYTES(UNSUBSCRIBE("\x02", "a") PUBLISH("a", "1") PUBLISH("b", "2")));
	broker_gets(bed, 0, BYTES(UNSUBSCRIBE("\x02", "a") PUBLISH("a", "1")));
	assert_int_equal(bed_counters(bed)->passed[PROOF_UNSUBSCRIBING], 1);
	// Others' messages may still come.
	client_sends(bed, 1, BYTES(PUBLISH("a", "3")));
	client_gets(bed, 0, BYTES(PUBLISH("a", "3")));
	broker_sends(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_gets(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_sends(bed, 1, BYTES(PUBLISH("a", "4")));
	client_gets(bed, 0, BYTES(""));
}

// CONNECT of a session that is kept, and its CONNACK.
static void connect_kept(struct bed *bed, unsigned i, uint8_t present)
{
	uint8_t connack[] = {0x20, 2, present, 0};
	const uint8_t *got;

	bed_open(bed, i);
	client_sends(bed, i, BYTES("\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01k"));
	broker_sends(bed, i, connack, sizeof(connack));
	got_take(&bed->up[i], &got);
	got_take(&bed->down[i], &got);
}

// Whether the broker has a subscription that was being made when its connection died shows only
// when the client subscribes again.
static void a_connection_that_dies_before_its_suback(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 1);
	connect_kept(bed, 0, 0);
	client_sends(bed, 0, BYTES(SUBSCRIBE("\x01", "a")));
	bed_close(bed, 0);
	client_sends(bed, 1, BYTES(PUBLISH("a", "1")));
	broker_gets(bed, 1, BYTES(PUBLISH("a", "1")));
	assert_int_equal(bed_counters(bed)->passed[PROOF_UNCERTAIN], 1);
	connect_kept(bed, 0, 1);
	client_sends(bed, 1, BYTES(PUBLISH("a", "2")));
	broker_gets(bed, 1, BYTES(PUBLISH("a", "2")));
	subscribe_v4(bed, 0, "a", 0);
	bed_wait(bed, 2 * US_IN_S);
	client_sends(bed, 1, BYTES(PUBLISH("a", "3")));
	broker_gets(bed, 1, BYTES("\xc0\x00")); // no reason but the fence is left
}

// Behind a DISCONNECT nothing is uncertain about what was unsubscribed from.
static void unsubscribed_and_gone(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 1);
	connect_kept(bed, 0, 0);
	subscribe_v4(bed, 0, "a", 0);
	client_sends(bed, 0, BYTES(UNSUBSCRIBE("\x02", "a") "\xe0\x00"));
	bed_close(bed, 0);
	connect_kept(bed, 0, 1);
	client_sends(bed, 1, BYTES(PUBLISH("a", "1")));
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES(""));
}

static void a_refused_subscription_gets_nothing(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	client_sends(bed, 0, BYTES(SUBSCRIBE("\x01", "a") PUBLISH("a", "1")));
	broker_gets(bed, 0, BYTES(SUBSCRIBE("\x01", "a")));
	broker_sends(bed, 0, BYTES(SUBACK("\x01", "\x80")));
	client_gets(bed, 0, BYTES(SUBACK("\x01", "\x80")));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_REFUSED], 1);
	client_sends(bed, 0, BYTES(PUBLISH("a", "2")));
	client_gets(bed, 0, BYTES(""));
}

static void a_refused_connection_passes_the_rest(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	bed_open(bed, 0);
	client_sends(bed, 0, BYTES(CONNECT_X SUBSCRIBE("\x01", "a") PUBLISH("a", "1")));
	broker_gets(bed, 0, BYTES(CONNECT_X));
	broker_sends(bed, 0, BYTES("\x20\x02\x00\x05"));
	client_gets(bed, 0, BYTES("\x20\x02\x00\x05"));
	broker_gets(bed, 0, BYTES(SUBSCRIBE("\x01", "a") PUBLISH("a", "1")));
	assert_int_equal(bed_counters(bed)->passed[PROOF_NOT_ACCEPTED], 1);
}

// Two SUBSCRIBEs under way; the SUBACK of one releases its messages, whatever waits for the other:
// the next message of its topic is delivered at once and must not overtake them.
static void one_suback_releases_its_own(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	client_sends(bed, 0,
		BYTES(SUBSCRIBE("\x01", "a") SUBSCRIBE("\x02", "b") PUBLISH("b", "1")
				PUBLISH("a", "1")));
	broker_gets(bed, 0, BYTES(SUBSCRIBE("\x01", "a") SUBSCRIBE("\x02", "b")));
	broker_sends(bed, 0, BYTES(SUBACK("\x01", "\x00")));
	client_sends(bed, 0, BYTES(PUBLISH("a", "2") PUBLISH("b", "2")));
	client_gets(bed, 0, BYTES(SUBACK("\x01", "\x00") PUBLISH("a", "1") PUBLISH("a", "2")));
	broker_sends(bed, 0, BYTES(SUBACK("\x02", "\x00")));
	client_gets(bed, 0, BYTES(SUBACK("\x02", "\x00") PUBLISH("b", "1") PUBLISH("b", "2")));
}

static void more_than_may_be_held_passes(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.client.pending_messages = 2;
	bed_start(bed);
	connect_v4(bed, 0);
	client_sends(bed, 0,
		BYTES(SUBSCRIBE("\x01", "a") PUBLISH("a", "1") PUBLISH("a", "2")
				PUBLISH("a", "3")));
	broker_gets(bed, 0, BYTES(SUBSCRIBE("\x01", "a") PUBLISH("a", "3")));
	assert_int_equal(bed_counters(bed)->passed[PROOF_PENDING_FULL], 1);
	broker_sends(bed, 0, BYTES(SUBACK("\x01", "\x00") PUBLISH("a", "3")));
	client_gets(bed, 0,
		BYTES(SUBACK("\x01", "\x00") PUBLISH("a", "1") PUBLISH("a", "2")
				PUBLISH("a", "3")));
}

// v5, one copy a client whatever matches: the copy carries the identifier all the same.
static void a_held_message_keeps_identifier_and_expiry(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.overlap = PROOF_OVERLAP_ONE;
	bed_start(bed);
	connect_v5(bed, 0);
	client_sends(bed, 0,
		BYTES("\x82\x09\x00\x01\x02\x0b\x05\x00\x01"
		      "a\x00"));
	// Expires after 10 s, and after 2 s.
	client_sends(bed, 0,
		BYTES("\x30\x0a\x00\x01"
		      "a\x05\x02\x00\x00\x00\x0a"
		      "1\x30\x0a\x00\x01"
		      "a\x05\x02\x00\x00\x00\x02"
		      "2"));
	bed_wait(bed, 3 * US_IN_S);
	broker_sends(bed, 0, BYTES("\x90\x04\x00\x01\x00\x00"));
	client_gets(bed, 0,
		BYTES("\x90\x04\x00\x01\x00\x00\x30\x0c\x00\x01"
		      "a\x07\x02\x00\x00\x00\x07\x0b\x05"
		      "1"));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_EXPIRED], 1);
}

static void no_local_is_honoured(void **state)
{
	struct bed *bed = bed_new(state);
	static const char subscribe[] = "\x82\x07\x00\x01\x00\x00\x01"
					"a\x04";

	bed_start(bed);
	connect_v5(bed, 0);
	connect_v4(bed, 1);
	client_sends(bed, 0, BYTES(subscribe));
	broker_gets(bed, 0, BYTES(subscribe));
	client_sends(bed, 0,
		BYTES("\x30\x05\x00\x01"
		      "a\x00"
		      "1"));
	client_sends(bed, 1, BYTES(PUBLISH("a", "2")));
	broker_sends(bed, 0, BYTES("\x90\x04\x00\x01\x00\x00"));
	client_gets(bed, 0,
		BYTES("\x90\x04\x00\x01\x00\x00\x30\x05\x00\x01"
		      "a\x00"
		      "2"));
	client_sends(bed, 0,
		BYTES("\x30\x05\x00\x01"
		      "a\x00"
		      "3"));
	client_sends(bed, 1, BYTES(PUBLISH("a", "4")));
	client_gets(bed, 0,
		BYTES("\x30\x05\x00\x01"
		      "a\x00"
		      "4"));
	broker_gets(bed, 0, BYTES(""));
}

static void unsubscribed_at_the_unsuback(void **state)
{
	struct bed *bed = bed_new(state);
	static const char unsubscribe[] = "\xa2\x05\x00\x02\x00\x01"
					  "a";

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 0);
	client_sends(bed, 0, BYTES(unsubscribe));
	broker_gets(bed, 0, BYTES(unsubscribe));
	client_sends(bed, 1, BYTES(PUBLISH("a", "1")));
	client_gets(bed, 0, BYTES(PUBLISH("a", "1")));
	broker_sends(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_sends(bed, 1, BYTES(PUBLISH("a", "2")));
	client_gets(bed, 0, BYTES("\xb0\x02\x00\x02"));
}

// The one with No Local comes first: it must not stand for the other one.
static void no_local_of_one_of_two_pending_subscriptions(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v5(bed, 0);
	client_sends(bed, 0, BYTES(SUBSCRIBE_A_AND_PLUS PUBLISH_V5("a", "1")));
	broker_gets(bed, 0, BYTES(SUBSCRIBE_A_AND_PLUS));
	broker_sends(bed, 0, BYTES("\x90\x05\x00\x01\x00\x00\x00"));
	client_gets(bed, 0, BYTES("\x90\x05\x00\x01\x00\x00\x00" PUBLISH_V5("a", "1")));
}

// An UNSUBSCRIBE that is too long to be gathered: what it ends is not known.
static void an_unsubscribe_that_cannot_be_read_stops_capture(void **state)
{
	struct bed *bed = bed_new(state);
	static uint8_t packet[4 + 100002];
	const uint8_t *got;

	bed->broker.capture.max_size = 1000;
	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 0);
	packet[0] = 0xa2;
	packet[1] = 100002 % 128 | 128;
	packet[2] = 100002 / 128 % 128 | 128;
	packet[3] = 100002 / 16384;
	packet[5] = 2; // identifier; filters of 98 bytes follow
	for (unsigned at = 6; at < 4 + 100002; at += 100) {
		packet[at + 1] = 98;
		memset(packet + at + 2, 'f', 98);
	}
	client_sends(bed, 0, packet, 10000);
	client_sends(bed, 0, packet + 10000, 4 + 100002 - 10000);
	assert_int_equal(got_take(&bed->up[0], &got), 4 + 100002);
	client_sends(bed, 1, BYTES(PUBLISH("a", "1")));
	broker_gets(bed, 1, BYTES(PUBLISH("a", "1")));
	assert_int_equal(bed_counters(bed)->passed[PROOF_MAP_INCOMPLETE], 1);
	bed_close(bed, 0);
	bed_wait(bed, 2 * US_IN_S);
	client_sends(bed, 1, BYTES(PUBLISH("b", "1")));
	broker_gets(bed, 1, BYTES(""));
}

int test_pending(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(own_message_right_after_subscribe, bed_end),
		cmocka_unit_test_teardown(everything_at_once_before_connack, bed_end),
		cmocka_unit_test_teardown(own_message_right_after_unsubscribe, bed_end),
		cmocka_unit_test_teardown(a_connection_that_dies_before_its_suback, bed_end),
		cmocka_unit_test_teardown(unsubscribed_and_gone, bed_end),
		cmocka_unit_test_teardown(a_refused_subscription_gets_nothing, bed_end),
		cmocka_unit_test_teardown(a_refused_connection_passes_the_rest, bed_end),
		cmocka_unit_test_teardown(one_suback_releases_its_own, bed_end),
		cmocka_unit_test_teardown(more_than_may_be_held_passes, bed_end),
		cmocka_unit_test_teardown(a_held_message_keeps_identifier_and_expiry, bed_end),
		cmocka_unit_test_teardown(no_local_is_honoured, bed_end),
		cmocka_unit_test_teardown(no_local_of_one_of_two_pending_subscriptions, bed_end),
		cmocka_unit_test_teardown(unsubscribed_at_the_unsuback, bed_end),
		cmocka_unit_test_teardown(
			an_unsubscribe_that_cannot_be_read_stops_capture, bed_end),
	};

	return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
