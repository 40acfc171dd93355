// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "shim/ways.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/addresses.h"
#include "shim/libc.h"
#include "shim/state.h"

enum kernel_way { KERNEL_NONE, KERNEL_SOME, KERNEL_OWN };

// Connecting a datagram socket sends nothing, and shows what the kernel would do.
static enum kernel_way kernel_way(const struct channel_endpoint *remote)
{
	const struct libc *libc = libc_get();
	struct channel_endpoint to = *remote, from;
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int family = remote->ipv6 ? AF_INET6 : AF_INET;
	int fd = libc->socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enum kernel_way way = KERNEL_NONE;

	if (fd < 0)
		return KERNEL_NONE;
	to.port = 1025; // any
	address_give(&to, family, (struct sockaddr *)&address, &length);
	if (libc->connect(fd, (const struct sockaddr *)&address, length) == 0) {
		way = KERNEL_SOME;
		length = sizeof(address);
		if (libc->getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
			address_take((const struct sockaddr *)&address, length, &from) &&
			memcmp(from.address, remote->address, remote->ipv6 ? 16 : 4) == 0)
			way = KERNEL_OWN;
	}
	libc->close(fd);
	return way;
}

bool way_is_own(const struct channel_endpoint *remote)
{
	return kernel_way(remote) == KERNEL_OWN;
}

bool way_find(
	struct shim *shim, const struct channel_endpoint *remote, bool firm, struct way *ret_way)
{
	struct channel_message message = {.kind = CHANNEL_ROUTE, .route.remote = *remote}, answer;
	enum kernel_way kernel = firm ? KERNEL_NONE : kernel_way(remote);

	if (kernel == KERNEL_OWN || !attach_try(shim) ||
		!(shim->attached->icmp || shim->attached->udp) ||
		news_call(shim, &message, 0, &answer) != 0 || answer.kind != CHANNEL_ROUTE_IS ||
		answer.route_is.error != 0 || answer.route_is.local.ipv6 != remote->ipv6 ||
		(answer.route_is.general && kernel == KERNEL_SOME))
		return false;
	*ret_way = (struct way){
		.local = answer.route_is.local,
		.own = answer.route_is.own,
		.mtu = answer.route_is.mtu,
		.longest = answer.route_is.longest,
	};
	return true;
}
