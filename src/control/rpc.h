// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A small gRPC server on the C-core API: a table of methods, one thread, a bounded
// number of calls. A method is pulled: next() makes one message, and is asked again
// when that one has been taken by the transport, so a slow reader costs nothing but
// its place. Unary is a stream of one message. Everything runs on the server's
// thread; methods may block shortly (a worker's mailbox).
//
// A method with messages both ways adds a receive() to the table and a way to say
// "nothing to send now" beside rpc_reply_message(); the call's batches (rpc_call.c) are
// kept apart for that.

#pragma once

#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stddef.h>

struct grpc_byte_buffer;

// What next() has made.
struct rpc_reply {
	struct grpc_byte_buffer *message; // NULL: none
	bool last;			  // the status follows
	grpc_status_code status;
	char details[160];
};

// Packs the message; at most one a next().
void rpc_reply_message(struct rpc_reply *reply, const ProtobufCMessage *message);
// Nothing follows: status OK.
void rpc_reply_end(struct rpc_reply *reply);
// Nothing follows: another status.
__attribute__((format(printf, 3, 4))) void rpc_reply_fail(
	struct rpc_reply *reply, grpc_status_code status, const char *format, ...);

struct rpc_method {
	const char *path; // "/offramp.v1.Admin/Status"
	const ProtobufCMessageDescriptor *request;
	size_t state_size;  // of one call, zeroed
	unsigned age_max_s; // the call is cancelled after this, whatever its deadline
	// The request has arrived; may be NULL. Fails by rpc_reply_fail().
	void (*open)(
		void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply);
	// Makes a message, an end, or both.
	void (*next)(void *ctx, void *state, struct rpc_reply *reply);
	// After open(), however the call ended; may be NULL.
	void (*close)(void *ctx, void *state);
};

struct rpc_server;

// Listens on `address` ("unix:/run/offramp/offramp.sock"). `methods` ends with a NULL path; it and
// `ctx` must outlive the server. -EADDRNOTAVAIL when the address cannot be bound, -ENOMEM.
int rpc_server_start(const char *address, const struct rpc_method *methods, void *ctx,
	struct rpc_server **ret_server);
// Lets calls under way finish for a moment, cancels the rest, joins. Accepts NULL.
void rpc_server_stop(struct rpc_server *server);
