// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// UTF-8 strings (1.5.4), with a naive encoder as the oracle of all code points.

#include "mqtt_tests.h"

#include <stdlib.h>
#include <string.h>

#include "mqtt/topic.h"

static void test_texts_are_judged_as_the_tables_say(void **state)
{
	static const struct {
		const char *bytes;
		enum mqtt_utf8 verdict;
	} rows[] = {
		{"", MQTT_UTF8_PLAIN},
		{"'a'", MQTT_UTF8_PLAIN},
		{"'abcdefgh'", MQTT_UTF8_PLAIN},
		{"' ~'", MQTT_UTF8_PLAIN},
		{"c3a9 e282ac f09f9a80", MQTT_UTF8_PLAIN},
		{"efbbbf", MQTT_UTF8_PLAIN}, // [MQTT-1.5.4-3]: U+FEFF is no byte order mark
		{"efbfbd", MQTT_UTF8_PLAIN},
		{"f09d84ab", MQTT_UTF8_PLAIN},
		{"00", MQTT_UTF8_ILL}, // [MQTT-1.5.4-2]
		{"'abcdefg' 00", MQTT_UTF8_ILL},
		{"01", MQTT_UTF8_DISCOURAGED},
		{"'abc' 1f 'defg'", MQTT_UTF8_DISCOURAGED},
		{"7f", MQTT_UTF8_DISCOURAGED},
		{"'abcdefg' 7f", MQTT_UTF8_DISCOURAGED},
		{"c280", MQTT_UTF8_DISCOURAGED},
		{"c29f", MQTT_UTF8_DISCOURAGED},
		{"c2a0", MQTT_UTF8_PLAIN},
		{"efb790", MQTT_UTF8_DISCOURAGED},   // U+FDD0
		{"efbfbe", MQTT_UTF8_DISCOURAGED},   // U+FFFE
		{"f48fbfbf", MQTT_UTF8_DISCOURAGED}, // U+10FFFF
		// Overlong forms
		{"c080", MQTT_UTF8_ILL},
		{"c1bf", MQTT_UTF8_ILL},
		{"e08080", MQTT_UTF8_ILL},
		{"e09fbf", MQTT_UTF8_ILL},
		{"f0808080", MQTT_UTF8_ILL},
		{"f08fbfbf", MQTT_UTF8_ILL},
		// Surrogates, [MQTT-1.5.4-1]
		{"eda080", MQTT_UTF8_ILL},
		{"edbfbf", MQTT_UTF8_ILL},
		{"ed9fbf", MQTT_UTF8_PLAIN},
		{"ee8080", MQTT_UTF8_PLAIN},
		// Beyond U+10FFFF, and bytes that never occur
		{"f4908080", MQTT_UTF8_ILL},
		{"f5808080", MQTT_UTF8_ILL},
		{"f8 88808080", MQTT_UTF8_ILL},
		{"fe", MQTT_UTF8_ILL},
		{"ff", MQTT_UTF8_ILL},
		// Cut short, and continuations out of place
		{"80", MQTT_UTF8_ILL},
		{"c3", MQTT_UTF8_ILL},
		{"e282", MQTT_UTF8_ILL},
		{"f09f9a", MQTT_UTF8_ILL},
		{"c3'a'", MQTT_UTF8_ILL},
		{"e282'a'", MQTT_UTF8_ILL},
		{"'abcdefg' bf", MQTT_UTF8_ILL},
		{"'abcdefgh' c3a9 'abcdefgh' 80", MQTT_UTF8_ILL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes text = bytes_parse(rows[i].bytes);

		if (mqtt_utf8_scan(text) != rows[i].verdict)
			fail_msg("%s", rows[i].bytes);
		assert_int_equal(mqtt_utf8_valid(text), rows[i].verdict != MQTT_UTF8_ILL);
		bytes_free(text);
	}
}

// The generic encoding, forbidden code points included.
static uint32_t encode(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

static void test_every_code_point_is_judged_alike_wherever_it_stands(void **state)
{
	uint8_t bytes[32];

	for (uint32_t c = 0; c < 0x120000; c++) {
		uint8_t one[4];
		uint32_t n = encode(c, one), at = c % 9;
		bool ill = c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff);
		bool control = c < 0x20 || (c >= 0x7f && c <= 0x9f);
		bool none = (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xffff) >= 0xfffe;
		enum mqtt_utf8 verdict = ill		   ? MQTT_UTF8_ILL
					 : control || none ? MQTT_UTF8_DISCOURAGED
							   : MQTT_UTF8_PLAIN;

		memset(bytes, 'x', sizeof(bytes));
		memcpy(bytes + at, one, n);
		if (mqtt_utf8_scan(mqtt_bytes(bytes, at + n + c % 11)) != verdict)
			fail_msg("U+%04X", c);
	}
}

static void test_strings_end_at_65535_bytes(void **state)
{
	uint8_t *text = malloc(65536);

	assert_non_null(text);
	memset(text, 'a', 65536);
	assert_true(mqtt_utf8_valid(mqtt_bytes(text, 65535)));
	assert_false(mqtt_utf8_valid(mqtt_bytes(text, 65536)));
	free(text);
}

int test_mqtt_utf8(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_are_judged_as_the_tables_say),
		cmocka_unit_test(test_every_code_point_is_judged_alike_wherever_it_stands),
		cmocka_unit_test(test_strings_end_at_65535_bytes),
	};

	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
