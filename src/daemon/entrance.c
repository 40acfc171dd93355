// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Unix sockets let in whom their mode lets in, TCP whom the configuration names. The door's thread.

#include "daemon/entrance.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/config.h"
#include "control/socket.h"
#include "net/address.h"

#define QUEUE 64

// Takes the descriptor.
static int listen_at(int fd, const struct sockaddr *address, socklen_t length)
{
	if (bind(fd, address, length) == 0 && listen(fd, QUEUE) == 0)
		return fd;
	close(fd);
	return -errno;
}

int entrance_open_unix(const char *path, int type, uint32_t group)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t before;
	int fd, rc = socket_prepare(path);

	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	before = umask(0117);
	rc = listen_at(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (rc >= 0 && group != UINT32_MAX && chown(path, (uid_t)-1, group) < 0) {
		rc = -errno;
		close(fd);
	}
	return rc;
}

// --- TCP -----------------------------------------------------------------------------------------

static socklen_t to_sockaddr(const struct net_endpoint *from, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (net_address_is_ipv4(&from->address)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(from->port);
		memcpy(&in->sin_addr, &from->address.words[3], 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(from->port);
	memcpy(&in6->sin6_addr, from->address.bytes, 16);
	return sizeof(*in6);
}

static void from_sockaddr(const struct sockaddr_storage *from, struct net_address *ret_address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

	if (from->ss_family == AF_INET)
		*ret_address = net_address_from_ipv4(in->sin_addr.s_addr);
	else
		memcpy(ret_address->bytes, &in6->sin6_addr, 16);
}

int entrance_open(const struct config_door *door)
{
	struct sockaddr_storage address;
	const int on = 1;
	socklen_t length;
	int fd;

	if (door->path != NULL)
		return entrance_open_unix(door->path, SOCK_STREAM, door->group);
	length = to_sockaddr(&door->tcp, &address);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	return listen_at(fd, (const struct sockaddr *)&address, length);
}

static bool may_come(const struct config_door *door, const struct sockaddr_storage *from)
{
	struct net_address address;

	if (door->allow_count == 0)
		return true;
	from_sockaddr(from, &address);
	for (unsigned i = 0; i < door->allow_count; i++)
		if (net_prefix_contains(&door->allow[i].address, door->allow[i].prefix, &address))
			return true;
	return false;
}

int entrance_accept(int listener, const struct config_door *door)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	int fd = accept4(listener, (struct sockaddr *)&from, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (door == NULL || door->path != NULL)
		return fd;
	if (!may_come(door, &from)) {
		close(fd);
		return -EACCES;
	}
	return fd;
}
