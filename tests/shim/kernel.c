// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is none of Offramp's business works beside it.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "scenario.h"

static void unix_sockets(struct play *play)
{
	struct pair pair = pair_open(play);
	int pairs[2];
	char data[8];

	told(play, "pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pairs));
	told(play, "write", write(pairs[0], "abc", 3));
	told(play, "read", read(pairs[1], data, sizeof(data)));
	told(play, "shutdown", shutdown(pairs[0], SHUT_WR));
	told(play, "end", recv(pairs[1], data, sizeof(data), 0));
	close(pairs[1]);
	told(play, "send", send(pairs[0], "x", 1, MSG_NOSIGNAL));
	client_says(pair.client, "x");
}

// A listener of the kernel's, and a connection to it, in the same process.
static void own_tcp(struct play *play)
{
	struct pair pair = pair_open(play);
	struct sockaddr_in name = {.sin_family = AF_INET};
	socklen_t length = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), server;
	struct epoll_event events[4], wanted = {.events = EPOLLIN};
	int epfd = epoll_create1(0);

	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	told(play, "bind", bind(fd, (struct sockaddr *)&name, sizeof(name)));
	told(play, "listen", listen(fd, 4));
	getsockname(fd, (struct sockaddr *)&name, &length);
	told(play, "connect", connect(client, (struct sockaddr *)&name, sizeof(name)));
	server = accept(fd, NULL, NULL);
	told(play, "accept", server >= 0);
	epoll_ctl(epfd, EPOLL_CTL_ADD, server, &wanted);
	epoll_ctl(epfd, EPOLL_CTL_ADD, pair.server, &wanted);
	client_says(client, "x");
	client_says(pair.client, "y");
	wait_octets(pair.server, 1);
	wait_octets(server, 1);
	told(play, "both", epoll_wait(epfd, events, 4, WAIT_MS));
}

static void datagrams(struct play *play)
{
	struct pair pair = pair_open(play);
	struct sockaddr_in name = {.sin_family = AF_INET}, from;
	socklen_t length = sizeof(name);
	int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0);
	char data[16];

	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	told(play, "bind", bind(one, (struct sockaddr *)&name, sizeof(name)));
	getsockname(one, (struct sockaddr *)&name, &length);
	told(play, "send", sendto(two, "hello", 5, 0, (struct sockaddr *)&name, sizeof(name)));
	length = sizeof(from);
	told(play, "recv", recvfrom(one, data, sizeof(data), 0, (struct sockaddr *)&from, &length));
	told(play, "length", length);
	told(play, "listen", listen(one, 1));
	client_says(pair.client, "x");
}

static void unconnected(struct play *play)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char octet;

	told(play, "recv", recv(fd, &octet, 1, 0));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	told(play, "peer", getpeername(fd, NULL, NULL));
	told(play, "shutdown", shutdown(fd, SHUT_RDWR));
	told(play, "domain", socket(-1, SOCK_STREAM, 0));
	told(play, "type", socket(AF_INET, 77, 0));
}

static void files(struct play *play)
{
	struct pair pair = pair_open(play);
	int fd = open("/dev/zero", O_RDONLY);
	char data[16];
	struct iovec iov[2] = {{data, 8}, {data + 8, 8}};

	told(play, "readv", readv(fd, iov, 2));
	told(play, "recv", recv(fd, data, 4, 0));
	told(play, "send", send(fd, data, 4, 0));
	told(play, "sockname", getsockname(fd, NULL, NULL));
	told(play, "write", write(fd, data, 4));
	client_says(pair.client, "x");
}

const struct scenario kernel_scenarios[] = {
	{"kernel-unix", unix_sockets},
	{"kernel-tcp", own_tcp},
	{"kernel-udp", datagrams},
	{"kernel-unconnected", unconnected},
	{"kernel-files", files},
	{0},
};
