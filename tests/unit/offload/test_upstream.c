// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What clients send otherwise: long, broken, foreign; takeovers, keep alive, memory, ends.

#include "offload_tests.h"

#include <stdlib.h>
#include <string.h>

#define ORDINARY           \
	"\x30\x04\x00\x01" \
	"a1"

static void subscriber_and_publisher(struct bed *bed)
{
	bed_start(bed);
	connect_v4(bed, 0);
	connect_v4(bed, 1);
	subscribe_v4(bed, 0, "a", 1);
}

// --- long packets --------------------------------------------------------------------------------

// A gathered message is delivered by reference, to versions and QoS alike.
static void a_large_message_is_captured(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *packet = malloc(400000);
	struct payload_pool_usage usage;
	const uint8_t *got;
	size_t length;

	subscriber_and_publisher(bed);
	connect_v5(bed, 2);
	subscribe_v5(bed, 2, "a", 1, 7);
	for (size_t i = 0; i < 200000; i++)
		packet[i + 200000] = (uint8_t)random_next(&bed->rng);
	length = publish_v4(packet, "a", 2, packet + 200000, 190000);
	for (size_t at = 0; at < length; at += 1447)
		client_sends(bed, 1, packet + at, length - at < 1447 ? length - at : 1447);
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 1, BYTES("\x40\x02\x77\x77"));
	assert_int_equal(got_take(&bed->down[0], &got), length);
	assert_memory_equal(got + length - 190000, packet + 200000, 190000);
	assert_int_equal(got_take(&bed->down[2], &got), length + 3);
	assert_memory_equal(got + 4,
		"\x00\x01"
		"a\x80\x00\x02\x0b\x07",
		8);
	assert_memory_equal(got + length + 3 - 190000, packet + 200000, 190000);
	// The publisher may be silent for ever: nothing of it is kept.
	payload_pool_usage(bed->payloads, &usage);
	assert_int_equal(usage.in_use[3], 0);
	free(packet);
}

static void client_sends_segments(struct bed *bed, unsigned i, const uint8_t *packet, size_t length)
{
	for (size_t at = 0; at < length; at += 1447)
		client_sends(bed, i, packet + at, length - at < 1447 ? length - at : 1447);
	broker_gets(bed, i, packet, length);
}

// A CONNECT with a long will, a SUBSCRIBE and an UNSUBSCRIBE with a long filter: all is followed.
static void long_packets_that_are_no_messages_are_followed(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *packet = malloc(70000), *text = malloc(60000);
	struct mqtt_bytes filters[] = {mqtt_bytes(text, 40000), mqtt_bytes("a", 1)};
	const struct mqtt_subscribe_filter subscriptions[] = {
		{.filter = filters[0]}, {.filter = filters[1]}};
	const struct mqtt_connect connect = {
		.version = MQTT_VERSION_3_1_1,
		.clean_start = true,
		.client_id = mqtt_bytes("x", 1),
		.has_will = true,
		.will = {.topic = mqtt_bytes("w", 1), .payload = mqtt_bytes(text, 60000)},
	};

	memset(text, 'x', 60000);
	bed_start(bed);
	connect_v4(bed, 1);
	bed_open(bed, 0);
	client_sends_segments(bed, 0, packet, mqtt_connect_encode(&connect, packet, 70000));
	broker_sends(bed, 0, BYTES("\x20\x02\x00\x00"));
	client_gets(bed, 0, BYTES("\x20\x02\x00\x00"));
	client_sends_segments(bed, 0, packet,
		mqtt_subscribe_encode(MQTT_VERSION_3_1_1, 1, mqtt_bytes(NULL, 0), subscriptions, 2,
			packet, 70000));
	broker_sends(bed, 0, BYTES("\x90\x04\x00\x01\x00\x00"));
	client_gets(bed, 0, BYTES("\x90\x04\x00\x01\x00\x00"));
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES(ORDINARY));
	client_sends_segments(bed, 0, packet,
		mqtt_unsubscribe_encode(
			MQTT_VERSION_3_1_1, 2, mqtt_bytes(NULL, 0), filters, 2, packet, 70000));
	broker_sends(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_gets(bed, 0, BYTES("\xb0\x02\x00\x02"));
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES(""));
	assert_true(session_map_complete(bed->offload->brokers[0].map));
	free(packet);
	free(text);
}

