// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Building and searching the route table (RFC 1122 3.3.1). Built on the main
// thread by net_create(), read by the worker. A linear search by falling prefix
// length: there are a handful of routes, and a net_path keeps the answer.

#include "net/route.h"

#include "net/ipv6.h"
#include "net/local.h"
#include "net/loop.h"
#include "net/nd.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t ipv4_mask(uint8_t prefix)
{
	return (uint32_t)(UINT64_MAX << (32 - prefix));
}

// --- our own addresses ---------------------------------------------------------------------------

static const char *local_check(const struct net *net, const struct net_if *netif,
	const struct net_interface_address *address)
{
	bool ipv6 = !net_address_is_ipv4(&address->address);

	if (address->prefix > (ipv6 ? 128 : 32))
		return "the prefix length of an interface's address is longer than an address";
	if (!net_address_is_host(&address->address))
		return "an interface's address is not one that a host can have";
	if (!net_prefix_names_host(&address->address, address->prefix))
		return "an interface's address is the network's own or its broadcast address";
	if (ipv6 && netif->mtu < IPV6_MTU_MIN)
		return "an interface with an IPv6 address has an MTU below 1280";
	if (net_address_is_link_local(&address->address)
			? local6_find(net, netif, &address->address) != NULL
			: net_address_is_local(net, &address->address))
		return "an interface's address is given twice";
	return NULL;
}

static void local_add_ipv4(
	struct net *net, struct net_if *netif, const struct net_interface_address *address)
{
	uint32_t ipv4 = net_address_to_ipv4(&address->address);
	uint32_t host_bits = rte_cpu_to_be_32(~ipv4_mask(address->prefix));
	bool has_broadcast = address->prefix < 31; // RFC 3021

	net->locals[net->locals_count++] = (struct net_local){
		.address = address->address,
		.netif = netif,
		.prefix = address->prefix,
		.ipv4 = ipv4,
		.ipv4_broadcast = has_broadcast ? ipv4 | host_bits : 0,
	};
}

// Where there is no Ethernet nobody else can be asked.
static void local_add_ipv6(
	struct net *net, struct net_if *netif, const struct net_interface_address *address)
{
	net->locals6[net->locals6_count++] = (struct net_local){
		.address = address->address,
		.netif = netif,
		.prefix = address->prefix,
		.state = netif->raw_ip ? NET_LOCAL_ASSIGNED : NET_LOCAL_TENTATIVE,
		.sends_left = (uint8_t)net->config.dad_transmits,
		.link_local = net_address_is_link_local(&address->address),
		.due_us = netif->raw_ip ? WHEEL_NEVER : net->now_us,
	};
}

// fe80::/64 and the MAC as a modified EUI-64 (RFC 4291 appendix A).
static struct net_interface_address link_local_address(const struct net_if *netif)
{
	const uint8_t *mac = netif->mac;

	return (struct net_interface_address){
		.address.bytes = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3],
			mac[4], mac[5]},
		.prefix = 64,
	};
}

// `first` is the interface's first entry of locals6.
static void link6_add(struct net *net, struct net_if *netif, unsigned first)
{
	struct net_link6 *link = &net->links6[net->links6_count++];
	unsigned i = first;

	while (i < net->locals6_count && !net->locals6[i].link_local)
		i++;
	if (i == net->locals6_count) {
		const struct net_interface_address address = link_local_address(netif);

		local_add_ipv6(net, netif, &address);
	}
	*link = (struct net_link6){
		.netif = netif,
		.link_local = &net->locals6[i],
		.report_us = net->now_us,
		.report_type = MLD_REPORT_V2,
	};
}

static const char *locals_init(struct net *net, const struct net_config *config)
{
	for (unsigned i = 0; i < config->interfaces_count; i++) {
		const struct net_interface_config *interface = &config->interfaces[i];
		unsigned first6 = net->locals6_count;

		for (unsigned k = 0; k < interface->addresses_count; k++) {
			const struct net_interface_address *address = &interface->addresses[k];
			const char *error = local_check(net, interface->netif, address);

			if (error != NULL)
				return error;
			if (net_address_is_ipv4(&address->address))
				local_add_ipv4(net, interface->netif, address);
			else
				local_add_ipv6(net, interface->netif, address);
		}
		if (net->locals6_count > first6 && !interface->netif->raw_ip)
			link6_add(net, interface->netif, first6);
	}
	return NULL;
}

// --- routes --------------------------------------------------------------------------------------

// Keeps the order of equals: the one configured first is preferred.
static void route_insert(struct net *net, const struct net_route *route)
{
	unsigned i = net->routes_count++;

	for (; i > 0 && net->routes[i - 1].prefix_len < route->prefix_len; i--)
		net->routes[i] = net->routes[i - 1];
	net->routes[i] = *route;
}

