// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The application's epoll descriptor stays the kernel's, with two descriptors of the shim's in it:
// the daemon's wake descriptor, by its edges, so that nobody has to read it, and a bell, which
// whoever takes in the news rings for others. What is Offramp's and may be ready stands in a list;
// an entry comes there when its object was touched, and goes when it is looked at and is not ready
// (or is edge-triggered).

#include "shim/epolls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/state.h"
#include "shim/streams.h"
#include "shim/table.h"

#define ALWAYS (EPOLLERR | EPOLLHUP)
#define MODES  ((uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE))
// From the kernel at a time, beside the two of ours.
#define KERNEL_MAX 256

uint32_t object_events(struct object *object)
{
	switch (object->kind) {
	case OBJECT_LISTENER:
		return listener_events((struct listener *)object);
	case OBJECT_STREAM:
		return stream_events((struct stream *)object);
	case OBJECT_EPOLL:
		break;
	}
	return 0;
}

// --- making --------------------------------------------------------------------------------------

static struct epoll *epoll_at(int epfd)
{
	struct object *object = table_look(epfd);

	return object != NULL && object->kind == OBJECT_EPOLL ? (struct epoll *)object : NULL;
}

static struct epoll *epoll_make(int epfd)
{
	struct epoll_event bell = {.events = EPOLLIN};
	struct epoll *epoll = calloc(1, sizeof(*epoll));

	if (epoll == NULL)
		return NULL;
	epoll->object.kind = OBJECT_EPOLL;
	list_init(&epoll->object.entries);
	list_init(&epoll->entries);
	list_init(&epoll->ready);
	list_init(&epoll->link);
	epoll->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	// What the kernel watches already was not counted.
	epoll->kernel_count = 1;
	bell.data.ptr = epoll;
	if (epoll->bell < 0 || libc_get()->epoll_ctl(epfd, EPOLL_CTL_ADD, epoll->bell, &bell) < 0 ||
		!object_bind(&epoll->object, epfd)) {
		if (epoll->bell >= 0)
			libc_get()->close(epoll->bell);
		free(epoll);
		return NULL;
	}
	list_append(&shim_get()->epolls, &epoll->link);
	return epoll;
}

// The daemon's wake descriptor is in the epoll, the latest attachment's.
static void has_wake(struct epoll *epoll)
{
	struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = &epoll->waker};
	const struct attachment *attached = shim_get()->attached;

	if (attached == NULL || epoll->waker == attached->number)
		return;
	if (libc_get()->epoll_ctl(epoll->object.fd, EPOLL_CTL_ADD, attached->wake, &wake) == 0)
		epoll->waker = attached->number;
}

