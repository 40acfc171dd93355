// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Resolver of `control`: the control socket, and the endpoints beside it. What can be reached from
// another machine is open to nobody without a certificate.

#include "control/config_resolve.h"

#include "control/config_document.h"

#include <sys/un.h>

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#define UNIX_PREFIX   "unix:"
#define SOCKET_LENGTH (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

void config_check_socket(struct config_document *document, const char *path, const char *socket)
{
	if (socket[0] != '/' || strlen(socket) > SOCKET_LENGTH)
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: an absolute path of at most %zu bytes",
			socket, SOCKET_LENGTH);
}

bool config_is_loopback(const struct net_address *address)
{
	struct net_address loopback;
	uint8_t prefix;

	net_prefix_parse("127.0.0.0/8", &loopback, &prefix);
	if (net_prefix_contains(&loopback, prefix, address))
		return true;
	net_address_parse("::1", &loopback);
	return net_address_equal(&loopback, address);
}

// --- addresses -----------------------------------------------------------------------------------

uint32_t config_group_of(struct config_document *document, const char *path, const char *name)
{
	const struct group *group;
	uint32_t number;
	char *end;

	if (!name)
		return UINT32_MAX;
	group = getgrnam(name);
	number = group ? group->gr_gid : strtoul(name, &end, 10);
	if (!group && *end)
		config_document_error(document, path,
			"'%s' is no group here; valid choices: a name of group(5), or a number",
			name);
	return number;
}

static void resolve_group(struct config_document *document, const char *path, const char *name,
	struct config_endpoint *endpoint)
{
	endpoint->group = UINT32_MAX;
	if (name && !endpoint->path)
		config_document_error(document, path, "only a unix socket has a group");
	else
		endpoint->group = config_group_of(document, path, name);
}

bool config_resolve_place(struct config_document *document, const char *path, const char *text,
	const char **ret_path, struct net_endpoint *ret_tcp)
{
	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
		*ret_path = text + strlen(UNIX_PREFIX);
		config_check_socket(document, path, *ret_path);
		return true;
	}
	if (net_endpoint_parse(text, ret_tcp) == 0 && ret_tcp->port)
		return true;
	config_document_error(document, path,
		"'%s' cannot be used; valid choices: an address of this machine and a TCP port, "
		"such as 127.0.0.1:7883 or [::1]:7883, or unix: and an absolute path",
		text);
	return false;
}

static void check_open(struct config_document *document, const char *path,
	const struct config_endpoint *endpoint, const struct raw_tls *tls)
{
	if (endpoint->path || config_is_loopback(&endpoint->tcp.address) || (tls && tls->client_ca))
		return;
	config_document_error(document, path,
		"whoever reaches %s could use it; valid choices: a loopback address, a unix "
		"socket, or tls with certificate, key and client_ca",
		endpoint->address);
}

static void check_alone(struct config_document *document, const char *path,
	const struct config *config, const struct config_endpoint *endpoint)
{
	bool twice = strcmp(endpoint->address + (endpoint->path ? strlen(UNIX_PREFIX) : 0),
			     config->control_socket) == 0;

	for (const struct config_endpoint *other = config->endpoints; other < endpoint; other++)
		twice |= strcmp(other->address, endpoint->address) == 0;
	if (twice)
		config_document_error(document, path, "%s is served already", endpoint->address);
}

// --- endpoints -----------------------------------------------------------------------------------

static int resolve_endpoint(struct config_document *document, const struct raw_endpoint *raw,
	unsigned i, struct config *config)
{
	struct config_endpoint *endpoint = &config->endpoints[i];
	char path[CONFIG_PATH_MAX];
	bool usable;
	int err = 0;

	endpoint->address = raw->address;
	usable = config_resolve_place(document, config_path(path, "control.listen[%u].address", i),
		raw->address, &endpoint->path, &endpoint->tcp);
	check_alone(document, path, config, endpoint);
	resolve_group(
		document, config_path(path, "control.listen[%u].group", i), raw->group, endpoint);
	for (unsigned j = 0; j < raw->services_count; j++)
		endpoint->services |= 1u << raw->services[j];
	config_path(path, "control.listen[%u].tls", i);
	if (raw->tls && endpoint->path)
		config_document_error(
			document, path, "a unix socket needs none: its mode says who may use it");
	else if (raw->tls)
		err = config_tls_create(document, path, raw->tls, &endpoint->tls);
	if (!err && usable)
		check_open(document, config_path(path, "control.listen[%u].address", i), endpoint,
			raw->tls);
	return err;
}

// Brokers whose hooks may call: room for all that they have is set aside.
static void resolve_hooks(struct config *config)
{
	bool served = false;

	for (unsigned i = 0; i < config->endpoints_count; i++)
		served |= (config->endpoints[i].services & 1u << CONFIG_SERVICE_EXHOOK) != 0;
	for (unsigned i = 0; i < config->brokers_count; i++) {
		struct offload_broker_config *broker = &config->brokers[i];

		broker->hooks =
			served && (broker->knowledge == OFFLOAD_KNOWLEDGE_BROKER ||
					  broker->authorization == OFFLOAD_AUTHORIZATION_BROKER);
	}
}

int config_resolve_control(
	struct config_document *document, const struct raw_control *raw, struct config *config)
{
	int err = 0;

	config->control_socket = raw->socket ? raw->socket : CONFIG_SOCKET_DEFAULT;
	config_check_socket(document, "control.socket", config->control_socket);
	config->endpoints = calloc(raw->listen_count + 1, sizeof(*config->endpoints));
	if (!config->endpoints)
		return -ENOMEM;
	if (raw->listen_count > CONFIG_ENDPOINTS_MAX) {
		config_document_error(
			document, "control.listen", "at most %u entries", CONFIG_ENDPOINTS_MAX);
		return 0;
	}
	for (unsigned i = 0; !err && i < raw->listen_count; i++) {
		config->endpoints_count = i + 1;
		err = resolve_endpoint(document, &raw->listen[i], i, config);
	}
	resolve_hooks(config);
	return err;
}
