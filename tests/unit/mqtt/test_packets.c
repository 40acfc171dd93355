// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Acknowledgements, subscriptions, DISCONNECT, AUTH and pings of the three versions.

#include "mqtt_tests.h"

#define V31  MQTT_VERSION_3_1
#define V311 MQTT_VERSION_3_1_1
#define V5   MQTT_VERSION_5

static void test_acknowledgements_are_judged_as_the_tables_say(void **state)
{
	static const struct packet_row rows[] = {
		{"PUBACK", V311, 0x40, "0001", MQTT_OK},
		{"PUBREC", V311, 0x50, "0001", MQTT_OK},
		{"PUBREL", V311, 0x62, "0001", MQTT_OK},
		{"PUBREL, DUP", V31, 0x6a, "0001", MQTT_OK},
		{"PUBREL, DUP", V311, 0x6a, "0001", MQTT_ERROR_FLAGS},
		{"PUBCOMP", V311, 0x70, "0001", MQTT_OK},
		{"identifier 0", V311, 0x40, "0000", MQTT_ERROR_PACKET_ID},
		{"half an identifier", V311, 0x40, "00", MQTT_ERROR_TRUNCATED},
		{"reason in 3.1.1", V311, 0x40, "0001 00", MQTT_ERROR_TRAILING},
		{"short form", V5, 0x40, "0001", MQTT_OK},
		{"reason alone", V5, 0x40, "0001 10", MQTT_OK},
		{"reason and length", V5, 0x40, "0001 00 00", MQTT_OK},
		{"reason string", V5, 0x50, "0001 80 04 1f 0001'r'", MQTT_OK},
		{"reason string twice", V5, 0x50, "0001 80 08 1f 0001'r' 1f 0001'r'",
			MQTT_ERROR_PROPERTY_TWICE},
		{"topic alias", V5, 0x40, "0001 00 03 23 0001", MQTT_ERROR_PROPERTY},
		{"reason of SUBACK", V5, 0x40, "0001 01", MQTT_ERROR_REASON},
		{"reason of PUBREL", V5, 0x40, "0001 92", MQTT_ERROR_REASON},
		{"reason of PUBREL", V5, 0x62, "0001 92", MQTT_OK},
		{"reason of PUBACK", V5, 0x70, "0001 10", MQTT_ERROR_REASON},
		{"bytes after the properties", V5, 0x40, "0001 00 00 00", MQTT_ERROR_TRAILING},
	};

	packet_rows_check(rows, COUNT_OF(rows));
}

