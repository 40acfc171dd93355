// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The clients that the plugin has a key for, by mosquitto's struct of their connection. A
// key stands for one connection: it ends with DISCONNECT, and what mosquitto keeps of the
// session afterwards gets another one, when it is first seen as a reader. mosquitto does not
// say when it frees such a session; its struct may then serve another connection, which gets
// a key of its own when it joins, or at once when its client identifier differs. So the key
// of a joined connection is never anybody else's.
//
// mosquitto's thread only.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/marker.h"

#define CLIENTS_MAX (1u << 20)

struct probe;
struct skip;

// When it was told that a client joined under a key of Offramp's.
struct client_join {
	uint64_t epoch;	   // of the key (secret.h); 0: never
	uint64_t sequence; // of the event
};

struct client {
	const void *context; // mosquitto's struct; never looked into
	uint64_t key;
	uint64_t id_hash;
	struct client_join joined[2]; // under the latest key it joined under, and the one before
	bool published_qos_2;
	struct probe *probes; // under way
	struct skip *skip;    // armed
	struct client *next;  // of the same bucket
};

struct clients;

int clients_create(struct clients **ret_clients);
void clients_destroy(struct clients *clients);

// NULL: not known, or known as somebody else.
struct client *clients_find(struct clients *clients, const void *context, const char *id);
// NULL: no memory, or as many as can be.
struct client *clients_get(struct clients *clients, const void *context, const char *id);
// For a connection that joins: what is known of an older one at that place is forgotten.
struct client *clients_join(struct clients *clients, const void *context, const char *id);
bool client_is_joined(const struct client *client);
// It was told of under that key with this number; the first time counts.
void client_joined(struct client *client, uint64_t epoch, uint64_t sequence);
// Was it told of under that key, at the latest with this number?
bool client_was_joined(const struct client *client, uint64_t epoch, uint64_t sequence);
// The caller has taken what hangs on it.
void clients_remove(struct clients *clients, struct client *client);
unsigned clients_count(const struct clients *clients);
void clients_each(
	struct clients *clients, void (*each)(void *ctx, struct client *client), void *ctx);
