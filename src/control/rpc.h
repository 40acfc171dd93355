// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A small gRPC server on the C-core API: services, each a table of methods; endpoints,
// each an address that serves some of them; one thread, a bounded number of calls.
//
// What goes out is pulled: next() makes one message, and is asked again when that one
// has been taken by the transport, so a slow reader costs nothing but its place. What
// comes in is offered: receive() takes a message or leaves it for later, and nothing more
// is read until it has, so a fast writer waits in its own memory. Unary is a stream of
// one message each way. Everything runs on the server's thread; methods may block shortly
// (a worker's mailbox).

#pragma once

#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grpc_byte_buffer;
struct rpc_call;

// --- replies -------------------------------------------------------------------------------------

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
// In receive(): the message offered is the method's from now on, to be freed by
// protobuf_c_message_free_unpacked().
ProtobufCMessage *rpc_request_keep(struct rpc_reply *reply);
// The call that it is the reply of; valid from open() to close().
struct rpc_call *rpc_reply_call(struct rpc_reply *reply);

// --- methods -------------------------------------------------------------------------------------

struct rpc_method {
	const char *path; // "/offramp.v1.Admin/Status"
	const ProtobufCMessageDescriptor *request;
	size_t state_size;  // of one call, zeroed
	unsigned age_max_s; // the call is cancelled after this, whatever its deadline; 0: never
	// The request has arrived (with receive(): the call has, and `request` is NULL); may be
	// NULL. Fails by rpc_reply_fail().
	void (*open)(
		void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply);
	// Where the client streams: a message has arrived; NULL: it has sent its last one. May end
	// the call through `reply`, but sends nothing. False: not now; nothing has happened, the
	// same is offered again at rpc_call_wake(), and nothing is read before. True: it is freed,
	// unless rpc_request_keep() has taken it.
	bool (*receive)(
		void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply);
	// Makes a message, an end, or both. Nothing at all: the call rests until rpc_call_wake()
	// or, where the client streams, until it has sent something.
	void (*next)(void *ctx, void *state, struct rpc_reply *reply);
	// After open(), however the call ended; may be NULL.
	void (*close)(void *ctx, void *state);
};

struct rpc_service {
	const char *name;		  // "offramp.v1.Admin"
	const struct rpc_method *methods; // ends with a NULL path
	void *ctx;			  // of its methods
	unsigned calls_max;		  // at once; with more, one is refused
	void (*refused)(void *ctx);	  // one was; may be NULL
	void (*tick)(void *ctx);	  // every tick_us, on the server's thread; may be NULL
	uint64_t tick_us;
	uint32_t request_max; // bytes of one message
};

// --- calls, on the server's thread ---------------------------------------------------------------

// Offers again what receive() left, and asks next(), so long from now; an earlier wake-up stays.
void rpc_call_wake(struct rpc_call *call, uint64_t after_us);
// Ends it with the status, whether its client reads or not; close() follows.
void rpc_call_cancel(struct rpc_call *call, grpc_status_code status, const char *details);
#define RPC_PEER_SIZE 64
// Who calls, as the core writes it: "ipv4:192.0.2.1:4711", "ipv6:%5B::1%5D:4711", "unix:"; cut when
// longer. Returns `out`.
const char *rpc_call_peer(const struct rpc_call *call, char out[RPC_PEER_SIZE]);
// Is the service served where this call came in? By its name.
bool rpc_call_serves(const struct rpc_call *call, const char *service);

// --- the server ----------------------------------------------------------------------------------

// PEM texts.
struct rpc_tls {
	const char *certificate; // the chain, ours first
	const char *key;
	const char *client_ca; // who signs clients' certificates, which are demanded; NULL: none is
};

#define RPC_ADDRESS_SIZE 256
struct rpc_endpoint {
	const char *address;	   // "unix:/run/offramp/offramp.sock", "ipv4:127.0.0.1:7883"
	const struct rpc_tls *tls; // NULL: none
	uint32_t services;	   // bit i: services[i]
};

struct rpc_server_config {
	const struct rpc_service *services;
	unsigned services_count; // 32 at most
	const struct rpc_endpoint *endpoints;
	unsigned endpoints_count; // RPC_ENDPOINTS_MAX at most
};

#define RPC_ENDPOINTS_MAX 16

struct rpc_server;

// `services` must outlive the server; the endpoints need not. -EADDRNOTAVAIL when an address cannot
// be bound or its TLS is not usable: *ret_endpoint says whose. -ENOMEM.
int rpc_server_start(const struct rpc_server_config *config, struct rpc_server **ret_server,
	unsigned *ret_endpoint);
// The endpoint at that address shows another certificate from now on, and believes other
// authorities. Any thread. -ENOENT: there is none; -EINVAL: it has no TLS, or whether clients need
// a certificate would change; -ENOMEM.
int rpc_server_renew(struct rpc_server *server, const char *address, const struct rpc_tls *tls);
// Ends streams, lets other calls under way finish for a moment, cancels the rest, joins. Accepts
// NULL.
void rpc_server_stop(struct rpc_server *server);
