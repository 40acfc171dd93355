// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Paths, and packets down them: TCP's sum, the IP header, the neighbour. The way of a
// packet that fits touches the path, the neighbour's first line and the mbuf; it
// allocates nothing. Worker's thread.

#include "base/sum.h"
#include "net/checksum.h"
#include "net/ip.h"
#include "net/ipv6.h"
#include "net/local.h"
#include "net/loop.h"
#include "net/neighbour.h"
#include "net/route.h"

#include <rte_tcp.h>

#include <errno.h>

#define SUM_UNKNOWN UINT32_MAX // the sum of a TCP packet is to be made here

static_assert(NET_HEADROOM >= sizeof(struct rte_ether_hdr) + sizeof(struct rte_vlan_hdr) +
				      sizeof(struct rte_ipv6_hdr) +
				      sizeof(struct rte_ipv6_fragment_ext),
	"the headers must fit");

int net_path_open(struct net *net, const struct net_address *local,
	const struct net_address *remote, struct net_path *ret_path)
{
	struct net_neighbour *neighbour = NULL;
	const struct net_route *route;
	bool ipv6 = !net_address_is_ipv4(remote);

	if (!local_usable(net, local))
		return -EADDRNOTAVAIL;
	if (ipv6 == net_address_is_ipv4(local))
		return -EHOSTUNREACH;
	if (unlikely(loop_leads_to(net, remote)))
		return loop_path_open(net, local, remote, ret_path);
	route = route_find(net, remote, local);
	if (route == NULL)
		return -EHOSTUNREACH;
	if (!route->netif->raw_ip) {
		int rc = neighbour_get(
			net, route->netif, route->gateway ? &route->via : remote, &neighbour);

		if (rc != 0) {
			net_drop_count(net, NET_DROP_NEIGHBOUR_FULL);
			return rc;
		}
	}
	*ret_path = (struct net_path){
		.netif = route->netif,
		.neighbour = neighbour,
		.local = *local,
		.remote = *remote,
		.mtu = route->netif->mtu,
		.ipv6 = ipv6,
		.ttl = IP_TTL_DEFAULT,
		.df = true,
		.flow_label = ipv6 ? (uint32_t)random_next(net->rng) & RTE_IPV6_HDR_FL_MASK : 0,
	};
	return 0;
}

int net_path_observe(struct net *net, const struct net_observed *observed,
	const struct net_address *local, const struct net_address *remote,
	struct net_path *ret_path)
{
	struct net_if *netif = observed->netif;
	struct net_neighbour *neighbour = NULL;
	bool ipv6 = !net_address_is_ipv4(remote);

	if (ipv6 == net_address_is_ipv4(local))
		return -EINVAL;
	if (!netif->raw_ip) {
		int rc = neighbour_observe(net, observed, ipv6, &neighbour);

		if (rc != 0) {
			net_drop_count(net, NET_DROP_NEIGHBOUR_FULL);
			return rc;
		}
	}
	*ret_path = (struct net_path){
		.netif = netif,
		.neighbour = neighbour,
		.local = *local,
		.remote = *remote,
		.mtu = observed->mtu ? observed->mtu : netif->mtu,
		.ipv6 = ipv6,
		.ttl = observed->ttl,
		.tos = (uint8_t)(observed->tos & ~RTE_IPV4_HDR_ECN_MASK),
		.df = ipv6 || !observed->fragments,
		.flow_label = ipv6 ? observed->flow_label & RTE_IPV6_HDR_FL_MASK : 0,
	};
	return 0;
}

void net_path_close(struct net_path *path)
{
	if (path->neighbour != NULL)
		neighbour_put(path->netif->net, path->neighbour);
	path->neighbour = NULL;
}

void net_path_confirm(struct net_path *path, uint64_t now_us)
{
	path->netif->net->now_us = now_us;
	if (path->neighbour != NULL)
		neighbour_confirm(path->netif->net, path->neighbour);
}

