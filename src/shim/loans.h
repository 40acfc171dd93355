// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Connections in other processes. The lanes are those of the process that has accepted; to a child,
// or to whom a descriptor is sent, it lends a connection: there the descriptor becomes one end of a
// pair of the kernel's, and a thread of the lender's carries octets between the other end and the
// lane (relays.c). From then on the kernel counts who has it: copies, further children and other
// programs included.
//
//   child: a call on the descriptor ── TAKE ──▶ lender     at fork(): the child may take any
//                       ◀── a descriptor ──                connection that there is
//          close() without that ── RELEASE ──▶
//          shutdown() ── SHUT ──▶                     which the pair alone cannot tell from close()
//
// An heir is a child, as its parent sees it: it holds all connections that it may still take. Under
// the shim's lock.

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"

struct borrowed;
struct shim;
struct stream;

enum loan_request_kind { LOAN_TAKE, LOAN_RELEASE, LOAN_SHUT };

// From a child. `stream` is an address that means something to the parent only.
struct loan_request {
	uint32_t kind;
	uint32_t reserved;
	uint64_t stream;
};

struct heir {
	struct list link;
	int control; // to the child; hangs up when that ends, or becomes another program
	unsigned count;
	struct stream *streams[]; // each with a reference; NULL: taken or released
};

void loans_before_fork(struct shim *shim);
void loans_in_parent(struct shim *shim);
void loans_in_child(struct shim *shim);

// The child uses a connection: its descriptors become the kernel's, or, where the lender is gone,
// those of a connection that was reset.
void loan_take(struct shim *shim, struct stream *stream);
// It has closed it without having used it.
void loan_release(struct shim *shim, const struct stream *stream);

// It has shut its half of one that it has taken.
void loan_shut(struct shim *shim, const struct borrowed *borrowed);
// For calls that cannot be stood in front of: a connection becomes one that this process borrows
// from itself. Without the lock.
void loan_to_self(int fd);
// sendmsg() of the kernel's: connections among the descriptors that it sends are lent.
ssize_t loan_sendmsg(int fd, const struct msghdr *message, int flags);
