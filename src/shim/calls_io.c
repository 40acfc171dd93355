// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reading and writing: read, recv, write, send and their kin.

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "shim/addresses.h"
#include "shim/answer.h"
#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/loans.h"
#include "shim/object.h"
#include "shim/outgoing.h"
#include "shim/state.h"
#include "shim/streams.h"

// sendfile() in pieces.
#define FILE_PIECE (64 * 1024)

// Nothing here is allowed: a listener is not connected.
static ssize_t refuse(struct object *object)
{
	object_put(object);
	return answer(-ENOTCONN);
}

// A signal handler may not wait for the call that it has interrupted.
static ssize_t busy(void)
{
	return answer(-EAGAIN);
}

// Of a datagram socket.
static ssize_t receive_dgram(struct object *object, int fd, struct msghdr *message, int flags)
{
	ssize_t rc;

	if (dgram_is_kernels(dgram_of(object))) {
		object_put(object);
		return libc_get()->recvmsg(fd, message, flags);
	}
	rc = dgram_receive(dgram_of(object), message, flags);
	object_put(object);
	return answer(rc);
}

static ssize_t transmit_dgram(
	struct object *object, int fd, const struct msghdr *message, int flags)
{
	ssize_t rc;
	bool ours = dgram_send(dgram_of(object), message, flags, &rc);

	object_put(object);
	return ours ? answer(rc) : libc_get()->sendmsg(fd, message, flags);
}

static struct msghdr message_of(const struct iovec *iov, int count)
{
	return (struct msghdr){.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
}

static ssize_t receive(struct object *object, int fd, const struct iovec *iov, int count, int flags)
{
	struct stream *stream = stream_of(object);
	struct msghdr message = message_of(iov, count);
	ssize_t rc;

	if (dgram_of(object) != NULL)
		return receive_dgram(object, fd, &message, flags);
	if (stream == NULL)
		return refuse(object);
	rc = stream_receive(stream, iov, count, flags);
	object_put(object);
	return answer(rc);
}

static ssize_t transmit(
	struct object *object, int fd, const struct iovec *iov, int count, int flags)
{
	struct stream *stream = stream_of(object);
	struct msghdr message = message_of(iov, count);
	ssize_t rc;

