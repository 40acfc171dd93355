// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The borrower's side, and what a fork does.

#include "shim/loans.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/relays.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"

#define ANSWER_MS 5000
// Of one sendmsg(), as the kernel allows (SCM_MAX_FD), with their header.
#define CONTROL_MAX 2048

// --- fork ----------------------------------------------------------------------------------------

// The application's own, alive, and not seen in this round yet.
static struct stream *heritage(struct shim *shim, int fd)
{
	struct stream *stream = stream_of(table_look(fd));

	if (stream == NULL || stream->dead || stream->object.fds == stream->hidden ||
		stream->round == shim->rounds)
		return NULL;
	stream->round = shim->rounds;
	return stream;
}

static unsigned count_heritage(struct shim *shim)
{
	unsigned count = 0;

	shim->rounds++;
	for (int fd = table_next(-1); fd >= 0; fd = table_next(fd))
		count += heritage(shim, fd) != NULL;
	return count;
}

static struct heir *heir_make(struct shim *shim, unsigned count)
{
	struct heir *heir = calloc(1, sizeof(*heir) + sizeof(heir->streams[0]) * count);

	if (heir == NULL)
		return NULL;
	heir->control = -1;
	list_init(&heir->link);
	shim->rounds++;
	for (int fd = table_next(-1); fd >= 0 && heir->count < count; fd = table_next(fd)) {
		struct stream *stream = heritage(shim, fd);

		if (stream == NULL)
			continue;
		stream->object.refs++;
		heir->streams[heir->count++] = stream;
	}
	return heir;
}

static void take_all(struct shim *shim)
{
	for (int fd = table_next(-1); fd >= 0; fd = table_next(fd)) {
		struct stream *stream = stream_of(table_look(fd));

		if (stream != NULL && stream->lent)
			loan_take(shim, stream);
	}
}

void loans_before_fork(struct shim *shim)
{
	unsigned count;
	int fds[2];

	// What a child hands on it has taken.
	if (shim->lender >= 0)
		take_all(shim);
	count = count_heritage(shim);
	if (count == 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	shim->heir = heir_make(shim, count);
	if (shim->heir == NULL) {
		libc_get()->close(fds[0]);
		libc_get()->close(fds[1]);
		return;
	}
	shim->heir->control = fds[0];
	shim->heir_end = fds[1];
}

void loans_in_parent(struct shim *shim)
{
	struct heir *heir = shim->heir;

	if (heir == NULL)
		return;
	shim->heir = NULL;
	libc_get()->close(shim->heir_end);
	list_append(&shim->heirs, &heir->link);
	relays_start(shim);
}

void loans_in_child(struct shim *shim)
{
	struct heir *heir = shim->heir;

	relays_forget(shim);
	if (shim->lender >= 0)
		libc_get()->close(shim->lender);
	shim->lender = -1;
	for (int fd = table_next(-1); fd >= 0; fd = table_next(fd)) {
		struct stream *stream = stream_of(table_look(fd));

		if (stream != NULL)
			stream_die(stream, ECONNRESET);
	}
	if (heir == NULL)
		return;
	shim->heir = NULL;
	shim->lender = shim->heir_end;
	libc_get()->close(heir->control);
	for (unsigned i = 0; i < heir->count; i++) {
		heir->streams[i]->object.refs--;
		heir->streams[i]->lent = true;
		heir->streams[i]->dead_error = 0;
	}
	free(heir);
}

// --- taking --------------------------------------------------------------------------------------

// Tells the lender. With an answer: the descriptor, or -1.
static int ask(const struct shim *shim, enum loan_request_kind kind, uint64_t stream)
{
	struct loan_request request = {.kind = kind, .stream = stream};
	struct pollfd answer = {.fd = shim->lender, .events = POLLIN};
	const struct timespec patience = {ANSWER_MS / 1000, 0};
	const struct libc *libc = libc_get();
	int fd;

	if (libc->send(shim->lender, &request, sizeof(request), MSG_NOSIGNAL) < 0 ||
		kind != LOAN_TAKE)
		return -1;
	while (libc->ppoll(&answer, 1, &patience, NULL) < 0)
		if (errno != EINTR)
			return -1;
	return relay_receive(shim->lender, &fd) ? fd : -1;
}

void loan_release(struct shim *shim, const struct stream *stream)
{
	if (shim->lender >= 0)
		ask(shim, LOAN_RELEASE, (uintptr_t)stream);
}

void loan_shut(struct shim *shim, const struct borrowed *borrowed)
{
	if (shim->lender >= 0 && borrowed->origin != 0)
		ask(shim, LOAN_SHUT, borrowed->origin);
}

// What an application may have set that means something for the kernel's pair.
static void copy_options(int from, int to)
{
	static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT};
	const struct libc *libc = libc_get();
	char value[16];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		socklen_t length = sizeof(value);

		if (libc->getsockopt(from, SOL_SOCKET, names[i], value, &length) == 0)
			libc->setsockopt(to, SOL_SOCKET, names[i], value, length);
	}
}

