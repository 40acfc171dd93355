// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sleeping until something is new. Whoever wakes first takes the news in for all, and rings for
// those whom it concerns.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/state.h"
#include "shim/waiter.h"

int64_t wait_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// --- bells ---------------------------------------------------------------------------------------

static pthread_key_t bell_key;
static pthread_once_t bell_once = PTHREAD_ONCE_INIT;

static void bell_close(void *value)
{
	libc_get()->close((int)(intptr_t)value - 1);
}

static void bell_prepare(void)
{
	pthread_key_create(&bell_key, bell_close);
}

// A thread's own, for as long as it lives.
static int bell_get(void)
{
	intptr_t value;

	pthread_once(&bell_once, bell_prepare);
	value = (intptr_t)pthread_getspecific(bell_key);
	if (value == 0) {
		value = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) + 1;
		pthread_setspecific(bell_key, (void *)value);
	}
	return (int)value - 1;
}

void wait_inherit(void)
{
	intptr_t value;

	pthread_once(&bell_once, bell_prepare);
	value = (intptr_t)pthread_getspecific(bell_key);
	if (value == 0)
		return;
	libc_get()->close((int)value - 1);
	pthread_setspecific(bell_key, NULL);
}

bool waiter_begin(struct waiter *waiter)
{
	waiter->bell = bell_get();
	list_init(&waiter->link);
	list_append(&shim_get()->waiters, &waiter->link);
	return waiter->bell >= 0;
}

void waiter_end(struct waiter *waiter)
{
	uint64_t rung;

	list_remove(&waiter->link);
	if (libc_get()->read(waiter->bell, &rung, sizeof(rung)) < 0)
		return; // nobody has rung
}

static void ring_waiters(struct shim *shim)
{
	const uint64_t one = 1;

	list_for_each (link, &shim->waiters) {
		if (libc_get()->write(
			    container_of(link, struct waiter, link)->bell, &one, sizeof(one)) < 0)
			continue; // a full counter rings, too
	}
}

void wait_touch(struct shim *shim, struct object *object)
{
	entries_touch(object);
	ring_waiters(shim);
}

void wait_touch_all(struct shim *shim)
{
	const uint64_t one = 1;

	ring_waiters(shim);
	list_for_each (link, &shim->epolls) {
		if (libc_get()->write(
			    container_of(link, struct epoll, link)->bell, &one, sizeof(one)) < 0)
			continue;
	}
}

// --- sleeping ------------------------------------------------------------------------------------

// Would the kernel go on with a call after every signal that this process handles?
static bool calls_restart(void)
{
	for (int i = 1; i < NSIG; i++) {
		struct sigaction action;

		if (sigaction(i, NULL, &action) < 0 || action.sa_handler == SIG_DFL ||
			action.sa_handler == SIG_IGN)
			continue;
		if (!(action.sa_flags & SA_RESTART))
			return false;
	}
	return true;
}

struct nap {
	struct shim *shim;
	struct waiter waiter;
	struct object *object;
};

static void nap_cancelled(void *ctx)
{
	struct nap *nap = ctx;

	shim_lock();
	news_disarm(nap->shim);
	waiter_end(&nap->waiter);
	if (nap->object != NULL)
		object_put_locked(nap->object);
	shim_unlock();
}

// Without the lock. 0: in vain, or -errno.
static int nap_take(struct nap *nap, struct pollfd fds[3], int64_t timeout_us)
{
	struct timespec timeout = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
	int n;

	pthread_cleanup_push(nap_cancelled, nap);
	n = libc_get()->ppoll(fds, 3, timeout_us < 0 ? NULL : &timeout, NULL);
	n = n < 0 ? -errno : n;
	pthread_cleanup_pop(0);
	return n;
}

int wait_news_or(struct shim *shim, int fd, int64_t timeout_us, struct object *object)
{
	struct nap nap = {.shim = shim, .object = object};
	struct pollfd fds[3];
	int n = 1;

	if (!waiter_begin(&nap.waiter)) {
		list_remove(&nap.waiter.link);
		return ETIMEDOUT;
	}
	fds[0] = (struct pollfd){.fd = nap.waiter.bell, .events = POLLIN};
	fds[1] = (struct pollfd){
		.fd = shim->attached != NULL ? shim->attached->wake : -1, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = fd, .events = POLLIN};
	if (news_arm(shim)) {
		shim_unlock();
		n = nap_take(&nap, fds, timeout_us);
		if (!shim_lock())
			return EINTR;
		news_disarm(shim);
		if (n > 0 && fds[1].revents != 0)
			news_heard(shim, fds[1].fd);
	}
	waiter_end(&nap.waiter);
	news_drain(shim);
	if (n == 0)
		return ETIMEDOUT;
	// What has a timeout does not go on (signal(7)).
	return n == -EINTR && (timeout_us >= 0 || !calls_restart()) ? EINTR : 0;
}

int wait_news(struct shim *shim, int64_t timeout_us, struct object *object)
{
	return wait_news_or(shim, -1, timeout_us, object);
}
