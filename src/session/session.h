// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What Offramp knows of each MQTT client of one broker: its session, its
// subscriptions, and whether that knowledge is complete. Learned from the wire:
//
//   CONNECT, CONNACK  ─▶ session_bind        SUBSCRIBE ─▶ session_subscribe (pending)
//   DISCONNECT, close ─▶ session_unbind      SUBACK    ─▶ session_granted (active or gone)
//                                            UNSUBSCRIBE/UNSUBACK ─▶ …_unsubscribe, …_unsubscribed
//
// One map a broker and worker; single-threaded; memory comes from slabs and a
// trie sized at creation. `changes` tells of everything that may alter what a topic
// matches: caches of matches ask it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/payload.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "mqtt/packet.h"
#include "mqtt/trie.h"
#include "session/changes.h"
#include "session/replica.h"

struct session_map_config {
	uint32_t sessions_max;
	uint32_t subscriptions_max;
	uint32_t subscriptions_per_session;
	// A subscription that is made again with another QoS stands beside the older one, which is
	// not replaced: for brokers that keep both.
	bool keep_other_qos;
	// The broker routes by AMQP's topics: a filter written in its way is kept as the broker
	// reads it, and messages that match pass.
	bool amqp;
	// One that is made again keeps its No Local: for brokers that do.
	bool keep_no_local;
	uint8_t hash_key[16];
	// Where there are several workers; their number is 0 or 1 otherwise.
	struct replica_config replica;
	// They are told of every change, also of what means the same to them.
	bool tells_all;
	bool joins; // several v5 subscriptions of a client that match are served by one copy
};

struct session;

struct session_map {
	struct session_map_config config;
	struct payload_pool *payloads;
	struct slab *sessions;
	struct slab *subscriptions;
	struct mqtt_trie *trie;
	struct list *buckets; // by client identifier
	struct list *by_key;  // session/keys.h, likewise
	uint32_t bucket_mask;
	uint32_t online, offline;
	// Clients the broker knows more of than Offramp does: while there is one, the map is
	// incomplete.
	uint32_t unknown;
	struct wheel expiries;
	uint8_t *kept; // set once a session is kept beyond its connection; NULL: nobody asks
	// Told of a session that ends while its client is owed something; takes that off its list.
	void (*ended)(void *ctx, struct session *session);
	void *ended_ctx;
	struct session_changes changes;
	// Of these, those after which the broker may have other subscriptions than the map although
	// both had the same before: whoever has compared them is to compare them again. The rest
	// the broker has said for certain (MQTT 5.0 3.9.3, 3.11.3).
	struct session_changes doubts;
	struct replica *replica; // what other workers have; NULL: this is the only one
	uint64_t now_us;	 // of the turn; whoever turns sets it
};

struct session {
	struct list
		hash_link; // unlinked: without an identifier of its own (assigned by a v3 broker)
	struct list key_link; // unlinked: without a key
	struct list subscriptions;
	struct payload *client_id; // NULL: see above
	void *owner;		   // the client's connection, NULL while offline
	uint64_t hash;
	uint64_t key; // by which the broker's side knows it; 0: not told
	bool joining; // its client went while it was asked for that
	uint32_t subscriptions_count;
	uint32_t expiry_s; // seconds the broker keeps it offline; 0: ends with the connection
	struct wheel_timer expiry;
	enum mqtt_version version;
	// Scratch of whoever groups a match by session: the match it was last seen in.
	uint64_t mark, pending_mark;
	uint32_t mark_index;
	// Scratch of whoever counts the matches of sessions: in which count, and how many.
	uint64_t count_mark;
	uint32_t count;
	uint32_t unsubscribing; // subscriptions whose UNSUBACK is awaited
	bool unknown;		// the broker has subscriptions of it that Offramp has not seen
	bool bridge;		// another broker: its messages and matches pass
	bool goodbye;		// its connection ended with a DISCONNECT
	bool behind;		// resumed: the broker may still have messages for it from before
	bool doomed;		// it ends when nobody has borrowed it any more
	uint32_t borrowed;	// by so many other workers, which read it
	uint64_t bound_us;	// when its client connected
	uint64_t changed_us;	// when it last came to a subscription
	// Of the floor above, for the session's life: what the client has not acknowledged and,
	// while it is away, what waits for it; where packet identifiers go on.
	struct list owed;
	uint32_t owed_count;
	uint64_t owed_bytes;
	uint16_t identifier_next, identifier_broker;
	// Likewise: who its client is, and who it was until it came back.
	uint64_t identity, identity_before, identity_us;
};

// The broker keeps it beyond its connection.
static inline bool session_outlives(const struct session *session)
{
	return session->expiry_s != 0 && session->client_id != NULL;
}

enum subscription_state {
	SUBSCRIPTION_PENDING, // SUBSCRIBE seen, SUBACK not
	SUBSCRIPTION_ACTIVE,
	// The connection ended before the SUBACK or UNSUBACK: the broker may have it or not. Until
	// it is subscribed to or unsubscribed from again, only the broker knows.
	SUBSCRIPTION_UNCERTAIN,
};

struct subscription {
	struct mqtt_trie_entry entry;
	struct list link; // in its session, in the order of SUBSCRIBEs
	struct session *session;
	uint64_t filter_hash;	   // of the filter as the broker reads it, share name included
	uint32_t id;		   // subscription identifier, 0: none
	uint16_t packet_id, index; // of the SUBSCRIBE and of the filter in it
	uint16_t unsubscribe_id, unsubscribe_index; // of the UNSUBSCRIBE under way; id 0: none
	uint8_t qos;				    // requested while pending, then granted
	uint8_t state;
	bool no_local, share;
	bool amqp;	   // the client wrote it in AMQP's way
	uint16_t standing; // as counted in `shared`
	struct replica_filter *shared;
};

