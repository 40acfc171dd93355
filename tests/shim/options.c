// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// getsockopt and setsockopt.

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/time.h>

#include "scenario.h"

static void get(struct play *play, const char *what, int fd, int level, int name)
{
	int value = -12345;
	socklen_t length = sizeof(value);
	int rc = getsockopt(fd, level, name, &value, &length);

	told(play, what, rc < 0 ? -1 : value);
}

static void set(struct play *play, const char *what, int fd, int level, int name, int value)
{
	int rc = setsockopt(fd, level, name, &value, sizeof(value));

	if (rc < 0)
		told(play, what, -1);
	else
		get(play, what, fd, level, name);
}

static void kinds(struct play *play)
{
	struct pair pair = pair_open(play);
	const int fds[] = {pair.listener, pair.server};

	for (unsigned i = 0; i < 2; i++) {
		get(play, "type", fds[i], SOL_SOCKET, SO_TYPE);
		get(play, "domain", fds[i], SOL_SOCKET, SO_DOMAIN);
		get(play, "protocol", fds[i], SOL_SOCKET, SO_PROTOCOL);
		get(play, "listens", fds[i], SOL_SOCKET, SO_ACCEPTCONN);
		get(play, "error", fds[i], SOL_SOCKET, SO_ERROR);
	}
}

static void errors(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[4];

	client_resets(pair.client);
	wait_for(pair.server, POLLIN);
	get(play, "error", pair.server, SOL_SOCKET, SO_ERROR);
	get(play, "then", pair.server, SOL_SOCKET, SO_ERROR);
	told(play, "recv", recv(pair.server, data, sizeof(data), MSG_DONTWAIT));
}

