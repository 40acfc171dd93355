// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp.v1.Admin: the methods of admin.proto. They run on the gRPC server's
// thread and ask workers through their mailboxes. Private to control.

#pragma once

#include "control/control_state.h"
#include "control/rpc.h"
#include "offramp/v1/admin.pb-c.h"

// A worker that has not looked into its mailbox for so long hangs.
#define ADMIN_WORKER_TIMEOUT_MS 1000

// next() of the methods; `ctx` is the struct control.
void admin_status_next(void *ctx, void *state, struct rpc_reply *reply);
// Of one worker, from its counters.
void admin_worker_fill(
	const struct control *control, unsigned index, Offramp__V1__WorkerStatus *ret_status);
void admin_counters_next(void *ctx, void *state, struct rpc_reply *reply);
void admin_drain_next(void *ctx, void *state, struct rpc_reply *reply);
void admin_filters_next(void *ctx, void *state, struct rpc_reply *reply);
void admin_change_filters_open(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply);

// Admin/Trace: see admin_trace.c.
#define ADMIN_TRACE_STATE_SIZE (256 * 1024)
void admin_trace_open(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply);
bool admin_trace_receive(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply);
void admin_trace_next(void *ctx, void *state, struct rpc_reply *reply);
void admin_trace_close(void *ctx, void *state);

// Bytes of state that the streams need; admin_lists.c asserts them.
#define ADMIN_CONNECTIONS_STATE_SIZE   (96 * 1024)
#define ADMIN_SUBSCRIPTIONS_STATE_SIZE (64 * 1024)
#define ADMIN_TOPICS_STATE_SIZE	       (64 * 1024)
void admin_connections_next(void *ctx, void *state, struct rpc_reply *reply);
void admin_subscriptions_next(void *ctx, void *state, struct rpc_reply *reply);
void admin_topics_next(void *ctx, void *state, struct rpc_reply *reply);
