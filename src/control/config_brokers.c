// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Resolver of `brokers`: where clients come in, where the broker stands, and from
// which address of ours its connections come.

#include "control/config_resolve.h"

#include "control/config_document.h"
#include "mqtt/topic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool resolve_endpoint(struct config_document *document, const char *path, const char *text,
	struct net_endpoint *ret_endpoint)
{
	if (net_endpoint_parse(text, ret_endpoint) == 0 &&
		net_address_is_host(&ret_endpoint->address) &&
		!net_address_is_link_local(&ret_endpoint->address) && ret_endpoint->port != 0)
		return true;
	config_document_error(document, path,
		"'%s' cannot be used; valid choices: an address and a TCP port, such as "
		"198.18.0.1:1883 or [2001:db8::1]:1883",
		text);
	return false;
}

// All addresses of ours, as the valid choices of an error.
static const char *own_addresses(const struct config *config, char *text, size_t size)
{
	char address[NET_ADDRESS_STRLEN];
	size_t length = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < config->ports_count; i++)
		for (unsigned j = 0; j < config->ports[i].addresses_count; j++) {
			net_address_format(&config->ports[i].addresses[j].address, address);
			if (length + strlen(address) + 3 > size)
				return text;
			length += snprintf(
				text + length, size - length, "%s%s", length ? ", " : "", address);
		}
	return text;
}

void config_check_own(struct config_document *document, const char *path, const char *text,
	const struct config *config, const struct net_address *address)
{
	char choices[256];

	if (!config_port_of_address(config, address))
		config_document_error(document, path,
			"%s is not an address of ours; valid choices: %s", text,
			own_addresses(config, choices, sizeof(choices)));
}

// --- the way to the broker -----------------------------------------------------------------------

// Our address on the way to `remote`: that of its network, or of the best route's gateway.
static const struct net_address *address_towards(
	const struct config *config, const struct net_address *remote)
{
	const struct net_interface_address *prefix = config_prefix_of_neighbour(config, remote);
	const struct net_route_config *best = NULL;

	for (unsigned i = 0; !prefix && i < config->routes_count; i++) {
		const struct net_route_config *route = &config->routes[i];

		if (net_prefix_contains(&route->prefix, route->prefix_len, remote) &&
			(!best || route->prefix_len > best->prefix_len))
			best = route;
	}
	if (best)
		prefix = config_prefix_of_neighbour(config, &best->via);
	return prefix ? &prefix->address : NULL;
}

static int resolve_sources(struct config_document *document, const struct raw_broker *raw,
	unsigned i, const struct config *config, struct offload_broker_config *broker)
{
	const struct net_address *towards = address_towards(config, &broker->address.address);
	struct net_address *sources = calloc(raw->sources_count + 1, sizeof(*sources));
	char path[CONFIG_PATH_MAX];

	if (!sources)
		return -ENOMEM;
	broker->sources = sources;
	if (!towards) {
		config_document_error(document, config_path(path, "brokers[%u].address", i),
			"%s cannot be reached: it is in no network of ports[].addresses, and no "
			"route leads there",
			raw->address);
		return 0;
	}
	for (unsigned j = 0; j < raw->sources_count; j++) {
		config_path(path, "brokers[%u].sources[%u]", i, j);
		if (!config_resolve_address(document, path, raw->sources[j], &sources[j]))
			continue;
		config_check_own(document, path, raw->sources[j], config, &sources[j]);
		if (net_address_is_ipv4(&sources[j]) !=
			net_address_is_ipv4(&broker->address.address))
			config_document_error(document, path,
				"%s cannot speak to %s: one is IPv4, the other IPv6",
				raw->sources[j], raw->address);
		for (unsigned k = 0; k < j; k++)
			if (net_address_equal(&sources[k], &sources[j]))
				config_document_error(
					document, path, "%s is given twice", raw->sources[j]);
	}
	broker->sources_count = raw->sources_count;
	if (broker->sources_count == 0)
		sources[broker->sources_count++] = *towards;
	return 0;
}

// --- one broker ----------------------------------------------------------------------------------

static void resolve_capture(struct config_document *document, const struct raw_capture *raw,
	unsigned i, struct offload_capture_config *capture)
{
	char path[CONFIG_PATH_MAX];

	config_resolve_numbers(document, CONFIG_SECTION_CAPTURE,
		config_path(path, "brokers[%u].capture", i), raw, capture);
	capture->enabled = raw->enabled ? *raw->enabled : true;
	capture->pass = (const char *const *)raw->pass;
	capture->pass_count = raw->pass_count;
	for (unsigned j = 0; j < raw->pass_count; j++) {
		struct mqtt_bytes filter =
					  {
						  (const uint8_t *)raw->pass[j],
						  strlen(raw->pass[j]),
					  },
				  name, inner;

		config_path(path, "brokers[%u].capture.pass[%u]", i, j);
		if (!mqtt_filter_valid(filter))
			config_document_error(
				document, path, "'%s' is not a topic filter", raw->pass[j]);
		else if (mqtt_filter_share(filter, &name, &inner))
			config_document_error(document, path,
				"'%s' is a shared subscription; write the filter alone",
				raw->pass[j]);
	}
}

static void resolve_names(struct config_document *document, const struct raw_config *raw,
	unsigned i, const struct config *config)
{
	char path[CONFIG_PATH_MAX];

	config_path(path, "brokers[%u].name", i);
	config_resolve_name(document, path, raw->brokers[i].name);
	for (unsigned j = 0; j < i; j++) {
		const struct net_endpoint *mine = &config->brokers[i].listen,
					  *other = &config->brokers[j].listen;

		if (strcmp(raw->brokers[j].name, raw->brokers[i].name) == 0)
			config_document_error(document, path,
				"'%s' is the name of brokers[%u] already", raw->brokers[i].name, j);
		if (mine->port && mine->port == other->port &&
			net_address_equal(&mine->address, &other->address))
			config_document_error(document,
				config_path(path, "brokers[%u].%s", i,
					raw->brokers[i].listen ? "listen" : "address"),
				"%s is where broker '%s' listens already",
				raw->brokers[i].listen ? raw->brokers[i].listen
						       : raw->brokers[i].address,
				raw->brokers[j].name);
	}
}

