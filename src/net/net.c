// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The network layer's beginning and end, the Ethernet filter in front of it, and
// its timers. net_create() and net_destroy() run on the main thread, the rest on
// the worker's.

#include "net/net.h"

#include "base/clock.h"
#include "net/arp.h"
#include "net/fragment.h"
#include "net/ip.h"
#include "net/loop.h"
#include "net/nd.h"
#include "net/neighbour.h"
#include "net/route.h"
#include "net/state.h"

#include <rte_mempool.h>

#include <errno.h>
#include <stdlib.h>

#define IPV4_MTU_MIN 68 // RFC 791 3.2

void net_config_init(struct net_config *config)
{
	*config = (struct net_config){
		.neighbours_max = 4096,
		.fragments_max = 256,
		.neighbour_age_us = 30 * US_IN_S,
		.neighbour_delay_us = 5 * US_IN_S,
		.neighbour_retry_us = US_IN_S,
		.neighbour_retries = 2,
		.neighbour_queue = 8,
		.neighbour_requests_per_s = 1000,
		.icmp_errors_per_s = 100,
		.dad_transmits = 1,
	};
}

// --- start and end -------------------------------------------------------------------------------

static const char *config_check(const struct net_config *config)
{
	if (config->interfaces_count == 0)
		return "no interface";
	for (unsigned i = 0; i < config->interfaces_count; i++) {
		const struct net_if *netif = config->interfaces[i].netif;

		ASSERT(netif->tx != NULL && netif->tx_pool != NULL);
		if (netif->mtu < IPV4_MTU_MIN)
			return "an interface's MTU is below 68";
	}
	if (config->neighbours_max <= config->neighbours_count)
		return "neighbours_max leaves no room besides the static neighbours";
	if (config->fragments_max == 0)
		return "fragments_max must not be 0";
	if (config->neighbour_queue == 0 || config->neighbour_queue > UINT16_MAX)
		return "neighbour_queue must be between 1 and 65535";
	if (config->neighbour_retries >= UINT8_MAX)
		return "neighbour_retries must be below 255";
	if (config->neighbour_retry_us == 0 || config->neighbour_age_us == 0 ||
		config->neighbour_delay_us == 0)
		return "neighbour_retry_us, neighbour_delay_us and neighbour_age_us must not be 0";
	if (config->dad_transmits > UINT8_MAX)
		return "dad_transmits must be below 256";
	return NULL;
}