// Longer than what is gathered now, but whole in memory: it is dealt with once.
static void a_long_packet_in_one_piece_is_one_packet(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *packet = calloc(1, 300000);
	size_t length;

	bed->broker.capture.max_size = 1000;
	subscriber_and_publisher(bed);
	length = publish_v4(packet, "a", 2, packet + 150000, 100000);
	client_sends(bed, 1, packet, length);
	broker_gets(bed, 1, packet, length);
	assert_int_equal(bed_counters(bed)->passed[PROOF_TOO_LARGE], 1);
	assert_int_equal(bed->clients[1]->passed, 1);
	broker_sends(bed, 1, BYTES("\x40\x02\x77\x77"));
	client_gets(bed, 1, BYTES("\x40\x02\x77\x77"));
	// Nothing is waited for any more.
	client_sends(bed, 1,
		BYTES("\x32\x05\x00\x01"
		      "b\x00\x01"));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x01"));
	free(packet);
}

// --- floods --------------------------------------------------------------------------------------

#define FLOODS	    6
#define SUBSCRIBERS 60
#define FLOOD	    1000 // messages of each

// Who floods a topic of many subscribers does not keep others from being served, turn by turn.
static void a_quiet_client_has_its_turn(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t flood[FLOOD * 6];
	const uint8_t *got;
	unsigned quiet = SUBSCRIBERS + FLOODS, listener = quiet + 1;

	bed_start(bed);
	for (unsigned i = 0; i <= listener; i++)
		connect_v4(bed, i);
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		subscribe_v4(bed, i, "a", 0);
	subscribe_v4(bed, listener, "q", 0);
	for (unsigned i = 0; i < FLOOD; i++)
		memcpy(flood + 6 * i, ORDINARY, 6);
	for (unsigned i = 0; i < FLOODS; i++) {
		tcp_double_arrive(&bed->down[SUBSCRIBERS + i], flood, sizeof(flood));
		client_kick(bed->clients[SUBSCRIBERS + i]);
	}
	for (unsigned n = 0; n < 4; n++) {
		tcp_double_arrive(&bed->down[quiet], BYTES("\x30\x04\x00\x01q1"));
		client_kick(bed->clients[quiet]);
		for (unsigned turn = 0; turn < 2; turn++) {
			bed_turn_once(bed);
		}
		assert_int_equal(got_take(&bed->down[listener], &got), 6);
	}
	bed_turn(bed);
	assert_int_equal(bed_counters(bed)->captured[0], FLOODS * FLOOD + 4);
}

// --- broken and foreign --------------------------------------------------------------------------

static void malformed_packets_pass_verbatim(void **state)
{
	static const struct {
		const char *packet;
		size_t length;
	} cases[] = {
		{BYTES("\x36\x07\x00\x01"
		       "a\x00\x01hi")},		     // QoS 3
		{BYTES("\x30\x04\x00\x02\xff\xff")}, // no UTF-8
		{BYTES("\x82\x05\x00\x01\x00\x01"
		       "a")}, // no QoS
		{BYTES("\x40\x01\x00")},
		{BYTES("\x30\x05\x00\x03"
		       "a/#")},
		{BYTES("\x30\xff\xff\xff\xff\x7fgarbage")}, // remaining length of five bytes
		{BYTES("\x00\x00\x00")},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned dribble = 0; dribble < 2; dribble++) {
			struct bed *bed = bed_new(state);

			bed_start(bed);
			connect_v4(bed, 0);
			if (dribble)
				client_dribbles(bed, 0, cases[i].packet, cases[i].length);
			else
				client_sends(bed, 0, cases[i].packet, cases[i].length);
			broker_gets(bed, 0, cases[i].packet, cases[i].length);
			broker_sends(bed, 0, BYTES("\xd0\x00"));
			client_gets(bed, 0, BYTES("\xd0\x00"));
			bed_end(state);
		}
	}
	bed_start(bed_new(state));
}

