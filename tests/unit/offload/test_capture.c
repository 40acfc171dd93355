// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is captured, byte for byte: at the broker, at subscribers, at the publisher.

#include "offload_tests.h"

#include <string.h>

// Clients 0 (v3.1.1) and 1 (v5) subscribe to a/b at QoS 1; 2 (v3.1.1) and 3 (v5) publish.
static int four_clients(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v5(bed, 1);
	connect_v4(bed, 2);
	connect_v5(bed, 3);
	subscribe_v4(bed, 0, "a/b", 1);
	subscribe_v5(bed, 1, "a/+", 1, 0);
	return 0;
}

static void qos_0_reaches_both_versions(void **state)
{
	struct bed *bed = *state;

	client_sends(bed, 2,
		BYTES("\x30\x07\x00\x03"
		      "a/bhi"));
	broker_gets(bed, 2, BYTES(""));
	client_gets(bed, 2, BYTES(""));
	client_gets(bed, 0,
		BYTES("\x30\x07\x00\x03"
		      "a/bhi"));
	client_gets(bed, 1,
		BYTES("\x30\x08\x00\x03"
		      "a/b\x00hi"));
	assert_int_equal(bed_counters(bed)->captured[0], 1);
	assert_int_equal(bed_counters(bed)->deliveries[0], 2);
}

static void v5_properties_are_stripped_for_v3(void **state)
{
	struct bed *bed = *state;

	// Content type and a user property; QoS 1, identifier 9.
	client_sends(bed, 3,
		BYTES("\x32\x15\x00\x03"
		      "a/b\x00\x09\x0b\x03\x00\x01t\x26\x00\x01k\x00\x01vhi"));
	broker_gets(bed, 3, BYTES(""));
	client_gets(bed, 3, BYTES("\x40\x02\x00\x09"));
	client_gets(bed, 0,
		BYTES("\x32\x09\x00\x03"
		      "a/b\x80\x00hi"));
	client_gets(bed, 1,
		BYTES("\x32\x15\x00\x03"
		      "a/b\x80\x00\x0b\x03\x00\x01t\x26\x00\x01k\x00\x01vhi"));
	// Their acknowledgements are Offramp's; others pass.
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	client_sends(bed, 1, BYTES("\x40\x02\x80\x00\x40\x02\x80\x00"));
	broker_gets(bed, 0, BYTES(""));
	broker_gets(bed, 1, BYTES("\x40\x02\x80\x00"));
}

static void a_message_without_subscribers_says_so_in_v5(void **state)
{
	struct bed *bed = *state;

	client_sends(bed, 3,
		BYTES("\x32\x08\x00\x03"
		      "x/y\x00\x09\x00"));
	client_gets(bed, 3, BYTES("\x40\x03\x00\x09\x10"));
	client_sends(bed, 2,
		BYTES("\x32\x07\x00\x03"
		      "x/y\x00\x09"));
	client_gets(bed, 2, BYTES("\x40\x02\x00\x09"));
}

static void pubacks_keep_the_order_of_publishes(void **state)
{
	struct bed *bed = *state;

	client_sends(bed, 2,
		BYTES("\x32\x07\x00\x03"
		      "a/b\x00\x01" // captured
		      "\x33\x07\x00\x03"
		      "r/1\x00\x02" // retained: passes
		      "\x32\x07\x00\x03"
		      "a/b\x00\x03" // captured, waits
		      "\x33\x07\x00\x03"
		      "r/2\x00\x04" // passes
		      "\x32\x07\x00\x03"
		      "a/b\x00\x05")); // captured, waits
	broker_gets(bed, 2,
		BYTES("\x33\x07\x00\x03"
		      "r/1\x00\x02\x33\x07\x00\x03"
		      "r/2\x00\x04"));
	client_gets(bed, 2, BYTES("\x40\x02\x00\x01"));
	broker_sends(bed, 2, BYTES("\x40\x02\x00\x02"));
	client_gets(bed, 2, BYTES("\x40\x02\x00\x02\x40\x02\x00\x03"));
	broker_sends(bed, 2, BYTES("\x40\x02\x00\x04"));
	client_gets(bed, 2, BYTES("\x40\x02\x00\x04\x40\x02\x00\x05"));
	assert_null(bed->clients[2]->acks);
}

