// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Descriptors as such: close, dup and their kin, fcntl, ioctl.

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/answer.h"
#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"

// --- closing -------------------------------------------------------------------------------------

static void forget(int fd)
{
	struct object *object = object_get_to_close(fd);

	if (object == NULL)
		return;
	object_unbind(object, fd);
	object_put(object);
}

EXPORT int close(int fd)
{
	forget(fd);
	return libc_get()->close(fd);
}

// libuv, and with it Node.js, closes this way, so as not to be cancelled. A call has at most six
// arguments; what was not given is not looked at.
EXPORT long syscall(long number, ...)
{
	va_list arguments;
	long a[6];

	va_start(arguments, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_close)
		return close((int)a[0]);
	return libc_get()->syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	bool closes = first <= last && (flags & ~CLOSE_RANGE_UNSHARE) == 0;

	if (closes)
		for (int fd = table_next((int)first - 1); fd >= 0 && (unsigned)fd <= last;
			fd = table_next(fd))
			forget(fd);
	if (libc_get()->close_range == NULL)
		return (int)answer(-ENOSYS);
	return libc_get()->close_range(first, last, flags);
}

EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}

// --- copies ---------------------------------------------------------------------------------

// A second descriptor of the same object.
static int duplicate(struct object *object, int fd)
{
	if (fd >= 0 && !object_bind(object, fd)) {
		libc_get()->close(fd);
		fd = -1;
		errno = ENOMEM;
	}
	return fd;
}

EXPORT int dup(int fd)
{
	struct object *object = object_get_any(fd);
	int copy = libc_get()->dup(fd);

	if (object == NULL)
		return copy;
	copy = duplicate(object, copy);
	object_put(object);
	return copy;
}

static int dup_to(int fd, int to, int flags, bool three)
{
	const struct libc *libc = libc_get();
	struct object *object;
	int rc;

	if (fd != to && libc->fcntl(fd, F_GETFD) >= 0)
		forget(to);
	object = object_get_any(fd);
	rc = three ? libc->dup3(fd, to, flags) : libc->dup2(fd, to);
	if (object == NULL)
		return rc;
	if (rc >= 0 && fd != to)
		rc = duplicate(object, rc);
	object_put(object);
	return rc;
}

EXPORT int dup2(int fd, int to)
{
	return dup_to(fd, to, 0, false);
}

EXPORT int dup3(int fd, int to, int flags)
{
	return dup_to(fd, to, flags, true);
}

static int fcntl_ours(struct object *object, int fd, int command, void *argument)
{
	int rc = libc_get()->fcntl(fd, command, argument);

	if (rc < 0)
		return rc;
	if (command == F_SETFL)
		object->nonblocking = ((intptr_t)argument & O_NONBLOCK) != 0;
	else if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		rc = duplicate(object, rc);
	return rc;
}

static int fcntl_any(int fd, int command, void *argument)
{
	struct object *object = object_get_any(fd);
	int rc;

	if (object == NULL)
		return libc_get()->fcntl(fd, command, argument);
	rc = fcntl_ours(object, fd, command, argument);
	object_put(object);
	return rc;
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return fcntl_any(fd, command, argument);
}

EXPORT int fcntl64(int fd, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return fcntl_any(fd, command, argument);
}

// A listener has no octets, and the kernel's socket behind it does not know that it is one.
static int ioctl_listener(int fd, unsigned long request, void *argument)
{
	if (request == FIONREAD || request == TIOCOUTQ)
		return (int)answer(-EINVAL);
	return libc_get()->ioctl(fd, request, argument);
}

static int ioctl_stream(struct stream *stream, int fd, unsigned long request, void *argument)
{
	switch (request) {
	case FIONREAD:
		*(int *)argument = (int)stream_readable(stream);
		return 0;
	case TIOCOUTQ:
		*(int *)argument = (int)stream_unsent(stream);
		return 0;
	default:
		return libc_get()->ioctl(fd, request, argument);
	}
}

static int ioctl_dgram(struct dgram *dgram, int fd, unsigned long request, void *argument)
{
	if (request == FIONREAD && dgram_readable(dgram, argument))
		return 0;
	return libc_get()->ioctl(fd, request, argument);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct object *object = object_get(fd);
	va_list arguments;
	void *argument;
	int rc;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (object == NULL)
		return libc_get()->ioctl(fd, request, argument);
	if (stream_of(object) != NULL || dgram_of(object) != NULL)
		news_drain(shim_get());
	rc = stream_of(object) != NULL	   ? ioctl_stream(stream_of(object), fd, request, argument)
	     : listener_of(object) != NULL ? ioctl_listener(fd, request, argument)
	     : dgram_of(object) != NULL	   ? ioctl_dgram(dgram_of(object), fd, request, argument)
					   : libc_get()->ioctl(fd, request, argument);
	if (rc == 0 && request == FIONBIO)
		object->nonblocking = *(int *)argument != 0;
	object_put(object);
	return rc;
}
