// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Listening sockets. Under the shim's lock.

#pragma once

#include "shim/object.h"

struct shim;

// listen() on a bound socket of the kernel's: true when it is Offramp's now (also when the daemon
// is away: then the kernel listens until it is back). *ret_error: what listen() reports.
bool listener_listen(int fd, int backlog, int *ret_error);
// listen() again.
int listener_again(struct listener *listener, int backlog);
// SO_REUSEADDR of the kernel's socket: off while it listens here, so that nobody else is let in.
void listener_reuse(struct listener *listener, bool reuse);
// The application looks for connections, from now on or not any more.
void listener_accepts(struct listener *listener, bool accepts);
// Who is first in the queue; NULL: nobody.
struct arrival *listener_first(struct listener *listener);
void listener_arrived(struct shim *shim, unsigned lane, uint32_t slot);
// The kernel takes over, the daemon takes over again.
void listener_fall(struct listener *listener);
// False: the daemon does not answer; later, then.
bool listener_rise(struct shim *shim, struct listener *listener);
uint32_t listener_events(struct listener *listener); // EPOLLIN
void listener_close(struct listener *listener);
void listener_destroy(struct listener *listener);
// In a child: its own attachment takes them up when they are used.
void listener_inherit(struct listener *listener);
