// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Bytes for people, and the judge of the tables of packets.

#include "mqtt_tests.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static uint8_t hex_digit(char c)
{
	assert_true(isxdigit((unsigned char)c));
	return (uint8_t)(isdigit((unsigned char)c) ? c - '0' : tolower(c) - 'a' + 10);
}

struct mqtt_bytes bytes_parse(const char *text)
{
	uint8_t buffer[4096], *exact;
	size_t n = 0, block = 0;

	while (*text) {
		assert_true(n < sizeof(buffer));
		if (*text == ' ') {
			text++;
		} else if (*text == '{') {
			text++;
			block = ++n;
		} else if (*text == '}') {
			text++;
			assert_true(block > 0 && n - block < 128);
			buffer[block - 1] = (uint8_t)(n - block);
		} else if (*text == '\'') {
			for (text++; *text != '\''; text++)
				buffer[n++] = (uint8_t)*text;
			text++;
		} else {
			buffer[n++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
			text += 2;
		}
	}
	exact = malloc(n ? n : 1);
	assert_non_null(exact);
	memcpy(exact, buffer, n);
	return mqtt_bytes(exact, n);
}

void bytes_free(struct mqtt_bytes bytes)
{
	free((void *)(uintptr_t)bytes.data);
}

struct mqtt_bytes bytes_of(const char *text)
{
	return mqtt_bytes(text, strlen(text));
}

static enum mqtt_error judge(const struct packet_row *row, struct mqtt_bytes body)
{
	uint8_t bytes[MQTT_HEADER_MAX];
	struct mqtt_header header;
	unsigned size = mqtt_header_encode(row->first >> 4, row->first & 0xf, body.length, bytes);
	enum mqtt_error error = mqtt_header_decode(bytes, size, &header);

	return error ? error : mqtt_packet_check(row->version, &header, body);
}

static void prefixes_check(const struct packet_row *row, struct mqtt_bytes body)
{
	for (uint32_t n = 0; n < body.length; n++) {
		uint8_t *prefix = malloc(n ? n : 1);

		assert_non_null(prefix);
		memcpy(prefix, body.data, n);
		judge(row, mqtt_bytes(prefix, n));
		free(prefix);
	}
}

void packet_rows_check(const struct packet_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct mqtt_bytes body = bytes_parse(rows[i].body);
		enum mqtt_error error = judge(&rows[i], body);

		if (error != rows[i].error)
			fail_msg("%s: %s, not %s", rows[i].what, mqtt_error_name(error),
				mqtt_error_name(rows[i].error));
		if (error == MQTT_OK)
			prefixes_check(&rows[i], body);
		bytes_free(body);
	}
}
