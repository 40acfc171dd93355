// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A listening socket is the kernel's until listen(): only then it is known what it is for, and
// programs have changed their user and gone into the background by then.

#include "shim/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "shim/addresses.h"
#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/state.h"

#define BACKLOG_MAX 4096 // net.core.somaxconn

// Where a TCP socket is bound. False: it is something else.
static bool bound_to(int fd, struct channel_endpoint *ret_endpoint, int *ret_family)
{
	const struct libc *libc = libc_get();
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	int type = 0;
	socklen_t size = sizeof(type);

	if (libc->getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
		libc->getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return false;
	*ret_family = address.ss_family;
	return address_take((const struct sockaddr *)&address, length, ret_endpoint) &&
	       ret_endpoint->port != 0;
}

static bool is_ipv6_only(int fd)
{
	int only = 0;
	socklen_t size = sizeof(only);

	libc_get()->getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size);
	return only != 0;
}

// Tells the daemon. 0, or an errno.
static int tell(struct shim *shim, struct listener *listener)
{
	struct channel_message message = {
		.kind = CHANNEL_LISTEN,
		.listen =
			{
				.listener = listener->number,
				.backlog = (uint32_t)listener->backlog,
				.accepts = listener->accepts,
				.ipv6_only = listener->ipv6_only,
				.endpoint = listener->endpoint,
			},
	};

	return news_call(shim, &message, -1, NULL);
}

// Whoever has not answered in time may do so yet, and take the listener for one that listens there.
static bool is_answer(int error)
{
	return error != ETIMEDOUT && error != ENOTCONN && error != EAGAIN;
}

static struct listener *create(struct shim *shim, int fd, int backlog)
{
	const struct libc *libc = libc_get();
	struct listener *listener = calloc(1, sizeof(*listener));
	int flags;

	if (listener == NULL)
		return NULL;
	listener->object.kind = OBJECT_LISTENER;
	list_init(&listener->object.entries);
	list_init(&listener->queue);
	list_init(&listener->link);
	listener->number = ++shim->numbers;
	listener->backlog = backlog;
	flags = libc->fcntl(fd, F_GETFL);
	listener->object.nonblocking = flags >= 0 && (flags & O_NONBLOCK);
	return listener;
}

static int bounded(int backlog)
{
	// As the kernel, to which it is unsigned; none at all is room for one.
	return backlog == 0 ? 1 : (unsigned)backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog;
}

static bool is_reused(int fd)
{
	int reuse = 0;
	socklen_t size = sizeof(reuse);

	libc_get()->getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &size);
	return reuse != 0;
}

void listener_reuse(struct listener *listener, bool reuse)
{
	int value = reuse;

	libc_get()->setsockopt(
		listener->object.fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value));
}

// The place is this socket's, though it does not listen: the kernel refuses whoever else would have
// it, as it refuses a second who listens. It has listened for a moment, so that who has come first
// is in its books; what tells apart sockets that may share a place is SO_REUSEPORT, which stays.
static int claim(struct listener *listener, int backlog)
{
	const struct libc *libc = libc_get();
	int fd = listener->object.fd;

	listener->reuses = is_reused(fd);
	if (libc->listen(fd, backlog) < 0)
		return errno;
	listener_reuse(listener, false);
	libc->shutdown(fd, SHUT_RD);
	return 0;
}

bool listener_listen(int fd, int backlog, int *ret_error)
{
	struct shim *shim = shim_get();
	struct channel_endpoint endpoint;
	struct listener *listener;
	bool ipv6_only;
	int family, error;

	*ret_error = 0;
	if (!bound_to(fd, &endpoint, &family))
		return false;
	ipv6_only = family == AF_INET6 && is_ipv6_only(fd);
	// Without a daemon the kernel listens until there is one.
	if (attach_try(shim) && !attach_wants(shim->attached, &endpoint, ipv6_only))
		return false;
	listener = create(shim, fd, bounded(backlog));
	if (listener == NULL)
		return false;
	listener->family = family;
	listener->ipv6_only = ipv6_only;
	listener->endpoint = endpoint;
	if (!object_bind(&listener->object, fd)) {
		free(listener);
		return false;
	}
	*ret_error = claim(listener, backlog);
	if (*ret_error != 0) {
		object_unbind(&listener->object, fd);
		return true;
	}
	listener->offloaded = true;
	list_append(&shim->listeners, &listener->link);
	listener->object.refs++;
	error = tell(shim, listener);
	if (error != 0)
		listener_fall(listener);
	if (is_answer(error) && shim->attached != NULL)
		listener->offered = shim->attached->number;
	object_put_locked(&listener->object);
	watcher_start(shim);
	watcher_ring(shim);
	return true;
}