void epoll_destroy(struct epoll *epoll)
{
	while (!list_empty(&epoll->entries)) {
		struct entry *entry = container_of(epoll->entries.next, struct entry, of_epoll);

		list_remove(&entry->of_epoll);
		list_remove(&entry->of_object);
		list_remove(&entry->ready);
		free(entry);
	}
	list_remove(&epoll->link);
	libc_get()->close(epoll->bell);
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

static void entry_ready(struct entry *entry)
{
	if (!list_linked(&entry->ready))
		list_append(&entry->epoll->ready, &entry->ready);
}

static void entry_free(struct entry *entry)
{
	list_remove(&entry->of_object);
	list_remove(&entry->of_epoll);
	list_remove(&entry->ready);
	free(entry);
}

// Somebody looks for connections while an epoll watches the listener.
static void watched(struct object *object)
{
	struct listener *listener = listener_of(object);

	if (listener != NULL)
		listener_accepts(listener, !list_empty(&object->entries));
}

static int entry_set(struct entry *entry, const struct epoll_event *event)
{
	struct stream *stream = stream_of(entry->object);

	entry->event = *event;
	entry->spent = false;
	if (stream != NULL && (event->events & EPOLLOUT))
		stream_want_room(stream);
	entry_ready(entry);
	return 0;
}

static int entry_add(
	struct epoll *epoll, struct object *object, int fd, const struct epoll_event *event)
{
	struct listener *listener = listener_of(object);
	struct entry *entry = calloc(1, sizeof(*entry));

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
	if (listener != NULL && !listener->offloaded)
		entries_to_kernel(object, true);
	return 0;
}

int epoll_control(int epfd, int op, int fd, struct object *object, const struct epoll_event *event)
{
	struct epoll *epoll = epoll_at(epfd);
	struct epoll_event none = {0};
	struct entry *entry;

	// Is it an epoll at all? The kernel knows; nothing is ever at this descriptor of its.
	if (epoll == NULL && libc_get()->epoll_ctl(epfd, EPOLL_CTL_MOD, epfd, &none) < 0 &&
		errno != EINVAL)
		return -errno;
	if (event == NULL && op != EPOLL_CTL_DEL)
		return -EFAULT;
	if (epoll == NULL)
		epoll = epoll_make(epfd);
	if (epoll == NULL)
		return -ENOMEM;
	has_wake(epoll);
	entry = entry_find(epoll, object, fd);
	if (op == EPOLL_CTL_ADD)
		return entry != NULL ? -EEXIST : entry_add(epoll, object, fd, event);
	if (entry == NULL)
		return -ENOENT;
	if (entry->in_kernel)
		libc_get()->epoll_ctl(epfd, op, fd, (struct epoll_event *)event);
	if (op == EPOLL_CTL_MOD)
		return entry_set(entry, event);
	if (op != EPOLL_CTL_DEL)
		return -EINVAL;
	entry_free(entry);
	watched(object);
	return 0;
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
		struct entry *entry = container_of(link, struct entry, of_object);
		const uint64_t one = 1;

		entry_ready(entry);
		if (entry->epoll->waiting > 0 && write(entry->epoll->bell, &one, sizeof(one)) < 0)
			continue; // a full counter rings, too
	}
}

void entries_forget(struct object *object, int fd)
{
	list_for_each_safe (link, &object->entries) {
		struct entry *entry = container_of(link, struct entry, of_object);

		if (entry->fd == fd)
			entry_free(entry);
	}
	watched(object);
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

static bool entry_fires(struct entry *entry, struct epoll_event *ret_event)
{
	uint32_t events;

	if (entry->spent || entry->in_kernel)
		return false;
	events = object_events(entry->object) & (entry->event.events | ALWAYS) & ~MODES;
	*ret_event = (struct epoll_event){.events = events, .data = entry->event.data};
	return events != 0;
}

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

// What the kernel has, without the two of ours.
static int from_kernel(struct epoll *epoll, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask)
{
	struct epoll_event found[KERNEL_MAX + 2];
	int timeout_ms = timeout_us < 0 ? -1 : (int)((timeout_us + 999) / 1000);
	int room = (max < KERNEL_MAX ? max : KERNEL_MAX) + 2, count = 0;
	int n = libc_get()->epoll_pwait(epoll->object.fd, found, room, timeout_ms, mask);
	uint64_t rung;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (found[i].data.ptr == epoll) {
			if (libc_get()->read(epoll->bell, &rung, sizeof(rung)) < 0)
				continue;
		} else if (found[i].data.ptr != &epoll->waker && count < max) {
			events[count++] = found[i];
		}
	}
	return count;
}

// Sleeps in the kernel. How many of its own are ready, 0: something may be new, or -errno.
static int sleep_in(struct epoll *epoll, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask)
{
	int count;

	epoll->waiting++;
	shim_unlock();
	count = from_kernel(epoll, events, max, timeout_us, mask);
	if (!shim_lock())
		return -EINTR;
	epoll->waiting--;
	news_disarm(shim_get());
	// An edge may have been for another thread.
	news_drain(shim_get());
	return count;
}

int epoll_await(struct epoll *epoll, struct epoll_event *events, int max, int64_t timeout_us,
	const sigset_t *mask)
{
	int64_t until_us = timeout_us < 0 ? -1 : wait_now_us() + timeout_us, left_us = timeout_us;
	struct shim *shim = shim_get();
	bool asked = false; // the kernel, a moment ago: it had nothing

	for (;;) {
		int count, kernel = 0;

		has_wake(epoll);
		news_drain(shim);
		count = epoll_collect(epoll, events, max);
		if (count > 0 || left_us == 0) {
			if (count < max && epoll->kernel_count > 0 && !asked) {
				kernel = from_kernel(epoll, events + count, max - count, 0, mask);
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
