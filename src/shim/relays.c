// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A relay has two descriptors: `inner`, the lender's end of the pair, and `outer`, which stands for
// the connection and which the application does not know of. Only the thread removes relays and
// heirs.

#include "shim/relays.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shim/libc.h"
#include "shim/loans.h"
#include "shim/state.h"
#include "shim/table.h"

#define PIECE (16 * 1024)

struct relay {
	struct list link;
	struct stream *stream;	 // with a reference
	const struct heir *heir; // who has taken it; not to be looked into
	bool shut;		 // it has said so
	int inner, outer;
	bool inner_full; // the borrower does not read
	bool up_ended, down_ended;
	bool gone;	   // nobody has the borrower's end any more
	size_t at, length; // of what the borrower has written and the lane has no room for
	char octets[PIECE];
};

// --- beginnings and ends -------------------------------------------------------------------------

static void relay_end(struct shim *shim, struct relay *relay)
{
	shim_lock();
	list_remove(&relay->link);
	relay->stream->hidden--;
	object_unbind(&relay->stream->object, relay->outer);
	libc_get()->close(relay->outer);
	libc_get()->close(relay->inner);
	object_put_locked(&relay->stream->object);
	shim_unlock();
	free(relay);
}

static struct relay *relay_make(struct stream *stream, int inner)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (relay == NULL)
		return NULL;
	relay->inner = inner;
	relay->outer = socket(stream->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	relay->stream = stream;
	list_init(&relay->link);
	if (relay->outer < 0 || !object_bind(&stream->object, relay->outer)) {
		if (relay->outer >= 0)
			libc_get()->close(relay->outer);
		free(relay);
		return NULL;
	}
	stream->hidden++;
	stream->object.refs++;
	return relay;
}

int relay_lend(struct shim *shim, struct stream *stream, const struct heir *heir)
{
	struct relay *relay;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	relay = relay_make(stream, fds[0]);
	if (relay == NULL) {
		libc_get()->close(fds[0]);
		libc_get()->close(fds[1]);
		return -1;
	}
	relay->heir = heir;
	list_append(&shim->relays, &relay->link);
	relays_start(shim);
	return fds[1];
}

bool relay_has(const struct shim *shim, int fd)
{
	list_for_each (link, &shim->relays) {
		if (container_of(link, struct relay, link)->outer == fd)
			return true;
	}
	return false;
}

void relays_forget(struct shim *shim)
{
	const struct libc *libc = libc_get();

	list_for_each (link, &shim->heirs) {
		libc->close(container_of(link, struct heir, link)->control);
	}
	list_for_each (link, &shim->relays) {
		struct relay *relay = container_of(link, struct relay, link);

		table_set(relay->outer, NULL);
		libc->close(relay->outer);
		libc->close(relay->inner);
	}
	list_init(&shim->heirs);
	list_init(&shim->relays);
	if (shim->relaying)
		libc->close(shim->relay_bell);
	shim->relaying = false;
}

// --- heirs ---------------------------------------------------------------------------------------

