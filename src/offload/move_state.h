// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A question about a session on its way between two workers: what offload/move.c, which
// asks, and offload/lend.c, which is asked, both look at. It is the memory of who asks; the
// answer is written into it.

#pragma once

#include "base/crossing.h"
#include "offload/state.h"

enum move_question {
	MOVE_ASK,   // who has it? (and the first of its subscriptions)
	MOVE_FETCH, // more of its subscriptions
	MOVE_MOVED, // it is with who asks now: give up what was lent
	MOVE_STAYS, // it is not: keep it
};

// Wills of the client that may be on their way; more are told as MOVE_WILLS + 1.
#define MOVE_WILLS 4u

struct move_copy {
	struct crossing_message message;
	struct move *move;
	enum move_question question;
	uint32_t cursor;
	struct payload *room; // for subscriptions; NULL: none are wanted
	// The answer.
	bool found; // and lent, until MOVE_MOVED or MOVE_STAYS
	bool stale; // a later connection has the session
	bool more;
	bool unknown;
	uint32_t subscriptions;
	const struct session *session; // to be read
	uint64_t bound_us;
	uint64_t wills[MOVE_WILLS];
	unsigned wills_count;
	// Of who is asked.
	struct list link; // in peers.asked
	enum {
		LEND_ASKED,    // nothing has happened
		LEND_TOLD,     // its client has lost it: others are told
		LEND_DRAINING, // they know: what they sent before comes in
	} stage;
	uint64_t due;
	struct crossing_point point;
};

struct move {
	struct list link;      // in peers.moving
	struct client *client; // NULL: gone
	unsigned broker;
	uint64_t connect_us;
	bool present;		 // it goes on ([MQTT-3.2.2-2])
	bool bound, done;	 // the session is here; with all that belongs to it
	bool whole;		 // all its subscriptions are here
	bool ending;		 // the last question has been put
	unsigned missing;	 // answers
	int holder;		 // the worker that had it, -1: none
	const struct list *owed; // how far what it is owed has been copied; NULL: not begun
	struct payload *id;
	struct move_copy copies[CROSSING_WORKERS_MAX];
};

static inline struct mqtt_bytes move_id(const struct move *move)
{
	return mqtt_bytes(move->id->data, move->id->length);
}

// The later CONNECT has the session; both workers must come to the same answer.
static inline bool move_is_later(
	uint64_t connect_us, unsigned worker, uint64_t than_us, unsigned than_worker)
{
	return connect_us != than_us ? connect_us > than_us : worker > than_worker;
}

// For crossing_message.run.
enum crossing_run lend_run(struct crossing_message *message, void *receiver);
