// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The gRPC server's thread: one completion queue, a fixed number of places for calls.
// One place at a time waits for the next call; with all taken, the core lets further
// calls wait for their deadline. The last places only refuse, so a crowd is told.

#include "control/rpc.h"

#include "base/assert.h"
#include "control/rpc_call.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CALLS	      32 // places
#define CALLS_RUNNING 24 // with more, a call is refused at once
#define STREAMS_MAX   16 // calls of one connection
#define REQUEST_MAX   65536
#define SWEEP_S	      1 // how often ages are looked at
#define STOP_GRACE_MS 500

struct rpc_server {
	const struct rpc_method *methods;
	void *ctx;
	grpc_server *grpc;
	grpc_completion_queue *queue;
	pthread_t thread;
	struct rpc_tag shutdown;
	// The thread's own.
	struct rpc_call *waiting; // asked the core for the next call; NULL: none is free
	unsigned running;
	bool stopping;
	struct rpc_call calls[CALLS];
};

static gpr_timespec seconds_from_now(unsigned s)
{
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(s, GPR_TIMESPAN));
}

// --- calls ---------------------------------------------------------------------------------------

static bool place_free(const struct rpc_server *server, const struct rpc_call *call)
{
	return call != server->waiting && call->grpc == NULL; // the core writes that of `waiting`
}

// Asks for the next call, when there is a place for it.
static void request_call(struct rpc_server *server)
{
	struct rpc_call *call = server->calls;
	grpc_call_error err;

	if (server->waiting || server->stopping)
		return;
	while (call < server->calls + CALLS && !place_free(server, call))
		call++;
	if (call == server->calls + CALLS)
		return;
	memset(call, 0, sizeof(*call));
	for (unsigned i = 0; i < RPC_TAGS; i++)
		call->tags[i] = (struct rpc_tag){.kind = i, .call = call};
	grpc_call_details_init(&call->details);
	grpc_metadata_array_init(&call->metadata);
	err = grpc_server_request_call(server->grpc, &call->grpc, &call->details, &call->metadata,
		server->queue, server->queue, &call->tags[RPC_TAG_ACCEPT]);
	ASSERT(err == GRPC_CALL_OK);
	server->waiting = call;
}

static const struct rpc_method *method_find(const struct rpc_server *server, grpc_slice path)
{
	for (const struct rpc_method *m = server->methods; m->path; m++)
		if (grpc_slice_str_cmp(path, m->path) == 0)
			return m;
	return NULL;
}

static void accept_call(struct rpc_server *server, struct rpc_call *call, bool ok)
{
	const struct rpc_method *method;

	server->waiting = NULL;
	if (!ok) { // shutting down
		grpc_call_details_destroy(&call->details);
		grpc_metadata_array_destroy(&call->metadata);
		call->grpc = NULL;
		server->stopping = true;
		return;
	}
	server->running++;
	method = method_find(server, call->details.method);
	call->expires = seconds_from_now(method ? method->age_max_s : SWEEP_S);
	if (!method)
		rpc_call_begin(call, NULL, NULL, GRPC_STATUS_UNIMPLEMENTED,
			"no such method in this version of offrampd");
	else if (server->running > CALLS_RUNNING)
		rpc_call_begin(
			call, NULL, NULL, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many calls at once");
	else
		rpc_call_begin(call, method, server->ctx, GRPC_STATUS_OK, NULL);
	request_call(server);
}

// A peer that stopped reading keeps its place no longer than its method allows.
static void cancel_aged(struct rpc_server *server)
{
	gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);

	for (struct rpc_call *call = server->calls; call < server->calls + CALLS; call++)
		if (call != server->waiting && call->grpc && gpr_time_cmp(call->expires, now) < 0)
			grpc_call_cancel(call->grpc, NULL);
}

// --- thread --------------------------------------------------------------------------------------

static void handle(struct rpc_server *server, struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = tag->call;

	switch (tag->kind) {
	case RPC_TAG_SHUTDOWN:
		// Every call has ended: nothing is put on the queue any more.
		server->stopping = true;
		grpc_completion_queue_shutdown(server->queue);
		break;
	case RPC_TAG_ACCEPT:
		accept_call(server, call, ok);
		break;
	default:
		if (!rpc_call_event(call, tag->kind, ok))
			break;
		call->grpc = NULL;
		server->running--;
		request_call(server);
		break;
	}
}

static void *thread_main(void *arg)
{
	struct rpc_server *server = arg;

	request_call(server);
	for (;;) {
		gpr_timespec until = server->running ? seconds_from_now(SWEEP_S)
						     : gpr_inf_future(GPR_CLOCK_MONOTONIC);
		grpc_event event = grpc_completion_queue_next(server->queue, until, NULL);

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_OP_COMPLETE)
			handle(server, event.tag, event.success);
		if (server->running)
			cancel_aged(server);
	}
}

static int listen_on(struct rpc_server *server, const char *address)
{
	grpc_arg settings[] = {
		{.type = GRPC_ARG_INTEGER,
			.key = GRPC_ARG_MAX_CONCURRENT_STREAMS,
			.value.integer = STREAMS_MAX},
		{.type = GRPC_ARG_INTEGER,
			.key = GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			.value.integer = REQUEST_MAX},
	};
	grpc_channel_args args = {sizeof(settings) / sizeof(settings[0]), settings};
	grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
	int bound;

	server->queue = grpc_completion_queue_create_for_next(NULL);
	server->grpc = grpc_server_create(&args, NULL);
	grpc_server_register_completion_queue(server->grpc, server->queue, NULL);
	bound = grpc_server_add_http2_port(server->grpc, address, credentials);
	grpc_server_credentials_release(credentials);
	return bound ? 0 : -EADDRNOTAVAIL;
}

static void server_free(struct rpc_server *server)
{
	if (server->grpc)
		grpc_server_destroy(server->grpc);
	if (server->queue)
		grpc_completion_queue_destroy(server->queue);
	free(server);
	grpc_shutdown_blocking();
}

// A server whose thread never ran: its shutdown is awaited here.
static void server_abandon(struct rpc_server *server)
{
	grpc_server_shutdown_and_notify(server->grpc, server->queue, &server->shutdown);
	grpc_server_cancel_all_calls(server->grpc);
	grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	grpc_completion_queue_shutdown(server->queue);
	while (grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
			.type != GRPC_QUEUE_SHUTDOWN)
		;
	server_free(server);
}

int rpc_server_start(const char *address, const struct rpc_method *methods, void *ctx,
	struct rpc_server **ret_server)
{
	struct rpc_server *server = calloc(1, sizeof(*server));
	sigset_t all, before;
	int err;

	if (!server)
		return -ENOMEM;
	server->methods = methods;
	server->ctx = ctx;
	server->shutdown.kind = RPC_TAG_SHUTDOWN;
	// The core's own threads and ours take no signals: they are the daemon's main thread's.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	grpc_init();
	err = listen_on(server, address);
	if (!err) {
		grpc_server_start(server->grpc);
		err = -pthread_create(&server->thread, NULL, thread_main, server);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		server_abandon(server);
		return err;
	}
	pthread_setname_np(server->thread, "offramp-grpc");
	*ret_server = server;
	return 0;
}

void rpc_server_stop(struct rpc_server *server)
{
	struct timespec until;

	if (!server)
		return;
	grpc_server_shutdown_and_notify(server->grpc, server->queue, &server->shutdown);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STOP_GRACE_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	if (pthread_timedjoin_np(server->thread, NULL, &until) != 0) {
		grpc_server_cancel_all_calls(server->grpc);
		pthread_join(server->thread, NULL);
	}
	server_free(server);
}
