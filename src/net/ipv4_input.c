// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received IPv4: RFC 791 3.1, RFC 1122 3.2.1. Every packet is proven whole before
// anything in it is believed: header, sum, length, addresses, then the transport's
// sum. Options are skipped. Worker's thread.

#include "net/ipv4.h"

#include "net/checksum.h"
#include "net/fragment.h"
#include "net/icmp.h"
#include "net/state.h"

#include <rte_icmp.h>
#include <rte_tcp.h>

// The sum of the header; hardware that has looked is believed.
static bool ipv4_sum_good(const struct net_if *netif, const struct rte_mbuf *m)
{
	uint64_t seen = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (netif->caps.rx_checksum && seen != RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN)
		return seen != RTE_MBUF_F_RX_IP_CKSUM_BAD;
	return rte_raw_cksum(ipv4_header(m), m->l3_len) == 0xffff;
}

// Proves the header and cuts what lies behind the packet (Ethernet pads to 60 bytes). NET_DROPS:
// nothing wrong.
static enum net_drop ipv4_validate(const struct net_if *netif, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);
	uint32_t length;

	if (m->data_len < sizeof(*ip))
		return NET_DROP_FRAME_SHORT;
	if (ip->version != IPVERSION || ip->ihl < RTE_IPV4_MIN_IHL)
		return NET_DROP_IP_HEADER;
	m->l2_len = 0;
	m->l3_len = rte_ipv4_hdr_len(ip);
	if (m->data_len < m->l3_len)
		return NET_DROP_IP_HEADER;
	if (!ipv4_sum_good(netif, m))
		return NET_DROP_IP_CHECKSUM;
	length = rte_be_to_cpu_16(ip->total_length);
	if (length < m->l3_len || length > m->pkt_len)
		return NET_DROP_IP_LENGTH;
	if (length < m->pkt_len && rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - length)) != 0)
		return NET_DROP_IP_LENGTH; // padding longer than the last segment
	return NET_DROPS;
}

static bool ipv4_is_broadcast(const struct net *net, uint32_t ipv4)
{
	if (ipv4 == INADDR_BROADCAST)
		return true;
	for (unsigned i = 0; i < net->locals_count; i++) {
		if (net->locals[i].ipv4_broadcast == ipv4 && ipv4 != 0)
			return true;
	}
	return false;
}

// RFC 1122 3.2.1.3: what no packet may have as source, and which destinations are ours.
static enum net_drop ipv4_check_addresses(
	const struct net *net, const struct rte_ipv4_hdr *ip, bool link_broadcast)
{
	uint32_t source = rte_be_to_cpu_32(ip->src_addr);
	uint32_t destination = rte_be_to_cpu_32(ip->dst_addr);

	if (source >> 24 == 0 || source >> 24 == 127 || source >= IPV4_MULTICAST ||
		ipv4_is_broadcast(net, ip->src_addr) ||
		net_local_find(net, NULL, ip->src_addr) != NULL)
		return NET_DROP_IP_SOURCE;
	if (net_local_find(net, NULL, ip->dst_addr) != NULL)
		return link_broadcast ? NET_DROP_LINK_BROADCAST : NET_DROPS;
	if (ipv4_is_broadcast(net, ip->dst_addr))
		return NET_DROP_BROADCAST;
	if (destination >= IPV4_MULTICAST && destination < IPV4_RESERVED)
		return NET_DROP_MULTICAST;
	return NET_DROP_NOT_OURS;
}

static bool tcp_sum_good(const struct net_if *netif, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);
	uint64_t seen = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint32_t length = m->pkt_len - m->l3_len;
	uint16_t sum;

	if (netif->caps.rx_checksum && seen != RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN)
		return seen != RTE_MBUF_F_RX_L4_CKSUM_BAD;
	sum = net_checksum_pseudo_ipv4(ip->src_addr, ip->dst_addr, IPPROTO_TCP, (uint16_t)length);
	return net_checksum_chain(m, m->l3_len, length, sum) == 0xffff;
}

