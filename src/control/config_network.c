// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Resolver of `ports`, `routes`, `neighbours` and `stations`: addresses that are ours,
// wires they stand on, gateways that can be reached from there, and who is on which wire.

#include "control/config_resolve.h"

#include "control/config_document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_MTU_MIN	    1280u // RFC 8200 5
#define CONFIG_STATIONS_MAX 2048u // half of what the bridge remembers

const struct config_port *config_port_of_address(
	const struct config *config, const struct net_address *address)
{
	for (unsigned i = 0; i < config->ports_count; i++) {
		const struct config_port *port = &config->ports[i];

		for (unsigned j = 0; j < port->addresses_count; j++)
			if (net_address_equal(&port->addresses[j].address, address))
				return port;
	}
	return NULL;
}

const struct net_interface_address *config_prefix_of_neighbour(
	const struct config *config, const struct net_address *address)
{
	const struct net_interface_address *best = NULL;

	for (unsigned i = 0; i < config->ports_count; i++) {
		const struct config_port *port = &config->ports[i];

		for (unsigned j = 0; j < port->addresses_count; j++) {
			const struct net_interface_address *p = &port->addresses[j];

			if (net_prefix_contains(&p->address, p->prefix, address) &&
				(!best || p->prefix > best->prefix))
				best = p;
		}
	}
	return best;
}

// --- ports ---------------------------------------------------------------------------------------

// Is another port on the same network? Then nobody could say where to send.
static const struct config_port *port_sharing_network(const struct config *config,
	const struct config_port *self, const struct net_interface_address *p)
{
	for (const struct config_port *port = config->ports; port < self; port++)
		for (unsigned j = 0; j < port->addresses_count; j++)
			if (!net_address_is_link_local(&p->address) &&
				port->addresses[j].prefix == p->prefix &&
				net_prefix_contains(
					&port->addresses[j].address, p->prefix, &p->address))
				return port;
	return NULL;
}

static bool resolve_port_address(struct config_document *document, const char *path,
	const char *text, const struct config *config, const struct config_port *port,
	struct net_interface_address *ret_prefix)
{
	const struct config_port *other;

	if (!strchr(text, '/') ||
		net_prefix_parse(text, &ret_prefix->address, &ret_prefix->prefix) != 0) {
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: an address with the length of its "
			"network, such as 198.18.0.1/16 or 2001:db8::1/64",
			text);
		return false;
	}
	if (!net_prefix_names_host(&ret_prefix->address, ret_prefix->prefix)) {
		config_document_error(document, path, "'%s' is not an address of a host", text);
		return false;
	}
	other = config_port_of_address(config, &ret_prefix->address);
	// The same link-local address may stand on two wires.
	if (other && (other == port || !net_address_is_link_local(&ret_prefix->address))) {
		config_document_error(document, path, "'%s' is an address of port '%s' already",
			text, other->port.name);
		return false;
	}
	other = port_sharing_network(config, port, ret_prefix);
	if (other) {
		config_document_error(document, path,
			"'%s' is in the network of port '%s'; each port needs a network of its own",
			text, other->port.name);
		return false;
	}
	return true;
}

// A bad wire for tests, both ways or one.
static void resolve_impair(struct config_document *document, const struct raw_impair *raw,
	const char *path, struct port_config *port)
{
	struct impair_config impair;

	if (!port_impair_built_in()) {
		config_document_error(document, path,
			"built without impairment; it is for tests (meson -Dimpair=true)");
		return;
	}
	config_resolve_numbers(document, CONFIG_SECTION_IMPAIR, path, raw, &impair);
	if (raw->direction != RAW_DIRECTION_TX)
		port->impair_rx = impair;
	if (raw->direction != RAW_DIRECTION_RX)
		port->impair_tx = impair;
}

// Monitor mode has no addresses, the others need some.
static void check_addresses(struct config_document *document, const struct raw_port *raw,
	const char *path, enum config_mode mode)
{
	if (mode == CONFIG_MODE_MONITOR && raw->addresses_count > 0)
		config_document_error(document, path,
			"with 'mode: monitor' Offramp has no addresses; valid choices: none");
	if (mode != CONFIG_MODE_MONITOR && raw->addresses_count == 0)
		config_document_error(document, path,
			"must have at least one address with 'mode: %s', such as 198.18.0.1/16",
			config_mode_name(mode));
}

static bool port_has_ipv6(const struct config_port *port)
{
	for (unsigned i = 0; i < port->addresses_count; i++)
		if (!net_address_is_ipv4(&port->addresses[i].address))
			return true;
	return false;
}

static int resolve_filter(struct config_document *document, const struct raw_port *raw,
	const char *path, const struct config *config, struct config_port *port)
{
	struct port_address *own = calloc(port->addresses_count + 1, sizeof(*own));

	if (raw->filter == CONFIG_FILTER_AUTO && config->mode != CONFIG_MODE_MONITOR &&
		config->bridge != CONFIG_BRIDGE_NONE)
		config_document_error(document, path,
			"what stays with the host is not bridged; valid choices: none, or "
			"'bridge: none'");
	if (!own)
		return -ENOMEM;
	for (unsigned j = 0; j < port->addresses_count; j++)
		memcpy(own[j].bytes, port->addresses[j].address.bytes, sizeof(own[j].bytes));
	if (raw->filter == CONFIG_FILTER_AUTO)
		port->port.filter =
			config->mode == CONFIG_MODE_MONITOR ? PORT_FILTER_BRIDGE : PORT_FILTER_OWN;
	port->port.own = own;
	port->port.own_count = port->addresses_count;
	return 0;
}