static void every_split_gives_the_same(void **state)
{
	static const char packets[] = "\x30\x07\x00\x03"
				      "a/bhi\xc0\x00\x32\x09\x00\x03"
				      "a/b\x00\x09yo\xc0\x00";
	struct bed *bed = *state;

	for (size_t cut = 0; cut < sizeof(packets) - 1; cut++) {
		uint8_t id[2];
		const uint8_t *got;

		tcp_double_arrive(&bed->down[2], packets, cut);
		client_sends(bed, 2, packets + cut, sizeof(packets) - 1 - cut);
		broker_gets(bed, 2, BYTES("\xc0\x00\xc0\x00"));
		client_gets(bed, 2, BYTES("\x40\x02\x00\x09"));
		broker_dribbles(bed, 2, BYTES("\xd0\x00\xd0\x00"));
		client_gets(bed, 2, BYTES("\xd0\x00\xd0\x00"));
		assert_int_equal(got_take(&bed->down[0], &got), 20);
		assert_memory_equal(got,
			"\x30\x07\x00\x03"
			"a/bhi\x32\x09\x00\x03"
			"a/b",
			16);
		memcpy(id, got + 16, 2);
		assert_memory_equal(got + 18, "yo", 2);
		client_sends(bed, 0, (const uint8_t[]){0x40, 2, id[0], id[1]}, 4);
		broker_gets(bed, 0, BYTES(""));
	}
}

// Message expiry: counts down while a delivery waits, and ends it (3.3.2.3.3).
static void expiry_counts_down_while_waiting(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.client.inflight = 1;
	bed_start(bed);
	connect_v4(bed, 0);
	connect_v5(bed, 1);
	connect_v5(bed, 3);
	subscribe_v4(bed, 0, "a/b", 1);
	subscribe_v5(bed, 1, "a/b", 1, 0);
	for (char n = '1'; n <= '3'; n++) {
		uint8_t publish[] = "\x32\x0e\x00\x03"
				    "a/b\x00\x09\x05\x02\x00\x00\x00\x0an";

		publish[15] = n; // expires after 10 s
		client_sends(bed, 3, publish, 16);
	}
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x03"
		      "a/b\x80\x00"
		      "1"));
	client_gets(bed, 1,
		BYTES("\x32\x0e\x00\x03"
		      "a/b\x80\x00\x05\x02\x00\x00\x00\x0a"
		      "1"));
	bed_wait(bed, 4 * US_IN_S);
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	client_sends(bed, 1, BYTES("\x40\x02\x80\x00"));
	client_gets(bed, 0,
		BYTES("\x32\x08\x00\x03"
		      "a/b\x80\x01"
		      "2"));
	client_gets(bed, 1,
		BYTES("\x32\x0e\x00\x03"
		      "a/b\x80\x01\x05\x02\x00\x00\x00\x06"
		      "2"));
	bed_wait(bed, 7 * US_IN_S);
	client_sends(bed, 0, BYTES("\x40\x02\x80\x01"));
	client_sends(bed, 1, BYTES("\x40\x02\x80\x01"));
	client_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES("")); // whatever version it speaks
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_EXPIRED], 2);
	assert_int_equal(bed_counters(bed)->deliveries[1], 4);
}

static void too_large_for_the_subscriber_is_skipped(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t publish[256];
	const uint8_t *got;
	size_t length;

	bed_start(bed);
	bed_open(bed, 0);
	// CONNECT v5 with Maximum Packet Size 30.
	client_sends(bed, 0,
		BYTES("\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x05\x27\x00\x00\x00\x1e"
		      "\x00\x01m"));
	broker_sends(bed, 0, BYTES("\x20\x03\x00\x00\x00"));
	got_take(&bed->up[0], &got);
	got_take(&bed->down[0], &got);
	subscribe_v5(bed, 0, "a", 0, 0);
	connect_v4(bed, 1);
	length = publish_v4(publish, "a", 0, "0123456789012345678901234", 25);
	client_sends(bed, 1, publish, length); // 30 bytes in v3, 31 in v5
	client_gets(bed, 0, BYTES(""));
	length = publish_v4(publish, "a", 0, "012345678901234567890123", 24);
	client_sends(bed, 1, publish, length);
	client_gets(bed, 0,
		BYTES("\x30\x1c\x00\x01"
		      "a\x00"
		      "012345678901234567890123"));
	assert_int_equal(bed_counters(bed)->dropped[OFFLOAD_DROP_PACKET_SIZE], 1);
}

