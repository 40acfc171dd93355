// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "shim/addresses.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "channel/message.h"

static socklen_t make_in6(const struct channel_endpoint *endpoint, struct sockaddr_in6 *ret_in6)
{
	*ret_in6 =
		(struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
	if (endpoint->ipv6) {
		memcpy(&ret_in6->sin6_addr, endpoint->address, 16);
	} else {
		ret_in6->sin6_addr.s6_addr[10] = ret_in6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(ret_in6->sin6_addr.s6_addr + 12, endpoint->address, 4);
	}
	return sizeof(*ret_in6);
}

static socklen_t make_in(const struct channel_endpoint *endpoint, struct sockaddr_in *ret_in)
{
	*ret_in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
	memcpy(&ret_in->sin_addr, endpoint->address, 4);
	return sizeof(*ret_in);
}

int address_give(const struct channel_endpoint *endpoint, int family, struct sockaddr *ret_address,
	socklen_t *length)
{
	struct sockaddr_storage address;
	socklen_t whole;

	if (ret_address == NULL || length == NULL)
		return -EFAULT;
	if ((int)*length < 0)
		return -EINVAL;
	whole = family == AF_INET6 ? make_in6(endpoint, (struct sockaddr_in6 *)&address)
				   : make_in(endpoint, (struct sockaddr_in *)&address);
	memcpy(ret_address, &address, *length < whole ? *length : whole);
	*length = whole;
	return 0;
}

bool address_take(
	const struct sockaddr *address, socklen_t length, struct channel_endpoint *ret_endpoint)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	memset(ret_endpoint, 0, sizeof(*ret_endpoint));
	if (length >= sizeof(*in) && address->sa_family == AF_INET) {
		memcpy(ret_endpoint->address, &in->sin_addr, 4);
		ret_endpoint->port = ntohs(in->sin_port);
		return true;
	}
	if (length < sizeof(*in6) || address->sa_family != AF_INET6 || in6->sin6_scope_id != 0)
		return false;
	ret_endpoint->port = ntohs(in6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		memcpy(ret_endpoint->address, in6->sin6_addr.s6_addr + 12, 4);
		return true;
	}
	memcpy(ret_endpoint->address, &in6->sin6_addr, 16);
	ret_endpoint->ipv6 = true;
	return true;
}
