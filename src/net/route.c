// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Building and searching the route table (RFC 1122 3.3.1). Built on the main
// thread by net_create(), read by the worker. A linear search by falling prefix
// length: there are a handful of routes, and a net_path keeps the answer.

#include "net/route.h"

#include "net/ipv4.h"
#include "net/state.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t ipv4_mask(uint8_t prefix)
{
	return (uint32_t)(UINT64_MAX << (32 - prefix));
}

// May a host have this address? (RFC 1122 3.2.1.3)
static bool ipv4_is_host(uint32_t ipv4)
{
	uint32_t host = rte_be_to_cpu_32(ipv4);

	return host >> 24 != 0 && host >> 24 != 127 && host < IPV4_MULTICAST;
}

static const char *local_init(struct net *net, struct net_if *netif,
	const struct net_interface_address *address, struct net_local *ret_local)
{
	uint32_t ipv4 = net_address_to_ipv4(&address->address);
	uint32_t mask = ipv4_mask(RTE_MIN(address->prefix, 32));
	uint32_t host = rte_be_to_cpu_32(ipv4) & ~mask;
	bool has_broadcast = address->prefix < 31; // RFC 3021

	if (!net_address_is_ipv4(&address->address))
		return "an interface's address is not an IPv4 address";
	if (address->prefix > 32)
		return "the prefix length of an interface's address is above 32";
	if (!ipv4_is_host(ipv4))
		return "an interface's address is not one that a host can have";
	if (has_broadcast && (host == 0 || host == ~mask))
		return "an interface's address is the network's own or its broadcast address";
	if (net_local_find(net, NULL, ipv4) != NULL)
		return "an interface's address is given twice";
	*ret_local = (struct net_local){
		.address = address->address,
		.netif = netif,
		.ipv4 = ipv4,
		.ipv4_broadcast = has_broadcast ? ipv4 | rte_cpu_to_be_32(~mask) : 0,
		.prefix = address->prefix,
	};
	return NULL;
}

static const char *locals_init(struct net *net, const struct net_config *config)
{
	for (unsigned i = 0; i < config->interfaces_count; i++) {
		const struct net_interface_config *interface = &config->interfaces[i];

		for (unsigned k = 0; k < interface->addresses_count; k++) {
			struct net_local *local = &net->locals[net->locals_count];
			const char *error =
				local_init(net, interface->netif, &interface->addresses[k], local);

			if (error != NULL)
				return error;
			net->locals_count++;
		}
	}
	return NULL;
}

// Keeps the order of equals: the one configured first is preferred.
static void route_insert(struct net *net, const struct net_route *route)
{
	unsigned i = net->routes_count++;

	for (; i > 0 && net->routes[i - 1].prefix_len < route->prefix_len; i--)
		net->routes[i] = net->routes[i - 1];
	net->routes[i] = *route;
}

static const char *routes_init(struct net *net, const struct net_config *config)
{
	for (unsigned i = 0; i < net->locals_count; i++) {
		const struct net_local *local = &net->locals[i];

		route_insert(net, &(struct net_route){
					  .prefix = local->address,
					  .prefix_len = local->prefix,
					  .netif = local->netif,
					  .source = local->address,
				  });
	}
	for (unsigned i = 0; i < config->routes_count; i++) {
		const struct net_route_config *route = &config->routes[i];
		const struct net_route *link = route_find_connected(net, &route->via);

		if (!net_address_is_ipv4(&route->prefix) || route->prefix_len > 32)
			return "a route's prefix is not an IPv4 prefix";
		if (link == NULL)
			return "a route's gateway lies in no interface's prefix";
		if (net_address_is_local(net, &route->via))
			return "a route's gateway is an address of ours";
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
	size_t locals = 0;
	const char *error;

	for (unsigned i = 0; i < config->interfaces_count; i++)
		locals += config->interfaces[i].addresses_count;
	if (locals == 0) {
		*ret_error = "no interface has an address";
		return -EINVAL;
	}
	net->locals = calloc(locals, sizeof(*net->locals));
	net->routes = calloc(locals + config->routes_count, sizeof(*net->routes));
	if (net->locals == NULL || net->routes == NULL)
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

static bool destination_is_host(const struct net *net, const struct net_address *destination)
{
	uint32_t ipv4 = net_address_to_ipv4(destination);

	if (!net_address_is_ipv4(destination) || !ipv4_is_host(ipv4))
		return false;
	for (unsigned i = 0; i < net->locals_count; i++) {
		if (net->locals[i].ipv4 == ipv4 || net->locals[i].ipv4_broadcast == ipv4)
			return false; // to ourselves there is no way; nor is broadcast one
	}
	return true;
}

const struct net_route *route_find(const struct net *net, const struct net_address *destination,
	const struct net_address *local)
{
	const struct net_local *from = net_local_find(net, NULL, net_address_to_ipv4(local));
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

bool net_address_is_local(const struct net *net, const struct net_address *address)
{
	return net_address_is_ipv4(address) &&
	       net_local_find(net, NULL, net_address_to_ipv4(address)) != NULL;
}

int net_source_select(
	const struct net *net, const struct net_address *remote, struct net_address *ret_local)
{
	const struct net_address none = {0};
	const struct net_route *route = route_find(net, remote, &none);

	if (route == NULL)
		return -EHOSTUNREACH;
	*ret_local = route->source;
	return 0;
}
