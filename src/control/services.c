// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The services, a line each.

#include "control/services.h"

#include "control/config.h"
#include "control/control_state.h"
#include "control/exhook_feed.h"

#include <assert.h>
#include <stdint.h>

#define KIB	 1024u
#define ANYWHERE UINT32_MAX

#define MIB (1024 * KIB)

// A message comes as a whole. Of one that is refused nobody would know: it waits, rather.
#define EXHOOK(service_name, table)                              \
	{                                                        \
		1u << CONFIG_SERVICE_EXHOOK,                     \
			{                                        \
				.name = (service_name),          \
				.methods = (table),              \
				.calls_max = 4096,               \
				.request_max = 16 * MIB,         \
				.refused = exhook_feeds_refused, \
			},                                       \
	}

enum { EXHOOK_V2 = 2 }; // its place in the list

static const struct row {
	uint32_t words; // any of these: it is served
	struct rpc_service service;
} rows[] = {
	{
		1u << CONFIG_SERVICE_ADMIN,
		{
			.name = "offramp.v1.Admin",
			.methods = admin_methods,
			.calls_max = 24,
			.request_max = 64 * KIB,
		},
	},
	{
		1u << CONFIG_SERVICE_BROKER,
		{
			.name = "offramp.v1.Broker",
			.methods = broker_methods,
			.calls_max = 64,
			.request_max = 1024 * KIB, // a message with many readers
		},
	},
	[EXHOOK_V2] = EXHOOK("emqx.exhook.v2.HookProvider", exhook_v2_methods),
	EXHOOK("emqx.exhook.v3.HookProvider", exhook_v3_methods),
	{
		1u << CONFIG_SERVICE_HEALTH,
		{
			.name = "grpc.health.v1.Health",
			.methods = health_methods,
			.calls_max = 64,
			.request_max = 4 * KIB,
		},
	},
	{
		ANYWHERE,
		{
			.name = "grpc.reflection.v1alpha.ServerReflection",
			.methods = reflection_methods,
			.calls_max = 8,
			.request_max = 4 * KIB,
		},
	},
};

#define COUNT (sizeof(rows) / sizeof(rows[0]))

static_assert(COUNT <= SERVICES_MAX, "fits");

unsigned services_list(struct control *control, struct rpc_service *ret_services)
{
	for (unsigned i = 0; i < COUNT; i++) {
		ret_services[i] = rows[i].service;
		ret_services[i].ctx = control;
	}
	// Both versions are one service to it.
	ret_services[EXHOOK_V2].tick = exhook_feeds_tick;
	ret_services[EXHOOK_V2].tick_us = exhook_feeds_tick_us(control->exhook);
	return COUNT;
}

uint32_t services_of(uint32_t words)
{
	uint32_t services = 0;

	for (unsigned i = 0; i < COUNT; i++)
		if (rows[i].words & words)
			services |= 1u << i;
	return services;
}
