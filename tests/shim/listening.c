// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sockets that listen, and such as do not.

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "scenario.h"

static int bound(struct play *play, bool reuse)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	set_number(fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	told(play, "bind", bind(fd, (struct sockaddr *)&play->address, sizeof(play->address)));
	return fd;
}

static void unbound(struct play *play)
{
	struct sockaddr_in name = {0};
	socklen_t length = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	told(play, "listen", listen(fd, 1));
	told(play, "name", getsockname(fd, (struct sockaddr *)&name, &length));
	told(play, "port", name.sin_port != 0);
}

static void twice(struct play *play)
{
	int fd = end_listen(play), client, server;

	told(play, "again", listen(fd, 2));
	client = end_client(play);
	server = accept(fd, NULL, NULL);
	told(play, "accept", server >= 0);
	client_says(client, "x");
	told(play, "read", wait_octets(server, 1));
}

static void bind_again(struct play *play)
{
	int fd = bound(play, true);

	told(play, "again", bind(fd, (struct sockaddr *)&play->address, sizeof(play->address)));
	told(play, "listen", listen(fd, 1));
	told(play, "listening", bind(fd, (struct sockaddr *)&play->address, sizeof(play->address)));
}

static void busy(struct play *play)
{
	int first = end_listen(play), second = bound(play, false);

	close(second);
	close(first);
	second = bound(play, true);
	told(play, "listen", listen(second, 1));
}

// Both say SO_REUSEADDR: that is no leave to listen twice.
static void busy_reused(struct play *play)
{
	int first = end_listen(play), second = socket(AF_INET, SOCK_STREAM, 0), rc;

	set_number(second, SOL_SOCKET, SO_REUSEADDR, 1);
	rc = bind(second, (struct sockaddr *)&play->address, sizeof(play->address));
	if (rc == 0)
		rc = listen(second, 1);
	told(play, "second", rc);
	close(first);
}

static void shared_port(struct play *play)
{
	int fds[2];

	for (unsigned i = 0; i < 2; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		set_number(fds[i], SOL_SOCKET, SO_REUSEADDR, 1);
		set_number(fds[i], SOL_SOCKET, SO_REUSEPORT, 1);
		told(play, "bind",
			bind(fds[i], (struct sockaddr *)&play->address, sizeof(play->address)));
		told(play, "listen", listen(fds[i], 4));
	}
	end_client(play);
	{
		struct pollfd both[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};

		told(play, "ready", poll(both, 2, WAIT_MS));
	}
}

static void foreign(struct play *play)
{
	struct sockaddr_in other = play->address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "203.0.113.77", &other.sin_addr);
	told(play, "bind", bind(fd, (struct sockaddr *)&other, sizeof(other)));
	told(play, "short", bind(fd, (struct sockaddr *)&play->address, 4));
	other.sin_family = AF_INET6;
	told(play, "family", bind(fd, (struct sockaddr *)&other, sizeof(other)));
	told(play, "closed", bind(-1, (struct sockaddr *)&other, sizeof(other)));
}

static void no_backlog(struct play *play)
{
	int fd = end_listen_at(&play->address, sizeof(play->address), 0), client = end_client(play);

	told(play, "accept", accept(fd, NULL, NULL) >= 0);
	client_says(client, "x");
}

static void negative_backlog(struct play *play)
{
	int fd = end_listen_at(&play->address, sizeof(play->address), -1);

	for (unsigned i = 0; i < 3; i++)
		end_client(play);
	for (unsigned i = 0; i < 3; i++)
		told(play, "accept", accept(fd, NULL, NULL) >= 0);
}

static void closed_with_pending(struct play *play)
{
	int fd = end_listen(play), client = end_client(play);

	told(play, "ready", wait_for(fd, POLLIN));
	close(fd);
	client_finds(play, "client", client);
}

static void closed_refuses(struct play *play)
{
	int fd = end_listen(play);

	close(end_client(play));
	close(fd);
	nobody_listens(play);
}

static void shut(struct play *play)
{
	int fd = end_listen(play);
	int yes = -1;
	socklen_t length = sizeof(yes);

	told(play, "write", shutdown(fd, SHUT_WR));
	told(play, "read", shutdown(fd, SHUT_RD));
	told(play, "accept", accept(fd, NULL, NULL));
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &length);
	told(play, "listens", yes);
	nobody_listens(play);
}

static void shut_and_again(struct play *play)
{
	int fd = end_listen(play);

	told(play, "shutdown", shutdown(fd, SHUT_RDWR));
	told(play, "listen", listen(fd, 4));
	close(end_client(play));
	told(play, "accept", accept(fd, NULL, NULL) >= 0);
}

static void not_a_connection(struct play *play)
{
	int fd = end_listen(play);
	char octet = 0;

	count_signals(SIGPIPE, 0);
	told(play, "recv", recv(fd, &octet, 1, MSG_DONTWAIT));
	told(play, "read", read(fd, &octet, 1));
	told(play, "send", send(fd, "x", 1, MSG_NOSIGNAL));
	told(play, "signals", signals_counted());
	told(play, "write", write(fd, "x", 1));
	told(play, "signals", signals_counted());
	told(play, "connect",
		connect(fd, (struct sockaddr *)&play->address, sizeof(play->address)));
}

const struct scenario listening_scenarios[] = {
	{"listen-unbound", unbound},
	{"listen-twice", twice},
	{"listen-bind-again", bind_again},
	{"listen-busy", busy},
	{"listen-busy-reused", busy_reused},
	{"listen-shared-port", shared_port},
	{"listen-foreign", foreign},
	{"listen-no-backlog", no_backlog},
	{"listen-negative-backlog", negative_backlog},
	{"listen-closed-with-pending", closed_with_pending},
	{"listen-closed-refuses", closed_refuses},
	{"listen-shutdown", shut},
	{"listen-shutdown-and-again", shut_and_again},
	{"listen-is-no-connection", not_a_connection},
	{0},
};
