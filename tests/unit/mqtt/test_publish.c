// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PUBLISH: which bytes are legal, what a prefix tells, and what is forwarded.

#include "mqtt_tests.h"

#include <stdlib.h>
#include <string.h>

#define V31  MQTT_VERSION_3_1
#define V311 MQTT_VERSION_3_1_1
#define V5   MQTT_VERSION_5

static void test_publishes_are_judged_as_the_tables_say(void **state)
{
	static const struct packet_row rows[] = {
		{"QoS 0", V311, 0x30, "0003'a/b' 'hello'", MQTT_OK},
		{"no payload", V311, 0x30, "0003'a/b'", MQTT_OK},
		{"retained", V311, 0x31, "0003'a/b' 'x'", MQTT_OK},
		{"QoS 1", V311, 0x32, "0003'a/b' 0001 'x'", MQTT_OK},
		{"QoS 1, DUP", V311, 0x3a, "0003'a/b' 0001 'x'", MQTT_OK},
		{"QoS 2, 3.1", V31, 0x34, "0003'a/b' ffff", MQTT_OK},
		{"QoS 3", V311, 0x36, "0003'a/b' 0001", MQTT_ERROR_QOS},
		{"DUP at QoS 0", V311, 0x38, "0003'a/b'", MQTT_ERROR_FLAGS},
		{"packet identifier 0", V311, 0x32, "0003'a/b' 0000", MQTT_ERROR_PACKET_ID},
		{"no packet identifier", V311, 0x32, "0003'a/b'", MQTT_ERROR_TRUNCATED},
		{"nothing", V311, 0x30, "", MQTT_ERROR_TRUNCATED},
		{"topic cut", V311, 0x30, "0003'a/'", MQTT_ERROR_TRUNCATED},
		{"no topic", V311, 0x30, "0000'x'", MQTT_ERROR_TOPIC},
		{"wildcard", V311, 0x30, "0003'a/+'", MQTT_ERROR_TOPIC},
		{"wildcard", V5, 0x30, "0001'#' 00", MQTT_ERROR_TOPIC},
		{"ill-formed topic", V311, 0x30, "0002 c080", MQTT_ERROR_UTF8},
		{"U+0000 in the topic", V311, 0x30, "0003'a' 00 'b'", MQTT_ERROR_UTF8},
		{"surrogate in the topic", V311, 0x30, "0003 eda080", MQTT_ERROR_UTF8},
		{"5.0", V5, 0x30, "0003'a/b' 00 'x'", MQTT_OK},
		{"5.0 without property length", V5, 0x30, "0003'a/b'", MQTT_ERROR_TRUNCATED},
		{"alias and topic", V5, 0x30, "0001'a' 03 23 0001 'x'", MQTT_OK},
		{"alias for the topic", V5, 0x30, "0000 03 23 0001 'x'", MQTT_OK},
		{"no topic, no alias", V5, 0x30, "0000 00 'x'", MQTT_ERROR_TOPIC},
		{"alias 0", V5, 0x30, "0001'a' 03 23 0000", MQTT_ERROR_PROPERTY},
		{"all properties", V5, 0x32,
			"0001'a' 0009 {01 01 02 0000000a 03 0001't' 08 0003'r/s' 09 0002 00ff"
			" 0b 05 0b ff7f 23 0001 26 0001'k' 0001'v'} 'payload'",
			MQTT_OK},
		{"payload format 2", V5, 0x30, "0001'a' 02 01 02", MQTT_ERROR_PROPERTY},
		{"response topic with wildcard", V5, 0x30, "0001'a' 04 08 0001'+'",
			MQTT_ERROR_TOPIC},
		{"subscription identifier 0", V5, 0x30, "0001'a' 02 0b 00", MQTT_ERROR_PROPERTY},
		{"expiry twice", V5, 0x30, "0001'a' 0a 02 00000001 02 00000001",
			MQTT_ERROR_PROPERTY_TWICE},
		{"property of CONNECT", V5, 0x30, "0001'a' 03 21 0001", MQTT_ERROR_PROPERTY},
		{"no such property", V5, 0x30, "0001'a' 02 04 00", MQTT_ERROR_PROPERTY},
		{"identifier out of the table", V5, 0x30, "0001'a' 02 7f 00", MQTT_ERROR_PROPERTY},
		{"property length of five bytes", V5, 0x30, "0001'a' 8080808001",
			MQTT_ERROR_PROPERTY},
		{"property length not the shortest", V5, 0x30, "0001'a' 8000 'x'",
			MQTT_ERROR_PROPERTY},
		{"property past the length", V5, 0x30, "0001'a' 03 26 0001 'k' 0001 'v'",
			MQTT_ERROR_PROPERTY},
		{"ill-formed user property", V5, 0x30, "0001'a' 07 26 0001'k' 0001 ff",
			MQTT_ERROR_UTF8},
	};

	packet_rows_check(rows, COUNT_OF(rows));
}

static enum mqtt_error decode(
	enum mqtt_version version, uint8_t flags, struct mqtt_bytes body, struct mqtt_publish *ret)
{
	struct mqtt_header header = {
		MQTT_PUBLISH, flags, (uint8_t)(1 + mqtt_varint_size(body.length)), body.length};

