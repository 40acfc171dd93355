// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who may be sent what, when, and under which identifier: acknowledgements, DUP, windows, and what
// is sent again (4.3, 4.4, 4.6, 4.9).

#include "offload_tests.h"

#include <string.h>

// Towards v3.1.1 and v5, with an identifier of Offramp's.
#define DELIVERED(first, id) \
	first "\x07\x00\x01" \
	      "a\x80" id "hi"
#define DELIVERED_5(first, id) \
	first "\x08\x00\x01"   \
	      "a\x80" id "\x00hi"
#define PUBLISH_2(id)      \
	"\x34\x07\x00\x01" \
	"a\x00" id "hi"
#define PUBREC(id)  "\x50\x02\x00" id
#define PUBREL(id)  "\x62\x02\x00" id
#define PUBCOMP(id) "\x70\x02\x00" id
// All of one message at QoS 2, as its publisher sends it, and what it gets.
#define MESSAGE_2(id) PUBLISH_2(id) PUBREL(id)
#define ANSWER_2(id)  PUBREC(id) PUBCOMP(id)

// 0 subscribes to a, 1 publishes.
static struct bed *two_clients(void **state, uint8_t qos)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", qos);
	return bed;
}

// A publisher's DUP says nothing to the subscriber; and once it is acknowledged, an identifier
// stands for a new message, whatever DUP says.
static void dup_is_not_carried_on(void **state)
{
	static const char publish[] = "\x32\x07\x00\x01"
				      "a\x00\x09hi",
			  again[] = "\x3a\x07\x00\x01"
				    "a\x00\x09hi";
	struct bed *bed = two_clients(state, 1);

	client_sends(bed, 1, BYTES(publish));
	client_sends(bed, 1, BYTES(again));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x09\x40\x02\x00\x09"));
	client_gets(bed, 0, BYTES(DELIVERED("\x32", "\x00") DELIVERED("\x32", "\x01")));
	broker_gets(bed, 1, BYTES(""));
}

static void an_identifier_is_free_after_its_pubcomp(void **state)
{
	struct bed *bed = two_clients(state, 2);

	for (unsigned n = 0; n < 2; n++) {
		client_sends(bed, 1, BYTES(MESSAGE_2("\x09")));
		client_gets(bed, 1, BYTES(ANSWER_2("\x09")));
	}
	client_gets(bed, 0, BYTES(DELIVERED("\x34", "\x00") DELIVERED("\x34", "\x01")));
	assert_int_equal(bed_counters(bed)->captured[2], 2);
}

// v5: so it is when the broker has refused a message that passed.
static void an_identifier_is_free_after_a_refusal(void **state)
{
	static const char retained[] = "\x35\x06\x00\x01"
				       "b\x00\x09\x00",
			  publish[] = "\x34\x08\x00\x01"
				      "a\x00\x09\x00hi" PUBREL("\x09");
	struct bed *bed = two_clients(state, 2);

	connect_v5(bed, 2);
	client_sends(bed, 2, BYTES(retained));
	broker_gets(bed, 2, BYTES(retained));
	broker_sends(bed, 2, BYTES("\x50\x03\x00\x09\x87"));
	client_gets(bed, 2, BYTES("\x50\x03\x00\x09\x87"));
	client_sends(bed, 2, BYTES(publish));
	client_gets(bed, 2, BYTES(ANSWER_2("\x09")));
	client_gets(bed, 0, BYTES(DELIVERED("\x34", "\x00")));
	broker_gets(bed, 2, BYTES(""));
}

// Expired before it was released: nobody gets it, and the exchange goes on to its end.
static void an_expired_message_is_released_all_the_same(void **state)
{
	struct bed *bed = two_clients(state, 2);

	connect_v5(bed, 2);
	client_sends(bed, 2,
		BYTES("\x34\x0d\x00\x01"
		      "a\x00\x09\x05\x02\x00\x00\x00\x02hi")); // within 2 s
	client_gets(bed, 2, BYTES(PUBREC("\x09")));
	bed_wait(bed, 3 * US_IN_S);
	client_sends(bed, 2, BYTES(PUBREL("\x09")));
	client_gets(bed, 2, BYTES(PUBCOMP("\x09")));
	broker_gets(bed, 2, BYTES(""));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_EXPIRED], 1);
}