static void test_subscriptions_are_judged_as_the_tables_say(void **state)
{
	static const struct packet_row rows[] = {
		{"one filter", V311, 0x82, "0001 0003'a/+' 01", MQTT_OK},
		{"two filters", V311, 0x82, "0001 0001'#' 00 0001'b' 02", MQTT_OK},
		{"DUP", V31, 0x8a, "0001 0001'a' 00", MQTT_OK},
		{"DUP", V5, 0x8a, "0001 00 0001'a' 00", MQTT_ERROR_FLAGS},
		{"no filter", V311, 0x82, "0001", MQTT_ERROR_EMPTY},
		{"no filter", V5, 0x82, "0001 00", MQTT_ERROR_EMPTY},
		{"no options", V311, 0x82, "0001 0001'a'", MQTT_ERROR_TRUNCATED},
		{"identifier 0", V311, 0x82, "0000 0001'a' 00", MQTT_ERROR_PACKET_ID},
		{"QoS 3", V311, 0x82, "0001 0001'a' 03", MQTT_ERROR_QOS},
		{"QoS 3", V5, 0x82, "0001 00 0001'a' 03", MQTT_ERROR_QOS},
		{"options of 5.0", V311, 0x82, "0001 0001'a' 04", MQTT_ERROR_FIELD},
		{"all options", V5, 0x82, "0001 00 0001'a' 2e", MQTT_OK},
		{"retain handling 3", V5, 0x82, "0001 00 0001'a' 30", MQTT_ERROR_FIELD},
		{"reserved options", V5, 0x82, "0001 00 0001'a' 40", MQTT_ERROR_FIELD},
		{"empty filter", V311, 0x82, "0001 0000 00", MQTT_ERROR_FILTER},
		{"wildcard inside a level", V311, 0x82, "0001 0002'a+' 00", MQTT_ERROR_FILTER},
		{"second filter bad", V311, 0x82, "0001 0001'a' 00 0003'#/a' 00",
			MQTT_ERROR_FILTER},
		{"ill-formed filter", V311, 0x82, "0001 0001 ff 00", MQTT_ERROR_UTF8},
		{"share", V5, 0x82, "0001 00 000a'$share/g/a' 01", MQTT_OK},
		{"share with No Local", V5, 0x82, "0001 00 000a'$share/g/a' 05", MQTT_ERROR_FIELD},
		{"share without filter", V5, 0x82, "0001 00 0008'$share/g' 01", MQTT_ERROR_FILTER},
		{"subscription identifier", V5, 0x82, "0001 02 0b 05 0001'a' 00", MQTT_OK},
		{"the largest", V5, 0x82, "0001 05 0b ffffff7f 0001'a' 00", MQTT_OK},
		{"five bytes", V5, 0x82, "0001 06 0b ffffffff7f 0001'a' 00", MQTT_ERROR_PROPERTY},
		{"subscription identifier 0", V5, 0x82, "0001 02 0b 00 0001'a' 00",
			MQTT_ERROR_PROPERTY},
		{"two identifiers", V5, 0x82, "0001 04 0b 05 0b 06 0001'a' 00",
			MQTT_ERROR_PROPERTY_TWICE},
		{"SUBACK", V311, 0x90, "0001 00010280", MQTT_OK},
		{"SUBACK without code", V311, 0x90, "0001", MQTT_ERROR_EMPTY},
		{"SUBACK, code 3", V311, 0x90, "0001 03", MQTT_ERROR_REASON},
		{"SUBACK, code of 5.0", V311, 0x90, "0001 87", MQTT_ERROR_REASON},
		{"SUBACK", V5, 0x90, "0001 00 0001028087a2", MQTT_OK},
		{"SUBACK without code", V5, 0x90, "0001 00", MQTT_ERROR_EMPTY},
		{"SUBACK, reason of DISCONNECT", V5, 0x90, "0001 00 8e", MQTT_ERROR_REASON},
		{"UNSUBSCRIBE", V311, 0xa2, "0001 0001'a' 0003'b/#'", MQTT_OK},
		{"UNSUBSCRIBE", V5, 0xa2, "0001 05 26 0000 0000 0001'a'", MQTT_OK},
		{"UNSUBSCRIBE, no filter", V311, 0xa2, "0001", MQTT_ERROR_EMPTY},
		{"UNSUBSCRIBE, bad filter", V311, 0xa2, "0001 0002'#a'", MQTT_ERROR_FILTER},
		{"UNSUBSCRIBE, filter cut", V311, 0xa2, "0001 0002'a'", MQTT_ERROR_TRUNCATED},
		{"UNSUBSCRIBE with identifier", V5, 0xa2, "0001 02 0b 05 0001'a'",
			MQTT_ERROR_PROPERTY},
		{"UNSUBACK", V311, 0xb0, "0001", MQTT_OK},
		{"UNSUBACK with code", V311, 0xb0, "0001 00", MQTT_ERROR_TRAILING},
		{"UNSUBACK", V5, 0xb0, "0001 00 001187", MQTT_OK},
		{"UNSUBACK without code", V5, 0xb0, "0001 00", MQTT_ERROR_EMPTY},
		{"UNSUBACK, granted QoS", V5, 0xb0, "0001 00 01", MQTT_ERROR_REASON},
	};

	packet_rows_check(rows, COUNT_OF(rows));
}

