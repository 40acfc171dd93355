// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Connections. Under the shim's lock; what waits lets it go meanwhile.

#pragma once

#include <sys/uio.h>

#include "shim/object.h"

struct shim;

// A stream of an arrival, without a descriptor yet. NULL: no memory.
struct stream *stream_create(const struct arrival *arrival, int family);
// One that connect() makes; its slot begins later, with what the lane has come to know of it.
struct stream *stream_create_outgoing(uint32_t number, int family);
void stream_begin(struct stream *stream, unsigned lane, uint32_t slot);
bool stream_is_connecting(struct stream *stream);
// And when it is not any more: with success, and nothing has happened since?
bool stream_stands(struct stream *stream);
void stream_close(struct stream *stream);
void stream_destroy(struct stream *stream);
// The daemon is gone.
void stream_die(struct stream *stream, int error);

// As recvmsg() and sendmsg() on the octets alone: how many, or -errno.
ssize_t stream_receive(struct stream *stream, const struct iovec *iov, int count, int flags);
ssize_t stream_send(struct stream *stream, const struct iovec *iov, int count, int flags);
int stream_shutdown(struct stream *stream, int how); // -errno
uint32_t stream_events(struct stream *stream);	     // EPOLL…
int stream_take_error(struct stream *stream);	     // SO_ERROR
uint32_t stream_readable(struct stream *stream);     // FIONREAD
uint32_t stream_unsent(struct stream *stream);	     // SIOCOUTQ
// Wants to hear when there is room to write again.
void stream_want_room(struct stream *stream);
