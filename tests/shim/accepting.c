// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// accept() and accept4().

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "scenario.h"

static void flags(struct play *play)
{
	int fd = end_listen(play), server;

	set_nonblocking(fd, true);
	end_client(play);
	end_client(play);
	wait_for(fd, POLLIN);
	server = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	told(play, "nonblocking", (fcntl(server, F_GETFL) & O_NONBLOCK) != 0);
	told(play, "cloexec", fcntl(server, F_GETFD));
	wait_for(fd, POLLIN);
	server = accept(fd, NULL, NULL); // inherits neither
	told(play, "nonblocking", (fcntl(server, F_GETFL) & O_NONBLOCK) != 0);
	told(play, "cloexec", fcntl(server, F_GETFD));
	told(play, "access", fcntl(server, F_GETFL) & O_ACCMODE);
}

static void bad(struct play *play)
{
	struct pair pair = pair_open(play);
	int unbound = socket(AF_INET, SOCK_STREAM, 0);

	told(play, "flags", accept4(pair.listener, NULL, NULL, 1));
	told(play, "unbound", accept(unbound, NULL, NULL));
	told(play, "connection", accept(pair.server, NULL, NULL));
	told(play, "file", accept(play->home, NULL, NULL));
	told(play, "none", accept(-1, NULL, NULL));
	told(play, "listen", listen(pair.server, 1));
	told(play, "bind",
		bind(pair.server, (struct sockaddr *)&play->address, sizeof(play->address)));
	told(play, "connect",
		connect(pair.server, (struct sockaddr *)&play->address, sizeof(play->address)));
}

static void nothing(struct play *play)
{
	int fd = end_listen(play);
	int64_t begin_ms;

	set_nonblocking(fd, true);
	told(play, "nonblocking", accept(fd, NULL, NULL));
	set_nonblocking(fd, false);
	set_timeout(fd, SO_RCVTIMEO, 100);
	begin_ms = now_ms();
	told(play, "timeout", accept(fd, NULL, NULL));
	told(play, "waited", now_ms() - begin_ms >= 99);
}

static void addresses(struct play *play)
{
	struct sockaddr_in of_client, got;
	socklen_t length = sizeof(of_client);
	int fd = end_listen(play), client = end_client(play);

	getsockname(client, (struct sockaddr *)&of_client, &length);
	memset(&got, 0x55, sizeof(got));
	length = sizeof(got);
	told(play, "accept", accept(fd, (struct sockaddr *)&got, &length) >= 0);
	told(play, "length", length);
	told(play, "same", memcmp(&of_client, &got, sizeof(got)) == 0);
	end_client(play);
	length = 4;
	memset(&got, 0x55, sizeof(got));
	told(play, "short", accept(fd, (struct sockaddr *)&got, &length) >= 0);
	told(play, "length", length);
	told(play, "family", got.sin_family);
	told(play, "beyond", got.sin_zero[0]);
	end_client(play);
	length = (socklen_t)-1;
	told(play, "negative", accept(fd, (struct sockaddr *)&got, &length));
}

// The last one's handshake may end as the server begins to look.
static void in_order(struct play *play)
{
	int wrong = 0;
	char octet = 0;

	for (unsigned i = 0; i < 20; i++) {
		int fd = end_listen(play), clients[4], servers[4];

		for (unsigned j = 0; j < 4; j++) {
			clients[j] = end_client(play);
			client_says(clients[j], (const char *[]){"a", "b", "c", "d"}[j]);
		}
		for (unsigned j = 0; j < 4; j++) {
			servers[j] = accept(fd, NULL, NULL);
			if (recv(servers[j], &octet, 1, 0) == 1 && octet != "abcd"[j])
				wrong++;
		}
		for (unsigned j = 0; j < 4; j++) {
			close(clients[j]);
			close(servers[j]);
		}
		close(fd);
	}
	told(play, "wrong", wrong);
}

// Who has said what it wanted and is gone is accepted all the same.
static void gone(struct play *play)
{
	int fd = end_listen(play), client = end_client(play), server;
	char data[16];

	client_says(client, "hello");
	close(client);
	calm();
	server = accept(fd, NULL, NULL);
	told(play, "accept", server >= 0);
	told(play, "recv", recv(server, data, sizeof(data), 0));
	told(play, "end", recv(server, data, sizeof(data), 0));
	told(play, "peer", getpeername(server, NULL, NULL) < 0 && errno == EFAULT);
}

static void reset_before(struct play *play)
{
	int fd = end_listen(play), client = end_client(play), server;
	char data[16];

	calm();
	client_resets(client);
	calm();
	set_nonblocking(fd, true);
	server = accept(fd, NULL, NULL);
	told(play, "accept", server < 0 ? -1 : 0);
	if (server >= 0)
		told(play, "recv", recv(server, data, sizeof(data), 0));
}

static void no_descriptors(struct play *play)
{
	struct rlimit before, few;
	int fd = end_listen(play), client = end_client(play), server;

	wait_for(fd, POLLIN);
	getrlimit(RLIMIT_NOFILE, &before);
	few = before;
	few.rlim_cur = (rlim_t)client; // no number is free
	setrlimit(RLIMIT_NOFILE, &few);
	told(play, "accept", accept(fd, NULL, NULL));
	setrlimit(RLIMIT_NOFILE, &before);
	server = accept(fd, NULL, NULL);
	told(play, "then", server >= 0);
	client_says(client, "x");
	told(play, "read", wait_octets(server, 1));
}

static void lowest_number(struct play *play)
{
	struct pair pair = pair_open(play);
	int hole = dup(pair.client), server;

	close(hole);
	end_client(play);
	server = accept(pair.listener, NULL, NULL);
	told(play, "next", server == hole + 1);
}

const struct scenario accepting_scenarios[] = {
	{"accept-flags", flags},
	{"accept-bad", bad},
	{"accept-nothing", nothing},
	{"accept-addresses", addresses},
	{"accept-in-order", in_order},
	{"accept-gone", gone},
	{"accept-reset-before", reset_before},
	{"accept-no-descriptors", no_descriptors},
	{"accept-lowest-number", lowest_number},
	{0},
};
