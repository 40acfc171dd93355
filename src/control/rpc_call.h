// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One call of the gRPC server, from its acceptance to its last batch. Private to the
// server; its thread only.

#pragma once

#include "control/rpc.h"

#include <grpc/grpc.h>

struct rpc_listener;
struct rpc_server;

// What a completion is about; the completion queue's tag points to one of these.
enum rpc_tag_kind {
	RPC_TAG_ACCEPT,	 // a call has come (or the server shuts down)
	RPC_TAG_CLOSE,	 // the call is over for the peer
	RPC_TAG_RECEIVE, // a message of the client
	RPC_TAG_SEND,	 // what next() made has been taken
	RPC_TAGS,
	RPC_TAG_SHUTDOWN, // of a listener
};

struct rpc_tag {
	enum rpc_tag_kind kind;
	struct rpc_call *call;
};

struct rpc_call {
	struct rpc_tag tags[RPC_TAGS];
	struct rpc_listener *listener; // where it came in; NULL: the place is free
	grpc_call *grpc;	       // written by the core when a call comes
	grpc_call_details details;
	grpc_metadata_array metadata;
	uint64_t expires_us, wake_us; // UINT64_MAX: never

	const struct rpc_service *service; // NULL: refused
	const struct rpc_method *method;   // likewise
	void *state;
	grpc_byte_buffer *received;
	ProtobufCMessage *request; // offered and not taken
	struct rpc_reply reply;

	int cancelled;	  // written by the core before RPC_TAG_CLOSE
	unsigned batches; // under way; the call ends when none is
	bool accepted, opened, closed;
	bool half_closed; // the client has sent its last message
	bool end_offered; // and receive() has taken that
	bool metadata_sent, sending, status_sent;
};

// The call has been accepted: call->method serves it, or where that is NULL it is refused with the
// status.
void rpc_call_begin(struct rpc_call *call, grpc_status_code status, const char *details);
// A batch has ended. True when the call is over and its place free again.
bool rpc_call_event(struct rpc_call *call, enum rpc_tag_kind kind, bool ok);
// Its wake-up is due.
void rpc_call_resume(struct rpc_call *call);
// The server stops: what would not end by itself ends.
void rpc_call_stop(struct rpc_call *call);
