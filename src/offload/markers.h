// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Markers on the wire (base/marker.h): whose connection is whose, and which PUBLISH is asked
// about. Written between two packets of a client, on its leg to the broker, and only while
// the broker's stream is in step; the client never sees one.
//
//   CONNECT ─▶ … CONNACK ─▶ JOIN nonce     before anything else of the client passes
//   ASK token │ PUBLISH │ END token        one piece of bytes: nothing comes between
//
// Tokens and nonces are answered on the stream. Both say which worker they belong to and
// where to look, and none is ever used twice, not even by two runs of Offramp: an answer that
// comes too late finds nobody.

#pragma once

#include "offload/state.h"

// │ worker (8) │ index (24) │ count (32) │; never 0.
uint64_t marker_token(struct offload *offload, uint32_t index);
static inline unsigned marker_token_worker(uint64_t token)
{
	return token >> 56;
}
static inline uint32_t marker_token_index(uint64_t token)
{
	return token >> 32 & 0xffffff;
}

// The longest packet that carries a marker without `except`.
#define MARKER_PACKET_MAX 64
// The packet, as the client would send it; returns its length.
unsigned marker_packet(
	const struct client *client, enum marker_kind kind, uint64_t token, uint8_t *out);
#define MARKER_SKIP_MAX (MARKER_PACKET_MAX + 8 * MARKER_EXCEPT_MAX)
// Likewise: the next PUBLISH is not for joined clients, but for those of these keys.
unsigned marker_skip_packet(
	const struct client *client, const uint64_t *except, uint32_t count, uint8_t *out);
// Markers can be written on this client's leg.
bool markers_possible(const struct client *client);
// Is this a topic that only Offramp may publish to?
bool marker_topic(const struct broker *broker, struct mqtt_bytes topic);

// Asks which of the broker's clients this is, unless that is known or was asked a moment ago.
void marker_join(struct client *client);
// It has been answered, in this stream.
bool marker_is_joined(const struct client *client);
// The broker has answered.
void marker_joined(struct offload *offload, struct broker *broker, uint64_t nonce, uint64_t key);

// A stream has come up, or an epoch begun: every client is joined and asked whether it has
// anything old; so many a turn.
void markers_begin(struct broker *broker);
void markers_poll(struct offload *offload);
bool markers_polled(const struct offload *offload);
