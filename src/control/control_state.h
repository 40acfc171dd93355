// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the services of control have in common; the `ctx` of their methods. Private to
// control.

#pragma once

#include <stdatomic.h>

#include "control/control.h"
#include "control/feeds.h"
#include "control/services.h"

struct descriptors;
struct exhook_feeds;
struct filters;
struct traces;

struct control {
	struct control_source source;
	struct descriptors *descriptors;
	atomic_bool draining; // set by the main thread
	struct rpc_service services[SERVICES_MAX];
	unsigned services_count;
	struct rpc_server *server;
	struct filters *filters;
	struct notices *notices;
	struct feeds feeds;
	struct exhook_feeds *exhook;
	struct traces *traces;
};
