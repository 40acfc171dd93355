// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The other workers: what this one's clients have subscribed to is told to them, and
// what theirs have is learned (session/replica.h). Of two kinds of messages each
// worker has rings of its own: changes (of the map, of sessions) and parcels (captured
// PUBLISHes, offload/parcel.h, and fences), so that the first never wait for the second.
//
// A client that must not go on before the others know what it did remembers
// replica_now() and asks peers_settled().

#pragma once

#include "base/crossing.h"
#include "offload/state.h"

struct news; // what is being told

struct peers {
	struct offload_peers_config config;
	struct slab *news;    // struct news
	struct slab *parcels; // struct parcel
	struct slab *visits;  // struct visit (offload/fencing.c)
	struct slab *moves;   // struct move (offload/move.c)
	struct list kept;     // struct parcel_copy of others: their senders are to wait
	struct list visiting; // struct visit_copy of others
	struct slab *surveys; // struct survey (offload/survey.h)
	struct list asking;   // those of this worker
	struct list surveyed; // struct survey_copy of others: not answered yet
	struct list asked;    // struct move_copy of others: not answered yet
	struct list moving;   // struct move of this worker's clients
};

int peers_create(const struct offload_peers_config *config, struct peers **ret_peers);
// What is under way is freed: no worker runs any more. Accepts NULL.
void peers_destroy(struct offload *offload, struct peers *peers);

// Whether this worker can keep more for persistent sessions, for peers_tell().
void peers_full_set(struct offload *offload);
// Tells what has changed, as far as there is room.
void peers_tell(struct offload *offload);
// Something is looked at every turn.
bool peers_polled(const struct offload *offload);
// What had come in at any worker when the client's connection was made has been dealt with: its
// first bytes may go on. Programs publish, close, connect again and look.
bool peers_caught_up(struct client *client);
// All workers have learned what had changed at the broker by then.
bool peers_settled(const struct broker *broker, uint64_t due);
