// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A process whose sockets live in the daemon, for tests/system/test_socket_deaths.py: it plays
// every call of the channel once, in the order of `steps`, and dies by its own hand (kill -9)
// behind one of them. Or it stops there and tells how it finds out that the daemon has died.
//
// Usage: channel-peer SOCKET ADDRESS PORT STEP die|stay

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/shared.h"

#define LISTENER 7
#define WAIT_MS	 20000

struct peer {
	const char *last; // step
	bool stays;
	struct channel_endpoint endpoint;
	int door, wake;
	uint8_t *memory;
	struct channel_message welcome;
	int fds[2];
	struct lane *lane;
	uint32_t call, slot;
};

// --- ends ----------------------------------------------------------------------------------------

static void fail(const char *what)
{
	fprintf(stderr, "channel-peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

// The daemon's end is a hang-up of its door.
static void stay(const struct peer *peer)
{
	struct pollfd door = {.fd = peer->door, .events = POLLIN};
	uint8_t bytes[CHANNEL_MESSAGE_MAX];

	do
		if (poll(&door, 1, WAIT_MS) <= 0)
			fail("the daemon lives");
	while (recv(peer->door, bytes, sizeof(bytes), 0) > 0); // a welcome
	puts("alone");
	exit(0);
}

static void step(struct peer *peer, const char *name)
{
	if (strcmp(peer->last, name) != 0)
		return;
	puts(name);
	fflush(stdout);
	if (peer->stays)
		stay(peer);
	raise(SIGKILL);
}

// --- the door ------------------------------------------------------------------------------------

static void knock(struct peer *peer, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	peer->door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (peer->door < 0 ||
		connect(peer->door, (const struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
}

static void say_hello(struct peer *peer)
{
	struct channel_message message = {
		.kind = CHANNEL_HELLO,
		.hello = {.version = CHANNEL_VERSION, .pid = (uint32_t)getpid(), .name = "peer"},
	};
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	size_t length = channel_message_encode(&message, bytes);

	if (send(peer->door, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
		fail("hello");
}

static void hear_welcome(struct peer *peer)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr header = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t length = recvmsg(peer->door, &header, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;

	if (cmsg == NULL || cmsg->cmsg_len != CMSG_LEN(2 * sizeof(int)) ||
		channel_message_decode(bytes, (size_t)length, &peer->welcome) < 0 ||
		peer->welcome.kind != CHANNEL_WELCOME)
		fail("welcome");
	memcpy(peer->fds, CMSG_DATA(cmsg), sizeof(peer->fds));
}

// The first lane; a daemon with one worker has no other.
static void take_lane(struct peer *peer)
{
	size_t bytes = peer->welcome.welcome.lane_bytes;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, peer->fds[0], 0);

	if (memory == MAP_FAILED || shared_attach(memory, bytes, &peer->lane) < 0)
		fail("the memory");
	peer->wake = peer->fds[1];
}

// --- the lane ------------------------------------------------------------------------------------

static void post(struct peer *peer, const struct lane_item *item)
{
	if (lane_post(peer->lane, item) < 0)
		fail("post");
}

static void send_message(struct peer *peer, struct channel_message *message)
{
	message->call = ++peer->call;
	post(peer, &(struct lane_item){.what = LANE_POST_MESSAGE, .message = message});
}

static void await(struct peer *peer, enum lane_what what, struct lane_news *ret_news)
{
	struct epoll_event event;

	for (;;) {
		lane_poll(peer->lane, ret_news);
		if (ret_news->what == what)
			return;
		if (ret_news->what == LANE_BROKEN)
			fail("the lane");
		if (ret_news->what != LANE_NOTHING || !lane_arm(peer->lane))
			continue;
		if (epoll_wait(peer->wake, &event, 1, WAIT_MS) <= 0)
			fail("nothing comes");
		lane_disarm(peer->lane);
	}
}

static void await_octets(struct peer *peer)
{
	struct lane_slot slot;
	struct lane_news news;

	for (lane_slot(peer->lane, peer->slot, &slot); slot.came == 0;
		lane_slot(peer->lane, peer->slot, &slot))
		await(peer, LANE_MOVED, &news);
	post(peer, &(struct lane_item){
			   .what = LANE_POST_TAKEN, .slot = peer->slot, .octets = slot.came});
}

static void listen_here(struct peer *peer, bool accepts)
{
	struct channel_message message = {
		.kind = CHANNEL_LISTEN,
		.listen = {.listener = LISTENER,
			.backlog = 10,
			.accepts = accepts,
			.endpoint = peer->endpoint},
	};

	send_message(peer, &message);
}

static void await_answer(struct peer *peer, enum channel_kind kind)
{
	struct lane_news news;

	do
		await(peer, LANE_MESSAGE, &news);
	while (news.message.call != peer->call);
	if (news.message.kind != kind || (kind == CHANNEL_DONE && news.message.done.error != 0))
		fail("the answer");
}

// --- all of it -----------------------------------------------------------------------------------

static void attach(struct peer *peer, const char *path)
{
	knock(peer, path);
	step(peer, "knocked");
	say_hello(peer);
	step(peer, "hello");
	hear_welcome(peer);
	step(peer, "welcome");
	take_lane(peer);
	step(peer, "attached");
}

static void serve(struct peer *peer)
{
	struct lane_news news;

	listen_here(peer, false);
	step(peer, "listen");
	await_answer(peer, CHANNEL_DONE);
	step(peer, "listening");
	listen_here(peer, true);
	step(peer, "accepts");
	await_answer(peer, CHANNEL_DONE);
	puts("serves");
	fflush(stdout);
	await(peer, LANE_OPENED, &news);
	peer->slot = news.slot;
	step(peer, "opened");
}

static void converse(struct peer *peer)
{
	struct channel_message option = {
		.kind = CHANNEL_OPTION,
		.option = {.slot = peer->slot, .option = CHANNEL_KEEP_ALIVE, .value = 1},
	};
	struct channel_message info = {.kind = CHANNEL_INFO, .info.slot = peer->slot};
	struct lane_span span = {"hello", 5};

	send_message(peer, &option);
	step(peer, "option");
	send_message(peer, &info);
	step(peer, "info");
	await_answer(peer, CHANNEL_INFO_IS);
	step(peer, "informed");
	post(peer, &(struct lane_item){.what = LANE_POST_DATA,
			   .slot = peer->slot,
			   .spans = &span,
			   .spans_count = 1});
	step(peer, "data");
	post(peer, &(struct lane_item){.what = LANE_POST_HUNGRY, .slot = peer->slot});
	step(peer, "hungry");
	await_octets(peer);
	step(peer, "taken");
}

static void part(struct peer *peer)
{
	struct channel_message message = {.kind = CHANNEL_UNLISTEN, .unlisten.listener = LISTENER};

	post(peer, &(struct lane_item){.what = LANE_POST_END, .slot = peer->slot});
	step(peer, "end");
	post(peer, &(struct lane_item){.what = LANE_POST_CLOSE, .slot = peer->slot});
	step(peer, "close");
	send_message(peer, &message);
	step(peer, "unlisten");
}

int main(int argc, char *argv[])
{
	struct peer peer = {0};

	if (argc != 6) {
		fprintf(stderr, "usage: channel-peer SOCKET ADDRESS PORT STEP die|stay\n");
		return 2;
	}
	peer.last = argv[4];
	peer.stays = strcmp(argv[5], "stay") == 0;
	peer.endpoint.port = (uint16_t)atoi(argv[3]);
	if (inet_pton(AF_INET, argv[2], peer.endpoint.address) != 1)
		fail(argv[2]);
	attach(&peer, argv[1]);
	serve(&peer);
	converse(&peer);
	part(&peer);
	fail("there is no such step");
}
