// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sockets as such: bind, listen, accept, shutdown, their names, their options.

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/addresses.h"
#include "shim/answer.h"
#include "shim/dgrams.h"
#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/loans.h"
#include "shim/options.h"
#include "shim/outgoing.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"

// --- beginning -----------------------------------------------------------------------------------

// Datagram sockets are known from the beginning: a program may wait for them before it uses them.
EXPORT int socket(int family, int type, int protocol)
{
	int fd = libc_get()->socket(family, type, protocol);

	if (fd >= 0)
		dgram_create(fd, family, type, protocol);
	return fd;
}

// --- listening -----------------------------------------------------------------------------------

// An address of Offramp's need not be the kernel's.
EXPORT int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	const struct libc *libc = libc_get();
	struct object *object = object_get(fd);
	int rc = -EINVAL, one = 1; // what is ours already has its address

	if (object != NULL) {
		if (dgram_of(object) != NULL)
			rc = dgram_bind(dgram_of(object), address, length);
		object_put(object);
		return (int)answer(rc);
	}
	rc = libc->bind(fd, address, length);
	if (rc == 0 || errno != EADDRNOTAVAIL)
		return rc;
	if (!(bind_is_ours(address, length) || outgoing_binds(fd, address, length)) ||
		libc->setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
		return (int)answer(-EADDRNOTAVAIL);
	return libc->bind(fd, address, length);
}

EXPORT int listen(int fd, int backlog)
{
	struct object *object = object_get(fd);
	int error = 0;
	bool ours;

	if (object != NULL && dgram_of(object) != NULL) {
		object_put(object);
		return libc_get()->listen(fd, backlog);
	}
	if (object != NULL) {
		error = listener_of(object) != NULL ? listener_again(listener_of(object), backlog)
						    : -EINVAL;
		object_put(object);
		return (int)answer(error);
	}
	if (!shim_lock())
		return libc_get()->listen(fd, backlog);
	ours = listener_listen(fd, backlog, &error);
	shim_unlock();
	return ours ? (int)answer(-error) : libc_get()->listen(fd, backlog);
}

// --- accepting -----------------------------------------------------------------------------------

static int kernel_socket(const struct listener *listener, int flags)
{
	int fd = libc_get()->socket(
		listener->family, SOCK_STREAM | (flags & (SOCK_CLOEXEC | SOCK_NONBLOCK)), 0);

	return fd < 0 ? -errno : fd;
}

// The first of the queue becomes a descriptor.
static int accept_first(
	struct listener *listener, int flags, struct sockaddr *ret_address, socklen_t *length)
{
	struct arrival *arrival = listener_first(listener);
	struct stream *stream;
	int fd = kernel_socket(listener, flags), rc;

	if (fd < 0)
		return fd;
	stream = stream_create(arrival, listener->family);
	if (stream == NULL || !object_bind(&stream->object, fd)) {
		libc_get()->close(fd);
		return -ENOMEM;
	}
	list_remove(&arrival->link);
	free(arrival);
	stream->object.nonblocking = (flags & SOCK_NONBLOCK) != 0;
	options_inherit(listener, stream, fd);
	rc = ret_address != NULL
		     ? address_give(&stream->remote, stream->family, ret_address, length)
		     : 0;
	if (rc < 0) { // and the connection is lost, as in the kernel
		object_unbind(&stream->object, fd);
		libc_get()->close(fd);
		return rc;
	}
	return fd;
}

static int accept_ours(
	struct listener *listener, int flags, struct sockaddr *ret_address, socklen_t *length)
{
	int64_t until_us = listener->timeout_us > 0 ? wait_now_us() + listener->timeout_us : -1;
	struct shim *shim = shim_get();
	int error = 0;

	listener_accepts(listener, true);
	for (;;) {
		int64_t left_us = until_us < 0 ? -1 : until_us - wait_now_us();

		news_drain(shim);
		if (!listener->offloaded)
			return -EOPNOTSUPP; // the kernel's turn
		if (listener_first(listener) != NULL)
			return accept_first(listener, flags, ret_address, length);
		if (listener->closed)
			return -EINVAL;
		if (listener->object.nonblocking || (until_us >= 0 && left_us <= 0))
			return -EAGAIN;
		if (error == EINTR)
			return -EINTR;
		error = wait_news(shim, left_us, &listener->object);
	}
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	struct object *object = object_get(fd);
	struct listener *listener;
	int rc;

