// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A witness, and what it has told, read as Offramp would read it.

#pragma once

#include <stdint.h>

#include "offramp/v1/broker.pb-c.h"
#include "plugin/secret.h"
#include "plugin/witness.h"

struct queue;
struct events;
struct marker;

struct told {
	struct queue *queue;
	struct events *events;
	struct secret secret;
	struct witness *witness;
	unsigned wakes;
	uint8_t key[MARKER_KEY_SIZE];
};

#define TOLD_READERS_MAX 8

void told_init(struct told *told);
void told_fini(struct told *told);
// The next event, to be freed with told_free(); NULL: none.
Offramp__V1__BrokerMessage *told_next(struct told *told);
void told_free(Offramp__V1__BrokerMessage *message);
// A marker as mosquitto hands it on: the WRITE, and then what was written.
void told_marker(
	struct told *told, const struct witness_client *client, const struct marker *marker);
// Joins a client. Returns its key; `ret_sequence` (or NULL) is the number of the event.
uint64_t told_join(struct told *told, const struct witness_client *client, uint64_t *ret_sequence);
