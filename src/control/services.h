// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The one list of everything that control serves. A service's methods are a table
// beside their functions; here it gets its name, its limits, and its word in
// control.listen[].services. Private to control.

#pragma once

#include <stdint.h>

#include "control/rpc.h"

#define SERVICES_MAX 16

struct control;

// Method tables; each ends with a NULL path, the `ctx` of all is the struct control.
extern const struct rpc_method admin_methods[];				 // admin.c
extern const struct rpc_method exhook_v2_methods[], exhook_v3_methods[]; // exhook_methods.c
extern const struct rpc_method broker_methods[];			 // broker_events.c
extern const struct rpc_method health_methods[];			 // health.c
extern const struct rpc_method reflection_methods[];			 // reflection.c

// Fills in all services; returns how many. `ret_services` has room for SERVICES_MAX.
unsigned services_list(struct control *control, struct rpc_service *ret_services);
// The services (bit i: the list's i) of an endpoint where `words` (bit i: enum config_service i)
// are served. Reflection is served everywhere.
uint32_t services_of(uint32_t words);