static void test_the_rest_is_judged_as_the_tables_say(void **state)
{
	static const struct packet_row rows[] = {
		{"PINGREQ", V311, 0xc0, "", MQTT_OK},
		{"PINGREQ with a body", V311, 0xc0, "00", MQTT_ERROR_TRAILING},
		{"PINGRESP", V5, 0xd0, "", MQTT_OK},
		{"PINGRESP with a body", V5, 0xd0, "00", MQTT_ERROR_TRAILING},
		{"DISCONNECT", V31, 0xe0, "", MQTT_OK},
		{"DISCONNECT", V311, 0xe0, "", MQTT_OK},
		{"DISCONNECT with reason in 3.1.1", V311, 0xe0, "00", MQTT_ERROR_TRAILING},
		{"DISCONNECT, nothing", V5, 0xe0, "", MQTT_OK},
		{"DISCONNECT, reason", V5, 0xe0, "04", MQTT_OK},
		{"DISCONNECT, reason and length", V5, 0xe0, "00 00", MQTT_OK},
		{"DISCONNECT, session expiry", V5, 0xe0, "00 05 11 00000001", MQTT_OK},
		{"DISCONNECT, server reference", V5, 0xe0, "9c 04 1c 0001's'", MQTT_OK},
		{"DISCONNECT, reason of CONNACK", V5, 0xe0, "84", MQTT_ERROR_REASON},
		{"DISCONNECT, properties cut", V5, 0xe0, "00 05 11", MQTT_ERROR_TRUNCATED},
		{"DISCONNECT, more", V5, 0xe0, "00 00 00", MQTT_ERROR_TRAILING},
		{"AUTH", V311, 0xf0, "", MQTT_ERROR_TYPE},
		{"AUTH, nothing", V5, 0xf0, "", MQTT_OK},
		{"AUTH", V5, 0xf0, "18 08 15 0001'm' 16 0001'd'", MQTT_OK},
		{"AUTH without method", V5, 0xf0, "18 04 16 0001'd'", MQTT_ERROR_PROPERTY},
		{"AUTH without properties", V5, 0xf0, "18", MQTT_ERROR_TRUNCATED},
		{"AUTH, other reason", V5, 0xf0, "80 04 15 0001'm'", MQTT_ERROR_REASON},
		{"PINGREQ before CONNECT", 0, 0xc0, "", MQTT_ERROR_PROTOCOL},
	};

	packet_rows_check(rows, COUNT_OF(rows));
}

static void test_acknowledgements_say_what_stands_in_them(void **state)
{
	struct mqtt_bytes body = bytes_parse("abcd 10 04 1f 0001'r'");
	struct mqtt_ack ack;

	assert_int_equal(mqtt_ack_decode(V5, MQTT_PUBACK, body, &ack), MQTT_OK);
	assert_int_equal(ack.packet_id, 0xabcd);
	assert_int_equal(ack.reason, 0x10);
	assert_int_equal(ack.properties.length, 4);
	bytes_free(body);
}