static int resolve_port(struct config_document *document, const struct raw_port *raw, unsigned i,
	struct config *config)
{
	struct config_port *port = &config->ports[i];
	char path[CONFIG_PATH_MAX];

	*port = (struct config_port){.port = {.name = raw->name, .device = raw->device}};
	config_resolve_name(document, config_path(path, "ports[%u].name", i), raw->name);
	for (unsigned j = 0; j < i; j++) {
		if (strcmp(config->ports[j].port.name, raw->name) == 0)
			config_document_error(document, config_path(path, "ports[%u].name", i),
				"'%s' is the name of ports[%u] already", raw->name, j);
		if (strcmp(config->ports[j].port.device, raw->device) == 0)
			config_document_error(document, config_path(path, "ports[%u].device", i),
				"'%s' is the device of port '%s' already", raw->device,
				config->ports[j].port.name);
	}
	config_resolve_numbers(
		document, CONFIG_SECTION_PORT, config_path(path, "ports[%u]", i), raw, &port->port);
	if (raw->impair)
		resolve_impair(document, raw->impair, config_path(path, "ports[%u].impair", i),
			&port->port);
	config_path(path, "ports[%u].addresses", i);
	check_addresses(document, raw, path, config->mode);
	port->port.promiscuous = config->bridge != CONFIG_BRIDGE_NONE;
	port->addresses = calloc(raw->addresses_count + 1, sizeof(*port->addresses));
	if (!port->addresses)
		return -ENOMEM;
	for (unsigned j = 0; j < raw->addresses_count; j++) {
		config_path(path, "ports[%u].addresses[%u]", i, j);
		if (resolve_port_address(document, path, raw->addresses[j], config, port,
			    &port->addresses[port->addresses_count]))
			port->addresses_count++;
	}
	config_path(path, "ports[%u].filter", i);
	if (resolve_filter(document, raw, path, config, port) < 0)
		return -ENOMEM;
	if (port->port.mtu != 0 && port->port.mtu < IPV6_MTU_MIN && port_has_ipv6(port))
		config_document_error(document, config_path(path, "ports[%u].mtu", i),
			"%u is too small for an IPv6 address; valid choices: %u to 9216",
			port->port.mtu, IPV6_MTU_MIN);
	return 0;
}

// --- routes and neighbours -----------------------------------------------------------------------

static void resolve_route(struct config_document *document, const struct raw_route *raw, unsigned i,
	struct config *config)
{
	struct net_route_config *route = &config->routes[i];
	char path[CONFIG_PATH_MAX];

	config_path(path, "routes[%u].to", i);
	if (net_prefix_parse(raw->to, &route->prefix, &route->prefix_len) != 0 ||
		!net_prefix_names_network(&route->prefix, route->prefix_len)) {
		config_document_error(document, path,
			"'%s' cannot be used; valid choices: a network, such as 198.19.0.0/16 or "
			"2001:db8:1::/48, or 0.0.0.0/0 or ::/0",
			raw->to);
		*route = (struct net_route_config){.prefix_len = 128}; // leads nowhere
		return;
	}
	for (unsigned j = 0; j < i; j++)
		if (config->routes[j].prefix_len == route->prefix_len &&
			net_address_equal(&config->routes[j].prefix, &route->prefix))
			config_document_error(document, path,
				"'%s' is the target of routes[%u] already", raw->to, j);
	config_path(path, "routes[%u].via", i);
	if (!config_resolve_address(document, path, raw->via, &route->via))
		return;
	if (net_address_is_ipv4(&route->via) != net_address_is_ipv4(&route->prefix))
		config_document_error(document, path,
			"%s cannot lead to %s: one is IPv4, the other IPv6", raw->via, raw->to);
	else if (config_port_of_address(config, &route->via))
		config_document_error(document, path, "%s is an address of ours", raw->via);
	else if (!config_prefix_of_neighbour(config, &route->via))
		config_document_error(document, path,
			"%s is in no network of ports[].addresses, so it cannot be reached",
			raw->via);
}

// "02:00:00:00:00:09", not all zero and not of a group.
static bool mac_parse(const char *text, uint8_t ret_mac[6])
{
	unsigned b[6];
	int end = 0;

	if (strlen(text) != 17 ||
		sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
			&end) != 6 ||
		end != 17)
		return false;
	for (unsigned i = 0; i < 6; i++)
		ret_mac[i] = b[i];
	return !(b[0] & 1) && (b[0] | b[1] | b[2] | b[3] | b[4] | b[5]);
}