static void no_mqtt_passes_both_ways_and_stops_capture(void **state)
{
	struct bed *bed = bed_new(state);

	subscriber_and_publisher(bed);
	bed_open(bed, 2);
	client_sends(bed, 2, BYTES("\x16\x03\x01\x02\x00\x01\x00"));
	broker_gets(bed, 2, BYTES("\x16\x03\x01\x02\x00\x01\x00"));
	client_sends(bed, 1, BYTES(ORDINARY)); // the broker has not answered that one
	broker_gets(bed, 1, BYTES(""));
	broker_sends(bed, 2, BYTES("\x16\x03\x03"));
	client_gets(bed, 2, BYTES("\x16\x03\x03"));
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(ORDINARY));
	bed_close(bed, 2);
	client_sends(bed, 1,
		BYTES("\x30\x04\x00\x01"
		      "b1"));
	broker_gets(bed, 1, BYTES(""));
}

// 'P' and 'I' are the head of a PUBREC of 73 bytes; a banner of the server's could be one, too.
static void what_only_looks_like_mqtt_is_not_waited_for(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	bed_open(bed, 0);
	client_sends(bed, 0, BYTES("PING\r\n"));
	broker_gets(bed, 0, BYTES("PING\r\n"));
	broker_sends(bed, 0, BYTES("+PONG\r\n"));
	client_gets(bed, 0, BYTES("+PONG\r\n"));
	bed_open(bed, 1);
	broker_sends(bed, 1, BYTES("220 ready"));
	client_gets(bed, 1, BYTES("220 ready"));
}

// Who is refused is not served, in however many pieces the broker says so; anything else may be the
// beginning of a session.
static void a_refusal_does_not_stop_capture(void **state)
{
	static const char broken[] = "\x10\x06\x00\x04MQTX";
	static const struct {
		const char *answer;
		size_t length;
		bool refusal;
	} cases[] = {
		{BYTES("\x20\x02\x00\x01"), true},
		{BYTES("\x20\x02\x00\x05goodbye"), true},
		{BYTES("\x20\x80\x01\x00\x84"), true},
		{BYTES("\x20\x80\x01\x01\x00"), false}, // a session is present
		{BYTES("\x20\x02\x00\x00"), false},
		{BYTES("\x2f\x02\x00\x01"), false},
		{BYTES("HTTP/1.1 400\r\n"), false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned dribble = 0; dribble < 2; dribble++) {
			struct bed *bed = bed_new(state);

			bed_start(bed);
			bed_open(bed, 0);
			client_sends(bed, 0, BYTES(broken));
			broker_gets(bed, 0, BYTES(broken));
			if (dribble)
				broker_dribbles(bed, 0, cases[i].answer, cases[i].length);
			else
				broker_sends(bed, 0, cases[i].answer, cases[i].length);
			client_gets(bed, 0, cases[i].answer, cases[i].length);
			assert_int_equal(session_map_complete(bed->offload->brokers[0].map),
				cases[i].refusal);
			bed_end(state);
		}
	}
	bed_start(bed_new(state));
}

// A broker that speaks first: what looked like the beginning of a packet is not lost.
static void bytes_held_as_a_packet_go_on_when_it_is_none(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	bed_open(bed, 0);
	broker_sends(bed, 0, BYTES("220 hi\r\n")); // '2': PUBLISH, remaining length '2'
	client_sends(bed, 0, BYTES("EHLO"));
	broker_gets(bed, 0, BYTES("EHLO"));
	client_gets(bed, 0, BYTES("220 hi\r\n"));
	bed_open(bed, 1);
	broker_sends(bed, 1, BYTES("2")); // within a header
	client_sends(bed, 1, BYTES("EHLO"));
	broker_sends(bed, 1, BYTES("20"));
	client_gets(bed, 1, BYTES("220"));
}