	if (object != NULL && dgram_of(object) != NULL) {
		object_put(object);
		object = NULL;
	}
	if (object == NULL)
		return libc_get()->accept4(fd, address, length, flags);
	listener = listener_of(object);
	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		rc = -EINVAL;
	else
		rc = listener != NULL ? accept_ours(listener, flags, address, length) : -EINVAL;
	object_put(object);
	if (rc == -EOPNOTSUPP)
		return libc_get()->accept4(fd, address, length, flags);
	return (int)answer(rc);
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *length)
{
	return accept4(fd, address, length, 0);
}

// --- names, ends ---------------------------------------------------------------------------------

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	struct object *object = object_get(fd);
	int rc = -EISCONN;

	if (object == NULL) {
		if (object_is_busy(fd))
			return (int)answer(-EALREADY);
		if (outgoing_connect(fd, address, length, &rc))
			return (int)answer(rc);
		return libc_get()->connect(fd, address, length);
	}
	if (dgram_of(object) != NULL)
		rc = dgram_connect(dgram_of(object), address, length);
	else if (stream_of(object) != NULL)
		rc = outgoing_again(stream_of(object), address, length);
	object_put(object);
	return (int)answer(rc);
}

EXPORT int getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
	struct object *object = object_get_any(fd);
	struct stream *stream;
	int rc;

	if (object == NULL)
		return libc_get()->getpeername(fd, address, length);
	stream = stream_of(object);
	if (dgram_of(object) != NULL)
		rc = dgram_name(dgram_of(object), true, address, length);
	else if (borrowed_of(object) != NULL)
		rc = address_give(
			&borrowed_of(object)->remote, borrowed_of(object)->family, address, length);
	else if (stream == NULL || stream_is_connecting(stream) ||
		 (stream_events(stream) & EPOLLHUP))
		rc = -ENOTCONN;
	else
		rc = address_give(&stream->remote, stream->family, address, length);
	object_put(object);
	return (int)answer(rc);
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
	struct object *object = object_get_any(fd);
	struct stream *stream;
	int rc = 0;

	if (object == NULL)
		return libc_get()->getsockname(fd, address, length);
	stream = stream_of(object);
	if (stream != NULL)
		rc = address_give(&stream->local, stream->family, address, length);
	else if (borrowed_of(object) != NULL)
		rc = address_give(
			&borrowed_of(object)->local, borrowed_of(object)->family, address, length);
	else if (dgram_of(object) != NULL)
		rc = dgram_name(dgram_of(object), false, address, length);
	else
		rc = libc_get()->getsockname(fd, address, length) < 0 ? -errno : 0;
	object_put(object);
	return (int)answer(rc);
}

EXPORT int shutdown(int fd, int how)
{
	struct object *object = object_get_any(fd);
	struct listener *listener;
	int rc = 0;

	if (object == NULL)
		return libc_get()->shutdown(fd, how);
	if (borrowed_of(object) != NULL) {
		if (how != SHUT_RD)
			loan_shut(shim_get(), borrowed_of(object));
		object_put(object);
		return libc_get()->shutdown(fd, how);
	}
	listener = listener_of(object);
	if (stream_of(object) != NULL)
		rc = stream_shutdown(stream_of(object), how);
	else if (listener != NULL && !listener->offloaded)
		rc = libc_get()->shutdown(fd, how) < 0 ? -errno : 0;
	else if (dgram_of(object) != NULL)
		rc = dgram_shutdown(dgram_of(object), how);
	else if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		rc = -EINVAL;
	else if (listener != NULL && how == SHUT_WR)
		rc = 0;
	else if (listener != NULL) {
		listener_reuse(listener, listener->reuses);
		listener_close(listener);
	}
	object_put(object);
	return (int)answer(rc);
}

// --- options -------------------------------------------------------------------------------------

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	struct object *object = object_get_any(fd);
	int rc;

	if (object != NULL && borrowed_of(object) != NULL) {
		rc = borrowed_set(borrowed_of(object), fd, level, name, value, length);
		object_put(object);
		return (int)answer(rc);
	}
	if (object != NULL && dgram_of(object) != NULL &&
		dgram_option_refused(dgram_of(object), level, name)) {
		object_put(object);
		return (int)answer(-ENOPROTOOPT);
	}
	rc = libc_get()->setsockopt(fd, level, name, value, length);
	if (object == NULL)
		return rc;
	if (rc == 0)
		option_set(object, level, name, value, length);
	object_put(object);
	return rc;
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	struct object *object = object_get_any(fd);
	bool known;
	int rc;

	if (object == NULL)
		return libc_get()->getsockopt(fd, level, name, value, length);
	if (borrowed_of(object) != NULL) {
		rc = borrowed_get(borrowed_of(object), fd, level, name, value, length);
		object_put(object);
		return (int)answer(rc);
	}
	known = option_get(object, level, name, value, length);
	object_put(object);
	return known ? 0 : libc_get()->getsockopt(fd, level, name, value, length);
}
