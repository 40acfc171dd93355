// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who is at the door, and how far they have come. Internal to the door; its thread only.
//
//   at the shared memory's socket    hello ─ welcome with memory ─ attached
//   at a stream socket               hello ─ welcome with a ticket ─ a connection for each lane,
//                                    which begins with join ─ done ─ attached

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/message.h"
#include "channel/shared.h"
#include "daemon/visitor.h"

struct sockets;

enum visitor_state {
	VISITOR_NEW,	  // has not said hello, or what it wants
	VISITOR_JOINING,  // its lanes' connections are awaited
	VISITOR_ATTACHED, // has lanes
	VISITOR_LEAVING,  // has hung up; what its lanes' connections carry still is awaited
	VISITOR_SURVIVED, // has ended; children hold its end of the socket, and listen by that
};

struct visitor_lane {
	struct lane *lane;
	struct sockets *sockets;
	int number;	// the worker's
	int connection; // JOINING, over a stream; -1: it has not come
};

struct visitor {
	int fd;				// -1: nobody
	const struct config_door *door; // NULL: shared memory
	enum visitor_state state;
	uint64_t until_us; // but for ATTACHED and SURVIVED: no longer
	int pidfd;
	int wake; // shared memory: a counter
	uint32_t pid;
	char name[CHANNEL_NAME_MAX + 1];
	uint8_t *memory; // shared memory
	size_t bytes;
	uint8_t ticket[CHANNEL_TICKET];
	uint8_t greeting[CHANNEL_MESSAGE_MAX]; // over a stream: what has come of it
	uint32_t greeted;
	unsigned lanes_count; // that workers have
	struct visitor_lane *lanes;
	unsigned place; // of its first entry in what is polled
};

struct visitors {
	const struct config *config;
	struct worker *const *workers;
	uint64_t epoch;
	size_t lane_bytes;
	struct shared_geometry geometry;
	struct visitor all[VISITORS_MAX];
};

// --- lanes (visitor_lanes.c) ---------------------------------------------------------------------

// A memory with a lane for each worker, which have them: a descriptor of it, and one that becomes
// readable when something is new. 0, or a negative errno.
int visitor_give_memory(struct visitors *visitors, struct visitor *visitor, int ret_fds[2]);
// The lanes' connections are here: workers have them. 0, or a negative errno.
int visitor_give_connections(struct visitors *visitors, struct visitor *visitor);
void visitor_take_lanes(struct visitors *visitors, struct visitor *visitor);
// The process has ended, its listening sockets have not.
void visitor_bequeath(struct visitors *visitors, struct visitor *visitor);
// -ENOMEM.
int visitor_make_lanes(const struct visitors *visitors, struct visitor *visitor);
bool visitor_is_broken(const struct visitor *visitor);
// A lane has ended; all of them have.
bool visitor_is_gone(const struct visitor *visitor, bool all);

// --- ICMP sockets (visitor_echo.c) ---------------------------------------------------------------

// Nothing but a request for an ICMP socket comes after the hello, over shared memory alone. False:
// it has gone, or speaks nonsense.
bool visitor_serve(struct visitors *visitors, struct visitor *visitor);

// --- greeting (visitor_greeting.c) ---------------------------------------------------------------

// Something has come from somebody new. False: it is to be shown out.
bool visitor_greet(struct visitors *visitors, struct visitor *visitor, uint64_t now_us);