static void test_acknowledgements_are_written_in_their_shortest_form(void **state)
{
	static const struct {
		enum mqtt_version version;
		uint8_t type, reason;
		const char *bytes;
	} rows[] = {
		{V31, MQTT_PUBACK, 0x10, "40 02 1234"},
		{V311, MQTT_PUBREC, 0, "50 02 1234"},
		{V5, MQTT_PUBACK, 0, "40 02 1234"},
		{V5, MQTT_PUBACK, 0x10, "40 03 1234 10"},
		{V5, MQTT_PUBREL, 0x92, "62 03 1234 92"},
		{V5, MQTT_PUBCOMP, 0, "70 02 1234"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes expected = bytes_parse(rows[i].bytes);
		uint8_t out[MQTT_ACK_MAX];
		unsigned n =
			mqtt_ack_encode(rows[i].version, rows[i].type, 0x1234, rows[i].reason, out);

		assert_true(mqtt_bytes_equal(mqtt_bytes(out, n), expected));
		bytes_free(expected);
	}
}

static void test_filters_come_one_after_the_other(void **state)
{
	struct mqtt_bytes body = bytes_parse("0007 02 0b 05 0003'a/+' 2d 000a'$share/g/#' 01");
	struct mqtt_subscribe s;
	struct mqtt_subscribe_filter f;

	assert_int_equal(mqtt_subscribe_decode(V5, body, &s), MQTT_OK);
	assert_int_equal(s.packet_id, 7);
	assert_int_equal(s.subscription_id, 5);
	assert_int_equal(s.count, 2);
	assert_true(mqtt_subscribe_next(&s.filters, &f));
	assert_true(mqtt_bytes_equal(f.filter, bytes_of("a/+")));
	assert_int_equal(f.qos, 1);
	assert_true(f.no_local && f.retain_as_published);
	assert_int_equal(f.retain_handling, 2);
	assert_true(mqtt_subscribe_next(&s.filters, &f));
	assert_true(mqtt_bytes_equal(f.filter, bytes_of("$share/g/#")));
	assert_false(f.no_local);
	assert_false(mqtt_subscribe_next(&s.filters, &f));
	bytes_free(body);
}

static void test_unsubscribed_filters_come_one_after_the_other(void **state)
{
	struct mqtt_bytes body = bytes_parse("0007 0003'a/+' 0001'b'"), filter;
	struct mqtt_unsubscribe u;

	assert_int_equal(mqtt_unsubscribe_decode(V311, body, &u), MQTT_OK);
	assert_int_equal(u.count, 2);
	assert_true(mqtt_unsubscribe_next(&u.filters, &filter));
	assert_true(mqtt_bytes_equal(filter, bytes_of("a/+")));
	assert_true(mqtt_unsubscribe_next(&u.filters, &filter));
	assert_true(mqtt_bytes_equal(filter, bytes_of("b")));
	assert_false(mqtt_unsubscribe_next(&u.filters, &filter));
	bytes_free(body);
}

static void test_granted_codes_are_told(void **state)
{
	struct mqtt_bytes body = bytes_parse("0007 00 0102 87");
	struct mqtt_suback s;

	assert_int_equal(mqtt_suback_decode(V5, body, &s), MQTT_OK);
	assert_int_equal(s.packet_id, 7);
	assert_int_equal(s.codes.length, 3);
	assert_int_equal(s.codes.data[2], 0x87);
	bytes_free(body);
}

static void test_goodbyes_say_what_stands_in_them(void **state)
{
	struct mqtt_bytes body = bytes_parse("04 05 11 00000009");
	struct mqtt_disconnect d;
	struct mqtt_auth a;

	assert_int_equal(mqtt_disconnect_decode(V5, body, &d), MQTT_OK);
	assert_int_equal(d.reason, 4);
	assert_true(d.has_session_expiry && d.session_expiry == 9);
	bytes_free(body);

	body = bytes_parse("19 0a 15 0003'SCR' 16 0001 ff");
	assert_int_equal(mqtt_auth_decode(V5, body, &a), MQTT_OK);
	assert_int_equal(a.reason, 0x19);
	assert_true(mqtt_bytes_equal(a.method, bytes_of("SCR")));
	assert_int_equal(a.data.length, 1);
	bytes_free(body);
}

int test_mqtt_packets(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acknowledgements_are_judged_as_the_tables_say),
		cmocka_unit_test(test_subscriptions_are_judged_as_the_tables_say),
		cmocka_unit_test(test_the_rest_is_judged_as_the_tables_say),
		cmocka_unit_test(test_acknowledgements_say_what_stands_in_them),
		cmocka_unit_test(test_acknowledgements_are_written_in_their_shortest_form),
		cmocka_unit_test(test_filters_come_one_after_the_other),
		cmocka_unit_test(test_unsubscribed_filters_come_one_after_the_other),
		cmocka_unit_test(test_granted_codes_are_told),
		cmocka_unit_test(test_goodbyes_say_what_stands_in_them),
	};

	return cmocka_run_group_tests_name("packets", tests, NULL, NULL);
}