static void garbage_of_a_client_does_not_spoil_the_other_direction(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	broker_sends(bed, 0, BYTES("\x30\x05\x00\x01"));
	client_sends(bed, 0, BYTES("\x00garbage"));
	broker_gets(bed, 0, BYTES("\x00garbage"));
	broker_sends(bed, 0, BYTES("ahi\xd0\x00"));
	client_gets(bed, 0,
		BYTES("\x30\x05\x00\x01"
		      "ahi\xd0\x00"));
}

// --- sessions ------------------------------------------------------------------------------------

static void takeover_moves_the_session(void **state)
{
	static const char connect[] = "\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01x";
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	bed_start(bed);
	connect_v4(bed, 2);
	bed_open(bed, 0);
	client_sends(bed, 0, BYTES(connect));
	broker_sends(bed, 0, BYTES("\x20\x02\x00\x00"));
	got_take(&bed->up[0], &got);
	got_take(&bed->down[0], &got);
	subscribe_v4(bed, 0, "a", 0);
	client_sends(bed, 2, BYTES(ORDINARY));
	client_gets(bed, 0, BYTES(ORDINARY));
	bed_open(bed, 1);
	client_sends(bed, 1, BYTES(connect));
	broker_sends(bed, 1, BYTES("\x20\x02\x01\x00"));
	client_gets(bed, 1, BYTES("\x20\x02\x01\x00"));
	client_sends(bed, 2, BYTES(ORDINARY));
	broker_gets(bed, 2, BYTES(""));
	client_gets(bed, 0, BYTES(""));
	client_gets(bed, 1, BYTES(ORDINARY));
	bed_close(bed, 0);
	client_sends(bed, 2, BYTES(ORDINARY));
	client_gets(bed, 1, BYTES(ORDINARY));
	// Offline: QoS 0 is for nobody, and captured all the same.
	bed_close(bed, 1);
	client_sends(bed, 2, BYTES(ORDINARY));
	broker_gets(bed, 2, BYTES(""));
	assert_int_equal(bed->offload->brokers[0].map->offline, 1);
}

static void offline_sessions_pass_qos_1(void **state)
{
	struct bed *bed = bed_new(state);
	const uint8_t *got;

	bed_start(bed);
	connect_v4(bed, 1);
	bed_open(bed, 0);
	client_sends(bed, 0, BYTES("\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01x"));
	broker_sends(bed, 0, BYTES("\x20\x02\x00\x00"));
	got_take(&bed->up[0], &got);
	got_take(&bed->down[0], &got);
	subscribe_v4(bed, 0, "a", 1);
	client_sends(bed, 1, BYTES(ORDINARY)); // another QoS, another order
	client_gets(bed, 0, BYTES(ORDINARY));
	client_sends(bed, 0, BYTES("\xe0\x00"));
	client_ends(bed, 0);
	bed_wait(bed, 3 * US_IN_S);
	client_sends(bed, 1,
		BYTES("\x32\x05\x00\x01"
		      "a\x00\x02"));
	assert_int_equal(bed_counters(bed)->passed[PROOF_OFFLINE], 1);
}

static void disconnect_is_passed_and_ends_deliveries(void **state)
{
	struct bed *bed = bed_new(state);

	subscriber_and_publisher(bed);
	client_sends(bed, 0, BYTES("\xe0\x00"));
	broker_gets(bed, 0, BYTES("\xe0\x00"));
	client_sends(bed, 1, BYTES(ORDINARY));
	client_gets(bed, 0, BYTES(""));
	client_ends(bed, 0);
	assert_true(bed->up[0].shut);
	broker_ends(bed, 0);
	assert_true(bed->down[0].shut);
}

// --- keep alive ----------------------------------------------------------------------------------

