// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How the channel proves who it is and whom it speaks to: not at all (unix socket, loopback),
// by TLS, or by TLS with a certificate of its own. Files are read once, at start.

#pragma once

#include <stddef.h>

struct grpc_channel_credentials;
struct options;

// 0, or a negative errno and a line for people in `error`.
int credentials_create(const struct options *options,
	struct grpc_channel_credentials **ret_credentials, char *error, size_t error_size);