int listener_again(struct listener *listener, int backlog)
{
	struct shim *shim = shim_get();

	listener->backlog = bounded(backlog);
	if (!listener->offloaded)
		return libc_get()->listen(listener->object.fd, backlog) < 0 ? -errno : 0;
	if (listener->closed) { // by shutdown()
		listener->closed = false;
		listener->number = ++shim->numbers;
		list_append(&shim->listeners, &listener->link);
	}
	if (tell(shim, listener) == ENOTCONN)
		listener_fall(listener);
	return 0;
}

void listener_accepts(struct listener *listener, bool accepts)
{
	struct shim *shim = shim_get();
	struct channel_message message = {
		.kind = CHANNEL_LISTEN,
		.listen =
			{
				.listener = listener->number,
				.backlog = (uint32_t)listener->backlog,
				.accepts = accepts,
				.ipv6_only = listener->ipv6_only,
				.endpoint = listener->endpoint,
			},
	};

	if (listener->closed)
		return;
	// In a child: its own attachment begins here.
	if (accepts && listener->offloaded && shim->attached == NULL) {
		if (!attach_try(shim) ||
			!attach_wants(shim->attached, &listener->endpoint, listener->ipv6_only))
			listener_fall(listener);
		watcher_start(shim);
	}
	if (listener->accepts == accepts)
		return;
	listener->accepts = accepts;
	if (listener->offloaded && shim->attached != NULL)
		news_tell(shim, &message);
}

struct arrival *listener_first(struct listener *listener)
{
	return list_empty(&listener->queue)
		       ? NULL
		       : container_of(listener->queue.next, struct arrival, link);
}

uint32_t listener_events(struct listener *listener)
{
	return listener_first(listener) != NULL ? EPOLLIN | EPOLLRDNORM : 0;
}

// A connection that nobody will accept.
static void turn_away(struct shim *shim, unsigned lane, uint32_t slot)
{
	lane_post(shim->attached->lanes[lane],
		&(struct lane_item){.what = LANE_POST_CLOSE, .slot = slot, .error = ECONNRESET});
}

void listener_arrived(struct shim *shim, unsigned lane, uint32_t slot)
{
	struct arrival *arrival;
	struct lane_slot state;

	lane_slot(shim->attached->lanes[lane], slot, &state);
	list_for_each (link, &shim->listeners) {
		struct listener *listener = container_of(link, struct listener, link);

		if (listener->number != state.opened.listener || listener->closed)
			continue;
		arrival = malloc(sizeof(*arrival));
		if (arrival == NULL)
			break;
		*arrival = (struct arrival){
			.lane = lane, .slot = slot, .generation = state.generation};
		list_append(&listener->queue, &arrival->link);
		wait_touch(shim, &listener->object);
		return;
	}
	turn_away(shim, lane, slot);
}

static void forget_arrivals(struct listener *listener, bool turn)
{
	struct shim *shim = shim_get();
	struct list *link;

	while ((link = list_pop(&listener->queue)) != NULL) {
		struct arrival *arrival = container_of(link, struct arrival, link);

		if (turn && shim->attached != NULL)
			turn_away(shim, arrival->lane, arrival->slot);
		free(arrival);
	}
}

void listener_fall(struct listener *listener)
{
	forget_arrivals(listener, false);
	if (!listener->offloaded)
		return;
	listener->offloaded = false;
	libc_get()->listen(listener->object.fd, listener->backlog);
	entries_to_kernel(&listener->object, true);
	wait_touch(shim_get(), &listener->object);
}

bool listener_rise(struct shim *shim, struct listener *listener)
{
	unsigned number = shim->attached->number;
	int error;

	if (!attach_wants(shim->attached, &listener->endpoint, listener->ipv6_only)) {
		listener_fall(listener); // inherited, and the next daemon's are others
		listener->offered = number;
		return true;
	}
	listener->object.refs++; // the lock is let go meanwhile
	error = tell(shim, listener);
	if (is_answer(error))
		listener->offered = number;
	if (is_answer(error) && error != 0) {
		listener_fall(listener);
	} else if (error == 0 && !listener->offloaded && !listener->closed &&
		   shim->attached != NULL) {
		listener->offloaded = true;
		entries_to_kernel(&listener->object, false);
		// Back to a bound socket that does not listen.
		libc_get()->shutdown(listener->object.fd, SHUT_RD);
		wait_touch(shim, &listener->object);
	}
	object_put_locked(&listener->object);
	return is_answer(error);
}

void listener_close(struct listener *listener)
{
	struct shim *shim = shim_get();
	struct channel_message message = {
		.kind = CHANNEL_UNLISTEN,
		.unlisten.listener = listener->number,
	};

	if (listener->closed)
		return;
	listener->closed = true;
	list_remove(&listener->link);
	forget_arrivals(listener, true);
	if (list_empty(&shim->listeners))
		attach_renounce(shim);
	if (listener->offloaded && shim->attached != NULL)
		news_tell(shim, &message);
	wait_touch(shim, &listener->object);
}

void listener_destroy(struct listener *listener)
{
	free(listener);
}

void listener_inherit(struct listener *listener)
{
	forget_arrivals(listener, false);
	listener->accepts = false;
}