static void captured_clients_are_kept_alive(void **state)
{
	struct bed *bed = bed_new(state);

	subscriber_and_publisher(bed); // keep alive 60 s
	client_sends(bed, 1, BYTES(ORDINARY));
	bed_wait(bed, 7 * US_IN_S);
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
	bed_wait(bed, US_IN_S);
	client_sends(bed, 1, BYTES(ORDINARY "\xc0\x00" ORDINARY));
	broker_gets(bed, 1, BYTES("\xc0\x00\xc0\x00"));
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	client_gets(bed, 1, BYTES("")); // ours was asked first
	broker_sends(bed, 1, BYTES("\xd0\x00"));
	client_gets(bed, 1, BYTES("\xd0\x00"));
	// Who sends nothing is not kept alive.
	bed_wait(bed, 200 * US_IN_S);
	broker_gets(bed, 1, BYTES(""));
}

// --- memory --------------------------------------------------------------------------------------

// Many half packets use up the memory: they go on as streams, and everything comes through.
static void half_packets_do_not_hold_the_memory_for_ever(void **state)
{
	struct bed *bed = bed_new(state);
	uint8_t *packet = calloc(1, 900000);
	const uint8_t *got;
	size_t length;

	bed->pool_config = (struct payload_pool_config){{64, 32, 0, 64}, -1}; // about 1 MB
	bed_start(bed);
	for (unsigned i = 0; i < 40; i++)
		connect_v4(bed, i);
	length = publish_v4(packet, "big", 0, packet + 450000, 400000);
	for (size_t at = 0; at < length; at += 1448)
		for (unsigned i = 0; i < 40; i++) {
			size_t part = length - at < 1448 ? length - at : 1448;

			tcp_double_arrive(&bed->down[i], packet + at, part);
			tcp_double_arrive(&bed->up[i], packet + at, part);
			offload_client_run(bed->clients[i]);
			if (i == 39)
				bed_wait(bed, 1000);
		}
	bed_wait(bed, 100 * US_IN_MS);
	for (unsigned i = 0; i < 40; i++) {
		bool captured = bed->clients[i]->captured == 1;

		assert_false(bed->failed[i]);
		assert_int_equal(got_take(&bed->up[i], &got), captured ? 0 : length);
		if (!captured)
			assert_memory_equal(got, packet, length);
		assert_int_equal(got_take(&bed->down[i], &got), length);
		assert_memory_equal(got, packet, length);
	}
	free(packet);
}

// QoS 1: what was acknowledged is delivered, however little memory there is. Every subscription has
// an identifier, so every delivery needs a form of its own.
static void nothing_acknowledged_is_lost_for_want_of_memory(void **state)
{
	struct bed *bed = bed_new(state);
	unsigned delivered = 0;

	bed->pool_config = (struct payload_pool_config){{512, 62, 2, 2}, -1};
	bed_start(bed);
	for (unsigned i = 0; i < 30; i++) {
		connect_v5(bed, i);
		subscribe_v5(bed, i, "a", 1, (uint8_t)(i + 1));
	}
	connect_v4(bed, 31);
	for (unsigned n = 0; n < 20; n++) {
		const uint8_t *got;
		uint8_t publish[700], text[600];
		size_t length;

		memset(text, 'x', sizeof(text));
		length = publish_v4(publish, "a", 2, text, sizeof(text));
		client_sends(bed, 31, publish, length);
		bed_wait(bed, 2 * US_IN_S);
		got_take(&bed->up[31], &got);
		broker_sends(bed, 31, BYTES("\x40\x02\x77\x77"));
		got_take(&bed->down[31], &got);
		for (unsigned i = 0; i < 30; i++) {
			bed->deaf[i] = i < n; // keeps what it was sent, and its memory
			delivered += got_take(&bed->down[i], &got) / 600;
		}
	}
	for (unsigned i = 0; i < 30; i++) {
		const uint8_t *got;

		tcp_double_acknowledge(&bed->down[i], UINT64_MAX);
		delivered += got_take(&bed->down[i], &got) / 600;
	}
	assert_int_equal(bed->clients[31]->passed + bed->clients[31]->captured, 20);
	assert_true(bed_counters(bed)->passed[PROOF_NO_MEMORY] > 0);
	assert_true(bed->clients[31]->captured > 0);
	assert_int_equal(delivered, 30 * bed_counters(bed)->captured[1]);
	for (unsigned i = 0; i < OFFLOAD_DROPS; i++)
		assert_int_equal(bed_counters(bed)->dropped[i], 0);
}