// One copy a subscription with its identifier (v5), one at the QoS of the first found (v3: the
// level's name comes before '#'): mosquitto's way.
static void overlapping_subscriptions(void **state)
{
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	bed_start(bed);
	connect_v4(bed, 0);
	connect_v5(bed, 1);
	connect_v4(bed, 2);
	subscribe_v4(bed, 0, "a/#", 0);
	subscribe_v4(bed, 0, "a/b", 1);
	subscribe_v5(bed, 1, "a/b", 0, 5);
	subscribe_v5(bed, 1, "a/#", 0, 6);
	client_sends(bed, 2,
		BYTES("\x32\x07\x00\x03"
		      "a/b\x00\x09"));
	client_gets(bed, 0,
		BYTES("\x32\x07\x00\x03"
		      "a/b\x80\x00"));
	assert_int_equal(got_take(&bed->down[1], &got), 20);
	assert_true((got[9] == 5 && got[19] == 6) || (got[9] == 6 && got[19] == 5));
	assert_memory_equal(got,
		"\x30\x08\x00\x03"
		"a/b\x02\x0b",
		9);
}

static void what_must_pass_passes_as_it_came(void **state)
{
	static const struct {
		const char *packet;
		size_t length;
		enum proof_reason reason;
	} cases[] = {
		{BYTES("\x31\x07\x00\x03"
		       "a/bhi"),
			PROOF_RETAIN},
		{BYTES("\x30\x06\x00\x04$S/Y"), PROOF_DOLLAR_TOPIC},
		{BYTES("\x30\x07\x00\x05"
		       "a\x01"
		       "b/c"),
			PROOF_MALFORMED}, // a control character: legal, discouraged
	};
	struct bed *bed = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		client_dribbles(bed, 2, cases[i].packet, cases[i].length);
		broker_gets(bed, 2, cases[i].packet, cases[i].length);
		assert_int_equal(bed_counters(bed)->passed[cases[i].reason], 1);
	}
	client_gets(bed, 0, BYTES(""));
}

// Turned off, everything passes; turned on, it is captured again once the fence has shown that
// nothing is on its way.
static void the_operator_turns_capture_off_and_on(void **state)
{
	static const char *const pass[] = {"a/#"};
	static const char publish[] = "\x30\x07\x00\x03"
				      "a/bhi";
	struct bed *bed = *state;

	client_sends(bed, 2, BYTES(publish));
	client_gets(bed, 0, BYTES(publish));
	offload_filters_set(bed->offload, 0, &(struct offload_filters){.capture = false});
	client_sends(bed, 2, BYTES(publish));
	broker_gets(bed, 2, BYTES(publish));
	assert_int_equal(bed_counters(bed)->passed[PROOF_DISABLED], 1);
	offload_filters_set(bed->offload, 0, &(struct offload_filters){true, pass, 1});
	client_sends(bed, 2, BYTES(publish));
	broker_gets(bed, 2, BYTES(publish));
	assert_int_equal(bed_counters(bed)->passed[PROOF_OPERATOR], 1);
	client_gets(bed, 0, BYTES(""));
	offload_filters_set(bed->offload, 0, &(struct offload_filters){.capture = true});
	client_sends(bed, 2, BYTES(publish));
	assert_int_equal(bed_counters(bed)->passed[PROOF_FENCE], 1);
}

