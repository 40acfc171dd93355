// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The control side: a gRPC server (services.c lists what it serves) on threads of its
// own, off the workers' cores. It reads counters directly (they have single writers) and asks
// workers through their mailboxes. Nothing here is on a packet's way.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"

struct config;
struct control;
struct mailbox;
struct offload;
struct port;

// One worker as control sees it. Everything lives until control_stop() has returned.
struct control_worker {
	struct mailbox *mailbox;
	struct offload *offload;	// touched only by messages that run on the worker
	const struct counter_set *sets; // the worker's counters, of all floors
	unsigned sets_count;
	const uint64_t *busy_permille; // of the latest second; as counters are read
};

struct control_source {
	const struct config *config;
	uint64_t started_us; // clock_now_us() at start
	struct port *const *ports;
	unsigned ports_count;
	struct control_worker *workers;
	unsigned workers_count;
	void (*drain)(void *ctx); // asks the daemon for an orderly stop; any thread
	void *ctx;
};

// Starts the server on config's control socket and endpoints. Threads it starts inherit the
// caller's CPU affinity and signal mask: set both before. Negative errno after one logged line.
int control_start(const struct control_source *source, struct control **ret_control);
// The configuration was read again: endpoints show the certificates that are there now. What cannot
// be taken over is logged. Any thread.
void control_reload(struct control *control, const struct config *config);
// An orderly stop has begun: who asks for the daemon's health is told so. Any thread.
void control_draining(struct control *control);
// Ends calls under way, joins threads, removes the sockets. Accepts NULL.
void control_stop(struct control *control);
// After control_stop(), when no worker runs any more: frees what they were given. Accepts NULL.
void control_destroy(struct control *control);
