// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How an endpoint is set up: what one connection may cost, and how soon one that says
// nothing is given up.

#include "control/rpc_listener.h"

#include "control/rpc_credentials.h"

#include <grpc/grpc_security.h>

#include <errno.h>
#include <stdio.h>

#define STREAMS_MIN   128 // calls of one connection, however few a service takes: more are refused
#define LOOKAHEAD     65536
#define MEMORY_MAX    (64u << 20) // of all connections; with more, new ones are not taken
#define HANDSHAKE_MS  10000
#define KEEPALIVE_MS  10000 // a connection without a sign of life is asked
#define UNANSWERED_MS 5000  // and given up

#define SETTING(name, number)                                                               \
	{                                                                                   \
		.type = GRPC_ARG_INTEGER, .key = (char *)(name), .value.integer = (number), \
	}

static grpc_server *server_create(const struct rpc_limits *limits)
{
	uint32_t streams = limits->streams_max < STREAMS_MIN ? STREAMS_MIN : limits->streams_max;
	grpc_resource_quota *quota = grpc_resource_quota_create(NULL);
	grpc_arg settings[] = {
		SETTING(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)streams),
		SETTING(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)limits->request_max),
		// What is compressed would be as large as it likes.
		SETTING(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		SETTING(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
		SETTING(GRPC_ARG_HTTP2_BDP_PROBE, 0), // windows stay as they are
		SETTING(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, LOOKAHEAD),
		SETTING(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
		SETTING(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
		SETTING(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, UNANSWERED_MS),
		SETTING(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		SETTING(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), // as many as there are
		// Clients may look after us likewise.
		SETTING(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000),
		SETTING(GRPC_ARG_ALLOW_REUSEPORT,
			0), // two daemons must not share a port unknowingly
		SETTING(GRPC_ARG_ENABLE_CHANNELZ, 0),
		{
			.type = GRPC_ARG_POINTER,
			.key = (char *)GRPC_ARG_RESOURCE_QUOTA,
			.value.pointer = {quota, grpc_resource_quota_arg_vtable()},
		},
	};
	grpc_channel_args args = {sizeof(settings) / sizeof(settings[0]), settings};
	grpc_server *server;

	grpc_resource_quota_resize(quota, MEMORY_MAX);
	server = grpc_server_create(&args, NULL);
	grpc_resource_quota_unref(quota);
	return server;
}

int rpc_listener_init(struct rpc_listener *listener, const struct rpc_endpoint *endpoint,
	const struct rpc_limits *limits, grpc_completion_queue *queue)
{
	int bound;

	snprintf(listener->address, sizeof(listener->address), "%s", endpoint->address);
	listener->services = endpoint->services;
	listener->shutdown.kind = RPC_TAG_SHUTDOWN;
	listener->grpc = server_create(limits);
	grpc_server_register_completion_queue(listener->grpc, queue, NULL);
	listener->credentials = rpc_credentials_create(endpoint->tls);
	if (!listener->credentials)
		return -EADDRNOTAVAIL;
	bound = grpc_server_add_http2_port(
		listener->grpc, endpoint->address, rpc_credentials_of_core(listener->credentials));
	return bound ? 0 : -EADDRNOTAVAIL;
}
