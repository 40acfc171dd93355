// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The gRPC server's thread: one completion queue, a fixed number of places for calls.
// Each endpoint has one place that waits for its next call; with all taken, the core lets
// further calls wait for their deadline. Each service has so many calls at once and no
// more; the last places only refuse, so a crowd is told, and is a crowd of one service.

#include "control/rpc.h"

#include "base/assert.h"
#include "base/clock.h"
#include "control/rpc_call.h"
#include "control/rpc_credentials.h"
#include "control/rpc_listener.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REFUSING      8 // places for calls that are only refused
#define REFUSED_AGE_S 1
#define STOP_GRACE_MS 500

struct rpc_server {
	const struct rpc_service *services;
	unsigned services_count;
	grpc_completion_queue *queue;
	pthread_t thread;
	struct rpc_listener listeners[RPC_ENDPOINTS_MAX];
	unsigned listeners_count;
	// The thread's own.
	unsigned *running;     // calls of each service
	uint64_t *ticks_us;    // when each service's tick is due; UINT64_MAX: never
	unsigned listening;    // listeners that have not shut down
	uint64_t attention_us; // no call expires or wakes up before; UINT64_MAX: none ever
	bool stopping;
	unsigned places;
	unsigned used; // behind these first ones none is in use
	struct rpc_call calls[];
};

// --- calls ---------------------------------------------------------------------------------------

// Asks for the endpoint's next call, when there is a place for it.
static void request_call(struct rpc_server *server, struct rpc_listener *listener)
{
	struct rpc_call *call = server->calls;
	grpc_call_error err;

	if (listener->waiting || server->stopping)
		return;
	while (call < server->calls + server->places && call->listener)
		call++;
	if (call == server->calls + server->places)
		return;
	memset(call, 0, sizeof(*call));
	for (unsigned i = 0; i < RPC_TAGS; i++)
		call->tags[i] = (struct rpc_tag){.kind = i, .call = call};
	call->expires_us = UINT64_MAX;
	call->wake_us = UINT64_MAX;
	grpc_call_details_init(&call->details);
	grpc_metadata_array_init(&call->metadata);
	call->listener = listener;
	if (call - server->calls >= server->used)
		server->used = (unsigned)(call - server->calls) + 1;
	err = grpc_server_request_call(listener->grpc, &call->grpc, &call->details, &call->metadata,
		server->queue, server->queue, &call->tags[RPC_TAG_ACCEPT]);
	ASSERT(err == GRPC_CALL_OK);
	listener->waiting = call;
}

static const struct rpc_method *method_find(const struct rpc_service *service, grpc_slice path)
{
	for (const struct rpc_method *m = service->methods; m->path; m++)
		if (grpc_slice_str_cmp(path, m->path) == 0)
			return m;
	return NULL;
}

// Which method is it, and may it be called here and now?
static grpc_status_code call_admit(
	struct rpc_server *server, struct rpc_call *call, const char **ret_details)
{
	const struct rpc_method *method = NULL;
	unsigned i;

	for (i = 0; i < server->services_count; i++) {
		method = method_find(&server->services[i], call->details.method);
		if (method)
			break;
	}
	*ret_details = "no such method in this version of offrampd";
	if (!method)
		return GRPC_STATUS_UNIMPLEMENTED;
	*ret_details = "this service is not served at this address";
	if (!(call->listener->services & 1u << i))
		return GRPC_STATUS_PERMISSION_DENIED;
	*ret_details = "too many calls at once";
	if (server->running[i] >= server->services[i].calls_max) {
		if (server->services[i].refused)
			server->services[i].refused(server->services[i].ctx);
		return GRPC_STATUS_RESOURCE_EXHAUSTED;
	}
	server->running[i]++;
	call->service = &server->services[i];
	call->method = method;
	return GRPC_STATUS_OK;
}

static void attend_until(struct rpc_server *server, uint64_t us)
{
	if (us < server->attention_us)
		server->attention_us = us;
}

static void accept_call(struct rpc_server *server, struct rpc_call *call, bool ok)
{
	struct rpc_listener *listener = call->listener;
	grpc_status_code status;
	const char *details;
	unsigned age_s;

	listener->waiting = NULL;
	if (!ok) { // shutting down
		grpc_call_details_destroy(&call->details);
		grpc_metadata_array_destroy(&call->metadata);
		call->listener = NULL;
		return;
	}
	call->accepted = true;
	status = call_admit(server, call, &details);
	age_s = call->method ? call->method->age_max_s : REFUSED_AGE_S;
	if (age_s)
		call->expires_us = clock_now_us() + age_s * US_IN_S;
	rpc_call_begin(call, status, details);
	attend_until(server, call->expires_us);
	request_call(server, listener);
}

