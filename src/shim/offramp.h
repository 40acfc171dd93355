// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sockets that live in offrampd, for programs that ask for them by name: what the shim puts in
// front of the C library, under names of its own. Link with -lofframp (pkg-config offramp). Each
// call does and returns what the one without the prefix does on Linux, errno included; descriptors
// of the kernel's are dealt with by the kernel, so one epoll or poll may hold both. All calls on a
// descriptor of Offramp's must be these. docs/shim.md lists what is different.
//
// The daemon is found at OFFRAMP_CHANNEL, or /run/offramp/channel.sock. A socket becomes Offramp's
// at offramp_listen(), when it is bound to an address of the daemon's configuration; without a
// daemon the kernel listens until there is one.

#pragma once

#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

// A socket, of the kernel's at first.
int offramp_socket(int family, int type, int protocol);
// Addresses that only Offramp has can be bound, too.
int offramp_bind(int fd, const struct sockaddr *address, socklen_t length);
int offramp_listen(int fd, int backlog);
// `flags`: SOCK_NONBLOCK, SOCK_CLOEXEC.
int offramp_accept(int fd, struct sockaddr *ret_address, socklen_t *length, int flags);
int offramp_shutdown(int fd, int how);
int offramp_close(int fd);

ssize_t offramp_recv(int fd, void *data, size_t length, int flags);
ssize_t offramp_readv(int fd, const struct iovec *iov, int count);
ssize_t offramp_send(int fd, const void *data, size_t length, int flags);
ssize_t offramp_writev(int fd, const struct iovec *iov, int count);

int offramp_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length);
int offramp_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length);
int offramp_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *length);
int offramp_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
// F_SETFL with O_NONBLOCK.
int offramp_set_nonblocking(int fd, int on);

int offramp_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int offramp_epoll_create(int flags);
int offramp_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int offramp_epoll_wait(int epfd, struct epoll_event *ret_events, int max, int timeout_ms);

#ifdef __cplusplus
}
#endif
