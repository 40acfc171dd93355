// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How connections end, and what both ends see of it.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "scenario.h"

static void close_ends(struct play *play)
{
	struct pair pair = pair_open(play);

	send(pair.server, "last", 4, 0);
	close(pair.server);
	client_finds(play, "client", pair.client);
	client_finds(play, "client", pair.client);
}

// As libuv does it.
static void close_by_hand(struct play *play)
{
	struct pair pair = pair_open(play);

	send(pair.server, "last", 4, 0);
	told(play, "close", (int)syscall(SYS_close, pair.server));
	client_finds(play, "client", pair.client);
	client_finds(play, "client", pair.client);
	told(play, "again", (int)syscall(SYS_close, pair.server));
}

static void close_unread(struct play *play)
{
	struct pair pair = pair_open(play);

	client_says(pair.client, "unread");
	wait_octets(pair.server, 6);
	close(pair.server);
	wait_for(pair.client, POLLIN);
	client_finds(play, "client", pair.client);
}

static void linger(struct play *play, int seconds)
{
	struct pair pair = pair_open(play);
	struct linger set = {1, seconds};

	told(play, "set", setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &set, sizeof(set)));
	told(play, "close", close(pair.server));
	wait_for(pair.client, POLLIN);
	client_finds(play, "client", pair.client);
}

static void linger_none(struct play *play)
{
	linger(play, 0);
}

static void linger_some(struct play *play)
{
	linger(play, 5);
}

static void half_closed(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	told(play, "shutdown", shutdown(pair.server, SHUT_WR));
	client_finds(play, "client", pair.client);
	client_says(pair.client, "more");
	wait_octets(pair.server, 4);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "send", send(pair.server, "x", 1, MSG_NOSIGNAL));
	told(play, "nothing", send(pair.server, "", 0, MSG_NOSIGNAL));
	told(play, "again", shutdown(pair.server, SHUT_WR));
	close(pair.client);
	told(play, "end", recv(pair.server, data, sizeof(data), 0));
}

static void shut_read(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	client_says(pair.client, "early");
	wait_octets(pair.server, 5);
	told(play, "shutdown", shutdown(pair.server, SHUT_RD));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	client_says(pair.client, "late");
	told(play, "came", wait_octets(pair.server, 4));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "send", send(pair.server, "x", 1, 0));
	client_finds(play, "client", pair.client);
}

static void shut_both(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	told(play, "shutdown", shutdown(pair.server, SHUT_RDWR));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "send", send(pair.server, "x", 1, MSG_NOSIGNAL));
	client_finds(play, "client", pair.client);
	told(play, "how", shutdown(pair.server, 7));
	close(pair.client);
}

static void shut_gone(struct play *play)
{
	struct pair pair = pair_open(play);

	client_resets(pair.client);
	wait_for(pair.server, POLLIN);
	told(play, "shutdown", shutdown(pair.server, SHUT_WR));
	told(play, "how", shutdown(pair.server, 7));
	told(play, "none", shutdown(-1, SHUT_WR));
	told(play, "unconnected", shutdown(socket(AF_INET, SOCK_STREAM, 0), SHUT_WR));
}

static void client_ends(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	client_says(pair.client, "bye");
	shutdown(pair.client, SHUT_WR);
	wait_octets(pair.server, 3);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "end", recv(pair.server, data, sizeof(data), 0));
	told(play, "end", read(pair.server, data, sizeof(data)));
	told(play, "send", send(pair.server, "back", 4, 0));
	client_finds(play, "client", pair.client);
}

static void client_reset(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	client_resets(pair.client);
	wait_for(pair.server, POLLIN);
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "then", recv(pair.server, data, sizeof(data), 0));
	told(play, "send", send(pair.server, "x", 1, MSG_NOSIGNAL));
}

static void client_reset_writing(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	client_resets(pair.client);
	wait_for(pair.server, POLLIN);
	told(play, "send", send(pair.server, "x", 1, MSG_NOSIGNAL));
	told(play, "then", send(pair.server, "x", 1, MSG_NOSIGNAL));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
}

static void client_reset_unread(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	client_says(pair.client, "left");
	wait_octets(pair.server, 4);
	client_resets(pair.client);
	wait_for(pair.server, POLLHUP);
	told(play, "recv", recv(pair.server, data, 2, 0));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
	told(play, "error", recv(pair.server, data, sizeof(data), 0));
	told(play, "end", recv(pair.server, data, sizeof(data), 0));
}

// The client has closed: what is written to it is answered with a reset.
static void write_to_closed(struct play *play)
{
	struct pair pair = pair_open(play);
	char data[16];

	close(pair.client);
	wait_for(pair.server, POLLRDHUP);
	told(play, "first", send(pair.server, "x", 1, MSG_NOSIGNAL));
	wait_for(pair.server, POLLERR);
	told(play, "second", send(pair.server, "x", 1, MSG_NOSIGNAL));
	told(play, "third", send(pair.server, "x", 1, MSG_NOSIGNAL));
	told(play, "recv", recv(pair.server, data, sizeof(data), 0));
}

static void broken_pipe(struct play *play)
{
	struct pair pair = pair_open(play);
	struct iovec iov = {"x", 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	count_signals(SIGPIPE, SA_RESTART);
	shutdown(pair.server, SHUT_WR);
	told(play, "quiet", send(pair.server, "x", 1, MSG_NOSIGNAL));
	told(play, "signals", signals_counted());
	told(play, "write", write(pair.server, "x", 1));
	told(play, "send", send(pair.server, "x", 1, 0));
	told(play, "writev", writev(pair.server, &iov, 1));
	told(play, "sendmsg", sendmsg(pair.server, &message, 0));
	told(play, "signals", signals_counted());
}

static void broken_pipe_kills(struct play *play)
{
	struct pair pair = pair_open(play);

	shutdown(pair.server, SHUT_WR);
	told(play, "write", write(pair.server, "x", 1));
}

static void process_ends(struct play *play)
{
	int fd = end_listen(play), client = end_client(play);
	pid_t pid = fork();

	if (pid == 0) {
		int server = accept(fd, NULL, NULL);

		send(server, "bye", 3, 0);
		_exit(0);
	}
	client_finds(play, "client", client);
	client_finds(play, "client", client);
}

const struct scenario closing_scenarios[] = {
	{"close-ends", close_ends},
	{"close-by-hand", close_by_hand},
	{"close-unread", close_unread},
	{"close-linger-none", linger_none},
	{"close-linger-some", linger_some},
	{"close-half", half_closed},
	{"close-shutdown-read", shut_read},
	{"close-shutdown-both", shut_both},
	{"close-shutdown-gone", shut_gone},
	{"close-client-ends", client_ends},
	{"close-client-resets", client_reset},
	{"close-client-resets-writer", client_reset_writing},
	{"close-client-resets-unread", client_reset_unread},
	{"close-write-to-closed", write_to_closed},
	{"close-broken-pipe", broken_pipe},
	{"close-broken-pipe-kills", broken_pipe_kills},
	{"close-process-ends", process_ends},
	{0},
};
