// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Addresses as applications see them.

#pragma once

#include <sys/socket.h>

struct channel_endpoint;

// As much as there is room for; *length becomes what there would have been. `family` is that of the
// listening socket: IPv4 looks like ::ffff:a.b.c.d on one of IPv6.
// 0, or -EFAULT, -EINVAL.
int address_give(const struct channel_endpoint *endpoint, int family, struct sockaddr *ret_address,
	socklen_t *length);
