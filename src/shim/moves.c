// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the kernel knows of a descriptor in an epoll it shows in /proc: events and data, the same
// that the application gave it.

#include "shim/moves.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "shim/epolls.h"
#include "shim/libc.h"
#include "shim/state.h"

static bool kernel_has(int epfd, int fd)
{
	struct epoll_event none = {0};

	if (libc_get()->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &none) < 0)
		return errno == EEXIST;
	libc_get()->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &none);
	return false;
}

static bool find(FILE *file, int fd, struct epoll_event *ret_event)
{
	char line[256];

	while (fgets(line, sizeof(line), file) != NULL) {
		uint32_t events;
		uint64_t data;
		int found;

		if (sscanf(line, "tfd: %d events: %" SCNx32 " data: %" SCNx64, &found, &events,
			    &data) != 3 ||
			found != fd)
			continue;
		*ret_event = (struct epoll_event){.events = events, .data.u64 = data};
		return true;
	}
	return false;
}

static bool kernel_event(int epfd, int fd, struct epoll_event *ret_event)
{
	char name[64];
	FILE *file;
	bool found;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", epfd);
	file = fopen(name, "re");
	if (file == NULL)
		return false;
	found = find(file, fd, ret_event);
	fclose(file);
	return found;
}

bool moves_from_kernel(struct object *object, int fd)
{
	list_for_each (link, &shim_get()->epolls) {
		struct epoll *epoll = container_of(link, struct epoll, link);
		int epfd = epoll->object.fd;
		struct epoll_event event;

		if (epoll->kernel_count == 0 || !kernel_has(epfd, fd))
			continue;
		if (!kernel_event(epfd, fd, &event) ||
			epoll_control(epfd, EPOLL_CTL_ADD, fd, object, &event) < 0)
			return false;
		libc_get()->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &event);
		epoll_count_kernel(epfd, -1);
	}
	return true;
}

void moves_to_kernel(struct object *object)
{
	while (!list_empty(&object->entries)) {
		struct entry *entry = container_of(object->entries.next, struct entry, of_object);
		int epfd = entry->epoll->object.fd, fd = entry->fd;
		struct epoll_event event = entry->event;

		if (entry->spent)
			event.events &= EPOLLONESHOT | EPOLLET;
		epoll_control(epfd, EPOLL_CTL_DEL, fd, object, NULL);
		if (libc_get()->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0)
			epoll_count_kernel(epfd, 1);
	}
}
