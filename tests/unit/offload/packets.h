// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What tests write and expect at both ends of the bed.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bed.h"

// The bytes of a string literal.
#define BYTES(text) text, sizeof(text) - 1

// Exactly these bytes, and no others, have come since the last time.
#define client_gets(bed, i, ...) expect_got(&(bed)->down[i], __VA_ARGS__, __FILE__, __LINE__)
#define broker_gets(bed, i, ...) expect_got(&(bed)->up[i], __VA_ARGS__, __FILE__, __LINE__)
void expect_got(struct tcp_pcb *pcb, const void *data, size_t length, const char *file, int line);
// A CONNECT, and a CONNACK that accepts it; v5 announces these properties, raw.
void connect_with(struct bed *bed, unsigned i, const struct mqtt_connect *connect, bool present,
	struct mqtt_bytes announced);
// Likewise: clean session, identifier "c<i>".
void connect_v4(struct bed *bed, unsigned i);
void connect_v5(struct bed *bed, unsigned i);
// SUBSCRIBE and SUBACK of one filter, packet identifier 1.
void subscribe_v4(struct bed *bed, unsigned i, const char *filter, uint8_t qos);
void subscribe_v5(struct bed *bed, unsigned i, const char *filter, uint8_t qos, uint8_t id);
// A v3.1.1 PUBLISH, identifier 0x7777 above QoS 0; returns its length.
size_t publish_v4(uint8_t *out, const char *topic, uint8_t flags, const void *data, size_t length);

// Connects client i as "k", to a session that stays; `properties` of v5, raw.
void connect_session(struct bed *bed, unsigned i, enum mqtt_version version, bool clean,
	bool present, struct mqtt_bytes properties);
#define EXPIRY "\x11\x00\x00\x01\x2c" // 300 s
// With Session Present 1; what the client gets behind the CONNACK has not been read.
void resume_v4(struct bed *bed, unsigned i);
void resume_v5(struct bed *bed, unsigned i, const void *properties, size_t length);
