// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// CONNECT and CONNACK of the three versions: which bytes are legal, and what they say.

#include "mqtt_tests.h"

#define V31   MQTT_VERSION_3_1
#define V311  MQTT_VERSION_3_1_1
#define V5    MQTT_VERSION_5
#define CON   0x10
#define ACK   0x20
#define EMPTY "0000"

static void test_connects_are_judged_as_the_tables_say(void **state)
{
	static const struct packet_row rows[] = {
		{"3.1.1", 0, CON, "0004'MQTT' 04 02 003c 0003'abc'", MQTT_OK},
		{"3.1", 0, CON, "0006'MQIsdp' 03 02 003c 0003'abc'", MQTT_OK},
		{"5.0", 0, CON, "0004'MQTT' 05 02 003c 00 0003'abc'", MQTT_OK},
		{"bridge of 3.1", 0, CON, "0006'MQIsdp' 83 02 003c 0003'abc'", MQTT_OK},
		{"bridge of 3.1.1", 0, CON, "0004'MQTT' 84 02 003c 0003'abc'", MQTT_OK},
		{"bridge of 5.0", 0, CON, "0004'MQTT' 85 02 003c 00 0003'abc'",
			MQTT_ERROR_PROTOCOL},
		{"level 6", 0, CON, "0004'MQTT' 06 02 003c 00 0003'abc'", MQTT_ERROR_PROTOCOL},
		{"name of 3.1 with level 4", 0, CON, "0006'MQIsdp' 04 02 003c 0003'abc'",
			MQTT_ERROR_PROTOCOL},
		{"name of 3.1.1 with level 3", 0, CON, "0004'MQTT' 03 02 003c 0003'abc'",
			MQTT_ERROR_PROTOCOL},
		{"another name", 0, CON, "0004'MQTX' 04 02 003c 0003'abc'", MQTT_ERROR_PROTOCOL},
		{"name in lower case", 0, CON, "0004'mqtt' 04 02 003c 0003'abc'",
			MQTT_ERROR_PROTOCOL},
		{"nothing", 0, CON, "", MQTT_ERROR_TRUNCATED},
		{"no level", 0, CON, "0004'MQTT'", MQTT_ERROR_TRUNCATED},
		{"no client identifier", 0, CON, "0004'MQTT' 04 02 003c", MQTT_ERROR_TRUNCATED},
		{"client identifier cut", 0, CON, "0004'MQTT' 04 02 003c 0003'ab'",
			MQTT_ERROR_TRUNCATED},
		{"bytes after the end", 0, CON, "0004'MQTT' 04 02 003c 0003'abc' 00",
			MQTT_ERROR_TRAILING},
		{"reserved flag, 3.1.1", 0, CON, "0004'MQTT' 04 03 003c 0003'abc'",
			MQTT_ERROR_FIELD},
		{"reserved flag, 5.0", 0, CON, "0004'MQTT' 05 03 003c 00 0003'abc'",
			MQTT_ERROR_FIELD},
		{"reserved flag, 3.1 does not use it", 0, CON, "0006'MQIsdp' 03 03 003c 0003'abc'",
			MQTT_OK},
		// Whether a server takes these is its own decision.
		{"empty identifier, clean", 0, CON, "0004'MQTT' 04 02 003c" EMPTY, MQTT_OK},
		{"empty identifier, not clean", 0, CON, "0004'MQTT' 04 00 003c" EMPTY, MQTT_OK},
		{"identifier of 24 characters, 3.1", 0, CON,
			"0006'MQIsdp' 03 02 003c 0018'abcdefghijklmnopqrstuvwx'", MQTT_OK},
		{"identifier ill-formed", 0, CON, "0004'MQTT' 04 02 003c 0001 ff", MQTT_ERROR_UTF8},
		{"identifier with U+0000", 0, CON, "0004'MQTT' 04 02 003c 0001 00",
			MQTT_ERROR_UTF8},
		// Wills
		{"will", 0, CON, "0004'MQTT' 04 2e 003c 0001'c' 0001't' 0002'xy'", MQTT_OK},
		{"will with nothing in it", 0, CON, "0004'MQTT' 04 06 003c 0001'c' 0001't'" EMPTY,
			MQTT_OK},
		{"will of QoS 3", 0, CON, "0004'MQTT' 04 1e 003c 0001'c' 0001't'" EMPTY,
			MQTT_ERROR_QOS},
		{"no will but its QoS", 0, CON, "0004'MQTT' 04 0a 003c 0001'c'", MQTT_ERROR_FIELD},
		{"no will but its retain", 0, CON, "0004'MQTT' 04 22 003c 0001'c'",
			MQTT_ERROR_FIELD},
		{"no will but its QoS, 3.1", 0, CON, "0006'MQIsdp' 03 0a 003c 0001'c'", MQTT_OK},
		{"will to a wildcard", 0, CON, "0004'MQTT' 04 06 003c 0001'c' 0003'a/#'" EMPTY,
			MQTT_ERROR_TOPIC},
		{"will to nothing", 0, CON, "0004'MQTT' 04 06 003c 0001'c'" EMPTY EMPTY,
			MQTT_ERROR_TOPIC},
		{"will without payload", 0, CON, "0004'MQTT' 04 06 003c 0001'c' 0001't'",
			MQTT_ERROR_TRUNCATED},
		// Credentials
		{"name and password", 0, CON, "0004'MQTT' 04 c2 003c 0001'c' 0001'u' 0001'p'",
			MQTT_OK},
		{"name alone", 0, CON, "0004'MQTT' 04 82 003c 0001'c' 0001'u'", MQTT_OK},
		{"binary password", 0, CON, "0004'MQTT' 04 c2 003c 0001'c' 0001'u' 0002 00ff",
			MQTT_OK},
		{"password alone, 3.1.1", 0, CON, "0004'MQTT' 04 42 003c 0001'c' 0001'p'",
			MQTT_ERROR_FIELD},
		{"password alone, 3.1", 0, CON, "0006'MQIsdp' 03 42 003c 0001'c' 0001'p'",
			MQTT_ERROR_FIELD},
		{"password alone, 5.0", 0, CON, "0004'MQTT' 05 42 003c 00 0001'c' 0001'p'",
			MQTT_OK},
		{"name missing", 0, CON, "0004'MQTT' 04 82 003c 0001'c'", MQTT_ERROR_TRUNCATED},
		{"name and password missing, 3.1", 0, CON, "0006'MQIsdp' 03 c2 003c 0001'c'",
			MQTT_OK},
		{"password missing, 3.1", 0, CON, "0006'MQIsdp' 03 c2 003c 0001'c' 0001'u'",
			MQTT_OK},
		{"name ill-formed", 0, CON, "0004'MQTT' 04 82 003c 0001'c' 0001 80",
			MQTT_ERROR_UTF8},
		// 5.0
		{"all properties", 0, CON,
			"0004'MQTT' 05 02 003c {11 0000000a 21 0014 27 00000400 22 0005 19 01 17 00"
			" 26 0001'k' 0001'v' 15 0001'm' 16 0002 0001} 0001'c'",
			MQTT_OK},
		{"no property length", 0, CON, "0004'MQTT' 05 02 003c", MQTT_ERROR_TRUNCATED},
		{"properties longer than the packet", 0, CON, "0004'MQTT' 05 02 003c 05 21",
			MQTT_ERROR_TRUNCATED},
		{"property cut by the length", 0, CON, "0004'MQTT' 05 02 003c 02 21 00 0001'c'",
			MQTT_ERROR_PROPERTY},
		{"receive maximum 0", 0, CON, "0004'MQTT' 05 02 003c 03 21 0000 0001'c'",
			MQTT_ERROR_PROPERTY},
		{"maximum packet size 0", 0, CON, "0004'MQTT' 05 02 003c 05 27 00000000 0001'c'",
			MQTT_ERROR_PROPERTY},
		{"request response 2", 0, CON, "0004'MQTT' 05 02 003c 02 19 02 0001'c'",
			MQTT_ERROR_PROPERTY},
		{"receive maximum twice", 0, CON,
			"0004'MQTT' 05 02 003c 06 21 0001 21 0001 0001'c'",
			MQTT_ERROR_PROPERTY_TWICE},
		{"user property twice", 0, CON,
			"0004'MQTT' 05 02 003c 0a 26 0000 0000 26 0000 0000 0001'c'", MQTT_OK},
		{"authentication data without method", 0, CON,
			"0004'MQTT' 05 02 003c 03 16 0000 0001'c'", MQTT_ERROR_PROPERTY},
		{"will properties", 0, CON,
			"0004'MQTT' 05 06 003c 00 0001'c' {18 00000005 01 01 03 0000} 0001't'" EMPTY,
			MQTT_OK},
		{"will with a property of CONNECT", 0, CON,
			"0004'MQTT' 05 06 003c 00 0001'c' 03 21 0001 0001't'" EMPTY,
			MQTT_ERROR_PROPERTY},
		{"will delay beside the will", 0, CON,
			"0004'MQTT' 05 02 003c 05 18 00000005 0001'c'", MQTT_ERROR_PROPERTY},
	};

	packet_rows_check(rows, COUNT_OF(rows));
}

