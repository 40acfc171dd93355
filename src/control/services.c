// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The services, a line each.

#include "control/services.h"

#include "control/config.h"

#include <assert.h>
#include <stdint.h>

#define KIB	 1024u
#define ANYWHERE UINT32_MAX

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

unsigned services_list(void *ctx, struct rpc_service *ret_services)
{
	for (unsigned i = 0; i < COUNT; i++) {
		ret_services[i] = rows[i].service;
		ret_services[i].ctx = ctx;
	}
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
