// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker thread: one epoll loop over its share of the clients. Opens their
// connections at the pace asked for, issues messages when they are due, receives.

#pragma once

#include "bench/stats.h"
#include "bench/stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bench;
struct bench_publisher;
struct bench_subscriber;

struct bench_worker {
	struct bench *bench;
	unsigned index; // owns clients index, index + workers, index + 2 * workers, …
	pthread_t thread;
	int epoll_fd, wake_fd;

	uint64_t now_us;	    // when the bytes or the turn being worked on arrived
	int phase;		    // the phase this thread is in
	_Atomic int phase_seen;	    // the same, for the controller
	struct bench_buffer buffer; // receive buffer of all connections
	uint8_t *message;	    // the message being issued

	// Opening connections.
	uint32_t open_next;    // next client of the phase's role to open
	uint32_t open_pending; // opened and not ready yet
	uint64_t open_us;      // when the phase began (pacing)

	// BENCH_PACE_RATE: message `due_round` of publisher `due_next` is the next to become due.
	uint64_t due_round;
	uint32_t due_next;

	_Atomic(struct bench_publisher *) credits; // publishers that may go on, any thread pushes
	uint64_t tick_us;			   // next housekeeping

	struct bench_stats stats;
	_Atomic bool failed; // set once failure is written
	char failure[240];   // why the run cannot go on
	char loss[240];	     // the first connection lost in a run
};

// Starts the thread in BENCH_PHASE_IDLE. -errno.
int bench_worker_start(struct bench_worker *worker, struct bench *bench, unsigned index);
// Waits for a thread that was told to stop, and frees what it had.
void bench_worker_join(struct bench_worker *worker);
// Any thread: look at the phase, or at the credits.
void bench_worker_wake(struct bench_worker *worker);
// Any thread: a message of the publisher reached everybody.
void bench_worker_credit(struct bench_publisher *publisher, const struct bench_worker *by);
// The worker's own thread: the controller should look.
void bench_worker_notify(struct bench_worker *worker);
// The worker's own thread: the run cannot go on; the first reason is kept.
void bench_worker_fail(struct bench_worker *worker, const char *text);