static void resolve_listen(struct config_document *document, const struct raw_broker *raw,
	unsigned i, const struct config *config, struct offload_broker_config *broker)
{
	char path[CONFIG_PATH_MAX];

	config_path(path, "brokers[%u].listen", i);
	if (!raw->listen)
		config_document_error(document, path, "missing; it has no default with 'mode: %s'",
			config_mode_name(config->mode));
	else if (resolve_endpoint(document, path, raw->listen, &broker->listen))
		config_check_own(document, path, raw->listen, config, &broker->listen.address);
}

// False after one error line.
static bool check_address(struct config_document *document, const struct raw_broker *raw,
	const char *path, const struct config *config)
{
	if (raw->address)
		return true;
	config_document_error(document, path, "missing; it has no default with 'mode: %s'",
		config_mode_name(config->mode));
	return false;
}

static int resolve_peer(struct config_document *document, const struct raw_broker *raw, unsigned i,
	const struct config *config, struct offload_broker_config *broker)
{
	char path[CONFIG_PATH_MAX];

	config_path(path, "brokers[%u].address", i);
	if (!check_address(document, raw, path, config) ||
		!resolve_endpoint(document, path, raw->address, &broker->address))
		return 0;
	if (config_port_of_address(config, &broker->address.address)) {
		config_document_error(document, path,
			"%s is an address of ours; the broker needs one of its own", raw->address);
		return 0;
	}
	return resolve_sources(document, raw, i, config, broker);
}

// A broker that clients connect to themselves.
static void resolve_passed(struct config_document *document, const struct raw_broker *raw,
	unsigned i, const struct config *config, struct offload_broker_config *broker)
{
	char path[CONFIG_PATH_MAX];

	config_path(path, "brokers[%u].address", i);
	if (check_address(document, raw, path, config) &&
		resolve_endpoint(document, path, raw->address, &broker->address))
		broker->listen = broker->address;
	if (raw->listen)
		config_document_error(document, config_path(path, "brokers[%u].listen", i),
			"with 'mode: monitor' clients connect to the broker's address; valid "
			"choices: none");
	if (raw->sources_count > 0)
		config_document_error(document, config_path(path, "brokers[%u].sources", i),
			"with 'mode: monitor' the broker sees the clients' addresses; valid "
			"choices: none");
}

// A broker whose sockets live here.
static void resolve_attached(struct config_document *document, const struct raw_broker *raw,
	unsigned i, const struct config *config, struct offload_broker_config *broker)
{
	char path[CONFIG_PATH_MAX];

	resolve_listen(document, raw, i, config, broker);
	broker->address = broker->listen;
	if (raw->address)
		config_document_error(document, config_path(path, "brokers[%u].address", i),
			"with 'mode: socket' the broker is a process that attaches; valid choices: "
			"none");
	if (raw->sources_count > 0)
		config_document_error(document, config_path(path, "brokers[%u].sources", i),
			"with 'mode: socket' nothing connects to the broker; valid choices: none");
}

static int resolve_broker(struct config_document *document, const struct raw_config *raw_config,
	unsigned i, struct config *config)
{
	const struct raw_broker *raw = &raw_config->brokers[i];
	struct offload_broker_config *broker = &config->brokers[i];
	char path[CONFIG_PATH_MAX];

	*broker = (struct offload_broker_config){
		.name = raw->name,
		.knowledge = raw->knowledge,
		.authorization = raw->authorization,
		.fence = raw->fence,
		.overlap = raw->overlap,
		.topics = raw->topics,
		.ack = raw->ack,
	};
	config_resolve_numbers(
		document, CONFIG_SECTION_BROKER, config_path(path, "brokers[%u]", i), raw, broker);
	config_resolve_numbers(document, CONFIG_SECTION_PROOF,
		config_path(path, "brokers[%u].proof", i), &raw->proof, &broker->proof);
	config_resolve_numbers(document, CONFIG_SECTION_CLIENT,
		config_path(path, "brokers[%u].client", i), &raw->client, &broker->client);
	resolve_capture(document, &raw->capture, i, &broker->capture);

	if (config->mode == CONFIG_MODE_MONITOR) {
		resolve_passed(document, raw, i, config, broker);
		resolve_names(document, raw_config, i, config);
		return 0;
	}
	if (config->mode == CONFIG_MODE_SOCKET) {
		resolve_attached(document, raw, i, config, broker);
		resolve_names(document, raw_config, i, config);
		return 0;
	}
	if (raw->ack == OFFLOAD_ACK_END_TO_END)
		config_document_error(document, config_path(path, "brokers[%u].ack", i),
			"with 'mode: stack' clients speak to Offramp, which answers for itself; "
			"valid choices: early");
	resolve_listen(document, raw, i, config, broker);
	resolve_names(document, raw_config, i, config);
	return resolve_peer(document, raw, i, config, broker);
}

int config_resolve_brokers(
	struct config_document *document, const struct raw_config *raw, struct config *config)
{
	config->brokers = calloc(raw->brokers_count, sizeof(*config->brokers));
	if (!config->brokers)
		return -ENOMEM;
	for (unsigned i = 0; i < raw->brokers_count; i++) {
		config->brokers_count = i + 1;
		if (resolve_broker(document, raw, i, config))
			return -ENOMEM;
	}
	return 0;
}
