// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker: one core, its queue on every port, its pools, its connections. Made on the
// main thread, runs to completion on its own core, shares nothing. The one place
// that joins port, net, tcp, offload and attach.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/control.h"
#include "daemon/pools.h"
#include "net/net_if.h"
#include "offload/config.h"

struct config;
struct net;
struct port;
struct worker;

// Read by the worker once a turn.
enum worker_order {
	WORKER_RUN,
	WORKER_DRAIN, // refuse new clients, deliver what is owed, end connections, then stop
	WORKER_STOP,
};

// `ports[i]` is the configuration's port i; they are closed after worker_end(). Logs what is
// missing.
int worker_create(const struct config *config, unsigned index, struct port *const *ports,
	const struct worker_pools *pools, struct worker **ret_worker);
// Must have stopped. Accepts NULL.
void worker_destroy(struct worker *worker);
// Before that, once the worker runs no more: ends its connections, loudly, and everything that
// sends. Frames that ports hold then may still refer to the worker's memory: ports are closed in
// between. Accepts NULL.
void worker_end(struct worker *worker);

// Runs on its core until it is told to stop. Returns 0.
int worker_run(void *worker);
// Any thread.
void worker_order(struct worker *worker, enum worker_order order);
bool worker_stopped(const struct worker *worker);

// What control sees of it.
void worker_control(struct worker *worker, struct control_worker *ret_control);

// For the main thread's look once a second; runs on the worker through its mailbox.
struct worker_report {
	bool conflict; // somebody else claims an address of ours
	char conflict_text[96];
	struct offload_broker_status *brokers; // room for one a broker
	unsigned brokers_count;
};
int worker_report(struct worker *worker, struct worker_report *ret_report);
// Before the worker runs, and after it has stopped.
struct offload *worker_offload(struct worker *worker);