static int neighbours_init(struct net *net, const struct net_config *config, const char **ret_error)
{
	for (unsigned i = 0; i < config->neighbours_count; i++) {
		const struct net_neighbour_config *neighbour = &config->neighbours[i];
		const struct net_route *link = route_find_connected(net, &neighbour->address);
		int rc;

		if (link == NULL || link->netif->raw_ip) {
			*ret_error = "a static neighbour lies in no Ethernet interface's prefix";
			return -EINVAL;
		}
		rc = neighbour_add_static(net, link->netif, &neighbour->address, neighbour->mac);
		if (rc == -EEXIST) {
			*ret_error = "a static neighbour is given twice";
			return -EINVAL;
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

// Frames that wait for neighbours may hold a quarter of what there is to send with, so that a
// flood towards addresses that do not answer leaves enough for those that do.
static unsigned pending_limit(const struct net_config *config)
{
	unsigned smallest = UINT_MAX;

	for (unsigned i = 0; i < config->interfaces_count; i++)
		smallest = RTE_MIN(smallest, config->interfaces[i].netif->tx_pool->size);
	return RTE_MAX(smallest / 4, 1u);
}

int net_create(const struct net_config *config, struct random *rng, uint64_t now_us,
	struct net **ret_net, const char **ret_error)
{
	struct net *net;
	int rc;

	*ret_error = config_check(config);
	if (*ret_error != NULL)
		return -EINVAL;
	net = calloc(1, sizeof(*net));
	if (net == NULL)
		return -ENOMEM;
	net->config = *config;
	net->config.interfaces = NULL;
	net->config.routes = NULL;
	net->config.neighbours = NULL;
	net->rng = rng;
	net->now_us = now_us;
	net->announce_us = now_us;
	net->nd_due_us = now_us;
	net->ip_id = (uint16_t)random_next(rng);
	net->icmp_rate = (struct net_rate){config->icmp_errors_per_s * US_IN_S, now_us};
	net->request_rate = (struct net_rate){config->neighbour_requests_per_s * US_IN_S, now_us};
	net->pending_max = pending_limit(config);
	list_init(&net->neighbours_free);
	list_init(&net->neighbours_unused);
	list_init(&net->neighbours_unresolved);
	wheel_init(&net->wheel, now_us);

	rc = route_tables_init(net, config, ret_error);
	if (rc == 0)
		rc = neighbour_cache_init(net, random_next(rng));
	if (rc == 0)
		rc = neighbours_init(net, config, ret_error);
	if (rc == 0)
		rc = fragment_table_init(net);
	if (rc != 0) {
		net_destroy(net);
		return rc;
	}
	for (unsigned i = 0; i < config->interfaces_count; i++)
		config->interfaces[i].netif->net = net;
	if (config->loop)
		loop_init(net, config);
	*ret_net = net;
	return 0;
}

void net_destroy(struct net *net)
{
	if (net == NULL)
		return;
	loop_fini(net);
	fragment_table_fini(net);
	neighbour_cache_fini(net);
	route_tables_fini(net);
	free(net);
}

// --- frames in -----------------------------------------------------------------------------------

static bool raw_input(struct net *net, struct net_if *netif, struct rte_mbuf *m,
	struct net_delivery *ret_delivery)
{
	struct ip_packet packet = {.m = m, .netif = netif};

	if (m->data_len == 0) {
		net_drop(net, m, NET_DROP_FRAME_SHORT);
		return false;
	}
	if (*rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 6)
		return ipv6_input(net, &packet, ret_delivery);
	return ipv4_input(net, &packet, ret_delivery);
}

// A frame to many that we listen to: broadcast, or an IPv6 group of ours (RFC 2464 7). Other
// groups share the MAC of one of ours; the IP address tells.
static bool ethernet_group_ours(
	const struct net *net, const struct net_if *netif, const struct rte_ether_addr *to)
{
	const uint8_t *mac = to->addr_bytes;

	if (rte_is_broadcast_ether_addr(to))
		return true;
	return mac[0] == 0x33 && mac[1] == 0x33 && nd_group_mac_is_ours(net, netif, to);
}

bool net_listens(const struct net *net, const struct net_if *netif, const struct rte_ether_addr *to)
{
	return memcmp(to->addr_bytes, netif->mac, RTE_ETHER_ADDR_LEN) == 0 ||
	       ethernet_group_ours(net, netif, to);
}

// NET_DROPS: to us, by a host.
static enum net_drop ethernet_check(
	const struct net *net, const struct net_if *netif, const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (m->data_len < sizeof(*ether))
		return NET_DROP_FRAME_SHORT;
	if (!net_listens(net, netif, &ether->dst_addr))
		return NET_DROP_MAC_DESTINATION;
	if (rte_is_multicast_ether_addr(&ether->src_addr))
		return NET_DROP_MAC_SOURCE;
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		return NET_DROP_VLAN;
	return NET_DROPS;
}

// What other nets with our addresses have to hear: ND, and MLD with its router alert. m starts at
// the IPv6 header.
static bool ipv6_is_link_news(const struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
	const uint8_t *type = (const uint8_t *)(ip + 1);

	if (m->data_len <= sizeof(*ip))
		return false;
	return ip->proto == IPPROTO_HOPOPTS ||
	       (ip->proto == IPPROTO_ICMPV6 &&
		       (*type == ND_SOLICITATION || *type == ND_ADVERTISEMENT));
}

static void link_news_share(
	const struct net *net, struct net_if *netif, struct rte_mbuf *m, bool ipv6)
{
	if (likely(net->config.share == NULL) || net->hearing || (ipv6 && !ipv6_is_link_news(m)))
		return;
	rte_pktmbuf_prepend(m, RTE_ETHER_HDR_LEN); // it is still there
	net->config.share(net->config.share_ctx, netif, m);
	rte_pktmbuf_adj(m, RTE_ETHER_HDR_LEN);
}

static bool ethernet_input(struct net *net, struct net_if *netif, struct rte_mbuf *m,
	struct net_delivery *ret_delivery)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	enum net_drop wrong = ethernet_check(net, netif, m);
	struct ip_packet packet = {.m = m, .netif = netif, .ether = ether};

	if (unlikely(wrong != NET_DROPS)) {
		net_drop(net, m, wrong);
		return false;
	}
	packet.link_group = rte_is_multicast_ether_addr(&ether->dst_addr);
	rte_pktmbuf_adj(m, sizeof(*ether)); // the header stays readable below data_off
	switch (rte_be_to_cpu_16(ether->ether_type)) {
	case RTE_ETHER_TYPE_IPV4:
		return ipv4_input(net, &packet, ret_delivery);
	case RTE_ETHER_TYPE_ARP:
		link_news_share(net, netif, m, false);
		arp_input(net, netif, m);
		return false;
	case RTE_ETHER_TYPE_IPV6:
		link_news_share(net, netif, m, true);
		return ipv6_input(net, &packet, ret_delivery);
	case RTE_ETHER_TYPE_VLAN:
	case RTE_ETHER_TYPE_QINQ:
		net_drop(net, m, NET_DROP_VLAN);
		return false;
	default:
		net_drop(net, m, NET_DROP_ETHERTYPE);
		return false;
	}
}

unsigned net_input(struct net *net, struct net_if *netif, struct rte_mbuf **frames, unsigned count,
	uint64_t now_us, struct net_delivery *ret_deliveries)
{
	unsigned delivered = 0;

	net->now_us = now_us;
	for (unsigned i = 0; i < count; i++) {
		struct net_delivery *next = &ret_deliveries[delivered];
		bool filled;

		if (i + 1 < count)
			rte_prefetch0(rte_pktmbuf_mtod(frames[i + 1], void *));
		if (netif->raw_ip)
			filled = raw_input(net, netif, frames[i], next);
		else
			filled = ethernet_input(net, netif, frames[i], next);
		delivered += filled;
	}
	return delivered;
}

void net_hear(struct net *net, struct net_if *netif, struct rte_mbuf *m, uint64_t now_us)
{
	struct net_delivery delivery;

	net->now_us = now_us;
	net->hearing = true;
	if (ethernet_input(net, netif, m, &delivery))
		rte_pktmbuf_free(delivery.m); // nothing of the kind is shared
	net->hearing = false;
}

bool net_rate_take(struct net_rate *rate, uint64_t per_s, uint64_t now_us)
{
	uint64_t elapsed_us = RTE_MIN(now_us - rate->refilled_us, US_IN_S);

	rate->refilled_us = now_us;
	rate->credit = RTE_MIN(rate->credit + elapsed_us * per_s, per_s * US_IN_S);
	if (rate->credit < US_IN_S)
		return false;
	rate->credit -= US_IN_S;
	return true;
}

// --- time ----------------------------------------------------------------------------------------

void net_timers(struct net *net, uint64_t now_us)
{
	net->now_us = now_us;
	arp_timers(net);
	nd_timers(net);
	neighbour_timers(net);
	fragment_timers(net);
}

uint64_t net_next_deadline(const struct net *net)
{
	uint64_t next_us = net->looped_count > 0 ? net->now_us : wheel_next_us(&net->wheel);

	next_us = RTE_MIN(next_us, net->announce_us);
	next_us = RTE_MIN(next_us, net->nd_due_us);
	return RTE_MIN(next_us, net->fragment_sweep_us);
}

void net_check(const struct net *net)
{
	neighbour_check(net);
	ASSERT(net->fragment_dead.cnt == 0);
	ASSERT(net->icmp_rate.credit <= net->config.icmp_errors_per_s * US_IN_S);
	for (unsigned i = 0; i < net->locals6_count; i++)
		ASSERT(net->nd_due_us <= net->locals6[i].due_us);
	for (unsigned i = 1; i < net->routes_count; i++)
		ASSERT(net->routes[i - 1].prefix_len >= net->routes[i].prefix_len);
}
