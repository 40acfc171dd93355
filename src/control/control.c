// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The control side's start and end: sockets, and the server that answers there.

#include "control/control.h"

#include "base/log.h"
#include "control/config.h"
#include "control/control_state.h"
#include "control/exhook_feed.h"
#include "control/descriptors.h"
#include "control/filters.h"
#include "control/rpc.h"
#include "control/services.h"
#include "control/socket.h"
#include "control/trace.h"

#include <grpc/support/log.h>

#include <sys/stat.h>

#include <assert.h>
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
		return "another offrampd serves it; stop that one, or configure another path";
	case -ENOTSOCK:
		return "something else than a socket is there; remove it, or configure another "
		       "path";
	case -EADDRNOTAVAIL:
		return "it cannot be bound: another program serves it, or it is no address of "
		       "this machine";
	default:
		return strerror(-err);
	}
}

// --- endpoints -----------------------------------------------------------------------------------

// The control socket first, then control.listen in its order.
struct endpoints {
	unsigned count;
	char addresses[RPC_ENDPOINTS_MAX][RPC_ADDRESS_SIZE];
	struct rpc_endpoint rpc[RPC_ENDPOINTS_MAX];
	struct rpc_tls tls[RPC_ENDPOINTS_MAX]; // of control.listen
};

static_assert(CONFIG_ENDPOINTS_MAX + 1 <= RPC_ENDPOINTS_MAX, "with the control socket");

static void endpoints_add(struct endpoints *e, const char *address, uint32_t words)
{
	snprintf(e->addresses[e->count], sizeof(e->addresses[0]), "%s", address);
	e->rpc[e->count] = (struct rpc_endpoint){
		.address = e->addresses[e->count],
		.services = services_of(words),
	};
	e->count++;
}

static struct rpc_tls tls_of(const struct config_tls *tls)
{
	return (struct rpc_tls){
		.certificate = tls->certificate,
		.key = tls->key,
		.client_ca = tls->client_ca,
	};
}

static void endpoints_init(struct endpoints *e, const struct config *config)
{
	char text[RPC_ADDRESS_SIZE];

	e->count = 0;
	snprintf(text, sizeof(text), "unix:%s", config->control_socket);
	endpoints_add(e, text, UINT32_MAX);
	for (unsigned i = 0; i < config->endpoints_count; i++) {
		const struct config_endpoint *from = &config->endpoints[i];

		endpoints_add(e, from->address, from->services);
		if (!from->tls)
			continue;
		e->tls[i] = tls_of(from->tls);
		e->rpc[e->count - 1].tls = &e->tls[i];
	}
}

static void log_endpoint(const struct config_endpoint *endpoint)
{
	char words[64] = "";

	for (unsigned i = 0; i < CONFIG_SERVICES; i++)
		if (endpoint->services & 1u << i) {
			strcat(words, *words ? ", " : "");
			strcat(words, config_service_name(i));
		}
	log_info("control", "serving %s on %s%s", words, endpoint->address,
		!endpoint->tls		   ? ""
		: endpoint->tls->client_ca ? " (TLS, with client certificates)"
					   : " (TLS)");
}

// --- unix sockets --------------------------------------------------------------------------------

static const char *socket_path(const struct config *config, unsigned endpoint)
{
	return endpoint ? config->endpoints[endpoint - 1].path : config->control_socket;
}

static int prepare_sockets(const struct config *config, unsigned *ret_failed)
{
	int err = 0;

	for (unsigned i = 0; !err && i <= config->endpoints_count; i++) {
		*ret_failed = i;
		if (socket_path(config, i))
			err = socket_prepare(socket_path(config, i));
	}
	return err;
}

// Nobody but the owner's group has had them so far.
static int give_sockets(const struct config *config, unsigned *ret_failed)
{
	for (unsigned i = 0; i < config->endpoints_count; i++) {
		const struct config_endpoint *endpoint = &config->endpoints[i];

		*ret_failed = i + 1;
		if (endpoint->path && endpoint->group != UINT32_MAX &&
			chown(endpoint->path, -1, endpoint->group) < 0)
			return -errno;
	}
	return 0;
}

static void remove_sockets(const struct config *config)
{
	for (unsigned i = 0; i <= config->endpoints_count; i++)
		if (socket_path(config, i))
			unlink(socket_path(config, i));
}

// --- start and end -------------------------------------------------------------------------------

// Who may speak to a socket is who may write to it: owner and group.
static int serve(struct control *control, unsigned *ret_failed)
{
	const struct config *config = control->source.config;
	struct endpoints endpoints = {0};
	struct rpc_server_config server = {
		.services = control->services,
		.services_count = control->services_count,
		.endpoints = endpoints.rpc,
	};
	mode_t before;
	int err;

	err = prepare_sockets(config, ret_failed);
	if (err)
		return err;
	endpoints_init(&endpoints, config);
	server.endpoints_count = endpoints.count;
	gpr_set_log_function(grpc_log);
	before = umask(0117);
	err = rpc_server_start(&server, &control->server, ret_failed);
	umask(before);
	if (err)
		return err;
	err = give_sockets(config, ret_failed);
	if (err)
		rpc_server_stop(control->server);
	return err;
}

int control_start(const struct control_source *source, struct control **ret_control)
{
	const struct config *config = source->config;
	struct control *control = calloc(1, sizeof(*control));
	unsigned failed = 0;
	int err;

	if (!control)
		return -ENOMEM;
	control->source = *source;
	err = descriptors_create(&control->descriptors);
	if (!err)
		err = filters_create(&control->source, &control->filters);
	if (!err) {
		control->traces = traces_create(&control->source);
		err = control->traces ? 0 : -ENOMEM;
	}
	if (!err)
		err = notices_create(&control->source, &control->notices);
	if (!err)
		err = feeds_create(&control->source, control->notices, &control->feeds);
	if (!err)
		err = exhook_feeds_create(control, &control->exhook);
	if (!err) {
		control->services_count = services_list(control, control->services);
		err = serve(control, &failed);
	}
	if (err) {
		log_error("control", "%s: %s",
			failed ? config->endpoints[failed - 1].address : config->control_socket,
			start_error(err));
		control_destroy(control);
		return err;
	}
	log_info("control", "serving everything on %s", config->control_socket);
	for (unsigned i = 0; i < config->endpoints_count; i++)
		log_endpoint(&config->endpoints[i]);
	*ret_control = control;
	return 0;
}

void control_reload(struct control *control, const struct config *config)
{
	for (unsigned i = 0; i < config->endpoints_count; i++) {
		const struct config_endpoint *endpoint = &config->endpoints[i];
		struct rpc_tls tls;
		int err;

		if (!endpoint->tls)
			continue;
		tls = tls_of(endpoint->tls);
		err = rpc_server_renew(control->server, endpoint->address, &tls);
		if (err == -ENOMEM)
			log_error("control", "%s: no memory: the old certificate stays",
				endpoint->address);
		else if (err)
			log_warning(
				"control", "%s: takes effect at the next start", endpoint->address);
		else
			log_info("control", "%s: the certificate that is there now is shown",
				endpoint->address);
	}
}

void control_draining(struct control *control)
{
	atomic_store(&control->draining, true);
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	rpc_server_stop(control->server);
	remove_sockets(control->source.config);
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	notices_destroy(control->notices);
	exhook_feeds_destroy(control->exhook);
	feeds_destroy(&control->feeds);
	traces_destroy(control->traces);
	filters_destroy(control->filters);
	descriptors_destroy(control->descriptors);
	free(control);
}