// Access rules that Offramp does not know, clients that it does not see: the broker decides.
static void what_the_operator_does_not_promise_passes(void **state)
{
	static const struct {
		bool enabled;
		enum offload_knowledge knowledge;
		enum offload_authorization authorization;
		enum proof_reason reason;
	} cases[] = {
		{false, OFFLOAD_KNOWLEDGE_WIRE, OFFLOAD_AUTHORIZATION_OPEN, PROOF_DISABLED},
		{true, OFFLOAD_KNOWLEDGE_NONE, OFFLOAD_AUTHORIZATION_OPEN, PROOF_MAP_UNKNOWN},
		{true, OFFLOAD_KNOWLEDGE_WIRE, OFFLOAD_AUTHORIZATION_NONE, PROOF_UNAUTHORIZED},
		{true, OFFLOAD_KNOWLEDGE_BROKER, OFFLOAD_AUTHORIZATION_OPEN, PROOF_STREAM},
		{true, OFFLOAD_KNOWLEDGE_WIRE, OFFLOAD_AUTHORIZATION_BROKER, PROOF_STREAM},
	};
	static const char publish[] = "\x32\x05\x00\x01"
				      "a\x00\x09";

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed *bed = bed_new(state);

		bed->broker.capture.enabled = cases[i].enabled;
		bed->broker.knowledge = cases[i].knowledge;
		bed->broker.authorization = cases[i].authorization;
		bed_start(bed);
		connect_v4(bed, 0);
		client_sends(bed, 0, BYTES(publish));
		broker_gets(bed, 0, BYTES(publish));
		client_gets(bed, 0, BYTES(""));
		assert_int_equal(bed_counters(bed)->passed[cases[i].reason], 1);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

// v5, each by a client of its own: the broker ends the connection of who sends it.
static void what_v5_forbids_passes(void **state)
{
	static const struct {
		const char *packet;
		size_t length;
	} cases[] = {
		{BYTES("\x30\x09\x00\x03"
		       "a/b\x02\x0b\x05x")}, // a subscription identifier
		{BYTES("\x30\x0d\x00\x03"
		       "a/b\x05\x08\x00\x02r#hi")}, // a wildcard in the response topic
		{BYTES("\x30\x0c\x00\x03"
		       "a/b\x04\x08\x00\x01\xffhi")}, // an ill-formed response topic
		{BYTES("\x30\x0c\x00\x03"
		       "a/b\x04\x03\x00\x01\xffhi")}, // an ill-formed content type
		{BYTES("\x30\x0f\x00\x03"
		       "a/b\x07\x26\x00\x01k\x00\x01\xffhi")}, // … user property
		{BYTES("\x30\x06\x00\x03"
		       "a/+\x00")},
		{BYTES("\x30\x06\x00\x03"
		       "a/\x00\x00")},		 // U+0000
		{BYTES("\x30\x03\x00\x00\x00")}, // neither topic nor alias
		{BYTES("\x32\x08\x00\x03"
		       "a/b\x00\x00\x00")}, // identifier 0
		{BYTES("\x38\x06\x00\x03"
		       "a/b\x00")}, // DUP at QoS 0
		{BYTES("\x30\x86\x00\x00\x03"
		       "a/b\x00")}, // a remaining length that is longer than need be
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed *bed;

		four_clients(state);
		bed = *state;
		client_sends(bed, 3, cases[i].packet, cases[i].length);
		broker_gets(bed, 3, cases[i].packet, cases[i].length);
		client_gets(bed, 0, BYTES(""));
		client_gets(bed, 1, BYTES(""));
		assert_int_equal(bed_counters(bed)->passed[PROOF_MALFORMED], 1);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

int test_capture(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(qos_0_reaches_both_versions, four_clients, bed_end),
		cmocka_unit_test_setup_teardown(
			v5_properties_are_stripped_for_v3, four_clients, bed_end),
		cmocka_unit_test_setup_teardown(
			a_message_without_subscribers_says_so_in_v5, four_clients, bed_end),
		cmocka_unit_test_setup_teardown(
			pubacks_keep_the_order_of_publishes, four_clients, bed_end),
		cmocka_unit_test_setup_teardown(every_split_gives_the_same, four_clients, bed_end),
		cmocka_unit_test_setup_teardown(
			what_must_pass_passes_as_it_came, four_clients, bed_end),
		cmocka_unit_test_setup_teardown(
			the_operator_turns_capture_off_and_on, four_clients, bed_end),
		cmocka_unit_test_teardown(what_the_operator_does_not_promise_passes, bed_end),
		cmocka_unit_test_teardown(what_v5_forbids_passes, bed_end),
		cmocka_unit_test_teardown(expiry_counts_down_while_waiting, bed_end),
		cmocka_unit_test_teardown(too_large_for_the_subscriber_is_skipped, bed_end),
		cmocka_unit_test_teardown(overlapping_subscriptions, bed_end),
	};

	return cmocka_run_group_tests_name("capture", tests, NULL, NULL);
}
