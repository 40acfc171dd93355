// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Two workers in one thread: each is a bed of its own, and only what the test turns
// moves. Clients of worker 0 and of worker 1 have one broker.

#pragma once

#include "base/crossing.h"
#include "packets.h"

struct pair {
	struct bed beds[2];
	struct crossing *changes, *parcels;
};

int pair_setup(void **state);
// The broker is to tell (twin.h).
int pair_setup_told(void **state);
// The broker tells everything, of its own accord (test_hooks.c).
int pair_setup_hooks(void **state, enum offload_authorization authorization);
int pair_teardown(void **state);
#define pair_test(name)	     cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
#define pair_test_told(name) cmocka_unit_test_setup_teardown(name, pair_setup_told, pair_teardown)

// Both turn, several times; time passes for both.
void pair_turn(struct pair *pair);
void pair_wait(struct pair *pair, uint64_t us);

// A clean client "w<worker>c<i>" with its CONNACK.
void joins(struct pair *pair, unsigned worker, unsigned i);
// SUBSCRIBE, and a SUBACK that grants it.
void subscribes(struct pair *pair, unsigned worker, unsigned i, const char *filter, uint8_t qos);

#define CONNECT_KEPT "\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01s"
// Client "s", whose session stays; its CONNACK and what comes behind it are not read.
void comes_kept(struct pair *pair, unsigned worker, unsigned i, bool present);
// Nothing comes behind the CONNACK.
void arrives_kept(struct pair *pair, unsigned worker, unsigned i, bool present);
