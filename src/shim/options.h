// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Socket options. The kernel's socket behind a descriptor remembers them all; what means something
// for a connection of Offramp's is carried there, too. Under the shim's lock.

#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct borrowed;
struct listener;
struct object;
struct stream;

// After the kernel has taken it.
void option_set(struct object *object, int level, int name, const void *value, socklen_t length);
// False: the kernel's socket knows.
bool option_get(struct object *object, int level, int name, void *value, socklen_t *length);
// What an accepted socket has from its listener.
// What the application has set on its socket counts from now on. `fresh`: as a new one has it.
void options_take(struct stream *stream, int fd, int fresh);
void options_inherit(struct listener *listener, struct stream *stream, int fd);
// bind() to an address that only Offramp has?
bool bind_is_ours(const struct sockaddr *address, socklen_t length);
// A connection that is borrowed: 0, or -errno.
int borrowed_set(const struct borrowed *borrowed, int fd, int level, int name, const void *value,
	socklen_t length);
int borrowed_get(const struct borrowed *borrowed, int fd, int level, int name, void *value,
	socklen_t *length);
