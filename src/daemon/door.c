// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The thread: who comes, who has gone, who writes nonsense.

#include "daemon/door.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "daemon/entrance.h"
#include "daemon/visitor.h"

// A visitor that says nothing is shown out.
#define HELLO_MS 2000

struct entrance {
	int fd;
	const struct config_door *door; // NULL: shared memory
};

struct door {
	const struct config *config;
	struct visitors *visitors;
	struct entrance entrances[1 + CONFIG_DOORS_MAX];
	unsigned entrances_count;
	int stop;
	pthread_t thread;
	bool running;
};

// --- the thread ----------------------------------------------------------------------------------

static void let_in(struct door *door, const struct entrance *entrance)
{
	int fd = entrance_accept(entrance->fd, entrance->door);

	if (fd < 0) {
		if (fd == -EMFILE || fd == -ENFILE)
			log_warning("socket", "a process cannot attach: %s", strerror(-fd));
		else if (fd == -EACCES)
			log_warning("socket", "somebody at %s is not in its list",
				entrance->door->address);
		return;
	}
	if (visitors_add(door->visitors, fd, entrance->door, clock_now_us() + HELLO_MS * US_IN_MS) <
		0) {
		log_warning("socket", "a process cannot attach: %u are here already", VISITORS_MAX);
		close(fd);
	}
}

static void *watch(void *ctx)
{
	struct door *door = ctx;
	struct pollfd fds[1 + 1 + CONFIG_DOORS_MAX + 2 * VISITORS_MAX];

	for (;;) {
		unsigned count = 1;
		int timeout_ms;

		fds[0] = (struct pollfd){.fd = door->stop, .events = POLLIN};
		for (unsigned i = 0; i < door->entrances_count; i++)
			fds[count++] =
				(struct pollfd){.fd = door->entrances[i].fd, .events = POLLIN};
		count += visitors_poll(door->visitors, fds + count, &timeout_ms);
		if (poll(fds, count, timeout_ms) < 0 && errno != EINTR)
			log_error("socket", "poll: %s", strerror(errno));
		if (fds[0].revents != 0)
			return NULL;
		visitors_look(door->visitors, fds + 1 + door->entrances_count, clock_now_us());
		for (unsigned i = 0; i < door->entrances_count; i++)
			if (fds[1 + i].revents != 0)
				let_in(door, &door->entrances[i]);
	}
}

// --- opening and closing -------------------------------------------------------------------------

static const char *name_of(const struct door *door, unsigned i)
{
	const struct config_socket *socket = &door->config->socket;

	return i == 0 ? socket->path : socket->doors[i - 1].address;
}

static const char *path_of(const struct door *door, unsigned i)
{
	const struct config_socket *socket = &door->config->socket;

	return i == 0 ? socket->path : socket->doors[i - 1].path;
}

static int open_entrance(struct door *door, unsigned i)
{
	const struct config_socket *socket = &door->config->socket;
	struct entrance *entrance = &door->entrances[i];
	int rc;

	entrance->door = i == 0 ? NULL : &socket->doors[i - 1];
	rc = i == 0 ? entrance_open_unix(socket->path, SOCK_SEQPACKET, socket->group)
		    : entrance_open(entrance->door);
	if (rc < 0) {
		log_error("socket", "%s: %s", name_of(door, i), strerror(-rc));
		return rc;
	}
	entrance->fd = rc;
	door->entrances_count = i + 1;
	return 0;
}

static int open_entrances(struct door *door)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 1 + door->config->socket.doors_count; i++)
		rc = open_entrance(door, i);
	return rc;
}

static int start(struct door *door)
{
	int rc;

	door->stop = eventfd(0, EFD_CLOEXEC);
	rc = door->stop < 0 ? -errno : -pthread_create(&door->thread, NULL, watch, door);
	if (rc < 0)
		log_error("socket", "%s", strerror(-rc));
	return rc;
}

int door_open(const struct config *config, struct worker *const *workers, struct door **ret_door)
{
	struct door *door = calloc(1, sizeof(*door));
	int rc;

	if (door == NULL)
		return -ENOMEM;
	door->config = config;
	door->stop = -1;
	rc = visitors_create(config, workers, &door->visitors);
	if (rc == 0)
		rc = open_entrances(door);
	if (rc == 0)
		rc = start(door);
	if (rc < 0) {
		door_close(door);
		return rc;
	}
	door->running = true;
	for (unsigned i = 0; i < door->entrances_count; i++)
		log_info("socket", "processes attach at %s", name_of(door, i));
	*ret_door = door;
	return 0;
}

void door_close(struct door *door)
{
	const uint64_t one = 1;

	if (door == NULL)
		return;
	if (door->running) {
		if (write(door->stop, &one, sizeof(one)) < 0)
			log_error("socket", "write: %s", strerror(errno));
		pthread_join(door->thread, NULL);
	}
	visitors_destroy(door->visitors);
	for (unsigned i = 0; i < door->entrances_count; i++) {
		close(door->entrances[i].fd);
		if (path_of(door, i) != NULL)
			unlink(path_of(door, i));
	}
	if (door->stop >= 0)
		close(door->stop);
	free(door);
}
