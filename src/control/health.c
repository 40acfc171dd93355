// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// grpc.health.v1.Health: whether the daemon serves, as a whole ("") and by service. An
// orderly stop begins with NOT_SERVING. Who watches is looked after on a clock, since
// what it watches changes on another thread.

#include "base/clock.h"
#include "control/control_state.h"
#include "control/services.h"
#include "grpc/health/v1/health.pb-c.h"

#include <string.h>

#define CHECK_AGE_MAX_S 10
#define WATCH_US	(100 * US_IN_MS)
#define NAME_SIZE	128 // longer ones name no service

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define SERVING	    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define UNKNOWN	    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

struct health {
	char service[NAME_SIZE];
	serving_status told; // Watch
	bool watched;	     // told something
};

static void health_open(
	void *ctx, void *state, const ProtobufCMessage *message, struct rpc_reply *reply)
{
	const Grpc__Health__V1__HealthCheckRequest *request =
		(const Grpc__Health__V1__HealthCheckRequest *)message;
	struct health *health = state;

	(void)ctx;
	(void)reply;
	strncpy(health->service, request->service, NAME_SIZE - 1);
}

static serving_status health_status(
	const struct control *control, const struct health *health, struct rpc_reply *reply)
{
	if (*health->service && !rpc_call_serves(rpc_reply_call(reply), health->service))
		return UNKNOWN;
	return atomic_load(&control->draining) ? NOT_SERVING : SERVING;
}

static void reply_status(struct rpc_reply *reply, serving_status status)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	response.status = status;
	rpc_reply_message(reply, &response.base);
}

static void check_next(void *ctx, void *state, struct rpc_reply *reply)
{
	serving_status status = health_status(ctx, state, reply);

	if (status == UNKNOWN) {
		rpc_reply_fail(reply, GRPC_STATUS_NOT_FOUND, "no such service at this address");
		return;
	}
	reply_status(reply, status);
	rpc_reply_end(reply);
}

static void watch_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct health *health = state;
	serving_status status = health_status(ctx, state, reply);

	if (!health->watched || status != health->told)
		reply_status(reply, status);
	health->watched = true;
	health->told = status;
	rpc_call_wake(rpc_reply_call(reply), WATCH_US);
}

const struct rpc_method health_methods[] = {
	{
		.path = "/grpc.health.v1.Health/Check",
		.request = &grpc__health__v1__health_check_request__descriptor,
		.state_size = sizeof(struct health),
		.age_max_s = CHECK_AGE_MAX_S,
		.open = health_open,
		.next = check_next,
	},
	{
		.path = "/grpc.health.v1.Health/Watch",
		.request = &grpc__health__v1__health_check_request__descriptor,
		.state_size = sizeof(struct health),
		.open = health_open,
		.next = watch_next,
	},
	{.path = NULL},
};
