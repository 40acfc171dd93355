// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One call of the gRPC server, from its request to its last batch. Private to the
// server; its thread only.

#pragma once

#include "control/rpc.h"

#include <grpc/grpc.h>

// What a completion is about; the completion queue's tag points to one of these.
enum rpc_tag_kind {
	RPC_TAG_ACCEPT,	 // a call has come (or the server shuts down)
	RPC_TAG_CLOSE,	 // the call is over for the peer
	RPC_TAG_RECEIVE, // the request's message
	RPC_TAG_SEND,	 // what next() made has been taken
	RPC_TAG_SHUTDOWN,
	RPC_TAGS,
};

struct rpc_tag {
	enum rpc_tag_kind kind;
	struct rpc_call *call;
};

struct rpc_call {
	struct rpc_tag tags[RPC_TAGS];
	grpc_call *grpc; // NULL: the place is free, or waits for a call
	grpc_call_details details;
	grpc_metadata_array metadata;
	gpr_timespec expires;

	const struct rpc_method *method; // NULL: refused
	void *ctx, *state;
	grpc_byte_buffer *request;
	struct rpc_reply reply;

	int cancelled;	  // written by the core before RPC_TAG_CLOSE
	unsigned batches; // under way; the call ends when none is
	bool opened, closed, metadata_sent;
};

// The call has been accepted: `method` serves it, or with NULL it is refused with the status.
void rpc_call_begin(struct rpc_call *call, const struct rpc_method *method, void *ctx,
	grpc_status_code status, const char *details);
// A batch has ended. True when the call is over and its place free again.
bool rpc_call_event(struct rpc_call *call, enum rpc_tag_kind kind, bool ok);
