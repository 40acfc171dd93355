// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The control side's start and end: sockets, and the server that answers there.

#include "control/control.h"

#include "base/log.h"
#include "control/config.h"
#include "control/control_state.h"
#include "control/filters.h"
#include "control/rpc.h"
#include "control/services.h"
#include "control/socket.h"

#include <grpc/support/log.h>

#include <sys/stat.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// gRPC's own complaints, in our log.
static void grpc_log(gpr_log_func_args *args)
{
	static const enum log_level levels[] = {
		[GPR_LOG_SEVERITY_DEBUG] = LOG_LEVEL_DEBUG,
		[GPR_LOG_SEVERITY_INFO] = LOG_LEVEL_DEBUG,
		[GPR_LOG_SEVERITY_ERROR] = LOG_LEVEL_WARNING,
	};

	log_write(levels[args->severity], "grpc", "%s", args->message);
}

static const char *start_error(int err)
{
	switch (err) {
	case -EADDRINUSE:
		return "another offrampd serves it; stop that one, or set control.socket";
	case -ENOTSOCK:
		return "something else than a socket is there; remove it, or set control.socket";
	case -EADDRNOTAVAIL:
		return "it cannot be bound";
	default:
		return strerror(-err);
	}
}

// Who may speak to the socket is who may write to it: owner and group.
static int serve(struct control *control, const char *path)
{
	char address[256];
	struct rpc_endpoint endpoint = {.address = address, .services = UINT32_MAX};
	struct rpc_server_config config = {
		.services = control->services,
		.services_count = services_list(control, control->services),
		.endpoints = &endpoint,
		.endpoints_count = 1,
	};
	unsigned failed;
	mode_t before;
	int err;

	err = socket_prepare(path);
	if (err)
		return err;
	snprintf(address, sizeof(address), "unix:%s", path);
	gpr_set_log_function(grpc_log);
	before = umask(0117);
	err = rpc_server_start(&config, &control->server, &failed);
	umask(before);
	return err;
}

int control_start(const struct control_source *source, struct control **ret_control)
{
	const char *path = source->config->control_socket;
	struct control *control = calloc(1, sizeof(*control));
	int err;

	if (!control)
		return -ENOMEM;
	control->source = *source;
	err = filters_create(&control->source, &control->filters);
	if (!err)
		err = serve(control, path);
	if (err) {
		log_error("control", "control socket %s: %s", path, start_error(err));
		filters_destroy(control->filters);
		free(control);
		return err;
	}
	log_info("control", "serving offramp.v1.Admin on %s", path);
	*ret_control = control;
	return 0;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	rpc_server_stop(control->server);
	unlink(control->source.config->control_socket);
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	filters_destroy(control->filters);
	free(control);
}