static void test_connects_say_what_stands_in_them(void **state)
{
	struct mqtt_bytes body = bytes_parse("0004'MQTT' 05 ee 012c {11 0000000a 21 0014"
					     " 27 00000400 22 0005 19 01} 0003'abc'"
					     " 05 18 00000007 0003't/u' 0002 00ff 0001'n' 0001'p'");
	struct mqtt_connect c;

	assert_int_equal(mqtt_connect_decode(body, &c), MQTT_OK);
	assert_int_equal(c.version, MQTT_VERSION_5);
	assert_true(c.clean_start && c.has_will && c.has_username && c.has_password && !c.bridge);
	assert_int_equal(c.keep_alive, 300);
	assert_int_equal(c.session_expiry, 10);
	assert_int_equal(c.receive_maximum, 20);
	assert_int_equal(c.maximum_packet_size, 1024);
	assert_int_equal(c.topic_alias_maximum, 5);
	assert_int_equal(c.properties.length, 18);
	assert_true(mqtt_bytes_equal(c.client_id, bytes_of("abc")));
	assert_int_equal(c.will.qos, 1);
	assert_true(c.will.retain);
	assert_int_equal(c.will.properties.length, 5);
	assert_true(mqtt_bytes_equal(c.will.topic, bytes_of("t/u")));
	assert_true(mqtt_bytes_equal(c.will.payload, mqtt_bytes("\0\xff", 2)));
	assert_true(mqtt_bytes_equal(c.username, bytes_of("n")));
	assert_true(mqtt_bytes_equal(c.password, bytes_of("p")));
	bytes_free(body);
}

