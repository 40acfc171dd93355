// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The application's epoll descriptor stays the kernel's, with the kernel's own in it. Who waits
// sleeps in another one, the bed: there are the first, the daemon's wake descriptor, by its edges,
// so that nobody has to read it, and a bell, which whoever takes in the news rings for others. What
// is Offramp's and may be ready stands in a list; an entry comes there when its object was touched,
// and goes when it is looked at and is not ready (or is edge-triggered).

#include "shim/epolls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shim/dgrams.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"

#define ALWAYS (EPOLLERR | EPOLLHUP)
#define MODES  ((uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE))
// All that goes with EPOLLEXCLUSIVE.
#define EXCLUSIVE ((uint32_t)(EPOLLIN | EPOLLOUT | ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE))

static bool entry_fires(struct entry *entry, struct epoll_event *ret_event)
{
	uint32_t events;

	if (entry->spent || entry->in_kernel)
		return false;
	events = object_events(entry->object) & (entry->event.events | ALWAYS) & ~MODES;
	*ret_event = (struct epoll_event){.events = events, .data = entry->event.data};
	return events != 0;
}

// Without taking anything out of it. What the kernel has in it the kernel knows.
static bool is_ready(struct epoll *epoll)
{
	struct epoll_event event;

	list_for_each (link, &epoll->ready) {
		if (entry_fires(container_of(link, struct entry, ready), &event))
			return true;
	}
	return false;
}

uint32_t object_events(struct object *object)
{
	switch (object->kind) {
	case OBJECT_LISTENER:
		return listener_events((struct listener *)object);
	case OBJECT_STREAM:
		return stream_events((struct stream *)object);
	case OBJECT_DGRAM:
		return dgram_events((struct dgram *)object);
	case OBJECT_EPOLL:
		return is_ready((struct epoll *)object) ? EPOLLIN | EPOLLRDNORM : 0;
	case OBJECT_BORROWED:
		break;
	}
	return 0;
}

static void entry_free(struct entry *entry)
{
	list_remove(&entry->of_object);
	list_remove(&entry->of_epoll);
	list_remove(&entry->ready);
	free(entry);
}

// --- making --------------------------------------------------------------------------------------

static struct epoll *epoll_at(int epfd)
{
	struct object *object = table_look(epfd);

	return object != NULL && object->kind == OBJECT_EPOLL ? (struct epoll *)object : NULL;
}

// False: there is no descriptor to be had.
static bool make_bed(struct epoll *epoll, int epfd)
{
	struct epoll_event kernel = {.events = EPOLLIN, .data.ptr = &epoll->bed};
	struct epoll_event bell = {.events = EPOLLIN, .data.ptr = &epoll->bell};
	const struct libc *libc = libc_get();

	epoll->waker = 0;
	epoll->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	epoll->bed = libc->epoll_create1(EPOLL_CLOEXEC);
	return epoll->bell >= 0 && epoll->bed >= 0 &&
	       libc->epoll_ctl(epoll->bed, EPOLL_CTL_ADD, epoll->bell, &bell) == 0 &&
	       libc->epoll_ctl(epoll->bed, EPOLL_CTL_ADD, epfd, &kernel) == 0;
}

static void close_bed(const struct epoll *epoll)
{
	if (epoll->bell >= 0)
		libc_get()->close(epoll->bell);
	if (epoll->bed >= 0)
		libc_get()->close(epoll->bed);
}

static struct epoll *epoll_make(int epfd, unsigned kernel_count)
{
	struct epoll *epoll = calloc(1, sizeof(*epoll));

	if (epoll == NULL)
		return NULL;
	epoll->object.kind = OBJECT_EPOLL;
	epoll->kernel_count = kernel_count;
	list_init(&epoll->object.entries);
	list_init(&epoll->entries);
	list_init(&epoll->ready);
	list_init(&epoll->link);
	if (!make_bed(epoll, epfd) || !object_bind(&epoll->object, epfd)) {
		close_bed(epoll);
		free(epoll);
		return NULL;
	}
	list_append(&shim_get()->epolls, &epoll->link);
	return epoll;
}

