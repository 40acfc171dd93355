// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which of mosquitto's callbacks belong to the message that a marker announced. For one
// PUBLISH mosquitto 2.0 calls, on its only thread and with nothing in between,
//
//     WRITE(client, topic) ─▶ MESSAGE(client, topic*) ─▶ READ(reader, topic*) …   QoS 0, 1
//     WRITE ─▶ MESSAGE(topic*) … PUBREL comes … READ(reader, topic*) …            QoS 2
//
// where topic* is the same pointer. From the first READ (QoS 0 and 1: from MESSAGE) until
// any other callback a *window* is open: what READ asks for in it is the match set of that
// message, one call for each subscription. After the window the pointer means nothing any
// more: the message may have been freed, and another one lie at its place.
//
// A probe (MARKER_ASK) is armed ─WRITE▶ judged ─MESSAGE▶ written ─window▶ told. A WRITE after
// which no MESSAGE came was a refusal. MARKER_END tells what has not been told by then.
//
// mosquitto's thread only.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct client;
struct events;
struct marker;
struct probes;

#define PROBES_MAX 4096 // under way; who asks for more is not answered
#define SKIPS_MAX  4096 // armed; see probes_skip()

struct probes_message {
	const char *topic;
	const void *payload;
	uint8_t qos;
};

int probes_create(struct events *events, unsigned readers_max, struct probes **ret_probes);
void probes_destroy(struct probes *probes);

// --- markers of a client -------------------------------------------------------------------------

void probes_ask(struct probes *probes, struct client *client, uint64_t token);
void probes_end(
	struct probes *probes, struct client *client, const char *client_id, uint64_t token);
// false: there is no memory, and the next PUBLISH goes to everybody.
bool probes_skip(
	struct probes *probes, struct client *client, const struct marker *marker, uint64_t epoch);

// --- what mosquitto does with a client's next PUBLISH --------------------------------------------

void probes_write(
	struct probes *probes, struct client *client, const char *client_id, const char *topic);
void probes_message(
	struct probes *probes, struct client *client, const struct probes_message *message);

// Does this READ belong to a message that was announced? The rest is cheap when not.
bool probes_window(struct probes *probes, const char *topic, const void *payload);
// It does: `reader` (NULL: nobody with a key) is noted. true: the message is not for it.
bool probes_read(struct probes *probes, const struct client *reader);

// Any other callback.
void probes_close(struct probes *probes);
// The client has left.
void probes_forget(struct probes *probes, struct client *client);