static struct borrowed *borrowed_make(const struct stream *stream, uint64_t origin)
{
	struct borrowed *borrowed = calloc(1, sizeof(*borrowed));

	if (borrowed == NULL)
		return NULL;
	*borrowed = (struct borrowed){
		.object.kind = OBJECT_BORROWED,
		.local = stream->local,
		.remote = stream->remote,
		.family = stream->family,
		.origin = origin,
		.memory = libc_get()->fcntl(stream->object.fd, F_DUPFD_CLOEXEC, 3),
	};
	list_init(&borrowed->object.entries);
	return borrowed;
}

// Every descriptor of the stream's that the application knows becomes a copy of this one.
static void replace(struct stream *stream, struct borrowed *borrowed, int with)
{
	const struct libc *libc = libc_get();
	int flags;

	stream->object.refs++;
	borrowed->object.refs++;
	for (int fd = table_next(-1); fd >= 0; fd = table_next(fd)) {
		if (table_look(fd) != &stream->object || relay_has(shim_get(), fd))
			continue;
		flags = libc->fcntl(fd, F_GETFD);
		object_unbind(&stream->object, fd);
		libc->dup3(with, fd, flags > 0 && (flags & FD_CLOEXEC) ? O_CLOEXEC : 0);
		object_bind(&borrowed->object, fd);
	}
	object_put_locked(&borrowed->object);
	object_put_locked(&stream->object);
}

// Takes the descriptor.
static void become(struct stream *stream, int fd, uint64_t origin)
{
	struct borrowed *borrowed = borrowed_make(stream, origin);

	if (borrowed != NULL) {
		copy_options(stream->object.fd, fd);
		if (stream->object.nonblocking)
			libc_get()->fcntl(fd, F_SETFL, O_NONBLOCK);
		replace(stream, borrowed, fd);
	}
	libc_get()->close(fd);
}

void loan_take(struct shim *shim, struct stream *stream)
{
	int fd = shim->lender >= 0 ? ask(shim, LOAN_TAKE, (uintptr_t)stream) : -1;

	stream->lent = false;
	stream->dead_error = ECONNRESET;
	if (fd >= 0)
		become(stream, fd, (uintptr_t)stream);
}

void loan_to_self(int fd)
{
	struct object *object = object_get(fd);
	struct stream *stream;
	int borrowed;

	if (object == NULL)
		return;
	stream = stream_of(object);
	borrowed = stream != NULL && !stream->dead ? relay_lend(shim_get(), stream, NULL) : -1;
	if (borrowed >= 0)
		become(stream, borrowed, 0);
	object_put(object);
}

// --- descriptors that are sent -------------------------------------------------------------------

// Connections among them are lent; what is made for that is in `made`. Returns how many.
static unsigned lend(struct shim *shim, struct msghdr *message, int *made)
{
	unsigned count = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg != NULL;
		cmsg = CMSG_NXTHDR(message, cmsg)) {
		size_t room = (size_t)((char *)message->msg_control + message->msg_controllen -
				       (char *)cmsg);
		unsigned fds_count;

		if (cmsg->cmsg_len < CMSG_LEN(0) || cmsg->cmsg_len > room)
			break; // the kernel says what it thinks of that
		fds_count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < fds_count; i++) {
			struct object *object;
			struct stream *stream;
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			object = table_look(fd);
			stream = object != NULL ? stream_of(object) : NULL;
			fd = stream != NULL && !stream->dead ? relay_lend(shim, stream, NULL) : -1;
			if (fd < 0)
				continue;
			memcpy(CMSG_DATA(cmsg) + i * sizeof(fd), &fd, sizeof(fd));
			made[count++] = fd;
		}
	}
	return count;
}

ssize_t loan_sendmsg(int fd, const struct msghdr *message, int flags)
{
	_Alignas(struct cmsghdr) char control[CONTROL_MAX];
	int made[CONTROL_MAX / sizeof(int)];
	struct shim *shim = shim_get();
	struct msghdr copy = *message;
	unsigned count;
	ssize_t rc;

	if (message->msg_control == NULL || message->msg_controllen < sizeof(struct cmsghdr) ||
		message->msg_controllen > CONTROL_MAX || !shim_lock())
		return libc_get()->sendmsg(fd, message, flags);
	memcpy(control, message->msg_control, message->msg_controllen);
	copy.msg_control = control;
	count = shim->attached != NULL ? lend(shim, &copy, made) : 0;
	shim_unlock();
	rc = libc_get()->sendmsg(fd, count > 0 ? &copy : message, flags);
	while (count > 0)
		libc_get()->close(made[--count]);
	return rc;
}
