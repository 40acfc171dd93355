// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Addresses of both ends, of both families.

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario.h"

typedef int name_call(int, struct sockaddr *, socklen_t *);

// Is what one end says of itself what the other says of it?
static bool agree(int one, name_call *call, int other, name_call *of_other)
{
	struct sockaddr_storage a, b;
	socklen_t length = sizeof(a), length_b = sizeof(b);

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	return call(one, (struct sockaddr *)&a, &length) == 0 &&
	       of_other(other, (struct sockaddr *)&b, &length_b) == 0 && length == length_b &&
	       memcmp(&a, &b, length) == 0;
}

static void both(struct play *play, int server, int client)
{
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);

	told(play, "peer", agree(server, getpeername, client, getsockname));
	told(play, "own", agree(server, getsockname, client, getpeername));
	getpeername(server, (struct sockaddr *)&name, &length);
	told(play, "family", name.ss_family);
	told(play, "length", length);
}

static void ipv4(struct play *play)
{
	struct pair pair = pair_open(play);

	both(play, pair.server, pair.client);
	told(play, "listener", agree(pair.listener, getsockname, pair.client, getpeername));
	told(play, "listener-peer", getpeername(pair.listener, NULL, NULL));
}

static void ipv6(struct play *play)
{
	int fd = end_listen_at(&play->address6, sizeof(play->address6), 4);
	int client = end_client_at(play, &play->address6, sizeof(play->address6));
	int server = accept(fd, NULL, NULL);

	both(play, server, client);
	client_says(client, "x");
	told(play, "read", wait_octets(server, 1));
}

static void any(struct play *play)
{
	struct sockaddr_in everywhere = play->address, name;
	socklen_t length = sizeof(name);
	int fd, client, server;

	everywhere.sin_addr.s_addr = INADDR_ANY;
	fd = end_listen_at(&everywhere, sizeof(everywhere), 4);
	client = end_client(play);
	server = accept(fd, NULL, NULL);
	both(play, server, client);
	getsockname(fd, (struct sockaddr *)&name, &length);
	told(play, "any", name.sin_addr.s_addr == INADDR_ANY);
}

// IPv4 over a socket of IPv6.
static void mapped(struct play *play)
{
	struct sockaddr_in6 everywhere = {
		.sin6_family = AF_INET6, .sin6_port = play->address.sin_port};
	struct sockaddr_in of_client;
	struct sockaddr_in6 name;
	socklen_t length = sizeof(of_client);
	int fd = end_listen_at(&everywhere, sizeof(everywhere), 4);
	int client = end_client(play), server;

	getsockname(client, (struct sockaddr *)&of_client, &length);
	length = sizeof(name);
	server = accept(fd, (struct sockaddr *)&name, &length);
	told(play, "family", name.sin6_family);
	told(play, "mapped", IN6_IS_ADDR_V4MAPPED(&name.sin6_addr));
	told(play, "same", memcmp(&of_client.sin_addr, name.sin6_addr.s6_addr + 12, 4) == 0);
	told(play, "port", name.sin6_port == of_client.sin_port);
	length = sizeof(name);
	getsockname(server, (struct sockaddr *)&name, &length);
	told(play, "own", IN6_IS_ADDR_V4MAPPED(&name.sin6_addr));
}

static void ipv6_only(struct play *play)
{
	struct sockaddr_in6 everywhere = {
		.sin6_family = AF_INET6, .sin6_port = play->address.sin_port};
	int fd = socket(AF_INET6, SOCK_STREAM, 0), client = end_client_new(play, AF_INET);

	set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	told(play, "bind", bind(fd, (struct sockaddr *)&everywhere, sizeof(everywhere)));
	told(play, "listen", listen(fd, 4));
	told(play, "connect",
		connect(client, (struct sockaddr *)&play->address, sizeof(play->address)));
}

static void short_names(struct play *play)
{
	struct pair pair = pair_open(play);
	struct sockaddr_in name;
	socklen_t length = 3;

	memset(&name, 0x55, sizeof(name));
	told(play, "peer", getpeername(pair.server, (struct sockaddr *)&name, &length));
	told(play, "length", length);
	told(play, "beyond", ((uint8_t *)&name)[3]);
	length = 0;
	told(play, "own", getsockname(pair.server, (struct sockaddr *)&name, &length));
	told(play, "length", length);
	length = (socklen_t)-1;
	told(play, "negative", getpeername(pair.server, (struct sockaddr *)&name, &length));
	told(play, "null", getpeername(pair.server, NULL, NULL));
	told(play, "null", getsockname(pair.server, (struct sockaddr *)&name, NULL));
}

static void gone(struct play *play)
{
	struct pair pair = pair_open(play);
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	shutdown(pair.client, SHUT_WR);
	wait_for(pair.server, POLLRDHUP);
	told(play, "half", getpeername(pair.server, (struct sockaddr *)&name, &length));
	client_resets(pair.client);
	wait_for(pair.server, POLLHUP);
	told(play, "reset", getpeername(pair.server, (struct sockaddr *)&name, &length));
	told(play, "own", getsockname(pair.server, (struct sockaddr *)&name, &length));
}

static void is_socket(struct play *play)
{
	struct pair pair = pair_open(play);
	struct stat status;

	told(play, "fstat", fstat(pair.server, &status));
	told(play, "socket", S_ISSOCK(status.st_mode));
	told(play, "seek", lseek(pair.server, 0, SEEK_CUR));
	told(play, "listener", fstat(pair.listener, &status));
	told(play, "tty", isatty(pair.server));
}

const struct scenario name_scenarios[] = {
	{"name-ipv4", ipv4},
	{"name-ipv6", ipv6},
	{"name-any", any},
	{"name-mapped", mapped},
	{"name-ipv6-only", ipv6_only},
	{"name-short", short_names},
	{"name-gone", gone},
	{"name-is-socket", is_socket},
	{0},
};
