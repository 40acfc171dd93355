// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is the kernel's is polled by the kernel, together with the daemon's wake descriptor and a
// bell.

#include "shim/polls.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shim/dgrams.h"
#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/loans.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"
#include "shim/waiter.h"

// EPOLL… and POLL… are the same numbers here.
static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLHUP == POLLHUP &&
		      EPOLLERR == POLLERR && EPOLLRDHUP == POLLRDHUP,
	"one notion of events");

static struct object *ours(int fd)
{
	struct object *object = table_look(fd);
	struct listener *listener = object != NULL ? listener_of(object) : NULL;

	if (object != NULL && stream_of(object) != NULL && stream_of(object)->lent) {
		loan_take(shim_get(), stream_of(object));
		object = table_look(fd);
	}
	if (object != NULL && dgram_of(object) != NULL && dgram_of(object)->inherited) {
		dgram_revive(shim_get(), dgram_of(object));
		object = table_look(fd);
	}
	if (object == NULL || object->kind == OBJECT_BORROWED ||
		(listener != NULL && !listener->offloaded) ||
		(dgram_of(object) != NULL && dgram_is_kernels(dgram_of(object))))
		return NULL;
	return object;
}

// Looks at those of ours. Returns how many are ready; `kernel` gets what is left to the kernel.
static int look(struct pollfd *fds, nfds_t count, struct pollfd *kernel)
{
	int ready = 0;

	for (nfds_t i = 0; i < count; i++) {
		struct object *object = ours(fds[i].fd);
		uint32_t always = POLLERR | POLLHUP;

		kernel[i] = fds[i];
		fds[i].revents = 0;
		if (object == NULL)
			continue;
		// What the kernel has in an epoll the kernel knows; so what comes to a datagram
		// socket of its, but not whether there is room here.
		if (dgram_of(object) != NULL)
			kernel[i].events &= (short)~(POLLOUT | POLLWRNORM);
		else if (object->kind != OBJECT_EPOLL)
			kernel[i].fd = -1;
		if (listener_of(object) != NULL)
			listener_accepts(listener_of(object), true);
		else if (stream_of(object) != NULL && (fds[i].events & POLLOUT))
			stream_want_room(stream_of(object));
		fds[i].revents =
			(short)(object_events(object) & ((uint32_t)fds[i].events | always));
		ready += fds[i].revents != 0;
	}
	return ready;
}

static int merge(struct pollfd *fds, nfds_t count, const struct pollfd *kernel)
{
	int ready = 0;

	for (nfds_t i = 0; i < count; i++) {
		if (kernel[i].fd >= 0)
			fds[i].revents |= kernel[i].revents;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static int kernel_poll(
	struct pollfd *kernel, nfds_t count, int64_t timeout_us, const sigset_t *mask)
{
	struct timespec timeout = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
	int rc = libc_get()->ppoll(kernel, count, timeout_us < 0 ? NULL : &timeout, mask);

	return rc < 0 ? -errno : rc;
}

struct sleeper {
	struct waiter waiter;
	struct pollfd *kernel;
};

static void sleep_cancelled(void *ctx)
{
	struct sleeper *sleeper = ctx;

	shim_lock();
	news_disarm(shim_get());
	waiter_end(&sleeper->waiter);
	shim_unlock();
	free(sleeper->kernel);
}

// Without the lock.
static int sleep_polling(
	struct sleeper *sleeper, nfds_t count, int64_t timeout_us, const sigset_t *mask)
{
	int rc;

	pthread_cleanup_push(sleep_cancelled, sleeper);
	rc = kernel_poll(sleeper->kernel, count, timeout_us, mask);
	pthread_cleanup_pop(0);
	return rc;
}

// Sleeps; the two behind the application's are the wake descriptor and the bell.
static int sleep_with(struct pollfd *kernel, nfds_t count, int64_t timeout_us, const sigset_t *mask)
{
	struct shim *shim = shim_get();
	struct sleeper sleeper = {.kernel = kernel};
	int rc;

	waiter_begin(&sleeper.waiter);
	kernel[count] = (struct pollfd){.fd = sleeper.waiter.bell, .events = POLLIN};
	kernel[count + 1] = (struct pollfd){
		.fd = shim->attached != NULL ? shim->attached->wake : -1, .events = POLLIN};
	shim_unlock();
	rc = sleep_polling(&sleeper, count + 2, timeout_us, mask);
	if (!shim_lock())
		return -EINTR;
	news_disarm(shim);
	if (rc > 0 && kernel[count + 1].revents != 0)
		news_heard(shim, kernel[count + 1].fd);
	waiter_end(&sleeper.waiter);
	news_drain(shim);
	return rc;
}

static int await(struct pollfd *fds, nfds_t count, struct pollfd *kernel, int64_t timeout_us,
	const sigset_t *mask)
{
	int64_t until_us = timeout_us < 0 ? -1 : wait_now_us() + timeout_us;
	struct shim *shim = shim_get();

	for (;;) {
		int64_t left_us = until_us < 0 ? -1 : until_us - wait_now_us();
		int ready, rc;

		left_us = until_us >= 0 && left_us < 0 ? 0 : left_us;
		news_drain(shim);
		ready = look(fds, count, kernel);
		if (ready > 0 || left_us == 0) {
			rc = kernel_poll(kernel, count, 0, mask);
			return rc < 0 && ready == 0 ? rc : merge(fds, count, kernel);
		}
		if (!news_arm(shim))
			continue;
		rc = sleep_with(kernel, count, left_us, mask);
		if (rc < 0)
			return rc;
		ready = merge(fds, count, kernel);
		if (ready > 0)
			return ready;
	}
}

int polls_await(struct pollfd *fds, nfds_t count, int64_t timeout_us, const sigset_t *mask)
{
	struct pollfd *kernel = malloc(sizeof(*kernel) * (count + 2));
	int rc;

	if (kernel == NULL)
		return -ENOMEM;
	rc = await(fds, count, kernel, timeout_us, mask);
	free(kernel);
	return rc;
}

// --- select --------------------------------------------------------------------------------------

#define READ   (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define WRITE  (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EXCEPT POLLPRI

static bool in(int fd, const fd_set *set)
{
	return set != NULL && FD_ISSET(fd, set);
}

static int put(int fd, fd_set *set, short revents, short wanted)
{
	if (!in(fd, set))
		return 0;
	if (revents & wanted)
		return 1;
	FD_CLR(fd, set);
	return 0;
}

int polls_select(int count, fd_set *read, fd_set *write, fd_set *except, int64_t timeout_us,
	const sigset_t *mask)
{
	struct pollfd fds[FD_SETSIZE];
	nfds_t n = 0;
	int rc, ready = 0;

	if (count < 0 || count > FD_SETSIZE)
		return -EINVAL;
	for (int fd = 0; fd < count; fd++) {
		short events = (in(fd, read) ? POLLIN : 0) | (in(fd, write) ? POLLOUT : 0) |
			       (in(fd, except) ? POLLPRI : 0);

		if (in(fd, read) || in(fd, write) || in(fd, except))
			fds[n++] = (struct pollfd){.fd = fd, .events = events};
	}
	rc = polls_await(fds, n, timeout_us, mask);
	if (rc < 0)
		return rc;
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
		ready += put(fds[i].fd, read, fds[i].revents, READ);
		ready += put(fds[i].fd, write, fds[i].revents, WRITE);
		ready += put(fds[i].fd, except, fds[i].revents, EXCEPT);
	}
	return ready;
}
