// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The library does not say when a connection ends on which no call is under way; the
// kernel does. The descriptor is looked for among all of this process, once a
// connection.

#include "control/tcp_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

// "%5B" is "["; what is not an escape stays.
static void unescape(const char *from, char *to, size_t size)
{
	size_t n = 0;

	for (; *from && n + 1 < size; n++) {
		unsigned byte;

		if (sscanf(from, "%%%2x", &byte) == 1) {
			to[n] = (char)byte;
			from += 3;
		} else {
			to[n] = *from++;
		}
	}
	to[n] = '\0';
}

static bool address_parse(const char *name, union address *ret)
{
	char text[TCP_PEER_NAME], host[TCP_PEER_NAME];
	unsigned port;

	unescape(name, text, sizeof(text));
	memset(ret, 0, sizeof(*ret));
	if (sscanf(text, "ipv4:%63[0-9.]:%u", host, &port) == 2) {
		ret->any.sa_family = AF_INET;
		ret->v4.sin_port = htons((uint16_t)port);
		return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1;
	}
	if (sscanf(text, "ipv6:[%63[0-9a-fA-F:.]%*[^]]]:%u", host, &port) == 2 ||
		sscanf(text, "ipv6:[%63[0-9a-fA-F:.]]:%u", host, &port) == 2) {
		ret->any.sa_family = AF_INET6;
		ret->v6.sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1;
	}
	return false;
}

// An IPv4 peer of an IPv6 socket is itself.
static bool is_peer(int fd, const union address *wanted)
{
	union address peer = {0};
	socklen_t length = sizeof(peer);

	if (getpeername(fd, &peer.any, &length) < 0)
		return false;
	if (peer.any.sa_family == AF_INET6 && wanted->any.sa_family == AF_INET)
		return IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr) &&
		       memcmp(&peer.v6.sin6_addr.s6_addr[12], &wanted->v4.sin_addr, 4) == 0 &&
		       peer.v6.sin6_port == wanted->v4.sin_port;
	if (peer.any.sa_family != wanted->any.sa_family)
		return false;
	if (peer.any.sa_family == AF_INET)
		return peer.v4.sin_addr.s_addr == wanted->v4.sin_addr.s_addr &&
		       peer.v4.sin_port == wanted->v4.sin_port;
	return peer.any.sa_family == AF_INET6 &&
	       IN6_ARE_ADDR_EQUAL(&peer.v6.sin6_addr, &wanted->v6.sin6_addr) &&
	       peer.v6.sin6_port == wanted->v6.sin6_port;
}

static void keep_alive(int fd)
{
	const int on = 1, second = 1, probes = TCP_PEER_SILENCE_S - 1;
	const unsigned unsent_ms = TCP_PEER_SILENCE_S * 1000;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof(second));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof(second));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof(unsent_ms));
}

int tcp_peer_watch(const char *name, struct tcp_peer *ret_peer)
{
	union address wanted;
	struct dirent *entry;
	int found = -1;
	DIR *folder;

	if (!address_parse(name, &wanted))
		return -EINVAL;
	folder = opendir("/proc/self/fd");
	if (!folder)
		return -errno;
	while (found < 0 && (entry = readdir(folder))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || !is_peer(fd, &wanted))
			continue;
		found = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		// It may have been closed, and be another's, since.
		if (found >= 0 && !is_peer(found, &wanted)) {
			close(found);
			found = -1;
		}
	}
	closedir(folder);
	if (found < 0)
		return -ENOTCONN;
	keep_alive(found);
	ret_peer->fd = found;
	return 0;
}

bool tcp_peer_lives(const struct tcp_peer *peer)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	return getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
	       info.tcpi_state == TCP_ESTABLISHED;
}

void tcp_peer_release(struct tcp_peer *peer)
{
	close(peer->fd);
	peer->fd = -1;
}