int net_path_error(const struct net_path *path)
{
	bool failed = path->neighbour != NULL && path->neighbour->state == NEIGHBOUR_FAILED;

	return failed ? -EHOSTUNREACH : 0;
}

void ip_transmit(struct net_path *path, struct rte_mbuf *m)
{
	struct net_if *netif = path->netif;

	m->l2_len = netif->raw_ip ? 0 : sizeof(struct rte_ether_hdr);
	counter_inc(&netif->net->counters.ip_packets[NET_SENT]);
	if (path->neighbour != NULL)
		neighbour_send(netif->net, path->neighbour, m);
	else
		netif->tx(netif->ctx, m);
}

// Completes the sum of the TCP header that m starts with. Hardware wants the sum of the pseudo
// header in the field, for TSO without the length.
static void tcp_sum_complete(
	const struct net_path *path, struct rte_mbuf *m, uint32_t sum, bool in_hardware)
{
	struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
	bool tso = (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
	uint16_t pseudo =
		net_checksum_pseudo(&path->local, &path->remote, IPPROTO_TCP, tso ? 0 : m->pkt_len);

	DASSERT(tcp->cksum == 0);
	if (in_hardware) {
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM |
			       (path->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
		tcp->cksum = pseudo;
	} else if (sum != SUM_UNKNOWN) {
		// Zero has two forms; a receiver takes both.
		DASSERT(sum % 0xffff == net_checksum_chain(m, 0, m->pkt_len, 0) % 0xffff);
		tcp->cksum = (uint16_t)~sum_add((uint16_t)sum, pseudo);
	} else {
		tcp->cksum = (uint16_t)~net_checksum_chain(m, 0, m->pkt_len, pseudo);
	}
}

static inline void path_send(struct net_path *path, struct rte_mbuf *m, uint8_t protocol,
	uint32_t sum, uint8_t ecn, uint64_t now_us)
{
	const struct net_if_caps *caps = &path->netif->caps;
	struct net *net = path->netif->net;
	uint32_t header = path->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
	uint32_t length = m->pkt_len + header;
	// Of an IPv6 packet only the payload counts.
	uint32_t longest = path->ipv6 ? IP_LENGTH_MAX + header : IP_LENGTH_MAX;
	bool tso = (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
	bool whole = (length <= path->mtu || tso) && (m->nb_segs == 1 || caps->multi_segment);
	struct ip_fields fields = {.protocol = protocol, .ecn = ecn};

	DASSERT(rte_pktmbuf_headroom(m) >= NET_HEADROOM);
	DASSERT(!tso || net_path_takes_tso(path));
	net->now_us = now_us;
	if (unlikely(length > longest || (length > path->mtu && path->df && !tso))) {
		net_drop(net, m, NET_DROP_TOO_BIG);
		return;
	}
	if (protocol == IPPROTO_TCP)
		tcp_sum_complete(path, m, sum, whole && caps->tx_tcp_checksum);
	if (unlikely(!whole || !path->df)) {
		// RFC 6864 4.1: the id of a packet that is never fragmented means nothing. RFC
		// 7739: nobody can guess those of IPv6.
		fields.id = path->ipv6 ? (uint32_t)random_next(net->rng) : net->ip_id++;
	}
	if (unlikely(!whole))
		ip_transmit_parts(path, m, &fields);
	else if (path->ipv6)
		ipv6_transmit(path, m, &fields);
	else
		ipv4_transmit(path, m, &fields);
}

void net_path_send(
	struct net_path *path, struct rte_mbuf *m, uint8_t protocol, uint8_t ecn, uint64_t now_us)
{
	path_send(path, m, protocol, SUM_UNKNOWN, ecn, now_us);
}

void net_path_send_summed(
	struct net_path *path, struct rte_mbuf *m, uint16_t sum, uint8_t ecn, uint64_t now_us)
{
	bool summed = !path->netif->caps.tx_tcp_checksum;

	path_send(path, m, IPPROTO_TCP, summed ? sum : SUM_UNKNOWN, ecn, now_us);
}
