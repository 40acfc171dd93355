// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received ND messages: RFC 4861 7.1 (what is valid), 7.2.3 to 7.2.5; what they say
// about our own addresses: RFC 4862 5.4.3 to 5.4.5. Worker's thread.

#include "net/nd.h"

#include "base/wheel.h"
#include "net/ipv6.h"
#include "net/local.h"
#include "net/neighbour.h"
#include "net/route.h"

// A message taken apart.
struct nd_news {
	struct net_address source, destination, target;
	const struct rte_ether_addr *from; // of the frame
	const struct rte_ether_addr *mac;  // of the option, NULL without
	bool solicited, overrides;
};

// False when an option is malformed; *ret_mac is that of the option asked for, or NULL. Others are
// skipped.
static bool options_decode(const uint8_t *options, uint32_t length, uint8_t wanted,
	const struct rte_ether_addr **ret_mac)
{
	const struct rte_ether_addr *found = NULL;

	while (length > 0) {
		const struct nd_option_mac *option = (const void *)options;
		uint32_t size;

		if (length < sizeof(*option) || option->units == 0)
			return false;
		size = option->units * 8u;
		if (size > length)
			return false;
		if (option->type == wanted) {
			if (option->units != 1 || !rte_is_valid_assigned_ether_addr(&option->mac))
				return false;
			found = &option->mac;
		}
		options += size;
		length -= size;
	}
	*ret_mac = found;
	return true;
}

static bool nd_decode(
	const struct ip_packet *packet, const struct rte_ipv6_hdr *ip, struct nd_news *news)
{
	const struct rte_mbuf *m = packet->m;
	const struct nd_message *message = rte_pktmbuf_mtod(m, const struct nd_message *);
	bool advertisement;

	if (m->nb_segs != 1 || m->data_len < sizeof(*message) || message->code != 0 ||
		ip->hop_limits != ND_HOP_LIMIT)
		return false;
	advertisement = message->type == ND_ADVERTISEMENT;
	*news = (struct nd_news){
		.source = ipv6_address(ip->src_addr),
		.destination = ipv6_address(ip->dst_addr),
		.target = ipv6_address(message->target),
		.from = &packet->ether->src_addr,
		.solicited = (message->flags & rte_cpu_to_be_32(ND_FLAG_SOLICITED)) != 0,
		.overrides = (message->flags & rte_cpu_to_be_32(ND_FLAG_OVERRIDE)) != 0,
	};
	if (!net_address_is_host(&news->target) || net_address_is_ipv4(&news->target))
		return false;
	return options_decode(message->options, m->data_len - (uint32_t)sizeof(*message),
		advertisement ? ND_OPTION_TARGET_MAC : ND_OPTION_SOURCE_MAC, &news->mac);
}

// Our own words, sent back by a hub or another worker.
static bool is_echo(const struct ip_packet *packet, const struct nd_news *news)
{
	return memcmp(news->from->addr_bytes, packet->netif->mac, RTE_ETHER_ADDR_LEN) == 0;
}

// Another host has the address. Nobody knows that we wanted it, so it is given up (RFC 4862 5.4.5).
static enum net_drop duplicate_found(
	struct net *net, struct net_local *local, const struct nd_news *news)
{
	counter_inc(&net->counters.nd_conflicts);
	local_conflict(net, local, news->mac != NULL ? news->mac : news->from);
	local->state = NET_LOCAL_DUPLICATE;
	local->due_us = WHEEL_NEVER;
	nd_due_update(net);
	return NET_DROP_ND_CONFLICT;
}

// Another host uses an address that we have used all along: defended as with ARP.
static enum net_drop conflict_found(
	struct net *net, struct net_local *local, const struct nd_news *news)
{
	counter_inc(&net->counters.nd_conflicts);
	if (local_conflict(net, local, news->mac != NULL ? news->mac : news->from))
		nd_advertise(net, local, NULL, NULL);
	return NET_DROP_ND_CONFLICT;
}

// An entry only for who is on that link: nothing is ever sent through any other.
static void solicitor_learn(
	struct net *net, const struct ip_packet *packet, const struct nd_news *news)
{
	const struct net_route *route = route_find_connected(net, &news->source);

	if (news->mac == NULL || route == NULL)
		return;
	if (route->netif == packet->netif || net_address_is_link_local(&news->source))
		neighbour_learn(net, packet->netif, &news->source, news->mac,
			NEIGHBOUR_CREATES | NEIGHBOUR_OVERRIDES);
}

static enum net_drop solicitation_input(
	struct net *net, const struct ip_packet *packet, const struct nd_news *news)
{
	struct net_local *local = local6_find(net, packet->netif, &news->target);
	bool from_nobody = ipv6_is_unspecified(&news->source);
	struct net_address group = nd_solicited_node(&news->target);

	// RFC 4861 7.1.1.
	if (from_nobody && (!net_address_equal(&news->destination, &group) || news->mac != NULL))
		return NET_DROP_ND_MALFORMED;
	if (local == NULL)
		return NET_DROP_ND_NOT_OURS;
	if (is_echo(packet, news))
		return NET_DROP_ND_CONFLICT;
	if (local->state == NET_LOCAL_TENTATIVE)
		// Who asks from nobody wants the address too (RFC 4862 5.4.3).
		return from_nobody ? duplicate_found(net, local, news) : NET_DROP_ND_NOT_OURS;
	if (net_address_is_local(net, &news->source))
		return conflict_found(net, local6_find(net, NULL, &news->source), news);
	counter_inc(&net->counters.nd_solicitations[NET_RECEIVED]);
	if (from_nobody) {
		nd_advertise(net, local, NULL, NULL); // it hears that the address is taken
		return NET_DROPS;
	}
	solicitor_learn(net, packet, news);
	nd_advertise(net, local, &news->source, news->mac != NULL ? news->mac : news->from);
	return NET_DROPS;
}

static enum net_drop advertisement_input(
	struct net *net, const struct ip_packet *packet, const struct nd_news *news)
{
	struct net_local *local = local6_find(net, packet->netif, &news->target);

	// RFC 4861 7.1.2.
	if (ipv6_is_unspecified(&news->source) ||
		(ipv6_is_multicast(&news->destination) && news->solicited))
		return NET_DROP_ND_MALFORMED;
	if (local != NULL) {
		if (is_echo(packet, news))
			return NET_DROP_ND_CONFLICT;
		return local->state == NET_LOCAL_TENTATIVE ? duplicate_found(net, local, news)
							   : conflict_found(net, local, news);
	}
	if (!neighbour_learn(net, packet->netif, &news->target, news->mac,
		    (news->solicited ? NEIGHBOUR_CONFIRMS : 0) |
			    (news->overrides ? NEIGHBOUR_OVERRIDES : 0)))
		return NET_DROP_ND_NOT_OURS;
	counter_inc(&net->counters.nd_advertisements[NET_RECEIVED]);
	return NET_DROPS;
}

enum net_drop nd_input(
	struct net *net, const struct ip_packet *packet, const struct rte_ipv6_hdr *ip)
{
	struct nd_news news;

	if (!nd_decode(packet, ip, &news))
		return NET_DROP_ND_MALFORMED;
	if (*rte_pktmbuf_mtod(packet->m, const uint8_t *) == ND_ADVERTISEMENT)
		return advertisement_input(net, packet, &news);
	return solicitation_input(net, packet, &news);
}
