// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The sum of what a received packet of either family carries, and the TCP segment in one: header
// whole, sum good. Worker's thread.

#include "net/checksum.h"
#include "net/ip.h"

#include <rte_tcp.h>

// Hardware that has looked is believed.
bool ip_sum_good(const struct net_delivery *delivery, uint8_t protocol)
{
	const struct rte_mbuf *m = delivery->m;
	uint64_t seen = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint32_t length = m->pkt_len - m->l3_len;
	uint16_t sum;

	if (delivery->netif->caps.rx_checksum && seen != RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN)
		return seen != RTE_MBUF_F_RX_L4_CKSUM_BAD;
	sum = net_checksum_pseudo(&delivery->source, &delivery->destination, protocol, length);
	return net_checksum_chain(m, m->l3_len, length, sum) == 0xffff;
}

static enum net_drop tcp_check(const struct net_delivery *delivery)
{
	const struct rte_mbuf *m = delivery->m;
	const struct rte_tcp_hdr *tcp =
		rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, m->l3_len);
	uint32_t header_len;

	if (m->data_len < m->l3_len + sizeof(*tcp))
		return NET_DROP_TCP_HEADER;
	header_len = (uint32_t)(tcp->data_off >> 4) * 4;
	if (header_len < sizeof(*tcp) || m->data_len < m->l3_len + header_len)
		return NET_DROP_TCP_HEADER;
	return ip_sum_good(delivery, IPPROTO_TCP) ? NET_DROPS : NET_DROP_TCP_CHECKSUM;
}

bool ip_tcp_deliver(struct net *net, const struct net_delivery *delivery)
{
	enum net_drop wrong = tcp_check(delivery);

	if (likely(wrong == NET_DROPS))
		return true;
	net_drop(net, delivery->m, wrong);
	return false;
}
