// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the services of control have in common; the `ctx` of their methods. Private to
// control.

#pragma once

#include "control/control.h"
#include "control/services.h"

struct control {
	struct control_source source;
	struct rpc_service services[SERVICES_MAX];
	struct rpc_server *server;
	struct filters *filters;
};
