// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The kernel's own answers about a socket. A user may be root in a user namespace of his own, and
// open what he likes in a network of his own: what he was allowed there does not count here.

#include "daemon/echo_right.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/sockets.h"

static int number_of(int socket, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);

	return getsockopt(socket, SOL_SOCKET, option, &value, &length) < 0 ? -1 : value;
}

static bool same_file(int fd, const char *path)
{
	struct stat one, other;

	return fstat(fd, &one) == 0 && stat(path, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

// Does the network that the socket is in belong to the users that the daemon knows?
static bool is_of_our_users(int socket)
{
	int network = ioctl(socket, SIOCGSKNS), users = -1;
	bool ours = false;

	if (network >= 0)
		users = ioctl(network, NS_GET_USERNS);
	if (users >= 0)
		ours = same_file(users, "/proc/self/ns/user");
	if (users >= 0)
		close(users);
	if (network >= 0)
		close(network);
	return ours;
}

int echo_right(int socket, struct sockets_echo *ret_echo)
{
	int family = number_of(socket, SO_DOMAIN), type = number_of(socket, SO_TYPE);
	int protocol = number_of(socket, SO_PROTOCOL);
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	ret_echo->ipv6 = family == AF_INET6;
	ret_echo->raw = type == SOCK_RAW;
	if (!(family == AF_INET && protocol == IPPROTO_ICMP) &&
		!(family == AF_INET6 && protocol == IPPROTO_ICMPV6))
		return EPROTONOSUPPORT;
	if (!is_of_our_users(socket))
		return EPERM;
	if (ret_echo->raw)
		return 0;
	if (type != SOCK_DGRAM)
		return EPROTONOSUPPORT;
	if (getsockname(socket, (struct sockaddr *)&address, &length) < 0)
		return errno;
	// Both families have it at the same place.
	ret_echo->identifier = ntohs(((const struct sockaddr_in *)&address)->sin_port);
	return ret_echo->identifier != 0 ? 0 : EINVAL;
}
