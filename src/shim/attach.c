// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the daemon's door has given, and the thread that watches over it: when the daemon dies the
// socket hangs up, listeners fall to the kernel, and it is tried again until it is back. Lanes over
// streams it sees to when nobody else does: the daemon would think this process dead.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/shared.h"
#include "channel/stream.h"
#include "shim/dgrams.h"
#include "shim/door.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/state.h"
#include "shim/streams.h"

#define RETRY_MS 200
// A daemon that has nothing for this process, or is not there, is not asked again for so long; or
// for so many times as long as that has taken.
#define ASK_AGAIN_US   60000000
#define RETRY_LEAST_US 1000000
#define RETRY_TIMES    10

// --- what was given ------------------------------------------------------------------------------

static void attachment_free(struct attachment *attached)
{
	for (unsigned i = 0; i < attached->lanes_count; i++) {
		if (attached->lanes != NULL)
			lane_destroy(attached->lanes[i]);
		if (attached->streams != NULL)
			free(attached->streams[i]);
	}
	free(attached->lanes);
	free(attached->streams);
	if (attached->memory != NULL)
		munmap(attached->memory, attached->bytes);
	if (attached->wake >= 0)
		libc_get()->close(attached->wake);
	libc_get()->close(attached->socket);
	free(attached);
}

static bool take_memory(struct attachment *attached, const struct door_gifts *gifts)
{
	attached->lane_bytes = gifts->welcome.welcome.lane_bytes;
	attached->bytes = attached->lane_bytes * attached->lanes_count;
	attached->wake = gifts->wake;
	attached->memory =
		mmap(NULL, attached->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, gifts->memory, 0);
	if (attached->memory == MAP_FAILED)
		attached->memory = NULL;
	libc_get()->close(gifts->memory);
	return attached->memory != NULL;
}

static uint64_t now_us(void)
{
	return (uint64_t)wait_now_us();
}

static void has_unsaid(void *ctx)
{
	((struct attachment *)ctx)->unsaid = true;
}

// The lane's connection is watched by what stands for the wake descriptor.
static int take_connection(struct attachment *attached, const struct door_gifts *gifts, unsigned i)
{
	struct epoll_event event = {.events = EPOLLIN};
	const struct stream_lane_config config = {
		.fd = gifts->connections[i],
		.side = CHANNEL_PROCESS,
		.slots = gifts->welcome.welcome.slots,
		.chunks = gifts->welcome.welcome.chunks,
		.silence_us = gifts->welcome.welcome.silence_ms * 1000ull,
		.now_us = now_us,
		.wake = has_unsaid,
		.ctx = attached,
	};

	if (libc_get()->epoll_ctl(attached->wake, EPOLL_CTL_ADD, config.fd, &event) < 0)
		return -errno;
	return stream_lane_create(&config, &attached->lanes[i]);
}

static int take_lane(struct attachment *attached, const struct door_gifts *gifts, unsigned i)
{
	int rc = gifts->connections != NULL
			 ? take_connection(attached, gifts, i)
			 : shared_attach((uint8_t *)attached->memory + i * attached->lane_bytes,
				   attached->lane_bytes, &attached->lanes[i]);

	if (rc < 0)
		return rc;
	attached->streams[i] = calloc(attached->lanes[i]->slots, sizeof(struct stream *));
	return attached->streams[i] != NULL ? 0 : -ENOMEM;
}

// What did not become a lane's is closed.
static bool take_lanes(struct attachment *attached, const struct door_gifts *gifts)
{
	unsigned taken = 0;

	attached->lanes = calloc(attached->lanes_count, sizeof(*attached->lanes));
	attached->streams = calloc(attached->lanes_count, sizeof(*attached->streams));
	if (attached->lanes != NULL && attached->streams != NULL)
		while (taken < attached->lanes_count && take_lane(attached, gifts, taken) == 0)
			taken++;
	for (unsigned i = 0; gifts->connections != NULL && i < attached->lanes_count; i++)
		if (attached->lanes == NULL || attached->lanes[i] == NULL)
			libc_get()->close(gifts->connections[i]);
	return taken == attached->lanes_count;
}

// Takes what the gifts are.
static struct attachment *accept_gifts(struct door_gifts *gifts)
{
	const struct channel_message *message = &gifts->welcome;
	struct attachment *attached = calloc(1, sizeof(*attached));
	bool taken;

	if (attached == NULL)
		return NULL;
	attached->socket = gifts->socket;
	attached->lanes_count = message->welcome.lanes;
	attached->listens_count = message->welcome.listens_count;
	attached->icmp = message->welcome.icmp;
	attached->udp = message->welcome.udp;
	memcpy(attached->listens, message->welcome.listens, sizeof(attached->listens));
	attached->connects_count = message->welcome.connects_count;
	memcpy(attached->connects, message->welcome.connects, sizeof(attached->connects));
	list_init(&attached->calls);
	attached->over_stream = gifts->connections != NULL;
	if (attached->over_stream) {
		attached->wake = libc_get()->epoll_create1(EPOLL_CLOEXEC);
		taken = attached->wake >= 0;
	} else {
		taken = take_memory(attached, gifts);
	}
	taken = taken && take_lanes(attached, gifts);
	free(gifts->connections);
	if (taken)
		return attached;
	attachment_free(attached);
	return NULL;
}