void epoll_created(int epfd)
{
	// Where that fails it is made when something of ours comes into it.
	if (epfd < 0 || !shim_lock())
		return;
	epoll_make(epfd, 0);
	shim_unlock();
}

void epoll_inherit(struct epoll *epoll)
{
	close_bed(epoll);
	make_bed(epoll, epoll->object.fd);
	epoll->waiting = 0;
	epoll->inherited = true;
}

// The daemon's wake descriptor is in the bed, the latest attachment's.
static void has_wake(struct epoll *epoll)
{
	struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = &epoll->waker};
	const struct attachment *attached = shim_get()->attached;

	if (attached == NULL || epoll->waker == attached->number)
		return;
	if (libc_get()->epoll_ctl(epoll->bed, EPOLL_CTL_ADD, attached->wake, &wake) == 0)
		epoll->waker = attached->number;
}

void epoll_destroy(struct epoll *epoll)
{
	while (!list_empty(&epoll->entries))
		entry_free(container_of(epoll->entries.next, struct entry, of_epoll));
	list_remove(&epoll->link);
	close_bed(epoll);
	free(epoll);
}

// --- entries -------------------------------------------------------------------------------------

static struct entry *entry_find(struct epoll *epoll, const struct object *object, int fd)
{
	list_for_each (link, &object->entries) {
		struct entry *entry = container_of(link, struct entry, of_object);

		if (entry->epoll == epoll && entry->fd == fd)
			return entry;
	}
	return NULL;
}

static void entry_touch(struct entry *entry)
{
	struct epoll *epoll = entry->epoll;
	const uint64_t one = 1;

	if (!list_linked(&entry->ready))
		list_append(&epoll->ready, &entry->ready);
	// A full counter rings, too.
	if (epoll->waiting > 0 && libc_get()->write(epoll->bell, &one, sizeof(one)) < 0)
		return;
	// An epoll in another one.
	if (!list_empty(&epoll->object.entries))
		wait_touch(shim_get(), &epoll->object);
}

// Somebody looks for connections while an epoll watches the listener.
static void watched(struct object *object)
{
	struct listener *listener = listener_of(object);

	if (listener != NULL)
		listener_accepts(listener, !list_empty(&object->entries));
}

// The kernel tells what comes to its socket; room is ours to tell.
static void kernel_set(const struct entry *entry, int op)
{
	struct epoll_event event = entry->event;

	event.events &= ~(uint32_t)(EPOLLOUT | EPOLLWRNORM);
	libc_get()->epoll_ctl(entry->epoll->object.fd, op, entry->fd, &event);
	if (op != EPOLL_CTL_MOD)
		entry->epoll->kernel_count += op == EPOLL_CTL_ADD ? 1u : ~0u;
}

// Is told of what is ready already; so is who waits in another thread.
static void entry_set(struct entry *entry, const struct epoll_event *event)
{
	struct stream *stream = stream_of(entry->object);

	entry->event = *event;
	entry->spent = false;
	if (stream != NULL && (event->events & EPOLLOUT))
		stream_want_room(stream);
	entry_touch(entry);
}

static int entry_add(
	struct epoll *epoll, struct object *object, int fd, const struct epoll_event *event)
{
	struct listener *listener = listener_of(object);
	struct entry *entry;

	if ((event->events & EPOLLEXCLUSIVE) && (event->events & ~EXCLUSIVE))
		return -EINVAL;
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return -ENOMEM;
	entry->object = object;
	entry->epoll = epoll;
	entry->fd = fd;
	list_init(&entry->ready);
	list_init(&entry->of_object);
	list_init(&entry->of_epoll);
	list_append(&object->entries, &entry->of_object);
	list_append(&epoll->entries, &entry->of_epoll);
	entry_set(entry, event);
	watched(object);
	entry->in_both = dgram_of(object) != NULL;
	if (entry->in_both)
		kernel_set(entry, EPOLL_CTL_ADD);
	if (listener != NULL && !listener->offloaded)
		entries_to_kernel(object, true);
	return 0;
}

