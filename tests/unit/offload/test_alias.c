// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Topic aliases of publishers: captured and passed messages of one alias in every order; and of the
// broker.

#include "offload_tests.h"

#include <stdlib.h>
#include <string.h>

// "a/b" with alias 1, "hi"; and the alias alone.
#define DEFINE             \
	"\x30\x0b\x00\x03" \
	"a/b\x03\x23\x00\x01hi"
#define USE "\x30\x08\x00\x00\x03\x23\x00\x01hi"
#define DELIVERED          \
	"\x30\x08\x00\x03" \
	"a/b\x00hi"
// Retained: they pass.
#define DEFINE_RETAINED    \
	"\x31\x0b\x00\x03" \
	"a/b\x03\x23\x00\x01hi"
#define USE_RETAINED "\x31\x08\x00\x00\x03\x23\x00\x01hi"

// The broker takes so many aliases of it.
static void connect_with_aliases(struct bed *bed, unsigned i, uint16_t maximum)
{
	const uint8_t announced[] = {0x22, maximum >> 8, maximum & 0xff};
	const struct mqtt_connect connect = {
		.version = MQTT_VERSION_5,
		.clean_start = true,
		.client_id = mqtt_bytes("alias", 5),
	};

	connect_with(bed, i, &connect, false, mqtt_bytes(announced, sizeof(announced)));
}

// 0 subscribes to a/b at QoS 2, 1 publishes and may use ten aliases.
static struct bed *two_clients(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v5(bed, 0);
	subscribe_v5(bed, 0, "a/b", 2, 0);
	connect_with_aliases(bed, 1, 10);
	return bed;
}

static void captured_with_and_without_the_topic(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(DEFINE));
	client_gets(bed, 0, BYTES(DELIVERED));
	client_dribbles(bed, 1, BYTES(USE));
	client_gets(bed, 0, BYTES(DELIVERED));
	// At QoS 2 it is kept meanwhile.
	client_sends(bed, 1, BYTES("\x34\x0a\x00\x00\x00\x09\x03\x23\x00\x01hi"));
	client_gets(bed, 1, BYTES("\x50\x02\x00\x09"));
	client_sends(bed, 1, BYTES("\x62\x02\x00\x09"));
	client_gets(bed, 0,
		BYTES("\x34\x0a\x00\x03"
		      "a/b\x80\x00\x00hi"));
	broker_gets(bed, 1, BYTES(""));
}

// The broker has not seen the definition: the first that passes carries it.
static void what_passes_later_carries_the_topic(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(DEFINE USE_RETAINED));
	broker_gets(bed, 1, BYTES(DEFINE_RETAINED));
	client_sends(bed, 1, BYTES(USE_RETAINED));
	broker_gets(bed, 1, BYTES(USE_RETAINED));
	// Defined anew, by a captured one: again.
	client_sends(bed, 1,
		BYTES("\x30\x0b\x00\x03"
		      "c/d\x03\x23\x00\x01hi" USE_RETAINED));
	broker_gets(bed, 1,
		BYTES("\x31\x0b\x00\x03"
		      "c/d\x03\x23\x00\x01hi"));
	broker_gets(bed, 1, BYTES(""));
}

static void what_passed_is_known_to_the_broker(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(DEFINE_RETAINED USE_RETAINED));
	broker_gets(bed, 1, BYTES(DEFINE_RETAINED USE_RETAINED));
}

static void what_the_broker_would_refuse_passes(void **state)
{
	static const struct {
		const char *packet;
		size_t length;
	} cases[] = {
		{BYTES("\x30\x08\x00\x00\x03\x23\x00\x02hi")}, // not defined
		{BYTES("\x30\x0b\x00\x03"
		       "a/b\x03\x23\x00\x0bhi")}, // above the broker's maximum
		{BYTES("\x30\x0b\x00\x03"
		       "a/b\x03\x23\x00\x00hi")}, // 0
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed *bed = two_clients(state);

		client_sends(bed, 1, cases[i].packet, cases[i].length);
		broker_gets(bed, 1, cases[i].packet, cases[i].length);
		client_gets(bed, 0, BYTES(""));
		bed_end(state);
	}
	bed_start(bed_new(state));
}

static void they_end_with_their_connection(void **state)
{
	struct bed *bed = two_clients(state);

	client_sends(bed, 1, BYTES(DEFINE));
	client_gets(bed, 0, BYTES(DELIVERED));
	bed_close(bed, 1);
	connect_with_aliases(bed, 1, 10);
	client_sends(bed, 1, BYTES(USE));
	broker_gets(bed, 1, BYTES(USE));
	client_gets(bed, 0, BYTES(""));
}