// Its time is over before the subscriber has answered: the exchange goes on all the same.
static void what_has_been_sent_does_not_expire(void **state)
{
	struct bed *bed = two_clients(state, 2);

	connect_v5(bed, 2);
	client_sends(bed, 2,
		BYTES("\x34\x0d\x00\x01"
		      "a\x00\x09\x05\x02\x00\x00\x00\x02hi" PUBREL("\x09"))); // within 2 s
	client_gets(bed, 0, BYTES(DELIVERED("\x34", "\x00")));
	bed_wait(bed, 3 * US_IN_S);
	client_sends(bed, 0, BYTES("\x50\x02\x80\x00"));
	client_gets(bed, 0, BYTES("\x62\x02\x80\x00"));
	client_sends(bed, 0, BYTES("\x70\x02\x80\x00"));
	assert_null(bed->clients[0]->identifiers);
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_EXPIRED], 0);
}

static void pubrels_keep_the_order_of_pubrecs(void **state)
{
	struct bed *bed = two_clients(state, 2);

	client_sends(bed, 1, BYTES(MESSAGE_2("\x09") MESSAGE_2("\x0a")));
	client_gets(bed, 0, BYTES(DELIVERED("\x34", "\x00") DELIVERED("\x34", "\x01")));
	client_sends(bed, 0, BYTES("\x50\x02\x80\x01\x50\x02\x80\x00"));
	client_gets(bed, 0, BYTES("\x62\x02\x80\x01\x62\x02\x80\x00"));
}