// Needs no lock. NULL: nobody lets us in.
static struct attachment *reach(const struct shim *shim)
{
	struct door_gifts gifts;

	return door_knock(shim->where, shim->secret_file, &gifts) ? accept_gifts(&gifts) : NULL;
}

static void begin(struct shim *shim, struct attachment *attached)
{
	shim->attached = attached;
	if (attached != NULL)
		attached->number = ++shim->attachments;
}

bool attach_try(struct shim *shim)
{
	if (shim->attached != NULL)
		return true;
	begin(shim, reach(shim));
	// Who sleeps already does not hear of what this one brings.
	if (shim->attached != NULL)
		wait_touch_all(shim);
	return shim->attached != NULL;
}

static bool is_of_use(const struct shim *shim)
{
	return shim->attached->connects_count > 0 || shim->attached->udp ||
	       !list_empty(&shim->listeners) || dgrams_need(shim);
}

bool attach_ask(struct shim *shim)
{
	int64_t begin_us = wait_now_us(), again_us;

	if (shim->attached != NULL)
		return true;
	if (begin_us < shim->ask_again_us)
		return false;
	shim->useless = false;
	attach_try(shim);
	again_us = (wait_now_us() - begin_us) * RETRY_TIMES;
	shim->ask_again_us = begin_us + (again_us > RETRY_LEAST_US ? again_us : RETRY_LEAST_US);
	if (shim->attached == NULL || is_of_use(shim))
		return shim->attached != NULL;
	shim->useless = true;
	shim->ask_again_us = begin_us + ASK_AGAIN_US;
	attach_lost(shim);
	return false;
}

void attach_flush(struct attachment *attached)
{
	bool waits = false;
	int error = errno;

	attached->unsaid = false;
	for (unsigned i = 0; i < attached->lanes_count; i++) {
		stream_lane_flush(attached->lanes[i]);
		waits |= stream_lane_waits(attached->lanes[i]);
	}
	// The watcher goes on when the socket takes more.
	if (waits && !attached->stuck) {
		attached->stuck = true;
		watcher_ring(shim_get());
	}
	errno = error;
}

static ino_t inode_of(int fd)
{
	struct stat state;

	return fstat(fd, &state) == 0 ? state.st_ino : 0;
}

void attach_inherit(struct shim *shim, struct attachment *attached)
{
	for (unsigned i = 0; attached->over_stream && i < attached->lanes_count; i++)
		stream_lane_forget(attached->lanes[i]);
	libc_get()->close(attached->wake);
	attach_renounce(shim); // the parent's parent's
	shim->legacy = attached->socket;
	shim->legacy_inode = inode_of(attached->socket);
	if (list_empty(&shim->listeners))
		attach_renounce(shim);
}

void attach_renounce(struct shim *shim)
{
	if (shim->legacy >= 0 && inode_of(shim->legacy) == shim->legacy_inode)
		libc_get()->close(shim->legacy);
	shim->legacy = -1;
}

bool attach_wants(
	const struct attachment *attached, const struct channel_endpoint *endpoint, bool ipv6_only)
{
	static const uint8_t any[16];

	for (unsigned i = 0; i < attached->listens_count; i++) {
		const struct channel_endpoint *listen = &attached->listens[i];

		if (listen->port != endpoint->port)
			continue;
		if (memcmp(endpoint->address, any, endpoint->ipv6 ? 16 : 4) == 0 &&
			(listen->ipv6 ? endpoint->ipv6 : !endpoint->ipv6 || !ipv6_only))
			return true;
		if (listen->ipv6 == endpoint->ipv6 &&
			memcmp(listen->address, endpoint->address, listen->ipv6 ? 16 : 4) == 0)
			return true;
	}
	return false;
}

void attach_lost(struct shim *shim)
{
	struct attachment *attached = shim->attached;

	if (attached == NULL)
		return;
	list_for_each (link, &attached->calls) {
		container_of(link, struct call, link)->failed = true;
	}
	for (unsigned i = 0; i < attached->lanes_count; i++)
		for (uint32_t slot = 0; slot < attached->lanes[i]->slots; slot++)
			if (attached->streams[i][slot] != NULL)
				stream_die(attached->streams[i][slot], ECONNRESET);
	while (!list_empty(&attached->calls))
		list_pop(&attached->calls);
	shim->attached = NULL;
	list_for_each (link, &shim->dgrams) {
		dgram_lost(container_of(link, struct dgram, link));
	}
	list_for_each (link, &shim->listeners) {
		listener_fall(container_of(link, struct listener, link));
	}
	attachment_free(attached);
	wait_touch_all(shim);
	watcher_ring(shim); // the socket that it waits for is closed
}

// --- the watcher ---------------------------------------------------------------------------------