// --- an orderly stop -----------------------------------------------------------------------------

static void drain_delivers_what_was_acknowledged(void **state)
{
	struct bed *bed = bed_new(state);

	bed->broker.client.inflight = 1;
	subscriber_and_publisher(bed);
	client_sends(bed, 1,
		BYTES("\x32\x06\x00\x01"
		      "a\x00\x01"
		      "1\x32\x06\x00\x01"
		      "a\x00\x02"
		      "2"));
	client_gets(bed, 1, BYTES("\x40\x02\x00\x01\x40\x02\x00\x02"));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "a\x80\x00"
		      "1"));
	offload_drain(bed->offload);
	client_sends(bed, 1, BYTES(ORDINARY));
	broker_gets(bed, 1, BYTES(""));
	client_gets(bed, 0, BYTES(""));
	assert_false(offload_client_drained(bed->clients[0]));
	client_sends(bed, 0, BYTES("\x40\x02\x80\x00"));
	client_gets(bed, 0,
		BYTES("\x32\x06\x00\x01"
		      "a\x80\x01"
		      "2"));
	assert_true(offload_client_drained(bed->clients[0]));
	// What waits for a SUBACK is owed too.
	client_sends(bed, 0, BYTES("\x40\x02\x80\x01"));
}

static void drain_waits_for_a_suback(void **state)
{
	struct bed *bed = bed_new(state);

	bed_start(bed);
	connect_v4(bed, 0);
	client_sends(bed, 0,
		BYTES("\x82\x06\x00\x01\x00\x01"
		      "a\x00" ORDINARY));
	offload_drain(bed->offload);
	assert_false(offload_client_drained(bed->clients[0]));
	broker_sends(bed, 0, BYTES("\x90\x03\x00\x01\x00"));
	client_gets(bed, 0, BYTES("\x90\x03\x00\x01\x00" ORDINARY));
	assert_true(offload_client_drained(bed->clients[0]));
}

int test_upstream(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_large_message_is_captured, bed_end),
		cmocka_unit_test_teardown(long_packets_that_are_no_messages_are_followed, bed_end),
		cmocka_unit_test_teardown(a_long_packet_in_one_piece_is_one_packet, bed_end),
		cmocka_unit_test_teardown(a_quiet_client_has_its_turn, bed_end),
		cmocka_unit_test_teardown(malformed_packets_pass_verbatim, bed_end),
		cmocka_unit_test_teardown(no_mqtt_passes_both_ways_and_stops_capture, bed_end),
		cmocka_unit_test_teardown(what_only_looks_like_mqtt_is_not_waited_for, bed_end),
		cmocka_unit_test_teardown(a_refusal_does_not_stop_capture, bed_end),
		cmocka_unit_test_teardown(bytes_held_as_a_packet_go_on_when_it_is_none, bed_end),
		cmocka_unit_test_teardown(
			garbage_of_a_client_does_not_spoil_the_other_direction, bed_end),
		cmocka_unit_test_teardown(takeover_moves_the_session, bed_end),
		cmocka_unit_test_teardown(offline_sessions_pass_qos_1, bed_end),
		cmocka_unit_test_teardown(disconnect_is_passed_and_ends_deliveries, bed_end),
		cmocka_unit_test_teardown(captured_clients_are_kept_alive, bed_end),
		cmocka_unit_test_teardown(half_packets_do_not_hold_the_memory_for_ever, bed_end),
		cmocka_unit_test_teardown(nothing_acknowledged_is_lost_for_want_of_memory, bed_end),
		cmocka_unit_test_teardown(drain_delivers_what_was_acknowledged, bed_end),
		cmocka_unit_test_teardown(drain_waits_for_a_suback, bed_end),
	};

	return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