static void delivery_fill(const struct ipv4_packet *packet, enum net_delivery_kind kind,
	struct net_delivery *ret_delivery)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(packet->m);

	*ret_delivery = (struct net_delivery){
		.kind = kind,
		.m = packet->m,
		.source = net_address_from_ipv4(ip->src_addr),
		.destination = net_address_from_ipv4(ip->dst_addr),
		.netif = packet->netif,
		.ecn = ip->type_of_service & RTE_IPV4_HDR_ECN_MASK,
		.ttl = ip->time_to_live,
	};
}

static bool tcp_deliver(
	struct net *net, struct ipv4_packet *packet, struct net_delivery *ret_delivery)
{
	struct rte_mbuf *m = packet->m;
	const struct rte_tcp_hdr *tcp =
		rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, m->l3_len);
	uint32_t header_len;

	if (m->data_len < m->l3_len + sizeof(*tcp)) {
		net_drop(net, m, NET_DROP_TCP_HEADER);
		return false;
	}
	header_len = (uint32_t)(tcp->data_off >> 4) * 4;
	if (header_len < sizeof(*tcp) || m->data_len < m->l3_len + header_len) {
		net_drop(net, m, NET_DROP_TCP_HEADER);
		return false;
	}
	if (!tcp_sum_good(packet->netif, m)) {
		net_drop(net, m, NET_DROP_TCP_CHECKSUM);
		return false;
	}
	delivery_fill(packet, NET_DELIVERY_TCP, ret_delivery);
	return true;
}

static bool icmp_deliver(
	struct net *net, struct ipv4_packet *packet, struct net_delivery *ret_delivery)
{
	struct icmp_error_info info;

	// Before the outer header is cut off. On failure the ICMP code has consumed m.
	delivery_fill(packet, NET_DELIVERY_ICMP_ERROR, ret_delivery);
	if (!icmp_input(net, packet, &info))
		return false;
	ret_delivery->icmp_type = info.type;
	ret_delivery->icmp_code = info.code;
	ret_delivery->icmp_mtu = info.mtu;
	return true;
}

// Nothing of ours listens: say so, then forget it.
static void ipv4_refuse(
	struct net *net, const struct ipv4_packet *packet, uint8_t code, enum net_drop reason)
{
	icmp_error_send(net, packet->netif, packet->m, ICMP_TYPE_UNREACHABLE, code);
	net_drop(net, packet->m, reason);
}

bool ipv4_input(struct net *net, struct ipv4_packet *packet, struct net_delivery *ret_delivery)
{
	enum net_drop wrong = ipv4_validate(packet->netif, packet->m);
	const struct rte_ipv4_hdr *ip = ipv4_header(packet->m);

	if (wrong == NET_DROPS)
		wrong = ipv4_check_addresses(net, ip, packet->link_broadcast);
	if (wrong != NET_DROPS) {
		net_drop(net, packet->m, wrong);
		return false;
	}
	counter_inc(&net->counters.ip_packets[NET_RECEIVED]);
	if (unlikely(rte_ipv4_frag_pkt_is_fragmented(ip))) {
		packet->m = fragment_input(net, packet->netif, packet->m);
		if (packet->m == NULL)
			return false;
		ip = ipv4_header(packet->m);
	}
	switch (ip->next_proto_id) {
	case IPPROTO_TCP:
		return tcp_deliver(net, packet, ret_delivery);
	case IPPROTO_ICMP:
		return icmp_deliver(net, packet, ret_delivery);
	case IPPROTO_UDP:
		ipv4_refuse(net, packet, ICMP_CODE_PORT_UNREACHABLE, NET_DROP_UDP);
		return false;
	default:
		ipv4_refuse(net, packet, ICMP_CODE_PROTOCOL_UNREACHABLE, NET_DROP_IP_PROTOCOL);
		return false;
	}
}
