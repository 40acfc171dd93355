// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Echo replies of both families, whatever the size of the request (RFC 1122 3.2.2.6,
// RFC 4443 4.2). Worker's thread.

#include "net/checksum.h"
#include "net/icmp.h"

#include <rte_icmp.h>

// A mbuf that net_path_send() takes: room in front, no traces of its reception. Consumes m; NULL
// when there is none.
static struct rte_mbuf *echo_prepare(struct net_if *netif, struct rte_mbuf *m)
{
	struct rte_mbuf *front;

	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	m->l4_len = sizeof(struct rte_icmp_hdr);
	if (likely(rte_pktmbuf_headroom(m) >= NET_HEADROOM))
		return m;
	// A driver that leaves little room: the header moves to a mbuf of its own.
	front = rte_pktmbuf_alloc(netif->tx_pool);
	if (front == NULL) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(rte_pktmbuf_append(front, m->l4_len), rte_pktmbuf_mtod(m, void *), m->l4_len);
	front->l4_len = m->l4_len;
	rte_pktmbuf_adj(m, m->l4_len);
	rte_pktmbuf_chain(front, m); // cannot fail: a received packet has few segments
	return front;
}

void icmp_echo_reply(
	struct net *net, struct net_if *netif, struct rte_mbuf *m, const struct icmp_echo *echo)
{
	struct rte_icmp_hdr *icmp;
	struct net_path path;
	uint16_t sum = 0;

	m = echo_prepare(netif, m);
	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
		return;
	}
	if (echo->protocol == IPPROTO_ICMPV6) // only there it covers a pseudo header
		sum = net_checksum_pseudo(&echo->local, &echo->remote, echo->protocol, m->pkt_len);
	icmp = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	icmp->icmp_type = echo->reply;
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = (uint16_t)~net_checksum_chain(m, 0, m->pkt_len, sum);
	if (net_path_open(net, &echo->local, &echo->remote, &path) != 0) {
		net_drop(net, m, NET_DROP_NO_ROUTE);
		return;
	}
	path.df = false;
	path.tos = echo->tos;
	counter_inc(&net->counters.icmp_echo);
	net_path_send(&path, m, echo->protocol, 0, net->now_us);
	net_path_close(&path);
}
