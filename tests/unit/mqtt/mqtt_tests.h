// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The groups of the mqtt floor's test program, and what they share.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "mqtt/packet.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

int test_mqtt_header(void);
int test_mqtt_utf8(void);
int test_mqtt_topic(void);
int test_mqtt_connect(void);
int test_mqtt_publish(void);
int test_mqtt_packets(void);
int test_mqtt_properties(void);
int test_mqtt_roundtrip(void);
int test_mqtt_trie(void);
int test_mqtt_framer(void);

// A packet's bytes for people: hex digits, 'text', blanks as one likes: "0004'MQTT' 04 02 003c";
// {21 0001} is a block behind its length in one byte.
// An allocation of exactly that size, so that a sanitizer sees every byte read beyond it.
struct mqtt_bytes bytes_parse(const char *text);
void bytes_free(struct mqtt_bytes bytes);

// A row of the tables of good and bad packets.
struct packet_row {
	const char *what;
	enum mqtt_version version;
	uint8_t first; // byte of the fixed header
	const char *body;
	enum mqtt_error error;
};
// Judges every row with mqtt_packet_check(), and for legal ones that no proper prefix of the body
// makes a decoder read beyond it.
void packet_rows_check(const struct packet_row *rows, size_t count);

// Text in string literals as bytes.
struct mqtt_bytes bytes_of(const char *text);