static void test_absent_values_have_the_defaults_of_their_version(void **state)
{
	static const struct {
		const char *body;
		uint32_t session_expiry;
		bool bridge, has_username;
	} rows[] = {
		{"0004'MQTT' 04 02 003c 0001'c'", 0, false, false},
		{"0004'MQTT' 04 00 003c 0001'c'", UINT32_MAX, false, false},
		{"0004'MQTT' 84 00 003c 0001'c'", UINT32_MAX, true, false},
		{"0006'MQIsdp' 03 80 003c 0001'c'", UINT32_MAX, false, false},
		{"0006'MQIsdp' 03 80 003c 0001'c' 0000", UINT32_MAX, false, true},
		{"0004'MQTT' 05 00 003c 00 0001'c'", 0, false, false},
		{"0004'MQTT' 05 00 003c 05 11 ffffffff 0001'c'", UINT32_MAX, false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes body = bytes_parse(rows[i].body);
		struct mqtt_connect c;

		assert_int_equal(mqtt_connect_decode(body, &c), MQTT_OK);
		assert_int_equal(c.session_expiry, rows[i].session_expiry);
		assert_int_equal(c.bridge, rows[i].bridge);
		assert_int_equal(c.has_username, rows[i].has_username);
		assert_int_equal(c.receive_maximum, 65535);
		assert_int_equal(c.maximum_packet_size, UINT32_MAX);
		assert_int_equal(c.topic_alias_maximum, 0);
		bytes_free(body);
	}
}

static void test_failures_leave_the_result_alone(void **state)
{
	struct mqtt_bytes body = bytes_parse("0004'MQTT' 04 02 003c 0003'ab'");
	struct mqtt_connect c = {.keep_alive = 77};

	assert_int_equal(mqtt_connect_decode(body, &c), MQTT_ERROR_TRUNCATED);
	assert_int_equal(c.keep_alive, 77);
	bytes_free(body);
}

static void test_connacks_are_judged_as_the_tables_say(void **state)
{
	static const struct packet_row rows[] = {
		{"accepted", V311, ACK, "0000", MQTT_OK},
		{"session present", V311, ACK, "0100", MQTT_OK},
		{"refused", V311, ACK, "0005", MQTT_OK},
		{"refused with a session", V311, ACK, "0105", MQTT_ERROR_FIELD},
		{"return code 6", V311, ACK, "0006", MQTT_ERROR_REASON},
		{"reserved flags", V311, ACK, "0200", MQTT_ERROR_FIELD},
		{"3.1 does not use the flags", V31, ACK, "ff00", MQTT_OK},
		{"too long", V311, ACK, "000000", MQTT_ERROR_TRAILING},
		{"too short", V311, ACK, "00", MQTT_ERROR_TRUNCATED},
		{"5.0", V5, ACK, "0000 00", MQTT_OK},
		{"5.0 without property length", V5, ACK, "0000", MQTT_ERROR_TRUNCATED},
		{"not authorized", V5, ACK, "0087 00", MQTT_OK},
		{"reason of 3.1.1", V5, ACK, "0005 00", MQTT_ERROR_REASON},
		{"reason of DISCONNECT", V5, ACK, "008e 00", MQTT_ERROR_REASON},
		{"refused with a session, 5.0", V5, ACK, "0187 00", MQTT_ERROR_FIELD},
		{"all properties", V5, ACK,
			"0000 {11 00000001 21 0001 24 01 25 00 27 00000001 12 0001'a' 22 0001"
			" 1f 0001'r' 26 0000 0000 28 01 29 01 2a 01 13 0001 1a 0001'i' 1c 0001's'"
			" 15 0001'm'}",
			MQTT_OK},
		{"maximum QoS 2", V5, ACK, "0000 02 24 02", MQTT_ERROR_PROPERTY},
		{"will delay", V5, ACK, "0000 05 18 00000001", MQTT_ERROR_PROPERTY},
		{"no version yet", 0, ACK, "0000", MQTT_ERROR_PROTOCOL},
	};

	packet_rows_check(rows, COUNT_OF(rows));
}

static void test_connacks_say_what_stands_in_them(void **state)
{
	struct mqtt_bytes body = bytes_parse("0000 {11 00000009 21 0008 24 01 25 00 27 00000007"
					     " 12 0001'a' 22 0006 13 0005}");
	struct mqtt_connack c;

	assert_int_equal(mqtt_connack_decode(MQTT_VERSION_5, body, &c), MQTT_OK);
	assert_true(c.has_session_expiry && c.session_expiry == 9);
	assert_int_equal(c.receive_maximum, 8);
	assert_true(c.has_maximum_qos && c.maximum_qos == 1);
	assert_false(c.retain_available);
	assert_int_equal(c.maximum_packet_size, 7);
	assert_true(c.has_assigned_client_id);
	assert_true(mqtt_bytes_equal(c.assigned_client_id, bytes_of("a")));
	assert_int_equal(c.topic_alias_maximum, 6);
	assert_true(c.has_server_keep_alive && c.server_keep_alive == 5);
	bytes_free(body);

	body = bytes_parse("0100");
	assert_int_equal(mqtt_connack_decode(MQTT_VERSION_3_1_1, body, &c), MQTT_OK);
	assert_true(c.session_present && c.retain_available);
	assert_int_equal(c.maximum_qos, 2);
	assert_int_equal(c.receive_maximum, 65535);
	bytes_free(body);
}

int test_mqtt_connect(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects_are_judged_as_the_tables_say),
		cmocka_unit_test(test_connects_say_what_stands_in_them),
		cmocka_unit_test(test_absent_values_have_the_defaults_of_their_version),
		cmocka_unit_test(test_failures_leave_the_result_alone),
		cmocka_unit_test(test_connacks_are_judged_as_the_tables_say),
		cmocka_unit_test(test_connacks_say_what_stands_in_them),
	};

	return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
