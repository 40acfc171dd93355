// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Paths, and packets down them: IP header, sums, the neighbour. The way of a packet
// that fits touches the path, the neighbour's first line and the mbuf; it allocates
// nothing. Worker's thread.

#include "net/ipv4.h"

#include "base/sum.h"
#include "net/checksum.h"
#include "net/neighbour.h"
#include "net/route.h"
#include "net/state.h"

#include <rte_tcp.h>

#include <errno.h>
#include <string.h>

#define SUM_UNKNOWN UINT32_MAX // the sum of a TCP packet is to be made here

static_assert(NET_HEADROOM >= sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr),
	"the headers must fit");

int net_path_open(struct net *net, const struct net_address *local,
	const struct net_address *remote, struct net_path *ret_path)
{
	struct net_neighbour *neighbour = NULL;
	const struct net_route *route;

	if (!net_address_is_local(net, local))
		return -EADDRNOTAVAIL;
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
		.net = net,
		.netif = route->netif,
		.neighbour = neighbour,
		.local = *local,
		.remote = *remote,
		.mtu = route->netif->mtu,
		.ttl = IPV4_TTL_DEFAULT,
		.df = true,
	};
	return 0;
}

void net_path_close(struct net_path *path)
{
	if (path->neighbour != NULL)
		neighbour_put(path->net, path->neighbour);
	path->neighbour = NULL;
}

void net_path_confirm(struct net_path *path, uint64_t now_us)
{
	path->net->now_us = now_us;
	if (path->neighbour != NULL)
		neighbour_confirm(path->net, path->neighbour);
}

int net_path_error(const struct net_path *path)
{
	bool failed = path->neighbour != NULL && path->neighbour->state == NEIGHBOUR_FAILED;

	return failed ? -EHOSTUNREACH : 0;
}

static inline void store32(uint8_t *to, uint32_t word)
{
	memcpy(to, &word, sizeof(word));
}

// Word by word from registers, and summed there: what was just written in parts cannot be read back
// at once without a stall.
static void header_write(
	const struct net_path *path, uint8_t *header, const struct ipv4_fields *fields)
{
	uint32_t first =
		rte_cpu_to_be_32((uint32_t)RTE_IPV4_VHL_DEF << 24 |
				 (uint32_t)(path->tos | fields->ecn) << 16 | fields->length);
	uint32_t second = rte_cpu_to_be_32((uint32_t)fields->id << 16 | fields->offset);
	uint32_t third =
		rte_cpu_to_be_32((uint32_t)path->ttl << 24 | (uint32_t)fields->protocol << 16);
	uint32_t source = net_address_to_ipv4(&path->local);
	uint32_t destination = net_address_to_ipv4(&path->remote);

	if (!path->netif->caps.tx_ip_checksum) {
		uint16_t sum = sum_fold((uint64_t)first + second + third + source + destination);

		third |= rte_cpu_to_be_32(rte_be_to_cpu_16((uint16_t)~sum));
	}
	store32(header, first);
	store32(header + 4, second);
	store32(header + 8, third);
	store32(header + 12, source);
	store32(header + 16, destination);
}

void ipv4_transmit(struct net_path *path, struct rte_mbuf *m, const struct ipv4_fields *fields)
{
	struct net_if *netif = path->netif;

	header_write(path, (void *)rte_pktmbuf_prepend(m, sizeof(struct rte_ipv4_hdr)), fields);
	m->l2_len = netif->raw_ip ? 0 : sizeof(struct rte_ether_hdr);
	m->l3_len = sizeof(struct rte_ipv4_hdr);
	if (netif->caps.tx_ip_checksum)
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	counter_inc(&path->net->counters.ip_packets[NET_SENT]);

	if (path->neighbour != NULL)
		neighbour_send(path->net, path->neighbour, m);
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
	uint16_t pseudo = net_checksum_pseudo_ipv4(net_address_to_ipv4(&path->local),
		net_address_to_ipv4(&path->remote), IPPROTO_TCP, tso ? 0 : (uint16_t)m->pkt_len);

	DASSERT(tcp->cksum == 0);
	if (in_hardware) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
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
	struct net *net = path->net;
	uint32_t length = m->pkt_len + (uint32_t)sizeof(struct rte_ipv4_hdr);
	bool tso = (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
	bool whole = (length <= path->mtu || tso) && (m->nb_segs == 1 || caps->multi_segment);
	struct ipv4_fields fields = {.protocol = protocol, .ecn = ecn};

	DASSERT(rte_pktmbuf_headroom(m) >= NET_HEADROOM);
	DASSERT(!tso || caps->tso);
	net->now_us = now_us;
	if (unlikely(length > RTE_IPV4_MAX_PKT_LEN || (length > path->mtu && path->df && !tso))) {
		net_drop(net, m, NET_DROP_TOO_BIG);
		return;
	}
	fields.length = (uint16_t)length;
	// RFC 6864 4.1: the id of a packet that is never fragmented means nothing. TSO frames are
	// cut into such packets too.
	if (path->df)
		fields.offset = RTE_IPV4_HDR_DF_FLAG;
	else
		fields.id = net->ip_id++;
	if (protocol == IPPROTO_TCP)
		tcp_sum_complete(path, m, sum, whole && caps->tx_tcp_checksum);
	if (likely(whole))
		ipv4_transmit(path, m, &fields);
	else
		ipv4_transmit_parts(path, m, &fields);
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
