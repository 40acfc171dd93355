// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A process whose sockets live in the daemon, for tests/system/test_socket_deaths.py: it plays
// every call of the channel once, in the order of `steps`, and dies by its own hand (kill -9)
// behind one of them. Or it stops there and tells how it finds out that the daemon has died.
//
// Usage: channel-peer SOCKET ADDRESS CLIENT PORT STEP die|stay
//   It listens at ADDRESS and PORT, and connects to CLIENT's same port.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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
	struct channel_endpoint endpoint, client;
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

// A call by the door: an ICMP socket of the kernel's shows the right to one.
static void show_icmp(struct peer *peer)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	const struct channel_message message = {
		.call = ++peer->call, .kind = CHANNEL_ICMP, .icmp.socket = 3};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(fd))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(fd)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS}};
	uint8_t bytes[CHANNEL_MESSAGE_MAX];
	struct iovec iov = {bytes, channel_message_encode(&message, bytes)};
	const struct msghdr header = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};

	if (fd < 0)
		fail("an ICMP socket");
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(peer->door, &header, MSG_NOSIGNAL) < 0)
		fail("the door");
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

static void await_any(struct peer *peer, struct lane_news *ret_news)
{
	struct epoll_event event;

	for (;;) {
		lane_poll(peer->lane, ret_news);
		if (ret_news->what == LANE_BROKEN)
			fail("the lane");
		if (ret_news->what != LANE_NOTHING)
			return;
		if (!lane_arm(peer->lane))
			continue;
		if (epoll_wait(peer->wake, &event, 1, WAIT_MS) <= 0)
			fail("nothing comes");
		lane_disarm(peer->lane);
	}
}

static void await(struct peer *peer, enum lane_what what, struct lane_news *ret_news)
{
	do
		await_any(peer, ret_news);
	while (ret_news->what != what);
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

// Is it the answer to the latest call? Then it is a good one.
static bool is_answer(const struct peer *peer, const struct lane_news *news, enum channel_kind kind)
{
	if (news->what != LANE_MESSAGE || news->message.call != peer->call)
		return false;
	if (news->message.kind != kind || (kind == CHANNEL_DONE && news->message.done.error != 0))
		fail("the answer");
	return true;
}

static void await_answer(struct peer *peer, enum channel_kind kind)
{
	struct lane_news news;

	do
		await_any(peer, &news);
	while (!is_answer(peer, &news, kind));
}

// The answer, and the slot that the call has asked for, in any order.
static uint32_t await_slot(struct peer *peer)
{
	bool answered = false, opened = false;
	struct lane_news news;
	uint32_t slot = 0;

	while (!answered || !opened) {
		await_any(peer, &news);
		if (is_answer(peer, &news, CHANNEL_DONE))
			answered = true;
		if (news.what != LANE_OPENED)
			continue;
		opened = true;
		slot = news.slot;
	}
	return slot;
}

static void await_ready(struct peer *peer, uint32_t number)
{
	struct lane_slot slot;
	struct lane_news news;

	for (lane_slot(peer->lane, number, &slot); !slot.ready;
		lane_slot(peer->lane, number, &slot))
		await(peer, LANE_MOVED, &news);
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

// What it may have beside what comes to it; it keeps all of that.
static void venture(struct peer *peer)
{
	struct channel_message connection = {
		.kind = CHANNEL_CONNECT,
		.connect = {.socket = 1, .remote = peer->client},
	};
	struct channel_message route = {.kind = CHANNEL_ROUTE, .route.remote = peer->client};
	struct channel_message udp = {
		.kind = CHANNEL_UDP,
		.udp = {.socket = 2, .shares = true, .local = peer->endpoint},
	};
	uint32_t slot;

	send_message(peer, &connection);
	step(peer, "connect");
	slot = await_slot(peer);
	step(peer, "connecting");
	await_ready(peer, slot);
	step(peer, "stands");
	send_message(peer, &route);
	step(peer, "route");
	await_answer(peer, CHANNEL_ROUTE_IS);
	step(peer, "routed");
	send_message(peer, &udp);
	step(peer, "udp");
	await_slot(peer);
	step(peer, "bound");
	show_icmp(peer);
	step(peer, "icmp");
	await_slot(peer);
	step(peer, "echoes");
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

static struct channel_endpoint endpoint_of(const char *address, const char *port)
{
	struct channel_endpoint endpoint = {.port = (uint16_t)atoi(port)};

	if (inet_pton(AF_INET, address, endpoint.address) != 1)
		fail(address);
	return endpoint;
}

int main(int argc, char *argv[])
{
	struct peer peer = {0};

	if (argc != 7) {
		fprintf(stderr, "usage: channel-peer SOCKET ADDRESS CLIENT PORT STEP die|stay\n");
		return 2;
	}
	peer.endpoint = endpoint_of(argv[2], argv[4]);
	peer.client = endpoint_of(argv[3], argv[4]);
	peer.last = argv[5];
	peer.stays = strcmp(argv[6], "stay") == 0;
	attach(&peer, argv[1]);
	venture(&peer);
	serve(&peer);
	converse(&peer);
	part(&peer);
	fail("there is no such step");
}
