// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Coming and going.

#include "daemon/visitor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "daemon/visitor_state.h"

// A process has hung up: what its lanes' connections carry still has come by then.
#define LEAVE_MS 1000
// Lanes are looked at so often for somebody who has broken one, and for the end of who leaves:
// until then clients are let in that nobody will serve.
#define LOOK_MS		200
#define LEAVING_LOOK_MS 5

int visitors_create(
	const struct config *config, struct worker *const *workers, struct visitors **ret_visitors)
{
	struct visitors *visitors = calloc(1, sizeof(*visitors));

	if (visitors == NULL)
		return -ENOMEM;
	visitors->config = config;
	visitors->workers = workers;
	visitors->epoch = clock_now_us();
	visitors->geometry.slots = config_share(config, config->memory.connections);
	visitors->geometry.chunks =
		(uint32_t)(config->socket.memory / 2 / config->workers / CHANNEL_CHUNK);
	visitors->lane_bytes = shared_size(&visitors->geometry);
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		visitors->all[i].fd = -1;
	*ret_visitors = visitors;
	return 0;
}

int visitors_add(
	struct visitors *visitors, int fd, const struct config_door *door, uint64_t until_us)
{
	for (unsigned i = 0; i < VISITORS_MAX; i++) {
		struct visitor *visitor = &visitors->all[i];

		if (visitor->fd >= 0)
			continue;
		*visitor = (struct visitor){
			.fd = fd,
			.door = door,
			.pidfd = -1,
			.wake = -1,
			.until_us = until_us,
		};
		return 0;
	}
	return -ENOSPC;
}

static void show_out(struct visitors *visitors, struct visitor *visitor, const char *why)
{
	visitor_take_lanes(visitors, visitor);
	if (visitor->state >= VISITOR_ATTACHED)
		log_info("socket", "%s[%u] %s", visitor->name, visitor->pid, why);
	if (visitor->memory != NULL)
		munmap(visitor->memory, visitor->bytes);
	if (visitor->wake >= 0)
		close(visitor->wake);
	if (visitor->pidfd >= 0)
		close(visitor->pidfd);
	close(visitor->fd);
	visitor->fd = -1;
}

void visitors_destroy(struct visitors *visitors)
{
	if (visitors == NULL)
		return;
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		if (visitors->all[i].fd >= 0)
			show_out(visitors, &visitors->all[i], "is left alone");
	free(visitors);
}

// --- looking -------------------------------------------------------------------------------------

unsigned visitors_poll(struct visitors *visitors, struct pollfd *ret_fds, int *ret_timeout_ms)
{
	unsigned count = 0;

	*ret_timeout_ms = LOOK_MS;
	for (unsigned i = 0; i < VISITORS_MAX; i++) {
		struct visitor *visitor = &visitors->all[i];
		bool leaves = visitor->state == VISITOR_LEAVING;
		bool survived = visitor->state == VISITOR_SURVIVED;

		if (visitor->fd < 0)
			continue;
		if (leaves)
			*ret_timeout_ms = LEAVING_LOOK_MS;
		visitor->place = count;
		ret_fds[count++] = (struct pollfd){
			.fd = leaves ? -1 : visitor->fd, .events = survived ? POLLRDHUP : POLLIN};
		ret_fds[count++] = (struct pollfd){
			.fd = leaves || survived ? -1 : visitor->pidfd, .events = POLLIN};
	}
	return count;
}

enum legacy {
	LEGACY_NONE,
	LEGACY_CHILDREN, // hold its end of the socket, and so its listening sockets
	LEGACY_UNKNOWN,	 // what it said last is on its way, or it is ending just now
};

// A process has closed its files when it has ended, so who has the socket then has inherited it.
// Of what became of a process on another host nobody tells.
static enum legacy legacy_of(const struct visitor *visitor)
{
	struct pollfd now[] = {
		{.fd = visitor->fd, .events = POLLRDHUP}, {.fd = visitor->pidfd, .events = POLLIN}};

	// Over a stream the word of the end may be faster than what was said before it.
	if (visitor->door != NULL && !visitor_is_gone(visitor, true))
		return LEGACY_UNKNOWN;
	if (poll(now, 2, 0) < 0 || now[0].revents != 0)
		return LEGACY_NONE;
	if (now[1].revents != 0)
		return LEGACY_CHILDREN;
	return visitor->door != NULL && visitor->pidfd >= 0 ? LEGACY_UNKNOWN : LEGACY_NONE;
}

static void leave(
	struct visitors *visitors, struct visitor *visitor, const char *why, uint64_t now_us)
{
	enum legacy legacy = legacy_of(visitor);

	if (visitor->state != VISITOR_LEAVING) {
		visitor->state = VISITOR_LEAVING;
		visitor->until_us = now_us + LEAVE_MS * US_IN_MS;
	}
	if (legacy == LEGACY_UNKNOWN && now_us <= visitor->until_us)
		return;
	if (legacy != LEGACY_CHILDREN) {
		show_out(visitors, visitor, why);
		return;
	}
	log_info("socket", "%s[%u] %s; its children listen in its place", visitor->name,
		visitor->pid, why);
	visitor_bequeath(visitors, visitor);
	visitor->state = VISITOR_SURVIVED;
}

static void look(struct visitors *visitors, struct visitor *visitor, const struct pollfd *fds,
	uint64_t now_us)
{
	const struct pollfd *socket = &fds[visitor->place], *process = socket + 1;

	switch (visitor->state) {
	case VISITOR_NEW:
		if ((socket->revents != 0 && !visitor_greet(visitors, visitor, now_us)) ||
			(visitor->state == VISITOR_NEW && now_us > visitor->until_us))
			show_out(visitors, visitor, "");
		break;
	case VISITOR_JOINING:
		if (socket->revents != 0 || now_us > visitor->until_us)
			show_out(visitors, visitor, "");
		break;
	case VISITOR_ATTACHED:
		if (visitor_is_broken(visitor))
			show_out(visitors, visitor, "wrote what no shim writes, and is cut off");
		else if (process->revents != 0)
			leave(visitors, visitor, "has ended", now_us);
		else if (visitor_is_gone(visitor, false) ||
			 (socket->revents != 0 &&
				 (visitor->door != NULL || !visitor_serve(visitors, visitor))))
			leave(visitors, visitor, "has gone", now_us);
		break;
	case VISITOR_LEAVING:
		leave(visitors, visitor, "has gone", now_us);
		break;
	case VISITOR_SURVIVED:
		if (socket->revents != 0)
			show_out(visitors, visitor, "has no children that listen in its place");
		break;
	}
}

void visitors_look(struct visitors *visitors, const struct pollfd *fds, uint64_t now_us)
{
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		if (visitors->all[i].fd >= 0)
			look(visitors, &visitors->all[i], fds, now_us);
}
