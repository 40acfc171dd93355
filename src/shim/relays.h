// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The lender's side (loans.h): a thread that carries octets between a pair of the kernel's and a
// lane, as a program would that has accepted the connection. Under the shim's lock, but for the
// thread.

#pragma once

#include <stdbool.h>

struct heir;
struct shim;
struct stream;

// The thread is there, and looks at what is new for it.
void relays_start(struct shim *shim);
// In a child: these are its parent's.
void relays_forget(struct shim *shim);
// The borrower's end of the pair; -1: no descriptors, no memory. `heir`: for whom, or NULL.
int relay_lend(struct shim *shim, struct stream *stream, const struct heir *heir);
// Is it one of a relay's?
bool relay_has(const struct shim *shim, int fd);
// The borrower's: takes the lender's answer. False: it is gone. -1: it has no such connection.
bool relay_receive(int control, int *ret_fd);
