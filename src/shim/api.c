// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The library's names for what the shim exports under the C library's. In this library those are
// local: a program that links it keeps its own read() and write().

#include <fcntl.h>
#include <unistd.h>

#include "shim/answer.h"
#include "shim/offramp.h"

EXPORT int offramp_socket(int family, int type, int protocol)
{
	return socket(family, type, protocol);
}

EXPORT int offramp_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	return bind(fd, address, length);
}

EXPORT int offramp_listen(int fd, int backlog)
{
	return listen(fd, backlog);
}

EXPORT int offramp_accept(int fd, struct sockaddr *ret_address, socklen_t *length, int flags)
{
	return accept4(fd, ret_address, length, flags);
}

EXPORT int offramp_shutdown(int fd, int how)
{
	return shutdown(fd, how);
}

EXPORT int offramp_close(int fd)
{
	return close(fd);
}

EXPORT ssize_t offramp_recv(int fd, void *data, size_t length, int flags)
{
	return recv(fd, data, length, flags);
}

EXPORT ssize_t offramp_readv(int fd, const struct iovec *iov, int count)
{
	return readv(fd, iov, count);
}

EXPORT ssize_t offramp_send(int fd, const void *data, size_t length, int flags)
{
	return send(fd, data, length, flags);
}

EXPORT ssize_t offramp_writev(int fd, const struct iovec *iov, int count)
{
	return writev(fd, iov, count);
}

EXPORT int offramp_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length)
{
	return getsockname(fd, ret_address, length);
}

EXPORT int offramp_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length)
{
	return getpeername(fd, ret_address, length);
}

EXPORT int offramp_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *length)
{
	return getsockopt(fd, level, name, ret_value, length);
}

EXPORT int offramp_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	return setsockopt(fd, level, name, value, length);
}

EXPORT int offramp_set_nonblocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

EXPORT int offramp_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return poll(fds, count, timeout_ms);
}

EXPORT int offramp_epoll_create(int flags)
{
	return epoll_create1(flags);
}

EXPORT int offramp_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return epoll_ctl(epfd, op, fd, event);
}

EXPORT int offramp_epoll_wait(int epfd, struct epoll_event *ret_events, int max, int timeout_ms)
{
	return epoll_wait(epfd, ret_events, max, timeout_ms);
}
