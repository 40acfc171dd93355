// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// connect(): to where the daemon's configuration says so (socket.connect) a TCP socket's connection
// is Offramp's, to everywhere else the kernel's. A socket whose connection did not come about is
// the kernel's again, as it was.

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct lane_slot;
struct shim;
struct stream;

// False: the kernel's. Else *ret_rc is 0 or -errno. Takes the lock.
bool outgoing_connect(int fd, const struct sockaddr *address, socklen_t length, int *ret_rc);
// A socket that is Offramp's, once more, as connect(): 0, or -errno.
int outgoing_again(struct stream *stream, const struct sockaddr *address, socklen_t length);
// It becomes the kernel's, unconnected.
void outgoing_disconnect(struct stream *stream);
// Takes a slot that has begun, if it is one of these.
bool outgoing_begun(struct shim *shim, unsigned lane, uint32_t slot, const struct lane_slot *state);
// An address of Offramp's that connections are made from. Takes the lock.
bool outgoing_binds(int fd, const struct sockaddr *address, socklen_t length);