// What has been begun is brought to its end.
static void unsubscribed_in_the_middle(void **state)
{
	static const char unsubscribe[] = "\xa2\x05\x00\x02\x00\x01"
					  "a";
	struct bed *bed = two_clients(state, 2);

	client_sends(bed, 1, BYTES(MESSAGE_2("\x09")));
	client_gets(bed, 0, BYTES(DELIVERED("\x34", "\x00")));
	client_sends(bed, 0, BYTES(unsubscribe));
	broker_gets(bed, 0, BYTES(unsubscribe));
	broker_sends(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_gets(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_sends(bed, 0, BYTES("\x50\x02\x80\x00"));
	client_gets(bed, 0, BYTES("\x62\x02\x80\x00"));
	client_sends(bed, 0, BYTES("\x70\x02\x80\x00"));
	broker_gets(bed, 0, BYTES(""));
	assert_null(bed->clients[0]->identifiers);
}

// A delivery at QoS 2 counts until its PUBCOMP, or until it is refused.
static void receive_maximum_counts_to_the_end(void **state)
{
	const struct mqtt_connect connect = {
		.version = MQTT_VERSION_5,
		.clean_start = true,
		.client_id = mqtt_bytes("r", 1),
		.properties = mqtt_bytes(BYTES("\x21\x00\x01")),
	};
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_with(bed, 0, &connect, false, mqtt_bytes(NULL, 0));
	subscribe_v5(bed, 0, "a", 2, 0);
	connect_v4(bed, 1);
	client_sends(bed, 1, BYTES(MESSAGE_2("\x09") MESSAGE_2("\x0a") MESSAGE_2("\x0b")));
	client_gets(bed, 0, BYTES(DELIVERED_5("\x34", "\x00")));
	client_sends(bed, 0, BYTES("\x50\x02\x80\x00"));
	client_gets(bed, 0, BYTES("\x62\x02\x80\x00"));
	broker_sends(bed, 0, BYTES("\xd0\x00")); // whatever waits, this does not
	client_gets(bed, 0, BYTES("\xd0\x00"));
	client_sends(bed, 0, BYTES("\x70\x02\x80\x00"));
	client_gets(bed, 0, BYTES(DELIVERED_5("\x34", "\x01")));
	client_sends(bed, 0, BYTES("\x50\x03\x80\x01\x97"));
	client_gets(bed, 0, BYTES(DELIVERED_5("\x34", "\x02")));
}

// --- sessions that stay --------------------------------------------------------------------------

// 0 has a session of 300 s, and subscribes to a; 1 publishes.
static const struct mqtt_connect kept = {
	.version = MQTT_VERSION_5,
	.client_id = {(const uint8_t *)"k", 1},
	.properties = {(const uint8_t *)"\x11\x00\x00\x01\x2c", 5},
};

static struct bed *one_kept(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_with(bed, 0, &kept, false, mqtt_bytes(NULL, 0));
	subscribe_v5(bed, 0, "a", 1, 0);
	connect_v4(bed, 1);
	client_sends(bed, 1,
		BYTES("\x32\x07\x00\x01"
		      "a\x00\x09hi"));
	client_gets(bed, 0, BYTES(DELIVERED_5("\x32", "\x00")));
	return bed;
}

// Neither is anything sent again while the connection lasts, nor does its session end.
static void nothing_is_sent_again_while_the_connection_lasts(void **state)
{
	struct bed *bed = one_kept(state);

	bed_wait(bed, 1000 * US_IN_S);
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed->offload->owed_count, 1);
	client_sends(bed, 1,
		BYTES("\x32\x07\x00\x01"
		      "a\x00\x09hi"));
	client_gets(bed, 0, BYTES(DELIVERED_5("\x32", "\x01")));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00\x40\x02\x80\x01"));
	assert_int_equal(bed->offload->owed_count, 0);
}

// An acknowledgement that says no is an acknowledgement.
static void what_was_refused_is_not_sent_again(void **state)
{
	struct bed *bed = one_kept(state);

	client_sends(bed, 0, BYTES("\x40\x03\x80\x00\x83"));
	broker_gets(bed, 0, BYTES(""));
	assert_int_equal(bed->offload->owed_count, 0);
	bed_close(bed, 0);
	connect_with(bed, 0, &kept, true, mqtt_bytes(NULL, 0));
	client_gets(bed, 0, BYTES(""));
}

// What its publisher has not released by the end of the connection would have to be kept for it.
static void qos_2_of_a_publisher_that_stays_passes(void **state)
{
	static const char publish[] = "\x34\x06\x00\x01"
				      "a\x00\x09\x00";
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_with(bed, 0, &kept, false, mqtt_bytes(NULL, 0));
	client_sends(bed, 0, BYTES(publish));
	broker_gets(bed, 0, BYTES(publish));
	client_gets(bed, 0, BYTES(""));
	assert_int_equal(bed_counters(bed)->passed[PROOF_PERSISTENT], 1);
}

int test_handshakes(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(dup_is_not_carried_on, bed_end),
		cmocka_unit_test_teardown(an_identifier_is_free_after_its_pubcomp, bed_end),
		cmocka_unit_test_teardown(an_identifier_is_free_after_a_refusal, bed_end),
		cmocka_unit_test_teardown(an_expired_message_is_released_all_the_same, bed_end),
		cmocka_unit_test_teardown(what_has_been_sent_does_not_expire, bed_end),
		cmocka_unit_test_teardown(pubrels_keep_the_order_of_pubrecs, bed_end),
		cmocka_unit_test_teardown(unsubscribed_in_the_middle, bed_end),
		cmocka_unit_test_teardown(receive_maximum_counts_to_the_end, bed_end),
		cmocka_unit_test_teardown(
			nothing_is_sent_again_while_the_connection_lasts, bed_end),
		cmocka_unit_test_teardown(what_was_refused_is_not_sent_again, bed_end),
		cmocka_unit_test_teardown(qos_2_of_a_publisher_that_stays_passes, bed_end),
	};

	return cmocka_run_group_tests_name("handshakes", tests, NULL, NULL);
}