static void resolve_neighbour(struct config_document *document, const struct raw_neighbour *raw,
	unsigned i, struct config *config)
{
	struct net_neighbour_config *neighbour = &config->neighbours[i];
	char path[CONFIG_PATH_MAX];

	if (!mac_parse(raw->mac, neighbour->mac))
		config_document_error(document, config_path(path, "neighbours[%u].mac", i),
			"'%s' cannot be used; valid choices: the Ethernet address of one host, "
			"such as \"02:00:00:00:00:09\"",
			raw->mac);
	config_path(path, "neighbours[%u].address", i);
	if (!config_resolve_address(document, path, raw->address, &neighbour->address))
		return;
	if (!config_prefix_of_neighbour(config, &neighbour->address))
		config_document_error(
			document, path, "%s is in no network of ports[].addresses", raw->address);
	for (unsigned j = 0; j < i; j++)
		if (net_address_equal(&config->neighbours[j].address, &neighbour->address))
			config_document_error(document, path,
				"%s is the address of neighbours[%u] already", raw->address, j);
}

// --- stations ------------------------------------------------------------------------------------

static bool find_port(const struct config *config, const char *name, unsigned *ret_index)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		if (strcmp(config->ports[i].port.name, name) == 0) {
			*ret_index = i;
			return true;
		}
	return false;
}

static void resolve_station(struct config_document *document, const struct raw_station *raw,
	unsigned i, struct config *config)
{
	struct bridge_station *station = &config->stations[i];
	char path[CONFIG_PATH_MAX];

	config_resolve_numbers(document, CONFIG_SECTION_STATION,
		config_path(path, "stations[%u]", i), raw, station);
	if (!mac_parse(raw->mac, station->mac))
		config_document_error(document, config_path(path, "stations[%u].mac", i),
			"'%s' cannot be used; valid choices: the Ethernet address of one host, "
			"such as \"02:00:00:00:00:09\"",
			raw->mac);
	if (!find_port(config, raw->port, &station->port))
		config_document_error(document, config_path(path, "stations[%u].port", i),
			"'%s' is not the name of a port", raw->port);
	for (unsigned j = 0; j < i; j++)
		if (memcmp(config->stations[j].mac, station->mac, sizeof(station->mac)) == 0 &&
			config->stations[j].vlan == station->vlan)
			config_document_error(document, config_path(path, "stations[%u].mac", i),
				"'%s' is stations[%u] already", raw->mac, j);
}

static void check_stations(
	struct config_document *document, const struct raw_config *raw, const struct config *config)
{
	if (raw->stations_count > 0 && config->bridge == CONFIG_BRIDGE_NONE)
		config_document_error(
			document, "stations", "nothing is bridged; valid choices: none");
	if (raw->stations_count > CONFIG_STATIONS_MAX)
		config_document_error(document, "stations", "%u given; valid choices: up to %u",
			raw->stations_count, CONFIG_STATIONS_MAX);
	if (config->bridge == CONFIG_BRIDGE_STATIC && raw->stations_count == 0)
		config_document_error(document, "stations",
			"with 'bridge: static' only these are known: at least one is needed");
}

// What a bump in the wire has no use for.
static void check_monitor(
	struct config_document *document, const struct raw_config *raw, const struct config *config)
{
	if (config->mode != CONFIG_MODE_MONITOR)
		return;
	if (raw->ports_count < 2 || raw->ports_count > BRIDGE_PORTS_MAX)
		config_document_error(document, "ports",
			"%u given; valid choices: 2 to %u ports with 'mode: monitor'",
			raw->ports_count, BRIDGE_PORTS_MAX);
	if (raw->routes_count > 0)
		config_document_error(document, "routes",
			"with 'mode: monitor' Offramp sends nothing of its own; valid choices: none");
	if (raw->neighbours_count > 0)
		config_document_error(document, "neighbours",
			"with 'mode: monitor' Offramp sends nothing of its own; valid choices: none");
}

int config_resolve_network(
	struct config_document *document, const struct raw_config *raw, struct config *config)
{
	config->ports = calloc(raw->ports_count, sizeof(*config->ports));
	config->routes = calloc(raw->routes_count + 1, sizeof(*config->routes));
	config->neighbours = calloc(raw->neighbours_count + 1, sizeof(*config->neighbours));
	config->stations = calloc(raw->stations_count + 1, sizeof(*config->stations));
	if (!config->ports || !config->routes || !config->neighbours || !config->stations)
		return -ENOMEM;
	check_stations(document, raw, config);
	check_monitor(document, raw, config);
	for (unsigned i = 0; i < raw->ports_count; i++) {
		config->ports_count = i + 1;
		if (resolve_port(document, &raw->ports[i], i, config))
			return -ENOMEM;
	}
	for (unsigned i = 0; i < raw->routes_count; i++)
		resolve_route(document, &raw->routes[i], i, config);
	config->routes_count = raw->routes_count;
	for (unsigned i = 0; i < raw->neighbours_count; i++)
		resolve_neighbour(document, &raw->neighbours[i], i, config);
	config->neighbours_count = raw->neighbours_count;
	for (unsigned i = 0; i < raw->stations_count; i++)
		resolve_station(document, &raw->stations[i], i, config);
	config->stations_count = raw->stations_count;
	return 0;
}