// As many as the broker announced are good, though fewer are followed.
static void more_than_are_followed_pass(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t define[] = DEFINE, use[] = USE;

	bed_start(bed);
	connect_with_aliases(bed, 1, 300);
	for (unsigned number = 1; number <= 300; number++) {
		bool followed = number <= ALIASES_MAX;

		define[4] = followed ? 'a' : 'x'; // topics of their own: what passes is held
		define[9] = (uint8_t)(number >> 8);
		define[10] = (uint8_t)number;
		client_sends(bed, 1, define, sizeof(define) - 1);
		broker_gets(bed, 1, define, followed ? 0 : sizeof(define) - 1);
	}
	assert_int_equal(bed_counters(bed)->passed[PROOF_TOPIC_ALIAS], 300 - ALIASES_MAX);
	client_sends(bed, 1, BYTES(USE));
	broker_gets(bed, 1, BYTES(""));
	use[6] = 300 >> 8;
	use[7] = 300 & 0xff;
	client_sends(bed, 1, use, sizeof(use) - 1);
	broker_gets(bed, 1, use, sizeof(use) - 1);
}

// Written out a packet is longer than it came: where the broker limits that, it learns what
// aliases stand for from those who define them.
static void a_broker_that_limits_packets_knows_them(void **state)
{
	const struct mqtt_connect connect = {.version = MQTT_VERSION_5,
		.clean_start = true,
		.client_id = mqtt_bytes("alias", 5)};
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_with(
		bed, 1, &connect, false, mqtt_bytes(BYTES("\x22\x00\x0a\x27\x00\x00\x00\x0d")));
	client_sends(bed, 1, BYTES(DEFINE)); // 13 bytes
	broker_gets(bed, 1, BYTES(DEFINE));
	client_sends(bed, 1, BYTES("\x31\x0b\x00\x00\x03\x23\x00\x01hello"));
	broker_gets(bed, 1, BYTES("\x31\x0b\x00\x00\x03\x23\x00\x01hello"));
}

// Also where the one that defines waits for the client's window: what uses it stays behind it.
static void the_brokers_pass_as_they_came(void **state)
{
	static const char define[] = "\x32\x09\x00\x01"
				     "b\x00\x06\x03\x23\x00\x01",
			  use[] = "\x30\x06\x00\x00\x03\x23\x00\x01";
	const struct mqtt_connect connect = {
		.version = MQTT_VERSION_5,
		.clean_start = true,
		.client_id = mqtt_bytes("alias", 5),
		.properties = mqtt_bytes(BYTES("\x21\x00\x01\x22\x00\x0a")),
	};
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_with(bed, 0, &connect, false, mqtt_bytes(NULL, 0));
	subscribe_v5(bed, 0, "a", 1, 0);
	connect_v4(bed, 1);
	client_sends(bed, 1,
		BYTES("\x32\x05\x00\x01"
		      "a\x00\x09"));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "a\x80\x00\x00"));
	broker_sends(bed, 0, BYTES(define));
	broker_sends(bed, 0, BYTES(use));
	client_gets(bed, 0, BYTES(""));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	client_gets(bed, 0,
		BYTES("\x32\x09\x00\x01"
		      "b\x00\x06\x03\x23\x00\x01"
		      "\x30\x06\x00\x00\x03\x23\x00\x01"));
}

// Too long to gather: it streams, with a front of its own.
static void a_long_one_is_given_its_topic(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *packet = calloc(1, 100020), *wanted = calloc(1, 100020);
	size_t head = 10, length = 100010;
	const uint8_t *got;
	size_t have = 0;

	bed->broker.capture.max_size = 1000;
	bed_start(bed);
	connect_with_aliases(bed, 1, 10);
	client_sends(bed, 1, BYTES(DEFINE));
	memcpy(packet, "\x31\xa6\x8d\x06\x00\x00\x03\x23\x00\x01", head);
	for (size_t i = head; i < length; i++)
		packet[i] = (uint8_t)random_next(&bed->rng);
	memcpy(wanted,
		"\x31\xa9\x8d\x06\x00\x03"
		"a/b\x03\x23\x00\x01",
		head + 3);
	memcpy(wanted + head + 3, packet + head, length - head);
	for (size_t at = 0; at < length; at += 1447)
		client_sends(bed, 1, packet + at, length - at < 1447 ? length - at : 1447);
	have = got_take(&bed->up[1], &got);
	assert_int_equal(have, length + 3);
	assert_memory_equal(got, wanted, have);
	client_sends(bed, 1, BYTES(USE_RETAINED)); // known now
	broker_gets(bed, 1, BYTES(USE_RETAINED));
	free(packet);
	free(wanted);
}

int test_alias(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(captured_with_and_without_the_topic, bed_end),
		cmocka_unit_test_teardown(what_passes_later_carries_the_topic, bed_end),
		cmocka_unit_test_teardown(what_passed_is_known_to_the_broker, bed_end),
		cmocka_unit_test_teardown(what_the_broker_would_refuse_passes, bed_end),
		cmocka_unit_test_teardown(they_end_with_their_connection, bed_end),
		cmocka_unit_test_teardown(more_than_are_followed_pass, bed_end),
		cmocka_unit_test_teardown(a_broker_that_limits_packets_knows_them, bed_end),
		cmocka_unit_test_teardown(the_brokers_pass_as_they_came, bed_end),
		cmocka_unit_test_teardown(a_long_one_is_given_its_topic, bed_end),
	};

	return cmocka_run_group_tests_name("alias", tests, NULL, NULL);
}
