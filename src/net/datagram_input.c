// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What comes for somebody above: UDP (RFC 768, RFC 8200 8.1) whose length and sum are right, and
// ICMP that answers, or is about, what was sent with net_datagram_send(). Worker's thread.

#include "net/checksum.h"
#include "net/datagram.h"
#include "net/icmp.h"
#include "net/ipv4.h"
#include "net/ipv6.h"
#include "net/local.h"

#include <rte_icmp.h>
#include <rte_udp.h>

// What RFC 792 promises of a packet in an error; all of UDP's header, and of an echo request's.
#define EMBEDDED_L4_MIN 8u

// --- what is ours --------------------------------------------------------------------------------

// `l4`: the octets behind the IP header, EMBEDDED_L4_MIN of them.
static bool is_sent_from_here(const struct net *net, uint8_t protocol, const uint8_t *l4)
{
	switch (protocol) {
	case IPPROTO_ICMP:
		return *l4 == RTE_IP_ICMP_ECHO_REQUEST;
	case IPPROTO_ICMPV6:
		return *l4 == ICMP6_TYPE_ECHO_REQUEST;
	case IPPROTO_UDP:
		return net->config.udp;
	default:
		return false;
	}
}

static bool ours_ipv4(const struct net *net, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);

	return ip->next_proto_id != IPPROTO_ICMPV6 && ipv4_offset(ip) == 0 &&
	       ip->ihl >= RTE_IPV4_MIN_IHL &&
	       m->data_len >= rte_ipv4_hdr_len(ip) + EMBEDDED_L4_MIN &&
	       is_sent_from_here(net, ip->next_proto_id,
		       rte_pktmbuf_mtod_offset(m, const uint8_t *, rte_ipv4_hdr_len(ip))) &&
	       local_find(net, NULL, ip->src_addr) != NULL;
}

static bool ours_ipv6(const struct net *net, const struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(m);
	uint32_t offset = sizeof(*ip);
	uint8_t protocol = ip->proto;
	struct net_address source;

	if (m->data_len < offset + EMBEDDED_L4_MIN)
		return false;
	if (protocol == IPPROTO_FRAGMENT) {
		const struct rte_ipv6_fragment_ext *fragment =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_fragment_ext *, offset);

		if (fragment->frag_data & rte_cpu_to_be_16(RTE_IPV6_EHDR_FO_MASK))
			return false;
		protocol = fragment->next_header;
		offset += (uint32_t)sizeof(*fragment);
	}
	source = ipv6_address(ip->src_addr);
	return protocol != IPPROTO_ICMP && m->data_len >= offset + EMBEDDED_L4_MIN &&
	       is_sent_from_here(
		       net, protocol, rte_pktmbuf_mtod_offset(m, const uint8_t *, offset)) &&
	       local6_find(net, NULL, &source) != NULL;
}

bool datagram_is_ours(const struct net *net, const struct rte_mbuf *m)
{
	if (m->data_len < sizeof(struct rte_ipv4_hdr))
		return false;
	switch (ipv4_header(m)->version) {
	case IPVERSION:
		return ours_ipv4(net, m);
	case 6:
		return m->data_len >= sizeof(struct rte_ipv6_hdr) && ours_ipv6(net, m);
	default:
		return false;
	}
}

// --- up ------------------------------------------------------------------------------------------

static void delivery_fill(struct rte_mbuf *m, struct net_delivery *ret_delivery)
{
	if (ipv4_header(m)->version == 6) {
		const struct rte_ipv6_hdr *ip = ipv6_header(m);

		ret_delivery->source = ipv6_address(ip->src_addr);
		ret_delivery->destination = ipv6_address(ip->dst_addr);
		ret_delivery->ttl = ip->hop_limits;
	} else {
		const struct rte_ipv4_hdr *ip = ipv4_header(m);

		ret_delivery->source = net_address_from_ipv4(ip->src_addr);
		ret_delivery->destination = net_address_from_ipv4(ip->dst_addr);
		ret_delivery->ttl = ip->time_to_live;
	}
}

void datagram_return(struct net *net, struct net_if *netif, struct rte_mbuf *m, uint16_t header)
{
	struct net_delivery delivery = {.kind = NET_DELIVERY_ICMP, .m = m, .netif = netif};

	rte_pktmbuf_prepend(m, header);
	m->l3_len = header;
	delivery_fill(m, &delivery);
	counter_inc(&net->counters.icmp_pings[NET_RECEIVED]);
	net->config.datagram(net->config.datagram_ctx, &delivery);
}

// --- UDP -----------------------------------------------------------------------------------------

// Without a sum it may come over IPv4 only (RFC 768, RFC 8200 8.1).
static enum net_drop udp_check(const struct net_delivery *delivery)
{
	struct rte_mbuf *m = delivery->m;
	const struct rte_udp_hdr *udp =
		rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len);
	uint32_t length;

	if (m->data_len < m->l3_len + sizeof(*udp))
		return NET_DROP_UDP_HEADER;
	length = rte_be_to_cpu_16(udp->dgram_len);
	if (length < sizeof(*udp) || length > m->pkt_len - m->l3_len)
		return NET_DROP_UDP_HEADER;
	// What lies behind it in the packet is nobody's, nor summed.
	if (rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - m->l3_len - length)) != 0)
		return NET_DROP_UDP_HEADER; // more than the last segment
	if (udp->dgram_cksum == 0)
		return net_address_is_ipv4(&delivery->destination) ? NET_DROPS
								   : NET_DROP_UDP_CHECKSUM;
	return ip_sum_good(delivery, IPPROTO_UDP) ? NET_DROPS : NET_DROP_UDP_CHECKSUM;
}

void datagram_udp_input(struct net *net, struct net_delivery *delivery)
{
	enum net_drop wrong = udp_check(delivery);

	if (wrong != NET_DROPS) {
		net_drop(net, delivery->m, wrong);
		return;
	}
	counter_inc(&net->counters.udp_datagrams[NET_RECEIVED]);
	net->config.datagram(net->config.datagram_ctx, delivery);
}
