// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The parts of a running daemon, from start to end. All of it is the main thread's.

#pragma once

#include <signal.h>
#include <stdbool.h>

#include "base/crossing.h"
#include "control/config.h"
#include "control/control.h"
#include "daemon/door.h"
#include "daemon/flows_file.h"
#include "daemon/memory.h"
#include "daemon/pools.h"
#include "daemon/steering.h"
#include "daemon/watch.h"
#include "daemon/worker.h"

struct ledger;
struct port;

struct daemon {
	const char *file;
	bool test_config;
	struct config *config;
	struct memory *memory;
	struct flows_file *flows; // NULL: not monitor mode
	struct ledger *ledger;	  // what an earlier run owed; NULL: nothing
	struct port **ports;
	struct worker_pools *pools; // one a worker, as all that follows
	struct worker **workers;
	struct control_worker *control_workers;
	struct steering *steering; // NULL: one worker
	struct crossing *changes, *parcels;
	struct control_source source;
	struct control *control;
	struct door *door; // NULL: not socket mode
	struct watch *watch;
	sigset_t signals;
	bool eal;
	unsigned running; // workers
};

// Makes everything that the configuration asks for. Negative errno after one logged line; what is
// there then, daemon_stop() ends.
int daemon_start(struct daemon *daemon);
// An orderly stop begins: what is owed to clients is delivered, for some seconds, or until another
// signal comes.
void daemon_drain(struct daemon *daemon);
void daemon_stop(struct daemon *daemon);

// --- its workers (crew.c) ------------------------------------------------------------------------

// Once there are pools. They take up what an earlier run has left behind.
int crew_start(struct daemon *daemon);
void crew_order(struct daemon *daemon, enum worker_order order);
// Nothing is owed to a client any more.
bool crew_drained(const struct daemon *daemon);
// They end what they do; what they leave behind is written down.
void crew_stop(struct daemon *daemon);