	return mqtt_publish_decode(version, &header, body, ret);
}

static void test_publishes_say_what_stands_in_them(void **state)
{
	struct mqtt_bytes body = bytes_parse("0003'a/b' 1234 {01 01 02 00000e10 23 0007 0b 09}"
					     " 'payload'");
	struct mqtt_publish p;

	assert_int_equal(decode(V5, 0xd, body, &p), MQTT_OK);
	assert_int_equal(p.qos, 2);
	assert_true(p.dup && p.retain);
	assert_true(mqtt_bytes_equal(p.topic, bytes_of("a/b")));
	assert_int_equal(p.packet_id, 0x1234);
	assert_int_equal(p.topic_alias, 7);
	assert_true(p.has_message_expiry && p.message_expiry == 3600);
	assert_true(p.has_payload_format && p.payload_format == 1);
	assert_true(p.has_subscription_id);
	assert_false(p.text_discouraged);
	assert_int_equal(p.properties.length, 12);
	assert_int_equal(p.head_length, 20);
	assert_int_equal(p.payload_length, 7);
	bytes_free(body);
}

static void test_what_a_broker_may_refuse_is_told(void **state)
{
	static const struct {
		const char *body;
		bool discouraged;
	} rows[] = {
		{"0003'a/b' 00", false}, {"0003'a' 01 'b' 00", true},
		{"0001'a' 07 26 0001'k' 0001 1f", true},
		{"0001'a' 05 09 0002 0001", false}, // binary data
		{"0001'a' 00 0102", false},	    // the application message
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes body = bytes_parse(rows[i].body);
		struct mqtt_publish p;

		assert_int_equal(decode(V5, 0, body, &p), MQTT_OK);
		assert_int_equal(p.text_discouraged, rows[i].discouraged);
		bytes_free(body);
	}
}

static void test_a_prefix_with_the_head_is_enough(void **state)
{
	struct mqtt_bytes body = bytes_parse("0003'a/b' 0001 05 02 0000000a 'payload'");
	struct mqtt_header header = {MQTT_PUBLISH, 2, 2, body.length};
	struct mqtt_publish p;

	for (uint32_t n = 0; n <= body.length; n++) {
		enum mqtt_error error =
			mqtt_publish_decode(V5, &header, mqtt_bytes(body.data, n), &p);

		assert_int_equal(error, n < 13 ? MQTT_ERROR_TRUNCATED : MQTT_OK);
		if (error)
			continue;
		assert_int_equal(p.head_length, 13);
		assert_int_equal(p.payload_length, 7);
	}
	// Bytes of the next packet do not count.
	header.remaining = 4;
	assert_int_equal(mqtt_publish_decode(V5, &header, body, &p), MQTT_ERROR_TRUNCATED);
	bytes_free(body);
}

static void test_forwarding_drops_aliases_and_counts_expiry_down(void **state)
{
	static const struct {
		const char *properties, *forwarded;
	} rows[] = {
		{"", ""},
		{"23 0001", ""},
		{"0b 05 0b ff7f", ""},
		{"02 00000064", "02 00000032"},
		{"03 0001't'", "03 0001't'"},
		{"26 0001'b' 0001'1' 23 0001 26 0001'a' 0001'2' 02 00000064 26 0001'b' 0001'1'",
			"26 0001'b' 0001'1' 26 0001'a' 0001'2' 02 00000032 26 0001'b' 0001'1'"},
		{"01 01 09 0002 23ff 08 0001'r' 0b 01 23 0009 26 0000 0000",
			"01 01 09 0002 23ff 08 0001'r' 26 0000 0000"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes properties = bytes_parse(rows[i].properties);
		struct mqtt_bytes expected = bytes_parse(rows[i].forwarded);
		struct mqtt_publish in = {.topic = bytes_of("t"), .properties = properties}, p;
		uint8_t packet[256], *out = malloc(expected.length + 1);
		size_t n =
			mqtt_publish_encode(V5, &in, mqtt_bytes(NULL, 0), packet, sizeof(packet));

		assert_non_null(out);
		assert_int_equal(decode(V5, 0, mqtt_bytes(packet + 2, n - 2), &p), MQTT_OK);
		assert_int_equal(mqtt_publish_properties_forward(&p, 50, NULL), expected.length);
		out[expected.length] = 0xee;
		assert_int_equal(mqtt_publish_properties_forward(&p, 50, out), expected.length);
		assert_true(mqtt_bytes_equal(mqtt_bytes(out, expected.length), expected));
		assert_int_equal(out[expected.length], 0xee);
		free(out);
		bytes_free(properties);
		bytes_free(expected);
	}
}

int test_mqtt_publish(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_publishes_are_judged_as_the_tables_say),
		cmocka_unit_test(test_publishes_say_what_stands_in_them),
		cmocka_unit_test(test_what_a_broker_may_refuse_is_told),
		cmocka_unit_test(test_a_prefix_with_the_head_is_enough),
		cmocka_unit_test(test_forwarding_drops_aliases_and_counts_expiry_down),
	};

	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
