// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Hello and welcome at the daemon's door, and the thread that watches over it: when the daemon dies
// the socket hangs up, listeners fall to the kernel, and it is tried again until it is back.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/shared.h"
#include "shim/echoes.h"
#include "shim/libc.h"
#include "shim/listeners.h"
#include "shim/state.h"
#include "shim/streams.h"

#define WELCOME_MS 3000
#define RETRY_MS   200

// --- hello and welcome ---------------------------------------------------------------------------

static int door_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = libc_get()->socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (libc_get()->connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	libc_get()->close(fd);
	return -1;
}

static bool hello(int fd)
{
	struct channel_message message = {
		.kind = CHANNEL_HELLO,
		.hello = {.version = CHANNEL_VERSION, .pid = (uint32_t)getpid()},
	};
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	size_t length;

	// What the program calls itself may be a whole command line by now.
	prctl(PR_GET_NAME, message.hello.name);
	length = channel_message_encode(&message, bytes);
	return libc_get()->send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool welcome(int fd, struct channel_message *ret_message, int fds[2])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct timespec timeout = {WELCOME_MS / 1000, 0};
	struct cmsghdr *cmsg;
	ssize_t length;

	if (libc_get()->ppoll(&ready, 1, &timeout, NULL) <= 0)
		return false;
	length = libc_get()->recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
	cmsg = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;
	if (cmsg == NULL || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
		cmsg->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return false;
	memcpy(fds, CMSG_DATA(cmsg), 2 * sizeof(int));
	return channel_message_decode(bytes, (size_t)length, ret_message) == 0 &&
	       ret_message->kind == CHANNEL_WELCOME &&
	       ret_message->welcome.version == CHANNEL_VERSION;
}

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

static bool take_lanes(struct attachment *attached)
{
	attached->lanes = calloc(attached->lanes_count, sizeof(*attached->lanes));
	attached->streams = calloc(attached->lanes_count, sizeof(*attached->streams));
	for (unsigned i = 0;
		attached->lanes != NULL && attached->streams != NULL && i < attached->lanes_count;
		i++) {
		uint8_t *memory = (uint8_t *)attached->memory + i * attached->lane_bytes;

		if (shared_attach(memory, attached->lane_bytes, &attached->lanes[i]) < 0)
			return false;
		attached->streams[i] = calloc(attached->lanes[i]->slots, sizeof(struct stream *));
		if (attached->streams[i] == NULL)
			return false;
	}
	return attached->lanes != NULL && attached->streams != NULL;
}

// Takes the descriptors.
static struct attachment *accept_gifts(int fd, const struct channel_message *message, int fds[2])
{
	struct attachment *attached = calloc(1, sizeof(*attached));

	if (attached == NULL)
		return NULL;
	attached->socket = fd;
	attached->wake = fds[1];
	attached->lanes_count = message->welcome.lanes;
	attached->lane_bytes = message->welcome.lane_bytes;
	attached->bytes = attached->lane_bytes * attached->lanes_count;
	attached->listens_count = message->welcome.listens_count;
	attached->icmp = message->welcome.icmp;
	memcpy(attached->listens, message->welcome.listens, sizeof(attached->listens));
	list_init(&attached->calls);
	attached->memory =
		mmap(NULL, attached->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	if (attached->memory == MAP_FAILED)
		attached->memory = NULL;
	libc_get()->close(fds[0]);
	if (attached->memory == NULL || !take_lanes(attached)) {
		attachment_free(attached);
		return NULL;
	}
	return attached;
}

bool attach_try(struct shim *shim)
{
	int fds[2] = {-1, -1}, fd;
	struct channel_message message;

	if (shim->attached != NULL)
		return true;
	fd = door_connect(shim->path);
	if (fd < 0)
		return false;
	if (!hello(fd) || !welcome(fd, &message, fds)) {
		for (unsigned i = 0; i < 2; i++)
			if (fds[i] >= 0)
				libc_get()->close(fds[i]);
		libc_get()->close(fd);
		return false;
	}
	shim->attached = accept_gifts(fd, &message, fds);
	if (shim->attached != NULL)
		shim->attached->number = ++shim->attachments;
	return shim->attached != NULL;
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
	list_for_each (link, &shim->echoes) {
		echo_lost(container_of(link, struct echo, link));
	}
	list_for_each (link, &shim->listeners) {
		listener_fall(container_of(link, struct listener, link));
	}
	attachment_free(attached);
	wait_touch_all(shim);
	watcher_ring(shim); // the socket that it waits for is closed
}

// --- the watcher ---------------------------------------------------------------------------------

// A listener that has not been offered to this attachment.
static struct listener *next_fallen(struct shim *shim)
{
	list_for_each (link, &shim->listeners) {
		struct listener *listener = container_of(link, struct listener, link);

		if (!listener->offloaded && listener->offered != shim->attached->number)
			return listener;
	}
	return NULL;
}

static void rise(struct shim *shim)
{
	struct listener *listener;

	if (list_empty(&shim->listeners) || !attach_try(shim))
		return;
	// The lock is let go meanwhile: the list may be another one.
	while (shim->attached != NULL && (listener = next_fallen(shim)) != NULL &&
		listener_rise(shim, listener))
		;
	wait_touch_all(shim);
}

// True when the daemon is gone.
static bool hangs_up(int fd, int bell, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = bell, .events = POLLIN}};
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
	uint64_t rung;

	libc_get()->ppoll(fds, 2, timeout_ms < 0 ? NULL : &timeout, NULL);
	if (fds[1].revents != 0 && libc_get()->read(bell, &rung, sizeof(rung)) < 0)
		return false;
	return fds[0].revents != 0;
}

static void *watcher(void *ctx)
{
	struct shim *shim = ctx;

	for (;;) {
		int fd = -1, bell;
		bool again, gone;

		shim_lock();
		if (shim->attached == NULL || next_fallen(shim) != NULL)
			rise(shim);
		if (shim->attached != NULL)
			fd = shim->attached->socket;
		again = fd < 0 || next_fallen(shim) != NULL;
		bell = shim->watcher_bell;
		shim_unlock();
		gone = hangs_up(fd, bell, again ? RETRY_MS : -1);
		shim_lock();
		if (gone && shim->attached != NULL && shim->attached->socket == fd)
			attach_lost(shim);
		shim_unlock();
	}
	return NULL;
}

void watcher_start(struct shim *shim)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;

	if (shim->watched)
		return;
	shim->watcher_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	shim->watched = pthread_create(&thread, &attributes, watcher, shim) == 0;
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
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
