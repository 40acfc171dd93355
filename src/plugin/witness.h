// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What mosquitto's callbacks mean for Offramp: each becomes events, and some an answer. Knows
// clients by the address of mosquitto's struct, which it never looks into, so tests need no
// broker. mosquitto's thread only; nothing here blocks.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events;
struct events_subscription;
struct probes_message;
struct secret;
struct witness;

struct witness_client {
	const void *context;
	const char *id, *username; // NULL: none
};

int witness_create(struct events *events, struct secret *secret, unsigned readers_max,
	struct witness **ret_witness);
void witness_destroy(struct witness *witness);

// May it write to the topic? Asked for each PUBLISH and each will.
void witness_write(struct witness *witness, const struct witness_client *client, const char *topic);
// It may, and now it is routed. false: mosquitto did not ask before, so another plugin answers
// first, and what it answers is not seen here.
bool witness_message(struct witness *witness, const struct witness_client *client,
	const struct probes_message *message);
// May it read this message? true: it must not, Offramp gives it to the client.
bool witness_read(struct witness *witness, const struct witness_client *reader, const char *topic,
	const void *payload);
// Something was published to MARKER_TOPIC. false: as above.
bool witness_marker(struct witness *witness, const struct witness_client *client,
	const void *payload, size_t length);
void witness_subscribe(struct witness *witness, const struct witness_client *client,
	const struct events_subscription *subscription);
void witness_unsubscribe(
	struct witness *witness, const struct witness_client *client, const char *filter);
void witness_disconnect(struct witness *witness, const struct witness_client *client);
void witness_revoke(struct witness *witness, const char *why);
// Nothing of the above is going on: once a turn of mosquitto's loop.
void witness_tick(struct witness *witness);
