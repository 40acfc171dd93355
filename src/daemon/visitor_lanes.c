// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Lanes are made here, handed over to the workers, and taken back.

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attach/sockets.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "channel/stream.h"
#include "control/config.h"
#include "daemon/visitor_state.h"
#include "daemon/worker.h"

// --- workers -------------------------------------------------------------------------------------

struct hand_over {
	struct mailbox_message message;
	struct visitor_lane *lane;
	struct sockets_process process;
	enum { HAND_OVER, HAND_BEQUEST, HAND_BACK } what;
};

// On the worker's thread, as all that uses the number.
static void hand_over(struct mailbox_message *message, void *worker)
{
	struct hand_over *over = container_of(message, struct hand_over, message);
	struct visitor_lane *lane = over->lane;

	(void)worker;
	switch (over->what) {
	case HAND_OVER:
		lane->number = sockets_attach(lane->sockets, &over->process);
		break;
	case HAND_BEQUEST:
		sockets_bequeath(lane->sockets, (unsigned)lane->number);
		break;
	case HAND_BACK:
		sockets_detach(lane->sockets, (unsigned)lane->number);
		break;
	}
}

// Until it has been done: what a worker holds must not go away under it.
static void tell(struct worker *worker, struct hand_over *over)
{
	over->message.run = hand_over;
	while (worker_call(worker, &over->message) < 0)
		usleep(1000);
}

// Takes lane->lane; destroyed on failure.
static int give_lane(struct visitors *visitors, struct visitor *visitor, unsigned i,
	void (*wake)(void *ctx), void *ctx)
{
	struct visitor_lane *lane = &visitor->lanes[i];
	struct hand_over over = {.lane = lane, .process = {lane->lane, wake, ctx}};

	tell(visitors->workers[i], &over);
	if (lane->number < 0) {
		lane_destroy(lane->lane);
		return lane->number;
	}
	visitor->lanes_count = i + 1;
	return 0;
}

static void lane_wake(void *ctx)
{
	const struct visitor_lane *lane = ctx;

	sockets_wake(lane->sockets, (unsigned)lane->number);
}

int visitor_make_lanes(const struct visitors *visitors, struct visitor *visitor)
{
	unsigned workers = visitors->config->workers;

	visitor->lanes = calloc(workers, sizeof(*visitor->lanes));
	if (visitor->lanes == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < workers; i++) {
		visitor->lanes[i].sockets = worker_sockets(visitors->workers[i]);
		visitor->lanes[i].connection = -1;
	}
	return 0;
}

// What no worker has is closed with it.
void visitor_take_lanes(struct visitors *visitors, struct visitor *visitor)
{
	for (unsigned i = 0; visitor->lanes != NULL && i < visitors->config->workers; i++)
		if (visitor->lanes[i].connection >= 0)
			close(visitor->lanes[i].connection);
	for (unsigned i = 0; i < visitor->lanes_count; i++) {
		struct hand_over over = {.lane = &visitor->lanes[i], .what = HAND_BACK};

		tell(visitors->workers[i], &over);
		lane_destroy(visitor->lanes[i].lane);
	}
	free(visitor->lanes);
	visitor->lanes = NULL;
	visitor->lanes_count = 0;
}

void visitor_bequeath(struct visitors *visitors, struct visitor *visitor)
{
	for (unsigned i = 0; i < visitor->lanes_count; i++) {
		struct hand_over over = {.lane = &visitor->lanes[i], .what = HAND_BEQUEST};

		tell(visitors->workers[i], &over);
	}
}

bool visitor_is_broken(const struct visitor *visitor)
{
	for (unsigned i = 0; i < visitor->lanes_count; i++)
		if (sockets_is_broken(
			    visitor->lanes[i].sockets, (unsigned)visitor->lanes[i].number))
			return true;
	return false;
}

bool visitor_is_gone(const struct visitor *visitor, bool all)
{
	unsigned gone = 0;

	for (unsigned i = 0; i < visitor->lanes_count; i++)
		gone += sockets_is_gone(
			visitor->lanes[i].sockets, (unsigned)visitor->lanes[i].number);
	return all ? gone == visitor->lanes_count : gone > 0;
}

// --- in shared memory ----------------------------------------------------------------------------

static void wake(void *ctx)
{
	const struct visitor *visitor = ctx;
	const uint64_t one = 1;

	// A full counter is awake, too.
	if (write(visitor->wake, &one, sizeof(one)) < 0)
		return;
}

static int make_memory(struct visitors *visitors, struct visitor *visitor)
{
	int fd = memfd_create("offramp channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *memory;

	if (fd < 0)
		return -errno;
	visitor->bytes = visitors->lane_bytes * visitors->config->workers;
	// Nobody may take the ground from under the workers.
	if (ftruncate(fd, (off_t)visitor->bytes) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto err;
	memory = mmap(NULL, visitor->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		goto err;
	visitor->memory = memory;
	return fd;
err:
	close(fd);
	return -ENOMEM;
}

static int give_shared(struct visitors *visitors, struct visitor *visitor, unsigned i)
{
	struct visitor_lane *lane = &visitor->lanes[i];
	int rc = shared_create(visitor->memory + i * visitors->lane_bytes, &visitors->geometry,
		visitors->epoch, lane_wake, lane, &lane->lane);

	return rc < 0 ? rc : give_lane(visitors, visitor, i, wake, visitor);
}

// What the process waits for is an epoll with a counter in it, not the counter: with that it would
// have its flags, too, and could make a worker's write wait.
static int make_waker(struct visitor *visitor)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int fd = epoll_create1(EPOLL_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	visitor->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (visitor->wake >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, visitor->wake, &event) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

int visitor_give_memory(struct visitors *visitors, struct visitor *visitor, int ret_fds[2])
{
	int fds[2] = {make_memory(visitors, visitor), make_waker(visitor)};
	int rc = fds[0] < 0 ? fds[0] : fds[1] < 0 ? fds[1] : 0;

	for (unsigned i = 0; rc == 0 && i < visitors->config->workers; i++)
		rc = give_shared(visitors, visitor, i);
	for (unsigned i = 0; i < 2; i++)
		if (rc == 0)
			ret_fds[i] = fds[i];
		else if (fds[i] >= 0)
			close(fds[i]);
	return rc;
}

// --- over a stream -------------------------------------------------------------------------------

static void flush(void *ctx)
{
	const struct visitor_lane *lane = ctx;

	stream_lane_flush(lane->lane);
}

static int give_connection(struct visitors *visitors, struct visitor *visitor, unsigned i)
{
	struct visitor_lane *lane = &visitor->lanes[i];
	const struct stream_lane_config config = {
		.fd = lane->connection,
		.side = CHANNEL_DAEMON,
		.slots = visitors->geometry.slots,
		.chunks = visitors->geometry.chunks,
		.silence_us = visitors->config->socket.silence_us,
		.now_us = clock_now_us,
		.wake = lane_wake,
		.ctx = lane,
	};
	int rc = stream_lane_create(&config, &lane->lane);

	if (rc < 0)
		return rc;
	lane->connection = -1;
	return give_lane(visitors, visitor, i, flush, lane);
}

int visitor_give_connections(struct visitors *visitors, struct visitor *visitor)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < visitors->config->workers; i++)
		rc = give_connection(visitors, visitor, i);
	return rc;
}
