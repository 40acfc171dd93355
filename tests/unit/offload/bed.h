// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A test bed for the offload: real sessions, routes, payloads; the two connections of
// every client are doubles whose bytes the test writes and reads.
//
//   client i  ══ down[i] ══▶ offload ══▶ up[i] ══  broker
//   client_sends()                        broker_gets()
//   client_gets()                         broker_sends()
//
// Time stands still unless bed_wait() moves it. After every step the invariants hold.

#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "offload/offload.h"
#include "offload/state.h"
#include "tcp_double.h"

#define BED_CLIENTS 80

// The bytes of a string literal.
#define BYTES(text) text, sizeof(text) - 1

struct bed_leg { // what the offload gives back to the broker's leg
	struct bed *bed;
	unsigned index;
};

struct bed {
	struct offload_broker_config broker;
	struct offload_config config;
	struct payload_pool_config pool_config;
	struct tcp_stack tcp;
	struct payload_pool *payloads;
	struct random rng;
	struct offload *offload;
	struct tcp_pcb down[BED_CLIENTS], up[BED_CLIENTS];
	struct client *clients[BED_CLIENTS]; // NULL: closed
	struct bed_leg legs[BED_CLIENTS];
	bool failed[BED_CLIENTS];			  // closed because memory ran out
	bool deaf[BED_CLIENTS], broker_deaf[BED_CLIENTS]; // acknowledges nothing
};

// Fills the configurations with what tests want; change them before bed_start().
void bed_init(struct bed *bed);
void bed_start(struct bed *bed);
// Closes everybody; every payload, delivery and session must be back.
void bed_fini(struct bed *bed);

void bed_open(struct bed *bed, unsigned i);
void bed_close(struct bed *bed, unsigned i);
// A turn of the loop.
void bed_turn(struct bed *bed);
// Time passes; a turn every `step_us`.
void bed_wait(struct bed *bed, uint64_t us);

// Bytes arrive, and a turn is taken.
void client_sends(struct bed *bed, unsigned i, const void *data, size_t length);
void broker_sends(struct bed *bed, unsigned i, const void *data, size_t length);
// In spans of one byte each.
void client_dribbles(struct bed *bed, unsigned i, const void *data, size_t length);
void broker_dribbles(struct bed *bed, unsigned i, const void *data, size_t length);
void client_ends(struct bed *bed, unsigned i);
void broker_ends(struct bed *bed, unsigned i);

// Exactly these bytes, and no others, have come since the last time.
#define client_gets(bed, i, ...) expect_got(&(bed)->down[i], __VA_ARGS__, __FILE__, __LINE__)
#define broker_gets(bed, i, ...) expect_got(&(bed)->up[i], __VA_ARGS__, __FILE__, __LINE__)
void expect_got(struct tcp_pcb *pcb, const void *data, size_t length, const char *file, int line);
// What has come, which counts as read then.
size_t got_take(struct tcp_pcb *pcb, const uint8_t **ret_data);

// CONNECT and CONNACK: clean session, identifier "c<i>".
void connect_v4(struct bed *bed, unsigned i);
void connect_v5(struct bed *bed, unsigned i);
// SUBSCRIBE and SUBACK of one filter, packet identifier 1.
void subscribe_v4(struct bed *bed, unsigned i, const char *filter, uint8_t qos);
void subscribe_v5(struct bed *bed, unsigned i, const char *filter, uint8_t qos, uint8_t id);
// A v3.1.1 PUBLISH, identifier 0x7777 above QoS 0; returns its length.
size_t publish_v4(uint8_t *out, const char *topic, uint8_t flags, const void *data, size_t length);

const struct offload_counters *bed_counters(const struct bed *bed);
