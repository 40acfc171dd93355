// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The thread: who comes, who has gone, who writes nonsense.

#include "daemon/door.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach/sockets.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "control/socket.h"
#include "daemon/visitor.h"

// A visitor that says nothing is shown out.
#define HELLO_MS 2000
// Lanes are looked at so often for somebody who has broken one.
#define LOOK_MS 200

struct door {
	const struct config *config;
	struct visitors *visitors;
	int listener, stop;
	pthread_t thread;
	bool running;
};

static int listen_at(const struct config *config)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before;
	int rc;

	if (fd < 0)
		return -errno;
	strncpy(address.sun_path, config->socket.path, sizeof(address.sun_path) - 1);
	before = umask(0117);
	rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (rc == 0 && config->socket.group != UINT32_MAX)
		rc = chown(config->socket.path, (uid_t)-1, config->socket.group);
	if (rc == 0)
		rc = listen(fd, 64);
	if (rc < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

// --- the thread ----------------------------------------------------------------------------------

static void let_in(struct door *door)
{
	int fd = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			log_warning("socket", "a process cannot attach: %s", strerror(errno));
		return;
	}
	if (visitors_add(door->visitors, fd, clock_now_us() + HELLO_MS * US_IN_MS) < 0) {
		log_warning("socket", "a process cannot attach: %u are here already", VISITORS_MAX);
		close(fd);
	}
}

static void *watch(void *ctx)
{
	struct door *door = ctx;
	struct pollfd fds[2 + 2 * VISITORS_MAX];

	for (;;) {
		unsigned count = 2;

		fds[0] = (struct pollfd){.fd = door->stop, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = door->listener, .events = POLLIN};
		count += visitors_poll(door->visitors, fds + 2);
		if (poll(fds, count, LOOK_MS) < 0 && errno != EINTR)
			log_error("socket", "poll: %s", strerror(errno));
		if (fds[0].revents != 0)
			return NULL;
		visitors_look(door->visitors, fds + 2, clock_now_us());
		if (fds[1].revents != 0)
			let_in(door);
	}
}

// --- opening and closing -------------------------------------------------------------------------

int door_open(const struct config *config, struct worker *const *workers, struct door **ret_door)
{
	struct door *door = calloc(1, sizeof(*door));
	int rc = -ENOMEM;

	if (door == NULL)
		return -ENOMEM;
	door->config = config;
	door->listener = door->stop = -1;
	rc = visitors_create(config, workers, &door->visitors);
	if (rc == 0)
		rc = socket_prepare(config->socket.path);
	if (rc == 0) {
		rc = door->listener = listen_at(config);
		rc = rc < 0 ? rc : 0;
	}
	if (rc == 0) {
		door->stop = eventfd(0, EFD_CLOEXEC);
		rc = door->stop < 0 ? -errno : 0;
	}
	if (rc == 0)
		rc = -pthread_create(&door->thread, NULL, watch, door);
	if (rc < 0) {
		log_error("socket", "%s: %s", config->socket.path, strerror(-rc));
		door_close(door);
		return rc;
	}
	door->running = true;
	log_info("socket", "processes attach at %s", config->socket.path);
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
		unlink(door->config->socket.path);
	}
	visitors_destroy(door->visitors);
	if (door->listener >= 0)
		close(door->listener);
	if (door->stop >= 0)
		close(door->stop);
	free(door);
}
