// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A worker: one core, its queue on every port (or, where a port has too few, a share of
// another's), its pools, its connections. Made on the main thread, runs to completion on
// its own core, shares nothing: what concerns another worker goes there by rings. The
// one place that joins port, net, tcp, offload and attach.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "channel/abi.h"
#include "control/control.h"
#include "daemon/pools.h"
#include "net/net_if.h"
#include "offload/config.h"

struct config;
struct monitor_record;
struct net;
struct port;
struct sockets;
struct steering;
struct worker;

// Read by the worker once a turn.
enum worker_order {
	WORKER_RUN,
	WORKER_DRAIN, // refuse new clients, deliver what is owed, end connections; then run on, for
		      // the others
	WORKER_STOP,
};

struct worker_setup {
	const struct config *config;
	unsigned index;
	uint64_t seed;		   // of its random numbers
	struct port *const *ports; // the configuration's; closed after worker_end()
	struct worker_pools pools;
	struct steering *steering;	   // NULL: the only worker
	struct offload_peers_config peers; // the same for all but `self`, which is set here
	uint8_t secret[16];		   // of TCP's initial sequence numbers: one for all workers
	// Monitor mode: what an earlier run has left, of all workers; read by worker_create().
	const struct monitor_record *flows_left;
	uint32_t flows_left_count;
};

// Logs what is missing.
int worker_create(const struct worker_setup *setup, struct worker **ret_worker);
// Monitor mode, before the worker runs: where it writes what the next run has to know of its
// connections, config_flows_max() of them.
void worker_keep_flows(struct worker *worker, struct monitor_record *records);
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
// After WORKER_DRAIN: nothing is owed to anybody any more, and all has been said.
bool worker_drained(const struct worker *worker);

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
// Runs on the worker, which is waited for. -EAGAIN, -ETIMEDOUT: it did not, and never will.
struct mailbox_message;
int worker_call(struct worker *worker, struct mailbox_message *message);
#define WORKER_OF_DATAGRAMS CHANNEL_LANE_OF_DATAGRAMS // has the datagram sockets of all processes
// Socket mode, else NULL; what it is told, it is told by worker_call().
struct sockets *worker_sockets(struct worker *worker);
// Before the worker runs, and after it has stopped.
struct offload *worker_offload(struct worker *worker);