// The descriptor goes with one octet; without one there is none.
static void answer(int control, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov = {(char[]){0}, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&rights.header), &fd, sizeof(fd));
		message.msg_control = rights.bytes;
		message.msg_controllen = sizeof(rights);
	}
	libc_get()->sendmsg(control, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool relay_receive(int control, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights;
	char octet;
	struct iovec iov = {&octet, 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights)};

	*ret_fd = -1;
	if (libc_get()->recvmsg(control, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1)
		return false;
	if (message.msg_controllen >= CMSG_LEN(sizeof(int)) &&
		rights.header.cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(&rights.header), sizeof(*ret_fd));
	return true;
}

static void heir_end(struct heir *heir)
{
	for (unsigned i = 0; i < heir->count; i++)
		if (heir->streams[i] != NULL)
			object_put_locked(&heir->streams[i]->object);
	list_remove(&heir->link);
	libc_get()->close(heir->control);
	free(heir);
}

static void shut(struct shim *shim, const struct heir *heir, uint64_t stream)
{
	list_for_each (link, &shim->relays) {
		struct relay *relay = container_of(link, struct relay, link);

		relay->shut |= relay->heir == heir && (uintptr_t)relay->stream == stream;
	}
}

static void serve_request(struct shim *shim, struct heir *heir, const struct loan_request *request)
{
	unsigned i = 0;
	int fd = -1;

	if (request->kind == LOAN_SHUT) {
		shut(shim, heir, request->stream);
		return;
	}
	while (i < heir->count &&
		(heir->streams[i] == NULL || (uintptr_t)heir->streams[i] != request->stream))
		i++;
	if (i < heir->count) {
		if (request->kind == LOAN_TAKE)
			fd = relay_lend(shim, heir->streams[i], heir);
		object_put_locked(&heir->streams[i]->object);
		heir->streams[i] = NULL;
	}
	if (request->kind == LOAN_TAKE)
		answer(heir->control, fd);
	if (fd >= 0)
		libc_get()->close(fd);
}

// All that it has asked for. Its end is dealt with in the thread's own turn.
static bool serve_heir(struct shim *shim, struct heir *heir)
{
	struct loan_request request;
	ssize_t n;

	while ((n = libc_get()->recv(heir->control, &request, sizeof(request), MSG_DONTWAIT)) ==
		sizeof(request))
		serve_request(shim, heir, &request);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

// What was said before a borrower's end was closed comes before that.
static void serve_heirs(struct shim *shim)
{
	shim_lock();
	list_for_each (link, &shim->heirs)
		serve_heir(shim, container_of(link, struct heir, link));
	shim_unlock();
}

// --- octets --------------------------------------------------------------------------------------

static bool later(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool hangs_up(int fd)
{
	struct pollfd now = {.fd = fd};
	const struct timespec none = {0};

	return libc_get()->ppoll(&now, 1, &none, NULL) == 1 && (now.revents & POLLHUP);
}

// What the borrower has written. False: the connection is over.
static bool pump_up(struct shim *shim, struct relay *relay)
{
	ssize_t n;

	for (;;) {
		while (relay->length > 0) {
			n = send(relay->outer, relay->octets + relay->at, relay->length,
				MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0)
				return later(n);
			relay->at += (size_t)n;
			relay->length -= (size_t)n;
		}
		if (relay->up_ended)
			return true;
		n = libc_get()->recv(relay->inner, relay->octets, PIECE, MSG_DONTWAIT);
		if (n < 0)
			return later(n);
		relay->at = 0;
		relay->length = (size_t)n;
		if (n == 0) {
			relay->up_ended = true;
			relay->gone |= hangs_up(relay->inner);
			if (relay->gone)
				serve_heirs(shim);
			// While somebody has the borrower's end: it is a half that was shut.
			if (!relay->gone || relay->shut)
				shutdown(relay->outer, SHUT_WR);
		}
	}
}

// What the client has sent. False: it is over.
static bool pump_down(struct relay *relay)
{
	char octets[PIECE];

	relay->inner_full = false;
	while (!relay->down_ended) {
		ssize_t n = recv(relay->outer, octets, PIECE, MSG_PEEK | MSG_DONTWAIT), sent;

		if (n < 0)
			return later(n);
		if (n == 0) {
			relay->down_ended = true;
			libc_get()->shutdown(relay->inner, SHUT_WR);
			return true;
		}
		sent = libc_get()->send(
			relay->inner, octets, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			relay->inner_full = later(sent);
			relay->down_ended = !relay->inner_full; // nobody reads any more
			return true;
		}
		if (recv(relay->outer, NULL, (size_t)sent, MSG_TRUNC | MSG_DONTWAIT) != sent)
			return false;
	}
	return true;
}

static void pump(struct shim *shim, struct relay *relay, const struct pollfd *inner)
{
	struct linger reset = {1, 0};
	int error = 0;
	socklen_t length = sizeof(error);

	relay->gone |= (inner->revents & POLLHUP) != 0;
	// It has closed without having read everything.
	if ((inner->revents & POLLERR) &&
		libc_get()->getsockopt(relay->inner, SOL_SOCKET, SO_ERROR, &error, &length) == 0 &&
		error == ECONNRESET)
		setsockopt(relay->outer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (!pump_up(shim, relay) || !pump_down(relay) ||
		(relay->gone && relay->up_ended && relay->length == 0))
		relay_end(shim, relay);
}

// --- the thread ----------------------------------------------------------------------------------

static struct pollfd asked(int fd, int events)
{
	return (struct pollfd){.fd = events != 0 ? fd : -1, .events = (short)events};
}

static void ask_relay(struct relay *relay, struct pollfd *fds)
{
	bool up = relay->length == 0 && !relay->up_ended;

	// A half that was shut: the other half's end is to be heard of still.
	fds[0] = asked(relay->inner, (up ? POLLIN : 0) | (relay->inner_full ? POLLOUT : 0) |
					     (relay->up_ended && !relay->gone ? POLLPRI : 0));
	fds[1] = asked(
		relay->outer, (relay->length > 0 ? POLLOUT : 0) |
				      (!relay->down_ended && !relay->inner_full ? POLLIN : 0));
}

// A round: what is polled, and whose it is. New heirs and relays are in the next one.
struct round {
	struct pollfd *fds;
	struct heir **heirs;   // of fds[1 + i]
	struct relay **relays; // of fds[1 + heirs_count + 2 * i], and the next
	nfds_t count;
	unsigned heirs_count, relays_count;
};

static unsigned length_of(const struct list *list)
{
	unsigned count = 0;

	list_for_each (link, list)
		count++;
	return count;
}

static bool make_room(struct round *round, unsigned heirs, unsigned relays)
{
	nfds_t count = 1 + heirs + 2 * (nfds_t)relays;

	free(round->fds);
	free(round->heirs);
	free(round->relays);
	*round = (struct round){
		.fds = calloc(count, sizeof(*round->fds)),
		.heirs = calloc(heirs + 1, sizeof(struct heir *)),
		.relays = calloc(relays + 1, sizeof(struct relay *)),
		.count = count,
	};
	return round->fds != NULL && round->heirs != NULL && round->relays != NULL;
}

static bool gather(struct shim *shim, struct round *round)
{
	struct pollfd *fds;

	if (!make_room(round, length_of(&shim->heirs), length_of(&shim->relays)))
		return false;
	fds = round->fds;
	*fds++ = (struct pollfd){.fd = shim->relay_bell, .events = POLLIN};
	list_for_each (link, &shim->heirs) {
		struct heir *heir = container_of(link, struct heir, link);

		round->heirs[round->heirs_count++] = heir;
		*fds++ = asked(heir->control, POLLIN);
	}
	list_for_each (link, &shim->relays) {
		struct relay *relay = container_of(link, struct relay, link);

		round->relays[round->relays_count++] = relay;
		ask_relay(relay, fds);
		fds += 2;
	}
	return true;
}

static void serve_or_end(struct shim *shim, struct heir *heir)
{
	shim_lock();
	if (!serve_heir(shim, heir))
		heir_end(heir);
	shim_unlock();
}

static void serve(struct shim *shim, const struct round *round)
{
	const struct pollfd *fds = round->fds + 1;

	for (unsigned i = 0; i < round->heirs_count; i++, fds++)
		if (fds->revents != 0)
			serve_or_end(shim, round->heirs[i]);
	for (unsigned i = 0; i < round->relays_count; i++, fds += 2)
		if (fds[0].revents != 0 || fds[1].revents != 0)
			pump(shim, round->relays[i], &fds[0]);
}

static void *run(void *ctx)
{
	struct shim *shim = ctx;
	struct round round = {0};
	uint64_t rung;

	for (;;) {
		bool ready;

		shim_lock();
		ready = gather(shim, &round);
		shim_unlock();
		if (!ready || poll(round.fds, round.count, -1) < 0)
			continue;
		if (round.fds[0].revents != 0 &&
			libc_get()->read(shim->relay_bell, &rung, sizeof(rung)) < 0)
			continue;
		serve(shim, &round);
	}
	return NULL;
}

void relays_start(struct shim *shim)
{
	const uint64_t one = 1;

	if (!shim->relaying) {
		shim->relay_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		shim->relaying = shim->relay_bell >= 0 && thread_start(run, shim);
	}
	// A full counter rings, too.
	if (libc_get()->write(shim->relay_bell, &one, sizeof(one)) < 0)
		return;
}
