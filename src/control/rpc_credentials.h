// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What an endpoint shows to those who connect: nothing, or a certificate, which can be replaced
// while it serves. Connections that are made stay as they are. Private to the server.

#pragma once

#include <stdbool.h>

#include "control/rpc.h"

struct grpc_server_credentials;
struct rpc_credentials;

// `tls`, which is copied, may be NULL. NULL: no memory, or it is not usable.
struct rpc_credentials *rpc_credentials_create(const struct rpc_tls *tls);
// Once nobody connects to an endpoint of theirs any more. Accepts NULL.
void rpc_credentials_destroy(struct rpc_credentials *credentials);
// The core's, as long as these are.
struct grpc_server_credentials *rpc_credentials_of_core(const struct rpc_credentials *credentials);
// From the next connection on, any thread. Whether there is TLS, and whether clients need a
// certificate, cannot change: -EINVAL. -ENOMEM. On errors the old ones stay.
int rpc_credentials_renew(struct rpc_credentials *credentials, const struct rpc_tls *tls);