static void end_call(struct rpc_server *server, struct rpc_call *call)
{
	if (call->service)
		server->running[call->service - server->services]--;
	call->listener = NULL;
	while (server->used > 0 && !server->calls[server->used - 1].listener)
		server->used--;
	for (unsigned i = 0; i < server->listeners_count; i++)
		request_call(server, &server->listeners[i]);
}

void rpc_call_wake(struct rpc_call *call, uint64_t after_us)
{
	uint64_t us = clock_now_us() + after_us;

	if (us < call->wake_us)
		call->wake_us = us;
	attend_until(call->listener->server, us);
}

bool rpc_call_serves(const struct rpc_call *call, const char *service)
{
	const struct rpc_server *server = call->listener->server;

	for (unsigned i = 0; i < server->services_count; i++)
		if (strcmp(server->services[i].name, service) == 0)
			return call->listener->services & 1u << i;
	return false;
}

static void tick_services(struct rpc_server *server, uint64_t now_us)
{
	for (unsigned i = 0; i < server->services_count; i++) {
		const struct rpc_service *service = &server->services[i];

		if (server->ticks_us[i] <= now_us) {
			service->tick(service->ctx);
			server->ticks_us[i] = now_us + service->tick_us;
		}
		attend_until(server, server->ticks_us[i]);
	}
}

// A peer that stopped reading keeps its place no longer than its method allows; who asked to be
// woken is.
static void attend(struct rpc_server *server, uint64_t now_us)
{
	server->attention_us = UINT64_MAX;
	tick_services(server, now_us);
	for (struct rpc_call *call = server->calls; call < server->calls + server->used; call++) {
		if (!call->listener || !call->accepted)
			continue;
		if (call->expires_us <= now_us) {
			rpc_call_cancel(
				call, GRPC_STATUS_DEADLINE_EXCEEDED, "the call has taken too long");
			call->expires_us = UINT64_MAX;
		}
		if (call->wake_us <= now_us)
			rpc_call_resume(call);
		attend_until(server, call->expires_us);
		attend_until(server, call->wake_us);
	}
}

// --- thread --------------------------------------------------------------------------------------

static void stop_calls(struct rpc_server *server)
{
	server->stopping = true;
	for (struct rpc_call *call = server->calls; call < server->calls + server->used; call++)
		if (call->listener && call->accepted)
			rpc_call_stop(call);
}

static void handle(struct rpc_server *server, struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = tag->call;

	switch (tag->kind) {
	case RPC_TAG_SHUTDOWN:
		// Every call has ended: nothing is put on the queue any more.
		if (--server->listening == 0)
			grpc_completion_queue_shutdown(server->queue);
		break;
	case RPC_TAG_ACCEPT:
		if (!ok && !server->stopping)
			stop_calls(server);
		accept_call(server, call, ok);
		break;
	default:
		if (rpc_call_event(call, tag->kind, ok))
			end_call(server, call);
		else
			attend_until(server, call->expires_us);
		break;
	}
}

static gpr_timespec attention(const struct rpc_server *server)
{
	uint64_t now_us = clock_now_us(), at_us = server->attention_us;

	if (at_us == UINT64_MAX)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
		gpr_time_from_micros(at_us > now_us ? (int64_t)(at_us - now_us) : 0, GPR_TIMESPAN));
}

static void *thread_main(void *arg)
{
	struct rpc_server *server = arg;

	for (unsigned i = 0; i < server->listeners_count; i++)
		request_call(server, &server->listeners[i]);
	for (;;) {
		grpc_event event =
			grpc_completion_queue_next(server->queue, attention(server), NULL);
		uint64_t now_us;

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_OP_COMPLETE)
			handle(server, event.tag, event.success);
		now_us = clock_now_us();
		if (server->attention_us <= now_us)
			attend(server, now_us);
	}
}

// --- start and end -------------------------------------------------------------------------------

static void shutdown_listeners(struct rpc_server *server)
{
	for (unsigned i = 0; i < server->listeners_count; i++)
		grpc_server_shutdown_and_notify(
			server->listeners[i].grpc, server->queue, &server->listeners[i].shutdown);
}

