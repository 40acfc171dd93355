// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What CONNECT, CONNACK, AUTH and DISCONNECT say, and what follows from it (3.1, 3.2, 3.14, 3.15).

#include "offload_tests.h"

#include <string.h>

#define ORDINARY           \
	"\x30\x05\x00\x01" \
	"a\x00x"

static struct mqtt_connect connect_as(const char *id, bool clean)
{
	return (struct mqtt_connect){
		.version = MQTT_VERSION_5,
		.clean_start = clean,
		.client_id = mqtt_bytes(id, strlen(id)),
	};
}

// What keeps to the broker's limits is captured, what does not is for the broker to refuse.
static void the_brokers_limits_are_kept(void **state)
{
	static const struct {
		const char *announced;
		size_t announced_length;
		const char *within;
		size_t within_length;
		const char *beyond;
		size_t beyond_length;
		enum proof_reason reason;
	} cases[] = {
		{BYTES("\x24\x01"),
			BYTES("\x32\x07\x00\x01"
			      "a\x00\x09\x00x"),
			BYTES("\x34\x07\x00\x01"
			      "a\x00\x0a\x00x"),
			PROOF_MALFORMED}, // Maximum QoS
		{BYTES("\x24\x00"), BYTES(ORDINARY),
			BYTES("\x32\x07\x00\x01"
			      "a\x00\x0a\x00x"),
			PROOF_MALFORMED},
		{BYTES("\x27\x00\x00\x00\x07"), BYTES(ORDINARY),
			BYTES("\x30\x06\x00\x01"
			      "a\x00xy"),
			PROOF_TOO_LARGE}, // Maximum Packet Size
		{BYTES("\x22\x00\x02"),
			BYTES("\x30\x08\x00\x01"
			      "a\x03\x23\x00\x02x"),
			BYTES("\x30\x08\x00\x01"
			      "a\x03\x23\x00\x03x"),
			PROOF_MALFORMED}, // Topic Alias Maximum
		{BYTES(""), BYTES(ORDINARY),
			BYTES("\x30\x08\x00\x01"
			      "a\x03\x23\x00\x01x"),
			PROOF_MALFORMED}, // none
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct mqtt_connect connect = connect_as("p", true);
		struct bed *bed = bed_new(state);

		bed_start(bed);
		connect_with(bed, 0, &connect, false,
			mqtt_bytes(cases[i].announced, cases[i].announced_length));
		client_sends(bed, 0, cases[i].within, cases[i].within_length);
		broker_gets(bed, 0, BYTES(""));
		client_sends(bed, 0, cases[i].beyond, cases[i].beyond_length);
		broker_gets(bed, 0, cases[i].beyond, cases[i].beyond_length);
		assert_int_equal(bed_counters(bed)->passed[cases[i].reason], 1);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

// The broker's keep alive, where it announces one, and else the client's: Offramp lets no more
// than an eighth of it pass without a word to the broker.
static void keep_alive_is_the_one_in_force(void **state)
{
	static const struct {
		uint16_t client;
		const char *announced;
		size_t announced_length;
		bool kept;
	} cases[] = {
		{8, BYTES(""), true},
		{600, BYTES("\x13\x00\x08"), true},
		{0, BYTES("\x13\x00\x08"), true},
		{600, BYTES(""), false},
		{8, BYTES("\x13\x02\x58"), false},
		{0, BYTES(""), false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mqtt_connect connect = connect_as("p", true);
		struct bed *bed = bed_new(state);

		bed_start(bed);
		connect.keep_alive = cases[i].client;
		connect_with(bed, 0, &connect, false,
			mqtt_bytes(cases[i].announced, cases[i].announced_length));
		bed_wait(bed, 900 * US_IN_MS);
		client_sends(bed, 0, BYTES(ORDINARY));
		broker_gets(bed, 0, BYTES(""));
		bed_wait(bed, 200 * US_IN_MS);
		client_sends(bed, 0, BYTES(ORDINARY));
		broker_gets(bed, 0, "\xc0\x00", cases[i].kept ? 2 : 0);
		bed_end(state);
	}
	bed_start(bed_new(state));
}

#define EXPIRY "\x11\x00\x00\x01\x2c" // 300 s

// The session bears the name that the broker gave, and is found under it.
static void an_assigned_identifier_is_the_sessions(void **state)
{
	struct mqtt_connect connect = connect_as("", true);
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v5(bed, 1);
	connect.properties = mqtt_bytes(BYTES(EXPIRY));
	connect_with(bed, 0, &connect, false, mqtt_bytes(BYTES("\x12\x00\x03new")));
	subscribe_v5(bed, 0, "a", 0, 0);
	bed_close(bed, 0);
	connect.client_id = mqtt_bytes("new", 3);
	connect.clean_start = false;
	connect_with(bed, 0, &connect, true, mqtt_bytes(NULL, 0));
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES(ORDINARY));
}

// The broker ends that connection, and does not read what comes behind.
static void after_a_second_connect_all_passes(void **state)
{
	static const char connect[] = "\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01x";
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v5(bed, 0);
	subscribe_v5(bed, 0, "a", 0, 0);
	client_sends(bed, 0, BYTES(connect));
	broker_gets(bed, 0, BYTES(connect));
	client_sends(bed, 0, BYTES(ORDINARY));
	broker_gets(bed, 0, BYTES(ORDINARY));
	client_gets(bed, 0, BYTES(""));
}

#define AUTH(reason) "\xf0\x06" reason "\x04\x15\x00\x01m"

// Before the CONNACK and after it; what comes behind the client's AUTH waits for the CONNACK.
static void authentication_passes(void **state)
{
	struct mqtt_connect connect = connect_as("p", true);
	struct bed *bed = bed_new(state);
	uint8_t packet[64];
	size_t length;

	connect.properties = mqtt_bytes(BYTES("\x15\x00\x01m"));
	length = mqtt_connect_encode(&connect, packet, sizeof(packet));
	bed_start(bed);
	bed_open(bed, 0);
	client_sends(bed, 0, packet, length);
	broker_gets(bed, 0, packet, length);
	broker_sends(bed, 0, BYTES(AUTH("\x18")));
	client_gets(bed, 0, BYTES(AUTH("\x18")));
	client_sends(bed, 0, BYTES(AUTH("\x18") ORDINARY));
	broker_gets(bed, 0, BYTES(AUTH("\x18")));
	assert_int_equal(bed_counters(bed)->captured[0], 0);
	broker_sends(bed, 0, BYTES("\x20\x07\x00\x00\x04\x15\x00\x01m"));
	client_gets(bed, 0, BYTES("\x20\x07\x00\x00\x04\x15\x00\x01m"));
	assert_int_equal(bed_counters(bed)->captured[0], 1);
	client_sends(bed, 0, BYTES(AUTH("\x19")));
	broker_gets(bed, 0, BYTES(AUTH("\x19")));
	broker_sends(bed, 0, BYTES(AUTH("\x00")));
	client_gets(bed, 0, BYTES(AUTH("\x00")));
}

// Nothing follows the broker's DISCONNECT, neither what waited nor what comes; what a session is
// owed is kept for it.
static void nothing_follows_the_brokers_disconnect(void **state)
{
	for (unsigned kept = 0; kept < 2; kept++) {
		struct mqtt_connect connect = connect_as("k", false);
		struct bed *bed = bed_new(state);

		bed->broker.client.inflight = 1;
		bed_start(bed);
		connect.properties = mqtt_bytes(EXPIRY, kept ? 5 : 0);
		connect_with(bed, 0, &connect, false, mqtt_bytes(NULL, 0));
		subscribe_v5(bed, 0, "a", 1, 0);
		connect_v4(bed, 1);
		client_sends(bed, 1,
			BYTES("\x32\x06\x00\x01"
			      "a\x00\x01x\x32\x06\x00\x01"
			      "a\x00\x02y"));
		client_gets(bed, 0,
			BYTES("\x32\x07\x00\x01"
			      "a\x80\x00\x00x"));
		broker_sends(bed, 0, BYTES("\xe0\x01\x8e"));
		client_gets(bed, 0, BYTES("\xe0\x01\x8e"));
		client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
		client_sends(bed, 1,
			BYTES("\x30\x04\x00\x01"
			      "az"));
		client_gets(bed, 0, BYTES(""));
		assert_int_equal(bed->offload->owed_count, kept ? 2 : 0);
		broker_ends(bed, 0);
		assert_true(bed->down[0].shut);
		client_gets(bed, 0, BYTES(""));
		bed_end(state);
	}
	bed_start(bed_new(state));
}

int test_announced(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_brokers_limits_are_kept, bed_end),
		cmocka_unit_test_teardown(keep_alive_is_the_one_in_force, bed_end),
		cmocka_unit_test_teardown(an_assigned_identifier_is_the_sessions, bed_end),
		cmocka_unit_test_teardown(after_a_second_connect_all_passes, bed_end),
		cmocka_unit_test_teardown(authentication_passes, bed_end),
		cmocka_unit_test_teardown(nothing_follows_the_brokers_disconnect, bed_end),
	};

	return cmocka_run_group_tests_name("announced", tests, NULL, NULL);
}