// 0, or why the kernel does not take it for an epoll descriptor.
static int check(int epfd, int fd)
{
	struct epoll_event none = {0};

	// What is ours was never put into it there.
	if (libc_get()->epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &none) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int entry_modify(struct entry *entry, const struct epoll_event *event)
{
	if ((event->events | entry->event.events) & EPOLLEXCLUSIVE)
		return -EINVAL;
	if (entry->in_kernel)
		libc_get()->epoll_ctl(entry->epoll->object.fd, EPOLL_CTL_MOD, entry->fd,
			(struct epoll_event *)event);
	entry_set(entry, event);
	if (entry->in_both)
		kernel_set(entry, EPOLL_CTL_MOD);
	return 0;
}

static int entry_delete(struct entry *entry)
{
	struct object *object = entry->object;

	if (entry->in_kernel)
		libc_get()->epoll_ctl(
			entry->epoll->object.fd, EPOLL_CTL_DEL, entry->fd, &entry->event);
	if (entry->in_both)
		kernel_set(entry, EPOLL_CTL_DEL);
	entry_free(entry);
	watched(object);
	return 0;
}

int epoll_control(int epfd, int op, int fd, struct object *object, const struct epoll_event *event)
{
	struct epoll *epoll = epoll_at(epfd);
	int rc = epoll == NULL ? check(epfd, fd) : 0;
	struct entry *entry;

	if (rc < 0)
		return rc;
	if (event == NULL && op != EPOLL_CTL_DEL)
		return -EFAULT;
	if (epoll == NULL) // what the kernel has in it already was not counted
		epoll = epoll_make(epfd, 1);
	if (epoll == NULL)
		return -ENOMEM;
	has_wake(epoll);
	entry = entry_find(epoll, object, fd);
	if (op == EPOLL_CTL_ADD)
		return entry != NULL ? -EEXIST : entry_add(epoll, object, fd, event);
	if (op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return -EINVAL;
	if (entry == NULL)
		return -ENOENT;
	return op == EPOLL_CTL_MOD ? entry_modify(entry, event) : entry_delete(entry);
}

void epoll_count_kernel(int epfd, int change)
{
	struct epoll *epoll = epoll_at(epfd);

	if (epoll != NULL)
		epoll->kernel_count += (unsigned)change;
}

void entries_touch(struct object *object)
{
	list_for_each (link, &object->entries) {
		entry_touch(container_of(link, struct entry, of_object));
	}
}

void entries_forget(struct object *object)
{
	while (!list_empty(&object->entries))
		entry_free(container_of(object->entries.next, struct entry, of_object));
}

void entries_to_kernel(struct object *object, bool kernel)
{
	list_for_each (link, &object->entries) {
		struct entry *entry = container_of(link, struct entry, of_object);
		int epfd = entry->epoll->object.fd;

		if (entry->in_kernel == kernel)
			continue;
		entry->in_kernel = kernel;
		libc_get()->epoll_ctl(
			epfd, kernel ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, entry->fd, &entry->event);
	}
}

// --- waiting -------------------------------------------------------------------------------------

int epoll_collect(struct epoll *epoll, struct epoll_event *events, int max)
{
	struct list look;
	int count = 0;

	list_init(&look);
	list_move_all(&epoll->ready, &look);
	while (count < max && !list_empty(&look)) {
		struct entry *entry = container_of(list_pop(&look), struct entry, ready);

		if (!entry_fires(entry, &events[count]))
			continue;
		count++;
		entry->spent = (entry->event.events & EPOLLONESHOT) != 0;
		// Level-triggered: it is looked at again, behind the others.
		if (!(entry->event.events & (EPOLLET | EPOLLONESHOT)))
			list_append(&epoll->ready, &entry->ready);
	}
	// Who had no place is first the next time.
	list_move_all(&epoll->ready, &look);
	list_move_all(&look, &epoll->ready);
	return count;
}

// What the kernel has, without waiting: how many, or -errno.
static int from_kernel(
	struct epoll *epoll, struct epoll_event *events, int max, const sigset_t *mask)
{
	int n = libc_get()->epoll_pwait(epoll->object.fd, events, max, 0, mask);

	return n < 0 ? -errno : n;
}

static void sleep_cancelled(void *ctx)
{
	struct epoll *epoll = ctx;

	shim_lock();
	epoll->waiting--;
	news_disarm(shim_get());
	object_put(&epoll->object);
}

// Without the lock. How much is in the bed, or -errno.
static int lie(
	struct epoll *epoll, struct epoll_event found[3], int timeout_ms, const sigset_t *mask)
{
	int n;

	pthread_cleanup_push(sleep_cancelled, epoll);
	n = libc_get()->epoll_pwait(epoll->bed, found, 3, timeout_ms, mask);
	n = n < 0 ? -errno : n;
	pthread_cleanup_pop(0);
	return n;
}

// Is there something of the kernel's? Or -errno.
static int sleep_in_bed(struct epoll *epoll, int64_t timeout_us, const sigset_t *mask)
{
	struct epoll_event found[3];
	int n = lie(epoll, found, timeout_us < 0 ? -1 : (int)((timeout_us + 999) / 1000), mask);
	bool kernel = false;
	uint64_t rung;

	for (int i = 0; i < n; i++) {
		if (found[i].data.ptr == &epoll->bed)
			kernel = true;
		else if (found[i].data.ptr == &epoll->bell &&
			 libc_get()->read(epoll->bell, &rung, sizeof(rung)) < 0)
			continue; // another has heard
	}
	return n < 0 ? n : kernel;
}

// How many of the kernel's are ready, 0: something may be new, or -errno.
static int sleep_in(struct epoll *epoll, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask)
{
	int count;

	epoll->waiting++;
	shim_unlock();
	count = sleep_in_bed(epoll, timeout_us, mask);
	if (!shim_lock())
		return -EINTR;
	epoll->waiting--;
	news_disarm(shim_get());
	// An edge may have been for another thread.
	news_drain(shim_get());
	return count > 0 ? from_kernel(epoll, events, max, NULL) : count;
}

// A child waits in what its parent has set up: it looks for what that has looked for.
static void take_up(struct shim *shim, struct epoll *epoll)
{
	if (!epoll->inherited)
		return;
	epoll->inherited = false;
	list_for_each (link, &epoll->entries) {
		watched(container_of(link, struct entry, of_epoll)->object);
	}
	list_for_each (link, &epoll->entries) {
		struct dgram *dgram = dgram_of(container_of(link, struct entry, of_epoll)->object);

		if (dgram == NULL || !dgram->inherited)
			continue;
		dgram->inherited = false;
		dgram_revive(shim, dgram);
		link = &epoll->entries; // the lock was let go: from the beginning
	}
}

int epoll_await(struct epoll *epoll, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask)
{
	int64_t until_us = timeout_us < 0 ? -1 : wait_now_us() + timeout_us, left_us = timeout_us;
	struct shim *shim = shim_get();
	bool asked = false; // the kernel, a moment ago: it had nothing

	take_up(shim, epoll);
	for (;;) {
		int count, kernel = 0;

		has_wake(epoll);
		news_drain(shim);
		count = epoll_collect(epoll, events, max);
		if (count > 0 || left_us == 0) {
			if (count < max && epoll->kernel_count > 0 && !asked) {
				kernel = from_kernel(epoll, events + count, max - count, mask);
				news_drain(shim); // as after sleeping
			}
			return kernel < 0 && count == 0 ? kernel
							: count + (kernel > 0 ? kernel : 0);
		}
		if (!news_arm(shim))
			continue;
		count = sleep_in(epoll, events, max, left_us, mask);
		if (count != 0)
			return count;
		asked = true;
		if (until_us >= 0) {
			left_us = until_us - wait_now_us();
			left_us = left_us < 0 ? 0 : left_us;
		}
	}
}