static void routes_add_connected(
	struct net *net, const struct net_local *locals, unsigned locals_count)
{
	for (unsigned i = 0; i < locals_count; i++)
		route_insert(net, &(struct net_route){
					  .prefix = locals[i].address,
					  .prefix_len = locals[i].prefix,
					  .netif = locals[i].netif,
					  .source = locals[i].address,
				  });
}

static const char *route_check(const struct net *net, const struct net_route_config *route)
{
	bool ipv6 = !net_address_is_ipv4(&route->prefix);

	if (route->prefix_len > (ipv6 ? 128 : 32))
		return "the prefix length of a route is longer than an address";
	if (ipv6 == net_address_is_ipv4(&route->via))
		return "a route's gateway is not of the family of its prefix";
	if (net_address_is_link_local(&route->via))
		return "a route's gateway is link-local: the interface is not said";
	if (route_find_connected(net, &route->via) == NULL)
		return "a route's gateway lies in no interface's prefix";
	if (net_address_is_local(net, &route->via))
		return "a route's gateway is an address of ours";
	return NULL;
}

static const char *routes_init(struct net *net, const struct net_config *config)
{
	routes_add_connected(net, net->locals, net->locals_count);
	routes_add_connected(net, net->locals6, net->locals6_count);
	for (unsigned i = 0; i < config->routes_count; i++) {
		const struct net_route_config *route = &config->routes[i];
		const struct net_route *link = route_find_connected(net, &route->via);
		const char *error = route_check(net, route);

		if (error != NULL)
			return error;
		route_insert(net, &(struct net_route){
					  .prefix = route->prefix,
					  .prefix_len = route->prefix_len,
					  .netif = link->netif,
					  .via = route->via,
					  .source = link->source,
					  .gateway = true,
				  });
	}
	return NULL;
}

int route_tables_init(struct net *net, const struct net_config *config, const char **ret_error)
{
	size_t locals = 0, all;
	const char *error;

	for (unsigned i = 0; i < config->interfaces_count; i++)
		locals += config->interfaces[i].addresses_count;
	// Each interface may add a link-local address.
	all = locals + config->interfaces_count;
	net->locals = calloc(locals + 1, sizeof(*net->locals));
	net->locals6 = calloc(all, sizeof(*net->locals6));
	net->links6 = calloc(config->interfaces_count, sizeof(*net->links6));
	net->routes = calloc(all + config->routes_count, sizeof(*net->routes));
	if (net->locals == NULL || net->locals6 == NULL || net->links6 == NULL ||
		net->routes == NULL)
		return -ENOMEM;
	error = locals_init(net, config);
	if (error == NULL)
		error = routes_init(net, config);
	if (error == NULL)
		return 0;
	*ret_error = error;
	return -EINVAL;
}

void route_tables_fini(struct net *net)
{
	free(net->locals);
	free(net->locals6);
	free(net->links6);
	free(net->routes);
}

const struct net_route *route_find_connected(
	const struct net *net, const struct net_address *address)
{
	for (unsigned i = 0; i < net->routes_count; i++) {
		const struct net_route *route = &net->routes[i];

		if (!route->gateway &&
			net_prefix_contains(&route->prefix, route->prefix_len, address))
			return route;
	}
	return NULL;
}

// Is it an address that we can send to: a host's, and not our own?
static bool destination_is_host(const struct net *net, const struct net_address *destination)
{
	uint32_t ipv4 = net_address_to_ipv4(destination);

	if (!net_address_is_host(destination) || net_address_is_local(net, destination))
		return false;
	if (!net_address_is_ipv4(destination))
		return true;
	for (unsigned i = 0; i < net->locals_count; i++) {
		if (net->locals[i].ipv4_broadcast == ipv4)
			return false;
	}
	return true;
}

const struct net_route *route_find(const struct net *net, const struct net_address *destination,
	const struct net_address *local)
{
	const struct net_local *from = net_address_is_ipv4(local)
					       ? local_find(net, NULL, net_address_to_ipv4(local))
					       : local6_find(net, NULL, local);
	const struct net_route *best = NULL;

	if (!destination_is_host(net, destination))
		return NULL;
	for (unsigned i = 0; i < net->routes_count; i++) {
		const struct net_route *route = &net->routes[i];

		if (best != NULL && route->prefix_len < best->prefix_len)
			break;
		if (!net_prefix_contains(&route->prefix, route->prefix_len, destination))
			continue;
		if (from != NULL && route->netif == from->netif)
			return route;
		if (best == NULL)
			best = route;
	}
	return best;
}

int net_source_select(
	const struct net *net, const struct net_address *remote, struct net_address *ret_local)
{
	const struct net_address none = {0};
	const struct net_route *route;

	if (loop_leads_to(net, remote)) {
		*ret_local = *remote;
		return 0;
	}
	route = route_find(net, remote, &none);
	if (route == NULL)
		return -EHOSTUNREACH;
	*ret_local = route->source;
	return 0;
}
