// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// An endpoint of the gRPC server: a server of the core's own, since a call does not
// say by which port it came. All share the completion queue. Private to the server.

#pragma once

#include "control/rpc.h"
#include "control/rpc_call.h"

struct rpc_credentials;

struct rpc_listener {
	struct rpc_server *server;
	grpc_server *grpc;
	struct rpc_credentials *credentials;
	char address[RPC_ADDRESS_SIZE];
	uint32_t services;
	struct rpc_tag shutdown;
	struct rpc_call *waiting; // asked the core for the next call; NULL: none is free
};

struct rpc_limits {
	uint32_t request_max; // bytes of a message
	uint32_t streams_max; // calls of one connection
};

// Binds; calls come from grpc_server_start() on. -EADDRNOTAVAIL.
int rpc_listener_init(struct rpc_listener *listener, const struct rpc_endpoint *endpoint,
	const struct rpc_limits *limits, grpc_completion_queue *queue);