static void cancel_calls(struct rpc_server *server)
{
	for (unsigned i = 0; i < server->listeners_count; i++)
		grpc_server_cancel_all_calls(server->listeners[i].grpc);
}

static void server_free(struct rpc_server *server)
{
	for (unsigned i = 0; i < server->listeners_count; i++)
		grpc_server_destroy(server->listeners[i].grpc);
	if (server->queue)
		grpc_completion_queue_destroy(server->queue);
	for (unsigned i = 0; i < server->listeners_count; i++)
		rpc_credentials_destroy(server->listeners[i].credentials);
	free(server->running);
	free(server->ticks_us);
	free(server);
	grpc_shutdown_blocking();
}

// A server whose thread never ran: its shutdown is awaited here.
static void server_abandon(struct rpc_server *server)
{
	const gpr_timespec forever = gpr_inf_future(GPR_CLOCK_MONOTONIC);

	shutdown_listeners(server);
	for (unsigned i = 0; i < server->listeners_count; i++)
		grpc_completion_queue_next(server->queue, forever, NULL);
	grpc_completion_queue_shutdown(server->queue);
	while (grpc_completion_queue_next(server->queue, forever, NULL).type != GRPC_QUEUE_SHUTDOWN)
		;
	server_free(server);
}

// The widest limits of the services there.
static struct rpc_limits limits_of(const struct rpc_server_config *config, uint32_t services)
{
	struct rpc_limits limits = {0};

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct rpc_service *service = &config->services[i];

		if (!(services & 1u << i))
			continue;
		if (service->request_max > limits.request_max)
			limits.request_max = service->request_max;
		if (service->calls_max > limits.streams_max)
			limits.streams_max = service->calls_max;
	}
	return limits;
}

static int listen_all(
	struct rpc_server *server, const struct rpc_server_config *config, unsigned *ret_endpoint)
{
	server->queue = grpc_completion_queue_create_for_next(NULL);
	for (unsigned i = 0; i < config->endpoints_count; i++) {
		struct rpc_listener *listener = &server->listeners[i];
		struct rpc_limits limits = limits_of(config, config->endpoints[i].services);
		int err =
			rpc_listener_init(listener, &config->endpoints[i], &limits, server->queue);

		listener->server = server;
		server->listeners_count++;
		*ret_endpoint = i;
		if (err)
			return err;
	}
	server->listening = server->listeners_count;
	return 0;
}

static struct rpc_server *server_create(const struct rpc_server_config *config)
{
	unsigned places = REFUSING + config->endpoints_count;
	struct rpc_server *server;

	for (unsigned i = 0; i < config->services_count; i++)
		places += config->services[i].calls_max;
	server = calloc(1, sizeof(*server) + places * sizeof(server->calls[0]));
	if (!server)
		return NULL;
	server->running = calloc(config->services_count, sizeof(*server->running));
	server->ticks_us = calloc(config->services_count, sizeof(*server->ticks_us));
	if (!server->running || !server->ticks_us) {
		free(server->running);
		free(server->ticks_us);
		free(server);
		return NULL;
	}
	for (unsigned i = 0; i < config->services_count; i++)
		if (!config->services[i].tick)
			server->ticks_us[i] = UINT64_MAX;
	server->services = config->services;
	server->services_count = config->services_count;
	server->places = places;
	server->attention_us = 0;
	return server;
}

int rpc_server_start(const struct rpc_server_config *config, struct rpc_server **ret_server,
	unsigned *ret_endpoint)
{
	struct rpc_server *server = server_create(config);
	sigset_t all, before;
	int err;

	if (!server)
		return -ENOMEM;
	// The core's own threads and ours take no signals: they are the daemon's main thread's.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	grpc_init();
	err = listen_all(server, config, ret_endpoint);
	if (!err) {
		for (unsigned i = 0; i < server->listeners_count; i++)
			grpc_server_start(server->listeners[i].grpc);
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
	shutdown_listeners(server);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STOP_GRACE_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	if (pthread_timedjoin_np(server->thread, NULL, &until) != 0) {
		cancel_calls(server);
		pthread_join(server->thread, NULL);
	}
	server_free(server);
}

int rpc_server_renew(struct rpc_server *server, const char *address, const struct rpc_tls *tls)
{
	for (unsigned i = 0; i < server->listeners_count; i++)
		if (strcmp(server->listeners[i].address, address) == 0)
			return rpc_credentials_renew(server->listeners[i].credentials, tls);
	return -ENOENT;
}
