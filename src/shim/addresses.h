// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Addresses as applications see them.

#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct channel_endpoint;

// An address of IPv4 or IPv6 that is not of one link only; IPv4 in IPv6's form is IPv4. False:
// another.
bool address_take(
	const struct sockaddr *address, socklen_t length, struct channel_endpoint *ret_endpoint);
// As much as there is room for; *length becomes what there would have been. `family` is that of the
// listening socket: IPv4 looks like ::ffff:a.b.c.d on one of IPv6.
// 0, or -EFAULT, -EINVAL.
int address_give(const struct channel_endpoint *endpoint, int family, struct sockaddr *ret_address,
	socklen_t *length);