// A listener that has not been offered to this attachment: fallen, or inherited.
static struct listener *next_unoffered(struct shim *shim)
{
	list_for_each (link, &shim->listeners) {
		struct listener *listener = container_of(link, struct listener, link);

		if (listener->offered != shim->attached->number)
			return listener;
	}
	return NULL;
}

static bool wants_daemon(struct shim *shim)
{
	bool wants;

	shim_lock();
	wants = shim->attached == NULL &&
		(!list_empty(&shim->listeners) || dgram_next_lost(shim) != NULL);
	shim_unlock();
	return wants;
}

// The daemon may be far away, and nobody waits for the lock meanwhile.
static void rise(struct shim *shim)
{
	struct attachment *attached = wants_daemon(shim) ? reach(shim) : NULL;
	struct listener *listener;
	struct dgram *dgram;
	bool risen = attached != NULL;

	shim_lock();
	if (attached != NULL && shim->attached == NULL)
		begin(shim, attached);
	else if (attached != NULL)
		attachment_free(attached);
	// The lock is let go meanwhile: the list may be another one.
	while (shim->attached != NULL && (listener = next_unoffered(shim)) != NULL &&
		listener_rise(shim, listener))
		risen = true;
	while (shim->attached != NULL && (dgram = dgram_next_lost(shim)) != NULL &&
		dgram_revive(shim, dgram))
		risen = true;
	if (risen)
		wait_touch_all(shim);
	if (shim->attached == NULL || next_unoffered(shim) == NULL)
		attach_renounce(shim);
	shim_unlock();
}

struct watch {
	struct pollfd *fds; // the daemon's socket, the bell, then lanes' connections that are full
	nfds_t count;
	int64_t timeout_us; // -1: none
};

// What to wait for, under the lock. Without memory for it the lanes are seen to a little later.
static void watch_prepare(struct shim *shim, struct watch *watch)
{
	struct attachment *attached = shim->attached;
	struct pollfd *fds = watch->fds;

	fds[0] = (struct pollfd){.fd = attached != NULL ? attached->socket : -1, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = shim->watcher_bell, .events = POLLIN};
	watch->count = 2;
	watch->timeout_us =
		attached == NULL || next_unoffered(shim) != NULL || dgram_next_lost(shim) != NULL
			? RETRY_MS * 1000
			: -1;
	if (attached == NULL || !attached->over_stream)
		return;
	// What is tried again is often enough for the beat.
	if (watch->timeout_us < 0)
		watch->timeout_us = (int64_t)stream_lane_beat_us(attached->lanes[0]) / 2;
	fds = realloc(fds, sizeof(*fds) * (2 + attached->lanes_count));
	if (fds == NULL)
		return;
	watch->fds = fds;
	attached->stuck = false;
	for (unsigned i = 0; i < attached->lanes_count; i++)
		if (stream_lane_waits(attached->lanes[i])) {
			fds[watch->count++] = (struct pollfd){
				.fd = stream_lane_fd(attached->lanes[i]), .events = POLLOUT};
			attached->stuck = true;
		}
}

// What has come of it. Lanes over a stream are polled, so that the daemon hears of this side.
static void watch_look(struct shim *shim, const struct watch *watch)
{
	uint64_t rung;

	if (watch->fds[1].revents != 0 &&
		libc_get()->read(shim->watcher_bell, &rung, sizeof(rung)) < 0)
		return;
	if (shim->attached == NULL || shim->attached->socket != watch->fds[0].fd)
		return;
	if (shim->attached->over_stream) {
		attach_flush(shim->attached);
		news_drain(shim);
	}
	if (watch->fds[0].revents != 0)
		attach_lost(shim);
}

static void *watcher(void *ctx)
{
	struct watch watch = {.fds = calloc(2, sizeof(struct pollfd))};
	struct shim *shim = ctx;

	while (watch.fds != NULL) {
		struct timespec timeout;

		rise(shim);
		shim_lock();
		watch_prepare(shim, &watch);
		shim_unlock();
		timeout = (struct timespec){
			watch.timeout_us / 1000000, watch.timeout_us % 1000000 * 1000};
		libc_get()->ppoll(
			watch.fds, watch.count, watch.timeout_us < 0 ? NULL : &timeout, NULL);
		shim_lock();
		watch_look(shim, &watch);
		shim_unlock();
	}
	return NULL;
}

bool thread_start(void *(*run)(void *), void *ctx)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	started = pthread_create(&thread, &attributes, run, ctx) == 0;
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

void watcher_start(struct shim *shim)
{
	if (shim->watched)
		return;
	shim->watcher_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	shim->watched = thread_start(watcher, shim);
}

void watcher_ring(struct shim *shim)
{
	const uint64_t one = 1;

	if (shim->watched && libc_get()->write(shim->watcher_bell, &one, sizeof(one)) < 0)
		return; // a full counter rings, too
}

void watcher_forget(struct shim *shim)
{
	if (shim->watched)
		libc_get()->close(shim->watcher_bell);
	shim->watched = false;
	shim->watcher_bell = -1;
}
