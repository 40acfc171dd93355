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

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "offload/offload.h"
#include "offload/state.h"
#include "tcp_double.h"

#define BED_CLIENTS 80

struct bed_leg { // what the offload gives back to the broker's leg
	struct bed *bed;
	unsigned index;
};

struct bed {
	const char *name; // unique among those that stand
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
	bool unchecked;					  // invariants are the caller's business
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
// Only one; what is kicked meanwhile waits for the next.
void bed_turn_once(struct bed *bed);
// Time passes, from deadline to deadline.
void bed_wait(struct bed *bed, uint64_t us);

// Bytes arrive, and a turn is taken.
void client_sends(struct bed *bed, unsigned i, const void *data, size_t length);
void broker_sends(struct bed *bed, unsigned i, const void *data, size_t length);
// In spans of one byte each.
void client_dribbles(struct bed *bed, unsigned i, const void *data, size_t length);
void broker_dribbles(struct bed *bed, unsigned i, const void *data, size_t length);
void client_ends(struct bed *bed, unsigned i);
void broker_ends(struct bed *bed, unsigned i);

// What has come, which counts as read then.
size_t got_take(struct tcp_pcb *pcb, const uint8_t **ret_data);

const struct offload_counters *bed_counters(const struct bed *bed);
