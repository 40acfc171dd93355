// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fixed headers (2.1) and variable byte integers (1.5.5).

#include "mqtt_tests.h"

static void test_headers_decode_as_the_tables_say(void **state)
{
	static const struct {
		const char *bytes;
		enum mqtt_error error;
		struct mqtt_header header;
	} rows[] = {
		{"", MQTT_ERROR_TRUNCATED},
		{"c0", MQTT_ERROR_TRUNCATED},
		{"c0 00", MQTT_OK, {MQTT_PINGREQ, 0, 2, 0}},
		{"30 7f", MQTT_OK, {MQTT_PUBLISH, 0, 2, 127}},
		{"3b 80", MQTT_ERROR_TRUNCATED},
		{"3b 8001", MQTT_OK, {MQTT_PUBLISH, 0xb, 3, 128}},
		{"3d ff7f", MQTT_OK, {MQTT_PUBLISH, 0xd, 3, 16383}},
		{"30 808001", MQTT_OK, {MQTT_PUBLISH, 0, 4, 16384}},
		{"30 ffff7f", MQTT_OK, {MQTT_PUBLISH, 0, 4, 2097151}},
		{"30 80808001", MQTT_OK, {MQTT_PUBLISH, 0, 5, 2097152}},
		{"30 ffffff7f", MQTT_OK, {MQTT_PUBLISH, 0, 5, MQTT_REMAINING_MAX}},
		{"30 ffffff", MQTT_ERROR_TRUNCATED},
		{"30 ffffff80", MQTT_ERROR_REMAINING_LENGTH},
		{"30 8000", MQTT_OK, {MQTT_PUBLISH, 0, 3, 0}}, // longer than need be
		// What is wrong is known before the length is.
		{"00", MQTT_ERROR_TYPE},
		{"0f", MQTT_ERROR_TYPE},
		{"36", MQTT_ERROR_QOS},
		{"3f", MQTT_ERROR_QOS},
		{"11", MQTT_ERROR_FLAGS},
		{"21", MQTT_ERROR_FLAGS},
		{"42", MQTT_ERROR_FLAGS},
		{"58", MQTT_ERROR_FLAGS},
		{"60", MQTT_ERROR_FLAGS},
		{"62", MQTT_ERROR_TRUNCATED},
		{"63", MQTT_ERROR_FLAGS},
		{"6a", MQTT_ERROR_TRUNCATED}, // 3.1
		{"71", MQTT_ERROR_FLAGS},
		{"80", MQTT_ERROR_FLAGS},
		{"82", MQTT_ERROR_TRUNCATED},
		{"8a", MQTT_ERROR_TRUNCATED}, // 3.1
		{"84", MQTT_ERROR_FLAGS},
		{"92", MQTT_ERROR_FLAGS},
		{"a0", MQTT_ERROR_FLAGS},
		{"a2", MQTT_ERROR_TRUNCATED},
		{"b2", MQTT_ERROR_FLAGS},
		{"c1", MQTT_ERROR_FLAGS},
		{"d8", MQTT_ERROR_FLAGS},
		{"e1", MQTT_ERROR_FLAGS},
		{"f1", MQTT_ERROR_FLAGS},
		{"f0", MQTT_ERROR_TRUNCATED},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mqtt_bytes bytes = bytes_parse(rows[i].bytes);
		struct mqtt_header header = {0};
		enum mqtt_error error = mqtt_header_decode(bytes.data, bytes.length, &header);

		if (error != rows[i].error)
			fail_msg("%s: %s", rows[i].bytes, mqtt_error_name(error));
		assert_int_equal(header.type, rows[i].header.type);
		assert_int_equal(header.flags, rows[i].header.flags);
		assert_int_equal(header.size, rows[i].header.size);
		assert_int_equal(header.remaining, rows[i].header.remaining);
		bytes_free(bytes);
	}
}

static void test_versions_narrow_what_a_header_may_be(void **state)
{
	static const struct {
		struct mqtt_header header;
		enum mqtt_error v31, v311, v5;
	} rows[] = {
		{{MQTT_PUBREL, 0xa, 2, 2}, MQTT_OK, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS},
		{{MQTT_SUBSCRIBE, 0xa, 2, 9}, MQTT_OK, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS},
		{{MQTT_UNSUBSCRIBE, 0xa, 2, 9}, MQTT_OK, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS},
		{{MQTT_PUBREL, 0x2, 2, 2}, MQTT_OK, MQTT_OK, MQTT_OK},
		{{MQTT_PUBREL, 0x0, 2, 2}, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS},
		{{MQTT_PUBLISH, 0x8, 2, 9}, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS, MQTT_ERROR_FLAGS},
		{{MQTT_PUBLISH, 0xa, 2, 9}, MQTT_OK, MQTT_OK, MQTT_OK},
		{{MQTT_PUBLISH, 0x6, 2, 9}, MQTT_ERROR_QOS, MQTT_ERROR_QOS, MQTT_ERROR_QOS},
		{{MQTT_PUBLISH, 0x0, 3, 9}, MQTT_OK, MQTT_OK, MQTT_ERROR_REMAINING_LENGTH},
		{{MQTT_AUTH, 0x0, 2, 0}, MQTT_ERROR_TYPE, MQTT_ERROR_TYPE, MQTT_OK},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		assert_int_equal(mqtt_header_check(MQTT_VERSION_3_1, &rows[i].header), rows[i].v31);
		assert_int_equal(
			mqtt_header_check(MQTT_VERSION_3_1_1, &rows[i].header), rows[i].v311);
		assert_int_equal(mqtt_header_check(MQTT_VERSION_5, &rows[i].header), rows[i].v5);
	}
}

static void test_lengths_come_back_and_are_the_shortest(void **state)
{
	static const uint32_t edges[] = {
		0, 127, 128, 16383, 16384, 2097151, 2097152, MQTT_REMAINING_MAX};

	for (size_t i = 0; i < COUNT_OF(edges); i++) {
		uint8_t bytes[MQTT_HEADER_MAX];
		struct mqtt_header header;
		unsigned size = mqtt_header_encode(MQTT_PUBLISH, 3, edges[i], bytes);

		assert_int_equal(size, 1 + mqtt_varint_size(edges[i]));
		assert_int_equal(size, 2 + i / 2);
		assert_int_equal(mqtt_header_decode(bytes, size, &header), MQTT_OK);
		assert_int_equal(header.remaining, edges[i]);
		assert_int_equal(header.size, size);
		assert_int_equal(header.flags, 3);
		for (unsigned n = 0; n < size; n++)
			assert_int_equal(
				mqtt_header_decode(bytes, n, &header), MQTT_ERROR_TRUNCATED);
	}
}

static void test_everything_has_a_name(void **state)
{
	assert_string_equal(mqtt_type_name(MQTT_PUBLISH), "PUBLISH");
	assert_string_equal(mqtt_type_name(MQTT_AUTH), "AUTH");
	for (int e = 0; e < MQTT_ERRORS; e++)
		assert_non_null(mqtt_error_name((enum mqtt_error)e));
	assert_string_equal(mqtt_error_name(MQTT_ERROR_REMAINING_LENGTH), "remaining_length");
}

int test_mqtt_header(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers_decode_as_the_tables_say),
		cmocka_unit_test(test_versions_narrow_what_a_header_may_be),
		cmocka_unit_test(test_lengths_come_back_and_are_the_shortest),
		cmocka_unit_test(test_everything_has_a_name),
	};

	return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
