// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The services, a line each.

#include "control/services.h"

#include <assert.h>

#define KIB 1024u

static const struct rpc_service services[] = {
	{
		.name = "offramp.v1.Admin",
		.methods = admin_methods,
		.calls_max = 24,
		.request_max = 64 * KIB,
	},
};

#define COUNT (sizeof(services) / sizeof(services[0]))

static_assert(COUNT <= SERVICES_MAX, "fits");

unsigned services_list(void *ctx, struct rpc_service *ret_services)
{
	for (unsigned i = 0; i < COUNT; i++) {
		ret_services[i] = services[i];
		ret_services[i].ctx = ctx;
	}
	return COUNT;
}