	if (dgram_of(object) != NULL)
		return transmit_dgram(object, fd, &message, flags);
	rc = stream != NULL ? stream_send(stream, iov, count, flags) : -EPIPE;
	object_put(object);
	if (rc == -EPIPE && !(flags & MSG_NOSIGNAL))
		raise(SIGPIPE);
	return answer(rc);
}

// --- receiving -----------------------------------------------------------------------------------

// Unlike recv(), these do not look when nothing is wanted.
static ssize_t receive_some(struct object *object, int fd, const struct iovec *iov, int count)
{
	size_t wanted = 0;

	for (int i = 0; i < count; i++)
		wanted += iov[i].iov_len;
	if (wanted > 0)
		return receive(object, fd, iov, count, 0);
	object_put(object);
	return 0;
}

EXPORT ssize_t read(int fd, void *data, size_t length)
{
	struct iovec iov = {data, length};
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->read(fd, data, length);
	return receive_some(object, fd, &iov, 1);
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->readv(fd, iov, count);
	if (count < 0 || count > IOV_MAX) {
		object_put(object);
		return answer(-EINVAL);
	}
	return receive_some(object, fd, iov, count);
}

EXPORT ssize_t recv(int fd, void *data, size_t length, int flags)
{
	struct iovec iov = {data, length};
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->recv(fd, data, length, flags);
	return receive(object, fd, &iov, 1, flags);
}

// A connected stream does not say from whom.
EXPORT ssize_t recvfrom(
	int fd, void *data, size_t length, int flags, struct sockaddr *from, socklen_t *from_length)
{
	struct iovec iov = {data, length};
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd)
			       ? busy()
			       : libc_get()->recvfrom(fd, data, length, flags, from, from_length);
	if (dgram_of(object) != NULL) {
		struct msghdr message = message_of(&iov, 1);
		ssize_t n;

		message.msg_name = from_length != NULL ? from : NULL;
		message.msg_namelen = message.msg_name != NULL ? *from_length : 0;
		n = receive_dgram(object, fd, &message, flags);
		if (n >= 0 && message.msg_name != NULL)
			*from_length = message.msg_namelen;
		return n;
	}
	if (from != NULL && from_length != NULL)
		*from_length = 0;
	return receive(object, fd, &iov, 1, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->recvmsg(fd, message, flags);
	if (message->msg_iovlen > IOV_MAX) {
		object_put(object);
		return answer(-EMSGSIZE);
	}
	if (dgram_of(object) != NULL)
		return receive_dgram(object, fd, message, flags);
	message->msg_namelen = 0;
	message->msg_controllen = 0;
	message->msg_flags = 0;
	return receive(object, fd, message->msg_iov, (int)message->msg_iovlen, flags);
}

EXPORT int recvmmsg(
	int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	struct object *object = object_get(fd);
	unsigned done = 0;

	if (object == NULL)
		return libc_get()->recvmmsg(fd, messages, count, flags, timeout);
	object_put(object);
	for (; done < count; done++) {
		ssize_t n = recvmsg(fd, &messages[done].msg_hdr,
			done > 0 && (flags & MSG_WAITFORONE) ? flags | MSG_DONTWAIT : flags);

		if (n < 0)
			return done > 0 ? (int)done : -1;
		messages[done].msg_len = (unsigned)n;
	}
	return (int)done;
}

// --- sending -------------------------------------------------------------------------------------

EXPORT ssize_t write(int fd, const void *data, size_t length)
{
	struct iovec iov = {(void *)data, length};
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->write(fd, data, length);
	return transmit(object, fd, &iov, 1, 0);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->writev(fd, iov, count);
	if (count < 0 || count > IOV_MAX) {
		object_put(object);
		return answer(-EINVAL);
	}
	return transmit(object, fd, iov, count, 0);
}

EXPORT ssize_t send(int fd, const void *data, size_t length, int flags)
{
	struct iovec iov = {(void *)data, length};
	struct object *object = object_get(fd);

	if (object == NULL)
		return object_is_busy(fd) ? busy() : libc_get()->send(fd, data, length, flags);
	return transmit(object, fd, &iov, 1, flags);
}

// Linux's way to connect with the first octets. There are no cookies (RFC 7413): the connection is
// made, and they follow. False: that was all, with *ret_rc.
static bool connect_first(
	int fd, int flags, const struct sockaddr *to, socklen_t length, ssize_t *ret_rc)
{
	struct object *object;
	int rc = 0;

	if (!(flags & MSG_FASTOPEN) || to == NULL)
		return true;
	object = object_get(fd);
	if (object == NULL)
		outgoing_connect(fd, to, length, &rc); // else it is the kernel's to do all
	else if (stream_of(object) != NULL)
		rc = outgoing_again(stream_of(object), to, length);
	if (object != NULL)
		object_put(object);
	*ret_rc = rc == -EXDEV ? 0 : rc;
	return *ret_rc == 0;
}

// Where to is known: a stream takes no notice of the address.
EXPORT ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to,
	socklen_t to_length)
{
	struct iovec iov = {(void *)data, length};
	struct object *object;
	ssize_t rc;

	if (!connect_first(fd, flags, to, to_length, &rc))
		return answer(rc);
	object = object_get(fd);
	if (object == NULL)
		return object_is_busy(fd)
			       ? busy()
			       : libc_get()->sendto(fd, data, length, flags, to, to_length);
	if (dgram_of(object) != NULL) {
		struct msghdr message = message_of(&iov, 1);

		message.msg_name = (void *)to;
		message.msg_namelen = to_length;
		return transmit_dgram(object, fd, &message, flags);
	}
	return transmit(object, fd, &iov, 1, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct object *object;
	ssize_t rc;

	if (!connect_first(fd, flags, message->msg_name, message->msg_namelen, &rc))
		return answer(rc);
	object = object_get(fd);
	if (object == NULL)
		return object_is_busy(fd) ? busy() : loan_sendmsg(fd, message, flags);
	if (message->msg_iovlen > IOV_MAX) {
		object_put(object);
		return answer(-EMSGSIZE);
	}
	if (dgram_of(object) != NULL)
		return transmit_dgram(object, fd, message, flags);
	return transmit(object, fd, message->msg_iov, (int)message->msg_iovlen, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	struct object *object = object_get(fd);
	unsigned done = 0;

	if (object == NULL)
		return libc_get()->sendmmsg(fd, messages, count, flags);
	object_put(object);
	for (; done < count; done++) {
		ssize_t n = sendmsg(fd, &messages[done].msg_hdr, flags);

		if (n < 0)
			return done > 0 ? (int)done : -1;
		messages[done].msg_len = (unsigned)n;
	}
	return (int)done;
}

// From a file that has a place to read from (offset NULL: its own, which moves along).
static ssize_t file_piece(int from, off_t *offset, void *buffer, size_t length)
{
	ssize_t n = offset != NULL ? pread(from, buffer, length, *offset)
				   : libc_get()->read(from, buffer, length);

	return n < 0 ? -errno : n;
}

static void file_moved(int from, off_t *offset, ssize_t read, ssize_t sent)
{
	if (offset != NULL)
		*offset += sent > 0 ? sent : 0;
	else if (sent < read)
		lseek(from, (sent > 0 ? sent : 0) - read, SEEK_CUR);
}

EXPORT ssize_t sendfile(int to, int from, off_t *offset, size_t length)
{
	struct object *object = object_get(to);
	ssize_t done = 0, n = 0;
	void *buffer;

	if (object == NULL)
		return libc_get()->sendfile(to, from, offset, length);
	object_put(object);
	if (lseek(from, 0, SEEK_CUR) < 0)
		return answer(errno == ESPIPE && offset == NULL ? -EINVAL : -errno);
	buffer = malloc(FILE_PIECE);
	if (buffer == NULL)
		return answer(-ENOMEM);
	while ((size_t)done < length) {
		size_t left = length - (size_t)done;
		ssize_t got =
			file_piece(from, offset, buffer, left < FILE_PIECE ? left : FILE_PIECE);

		if (got <= 0) {
			n = got;
			break;
		}
		n = send(to, buffer, (size_t)got, 0);
		n = n < 0 ? -errno : n;
		file_moved(from, offset, got, n);
		if (n < 0)
			break;
		done += n;
		if (n < got)
			break;
	}
	free(buffer);
	return answer(done > 0 ? done : n < 0 ? n : 0);
}

EXPORT ssize_t sendfile64(int to, int from, off_t *offset, size_t length)
{
	return sendfile(to, from, offset, length);
}

// --- through the kernel --------------------------------------------------------------------------

// What the C library and the kernel do with the descriptor behind these nobody sees.
EXPORT ssize_t splice(
	int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned flags)
{
	loan_to_self(from);
	loan_to_self(to);
	return libc_get()->splice(from, from_offset, to, to_offset, length, flags);
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
	loan_to_self(fd);
	return libc_get()->fdopen(fd, mode);
}

// --- the fortified forms -------------------------------------------------------------------------

ssize_t __read_chk(int fd, void *data, size_t length, size_t size);
ssize_t __recv_chk(int fd, void *data, size_t length, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *data, size_t length, size_t size, int flags,
	struct sockaddr *from, socklen_t *from_length);
void __chk_fail(void) __attribute__((noreturn));

EXPORT ssize_t __read_chk(int fd, void *data, size_t length, size_t size)
{
	if (length > size)
		__chk_fail();
	return read(fd, data, length);
}

EXPORT ssize_t __recv_chk(int fd, void *data, size_t length, size_t size, int flags)
{
	if (length > size)
		__chk_fail();
	return recv(fd, data, length, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *data, size_t length, size_t size, int flags,
	struct sockaddr *from, socklen_t *from_length)
{
	if (length > size)
		__chk_fail();
	return recvfrom(fd, data, length, flags, from, from_length);
}
