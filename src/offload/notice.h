// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a broker tells (proto/offramp/v1/broker.proto), as the offload takes it: one
// stream a broker, in the order in which things came about there. Everything is called
// on the worker's thread (through its mailbox), on every worker, and copies what it keeps.
//
//   stream_up ─▶ subscribed … (a snapshot) ─▶ snapshot_end ─▶ events ─▶ stream_down
//
// Time decides too: *lease_until_us says until when what was told may be relied on. Whoever
// writes it does so only after everything that came before has been handed to all workers.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/marker.h"
#include "mqtt/packet.h"
#include "net/address.h"

struct offload;

struct offload_stream {
	uint8_t marker_key[MARKER_KEY_SIZE]; // Welcome.marker_key; used where `markers`
	// On the clock of offload_advance(). Written by another thread, atomically; valid until
	// offload_stream_down().
	const uint64_t *lease_until_us;
	// As Hello says. Another instance: keys mean something else.
	uint64_t instance;
	bool markers, split, complete;
};

// The broker's stream is in step from here on, and another one than before: whatever was proven
// is forgotten, and clients are joined anew. One that was up ends.
void offload_stream_up(
	struct offload *offload, unsigned broker, const struct offload_stream *stream);
// Nothing more comes: lost, a gap, another instance. `why` has static storage; it is shown as the
// reason why nothing is captured. Harmless when none is up.
void offload_stream_down(struct offload *offload, unsigned broker, const char *why);
// All events up to the one of this number have been handed over; behind each, or some.
void offload_notice_heard(struct offload *offload, unsigned broker, uint64_t sequence);
// With Hello.complete: what was told so far is what the broker had.
void offload_notice_snapshot_end(struct offload *offload, unsigned broker);

// The marker with this nonce has come by the connection that `key` stands for. Nonces of other
// workers are ignored.
void offload_notice_joined(struct offload *offload, unsigned broker, uint64_t nonce, uint64_t key);

enum offload_session_state {
	OFFLOAD_SESSION_CREATED,
	OFFLOAD_SESSION_RESUMED,
	OFFLOAD_SESSION_DISCONNECTED, // the session may live on
	OFFLOAD_SESSION_ENDED,
};

// With Hello.complete the client identifier counts, and `key` is 0 for MQTT; identifiers of other
// protocols are names of a space of their own.
struct offload_session {
	uint64_t key;
	struct mqtt_bytes client_id;
	struct net_endpoint peer; // from where it has come; port 0: not told
	enum offload_session_state state;
};
void offload_notice_session(
	struct offload *offload, unsigned broker, const struct offload_session *session);

struct offload_filter {
	struct mqtt_bytes text; // as the client sent it, with "$share/name/"
	uint8_t qos;
	bool no_local;
};
void offload_notice_subscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, const struct offload_filter *filter);
void offload_notice_unsubscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, struct mqtt_bytes filter);

struct offload_published {
	uint64_t token;			    // of the marker that asked; 0: told unasked
	uint64_t key;			    // with token 0; 0: the client identifier counts
	struct mqtt_bytes client_id, topic; // with token 0
	uint8_t qos;			    // with token 0
	uint64_t told_us; // when it came, on the clock of offload_advance(); with token 0
	bool written;
	// Of the clients considered as readers, one for each subscription; with a token only.
	const uint64_t *readers;
	uint32_t readers_count;
	bool cut; // there were more
};
void offload_notice_published(
	struct offload *offload, unsigned broker, const struct offload_published *published);

// What clients may read and write may have changed.
void offload_notice_revoked(struct offload *offload, unsigned broker);
