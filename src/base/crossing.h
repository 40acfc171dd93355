// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How workers speak to each other: two single-producer, single-consumer rings for each
// ordered pair of them, one there and one back.
//
//   sender ── crossing_post() ──▶ │ there │ ──▶ run() on the receiver
//   back() on the sender ◀─────── │ back  │ ◀── when it has run
//
// A message is the sender's memory, before and after; between crossing_post() and back() the
// receiver may read it, write what it answers into it, and must keep nothing of it: no
// reference count of the sender's is touched by anybody else. Messages of one pair run in the
// order in which they were posted. Nothing is ever dropped: where there is no room the sender
// waits.
//
// Needs the EAL. No locks, no system calls.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CROSSING_WORKERS_MAX 16

enum crossing_run {
	CROSSING_DONE,	// it goes back
	CROSSING_KEPT,	// the receiver gives it back later, with crossing_return()
	CROSSING_LATER, // not now: nothing has happened, it runs again, and before what follows it
};

struct crossing_message {
	// On the receiver's thread; `receiver` is what it gave to crossing_run().
	enum crossing_run (*run)(struct crossing_message *message, void *receiver);
	// On the sender's thread again, likewise.
	void (*back)(struct crossing_message *message, void *sender);
	uint16_t from, to; // set by crossing_post()
};

struct crossing;

// `slots` messages of each pair may be under way. Names the rings after `name`, which is unique in
// the process. Main thread. -ENOMEM.
int crossing_create(
	const char *name, unsigned workers, unsigned slots, struct crossing **ret_crossing);
void crossing_destroy(struct crossing *crossing); // accepts NULL

// The sender: has it room for one more message to `to`?
bool crossing_has_room(const struct crossing *crossing, unsigned from, unsigned to);
// The sender; there must be room.
void crossing_post(
	struct crossing *crossing, unsigned from, unsigned to, struct crossing_message *message);
// The receiver: gives back what it kept.
void crossing_return(struct crossing *crossing, struct crossing_message *message);

// What has been posted to the worker by now, as it can tell.
struct crossing_point {
	uint64_t run[CROSSING_WORKERS_MAX]; // of each other worker
};
void crossing_point(
	const struct crossing *crossing, unsigned self, struct crossing_point *ret_point);
// All of that has run.
bool crossing_passed(
	const struct crossing *crossing, unsigned self, const struct crossing_point *point);

// The worker has dealt with all that had come in when its turn began.
void crossing_turned(struct crossing *crossing, unsigned self, uint64_t began_us);
// All others have dealt with what had come in by then.
bool crossing_all_turned(const struct crossing *crossing, unsigned self, uint64_t since_us);

// How many messages wait for the worker, an estimate from below.
unsigned crossing_waiting(const struct crossing *crossing, unsigned self);
// Runs at most `max` messages of each other worker, and takes back those of its own that have
// returned. Returns how many there were of both kinds.
unsigned crossing_run(struct crossing *crossing, unsigned self, void *worker, unsigned max);