// What the subscription means to a message that matches (STANDING_…).
uint16_t subscription_standing(const struct session_map *map, const struct subscription *sub);

int session_map_create(const char *name, const struct session_map_config *config,
	struct payload_pool *payloads, uint64_t now_us, struct session_map **ret_map);
void session_map_destroy(struct session_map *map); // accepts NULL

// The map holds every subscription of every client that comes through Offramp, and so do those of
// the other workers.
bool session_map_complete(const struct session_map *map);

// No session is kept beyond its connection: who starts anew misses nothing.
bool session_map_forgetful(const struct session_map *map);

struct session_bind {
	enum mqtt_version version;
	struct mqtt_bytes
		client_id;  // the one in force: CONNECT's or the assigned one; may be empty
	struct payload *id; // where it stands, alone: is shared; NULL: it is copied
	bool session_present;
	uint32_t expiry_s; // the one in force; UINT32_MAX: never ends
	bool bridge;
	bool known; // another worker followed it
	uint64_t now_us;
	void *owner;
};
// The map has a session of this identifier that outlives its connections, online or offline.
bool session_is_kept(const struct session_map *map, struct mqtt_bytes client_id);
// CONNACK with reason 0: the session is the owner's from now on. A session of this identifier that
// was another connection's is taken over; *ret_previous is that owner (else NULL), which has lost
// it. -ENOMEM: the map cannot hold it; the caller counts the client as unknown until it is gone.
int session_bind(struct session_map *map, const struct session_bind *bind,
	struct session **ret_session, void **ret_previous);

// A DISCONNECT has passed: the broker has dealt with everything before it.
void session_goodbye(struct session *session);
// The connection is gone: the session ends, or stays offline while the broker keeps it.
void session_unbind(struct session_map *map, struct session *session, uint64_t now_us);
// The broker has sent a resumed session all that it had for it.
void session_caught_up(struct session_map *map, struct session *session);
// The broker ends sessions after their expiry; those whose time (with a generous margin) has come
// go.
void session_map_expire(struct session_map *map, uint64_t now_us);

// A client whose subscriptions cannot be followed; returns by session_map_known_again().
void session_map_unknown(struct session_map *map);
void session_map_known_again(struct session_map *map);
// The session's subscriptions can no longer be followed; stays so for the session's life.
void session_set_unknown(struct session_map *map, struct session *session);

// One filter of a SUBSCRIBE, pending. -ENOSPC: cannot be followed (bounds, levels).
int session_subscribe(struct session_map *map, struct session *session, uint16_t packet_id,
	uint16_t index, const struct mqtt_subscribe_filter *filter, uint32_t subscription_id);
// A SUBACK: each pending subscription of it becomes active, or goes. `granted` (may be NULL) is
// told of each one before it changes or goes, with the code (>= 0x80: refused).
void session_granted(struct session_map *map, struct session *session, uint16_t packet_id,
	struct mqtt_bytes codes, void (*granted)(void *ctx, struct subscription *sub, uint8_t code),
	void *ctx);
// One filter of an UNSUBSCRIBE: remembered until the UNSUBACK.
void session_unsubscribe(struct session_map *map, struct session *session, uint16_t packet_id,
	uint16_t index, struct mqtt_bytes filter);
// An UNSUBACK is awaited for a subscription that the topic matches: the broker has ended it already
// ([MQTT-3.10.4-2]), and what the client publishes behind its UNSUBSCRIBE does not come back to it.
bool session_is_unsubscribing(const struct session *session, struct mqtt_bytes topic);
// An UNSUBACK (v3: without codes): subscriptions that it names go; `removed` (may be NULL) is told
// before.
void session_unsubscribed(struct session_map *map, struct session *session, uint16_t packet_id,
	struct mqtt_bytes codes, void (*removed)(void *ctx, struct subscription *sub), void *ctx);

// The filter as the broker reads it, without the share prefix, cut at `size`.
uint32_t subscription_filter(const struct subscription *sub, uint8_t *out, uint32_t size);

// --- moving to another worker --------------------------------------------------------------------

// The session with this identifier; NULL: there is none.
struct session *session_lookup(const struct session_map *map, struct mqtt_bytes client_id);
// Its client has connected to another worker: it stays, as of a client that is away, until
// session_drop() or session_give_back().
void session_leave(struct session_map *map, struct session *session);
// Another worker reads it: nothing of it changes, and it does not end, until it has been given back
// as often as it was lent. It goes then if it has `moved` to one of them or was dropped, else it is
// as of a client that is away.
void session_lend(struct session_map *map, struct session *session);
void session_give_back(
	struct session_map *map, struct session *session, bool moved, uint64_t now_us);
void session_drop(struct session_map *map, struct session *session);
// Writes its subscriptions from position *cursor on, moves *cursor; returns how many bytes. True in
// *ret_more: they did not all fit.
uint32_t session_write(const struct session *session, uint32_t *cursor, uint8_t *out, uint32_t size,
	bool *ret_more);
// Takes subscriptions that another worker's session_write() has written; pending. False: some
// found no room.
bool session_read(
	struct session_map *map, struct session *session, const uint8_t *in, uint32_t length);
// All its subscriptions are pending from now on, until session_settle(): matches are held.
void session_hold(struct session_map *map, struct session *session);
void session_settle(struct session_map *map, struct session *session);
// Whoever remembers what its subscriptions match is to look again. Not `sure`: the broker may have
// others.
void session_touch(struct session_map *map, const struct session *session, bool sure);

void session_map_check(const struct session_map *map);