static void usual(struct play *play)
{
	struct pair pair = pair_open(play);
	int fd = pair.server;

	set(play, "nodelay", fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set(play, "nodelay", fd, IPPROTO_TCP, TCP_NODELAY, 0);
	set(play, "keepalive", fd, SOL_SOCKET, SO_KEEPALIVE, 7);
	set(play, "idle", fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
	set(play, "interval", fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
	set(play, "count", fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	set(play, "idle-0", fd, IPPROTO_TCP, TCP_KEEPIDLE, 0);
	set(play, "cork", fd, IPPROTO_TCP, TCP_CORK, 1);
	set(play, "cork", fd, IPPROTO_TCP, TCP_CORK, 0);
	set(play, "quickack", fd, IPPROTO_TCP, TCP_QUICKACK, 1);
	set(play, "patience", fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 10000);
	set(play, "sndbuf", fd, SOL_SOCKET, SO_SNDBUF, 65536);
	set(play, "rcvbuf", fd, SOL_SOCKET, SO_RCVBUF, 65536);
	set(play, "lowat", fd, SOL_SOCKET, SO_RCVLOWAT, 5);
	set(play, "tos", fd, IPPROTO_IP, IP_TOS, 0x10);
	set(play, "priority", fd, SOL_SOCKET, SO_PRIORITY, 3);
	set(play, "oobinline", fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

static void wrong(struct play *play)
{
	struct pair pair = pair_open(play);
	const int fds[] = {pair.listener, pair.server};
	socklen_t length = sizeof(int);
	int one = 1;

	for (unsigned i = 0; i < 2; i++) {
		int fd = fds[i];

		set(play, "name", fd, SOL_SOCKET, 9999, 1);
		get(play, "name", fd, SOL_SOCKET, 9999);
		set(play, "tcp", fd, IPPROTO_TCP, 9999, 1);
		get(play, "tcp", fd, IPPROTO_TCP, 9999);
		set(play, "level", fd, 4711, 1, 1);
		get(play, "level", fd, 4711, 1);
		told(play, "short", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, 1));
		told(play, "null", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof(one)));
		told(play, "no-value", getsockopt(fd, SOL_SOCKET, SO_ERROR, NULL, &length));
		told(play, "no-length", getsockopt(fd, SOL_SOCKET, SO_ERROR, &one, NULL));
		set(play, "readonly", fd, SOL_SOCKET, SO_TYPE, 1);
	}
	get(play, "none", -1, SOL_SOCKET, SO_ERROR);
	get(play, "file", play->home, SOL_SOCKET, SO_ERROR);
}

static void short_values(struct play *play)
{
	struct pair pair = pair_open(play);
	uint8_t value[2] = {0xaa, 0xbb};
	socklen_t length = 1;

	told(play, "type", getsockopt(pair.server, SOL_SOCKET, SO_TYPE, value, &length));
	told(play, "length", length);
	told(play, "value", value[0]);
	length = 0;
	told(play, "error", getsockopt(pair.server, SOL_SOCKET, SO_ERROR, value, &length));
	told(play, "length", length);
	told(play, "beyond", value[1]);
	length = (socklen_t)-1;
	told(play, "negative", getsockopt(pair.server, SOL_SOCKET, SO_ERROR, value, &length));
}

static void lingering(struct play *play)
{
	struct pair pair = pair_open(play);
	struct linger linger = {1, 42};
	socklen_t length = sizeof(linger);

	told(play, "set", setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	linger = (struct linger){0};
	told(play, "get", getsockopt(pair.server, SOL_SOCKET, SO_LINGER, &linger, &length));
	told(play, "on", linger.l_onoff);
	told(play, "seconds", linger.l_linger);
	told(play, "short", setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &linger, 4));
}

static void timeouts(struct play *play)
{
	struct pair pair = pair_open(play);
	struct timeval time = {3, 200000}, bad = {1, 2000000}, negative = {-1, 0};
	socklen_t length = sizeof(time);
	char data[4];

	told(play, "set", setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	time = (struct timeval){0};
	told(play, "get", getsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &time, &length));
	told(play, "seconds", time.tv_sec);
	told(play, "bad", setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &bad, sizeof(bad)));
	told(play, "short", setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &time, 4));
	told(play, "negative",
		setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &negative, sizeof(negative)));
	set_nonblocking(pair.server, true);
	told(play, "recv", recv(pair.server, data, 4, 0));
}

static void inherited(struct play *play)
{
	int fd = end_listen(play), server;

	set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77);
	set_timeout(fd, SO_SNDTIMEO, 2000);
	end_client(play);
	server = accept(fd, NULL, NULL);
	get(play, "reuse", server, SOL_SOCKET, SO_REUSEADDR);
	get(play, "keepalive", server, SOL_SOCKET, SO_KEEPALIVE);
	get(play, "nodelay", server, IPPROTO_TCP, TCP_NODELAY);
	get(play, "idle", server, IPPROTO_TCP, TCP_KEEPIDLE);
	{
		struct timeval time = {0};
		socklen_t length = sizeof(time);

		getsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &time, &length);
		told(play, "timeout", time.tv_sec);
	}
}

static int state(int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 ? -1 : info.tcpi_state;
}

static void info(struct play *play)
{
	struct pair pair = pair_open(play);
	struct tcp_info part = {0};
	socklen_t length = 8;

	told(play, "listener", state(pair.listener));
	told(play, "connection", state(pair.server));
	told(play, "short", getsockopt(pair.server, IPPROTO_TCP, TCP_INFO, &part, &length));
	told(play, "length", length);
	shutdown(pair.client, SHUT_WR);
	wait_for(pair.server, POLLRDHUP);
	told(play, "half", state(pair.server));
}

const struct scenario option_scenarios[] = {
	{"option-kinds", kinds},
	{"option-errors", errors},
	{"option-usual", usual},
	{"option-wrong", wrong},
	{"option-short-values", short_values},
	{"option-linger", lingering},
	{"option-timeouts", timeouts},
	{"option-inherited", inherited},
	{"option-info", info},
	{0},
};
