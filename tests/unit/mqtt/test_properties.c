// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every property in every packet (table 2-4): allowed or not, once or often. The
// expectations are written down as the specification's table has them.

#include "mqtt_tests.h"

#include <stdio.h>
#include <string.h>

// Columns, in this order: CONNECT, CONNACK, PUBLISH, Will, PUBACK, PUBREC, PUBREL, PUBCOMP,
// SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH. 1: once, n: any number, '.': never.
static const struct {
	const char *one; // a legal instance
	const char *in;
} properties[] = {
	{"01 01", "..11.........."},
	{"02 00000001", "..11.........."},
	{"03 0001't'", "..11.........."},
	{"08 0001't'", "..11.........."},
	{"09 0001 00", "..11.........."},
	{"0b 01", "..n.....1....."},
	{"11 00000001", "11..........1."},
	{"12 0001'c'", ".1............"},
	{"13 0001", ".1............"},
	{"15 0001'm'", "11...........1"},
	{"16 0001 00", "11...........1"},
	{"17 01", "1............."},
	{"18 00000001", "...1.........."},
	{"19 01", "1............."},
	{"1a 0001'i'", ".1............"},
	{"1c 0001's'", ".1..........1."},
	{"1f 0001'r'", ".1..1111.1.111"},
	{"21 0001", "11............"},
	{"22 0001", "11............"},
	{"23 0001", "..1..........."},
	{"24 01", ".1............"},
	{"25 01", ".1............"},
	{"26 0001'k' 0001'v'", "nnnnnnnnnnnnnn"},
	{"27 00000001", "11............"},
	{"28 01", ".1............"},
	{"29 01", ".1............"},
	{"2a 01", ".1............"},
};

// %s: length and properties. AUTH's method (and CONNECT's, for authentication data) is put before.
static const struct {
	uint8_t first;
	const char *before, *after;
	const char *always; // a property that must be there
} columns[] = {
	{0x10, "0004'MQTT' 05 02 0000", "0001'c'", ""},
	{0x20, "0000", "", ""},
	{0x30, "0001't'", "", ""},
	{0x10, "0004'MQTT' 05 06 0000 00 0001'c'", "0001't' 0000", ""},
	{0x40, "0001 00", "", ""},
	{0x50, "0001 00", "", ""},
	{0x62, "0001 00", "", ""},
	{0x70, "0001 00", "", ""},
	{0x82, "0001", "0001'f' 00", ""},
	{0x90, "0001", "00", ""},
	{0xa2, "0001", "0001'f'", ""},
	{0xb0, "0001", "00", ""},
	{0xe0, "00", "", ""},
	{0xf0, "18", "", "15 0001'm'"},
};

static enum mqtt_error judge(size_t column, const char *one, const char *two)
{
	char block[128], text[256];
	struct packet_row row = {.version = MQTT_VERSION_5, .first = columns[column].first};
	struct mqtt_bytes parsed, body;
	struct mqtt_header header = {0};
	enum mqtt_error error;

	// Authentication data needs a method.
	snprintf(block, sizeof(block), "%s %s %s",
		strncmp(one, "16", 2) == 0 && column == 0 ? "15 0001'm'"
		: strncmp(one, "15", 2) == 0		  ? ""
							  : columns[column].always,
		one, two);
	parsed = bytes_parse(block);
	snprintf(text, sizeof(text), "%s %02x %s %s", columns[column].before, parsed.length, block,
		columns[column].after);
	bytes_free(parsed);
	body = bytes_parse(text);
	header = (struct mqtt_header){row.first >> 4, row.first & 0xf,
		(uint8_t)(1 + mqtt_varint_size(body.length)), body.length};
	error = mqtt_packet_check(MQTT_VERSION_5, &header, body);
	bytes_free(body);
	return error;
}

static void test_every_property_is_taken_where_the_table_allows_it(void **state)
{
	for (size_t p = 0; p < COUNT_OF(properties); p++) {
		const char *one = properties[p].one;

		for (size_t c = 0; c < COUNT_OF(columns); c++) {
			char in = properties[p].in[c];
			enum mqtt_error once = judge(c, one, ""), twice = judge(c, one, one);

			if (once != (in == '.' ? MQTT_ERROR_PROPERTY : MQTT_OK))
				fail_msg("%s in column %zu: %s", one, c, mqtt_error_name(once));
			if (twice != (in == '.'		 ? MQTT_ERROR_PROPERTY
					     : in == '1' ? MQTT_ERROR_PROPERTY_TWICE
							 : MQTT_OK))
				fail_msg("%s twice in column %zu: %s", one, c,
					mqtt_error_name(twice));
		}
	}
}

static void test_identifiers_without_a_row_are_refused(void **state)
{
	for (unsigned id = 0; id < 256; id++) {
		char one[32];
		bool known = false;

		snprintf(one, sizeof(one), "%02x", id);
		for (size_t p = 0; p < COUNT_OF(properties); p++)
			known |= strncmp(properties[p].one, one, 2) == 0;
		snprintf(one, sizeof(one), "%02x 0000000000", id);
		if (!known)
			assert_int_equal(judge(2, one, ""), MQTT_ERROR_PROPERTY);
	}
}

int test_mqtt_properties(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_property_is_taken_where_the_table_allows_it),
		cmocka_unit_test(test_identifiers_without_a_row_are_refused),
	};

	return cmocka_run_group_tests_name("properties", tests, NULL, NULL);
}
