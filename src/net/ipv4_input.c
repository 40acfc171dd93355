// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received IPv4: RFC 791 3.1, RFC 1122 3.2.1. Every packet is proven whole before
// anything in it is believed: header, sum, length, addresses, then the transport's
// sum. Options are skipped. Worker's thread.

#include "net/ipv4.h"

#include "net/datagram.h"
#include "net/fragment.h"
#include "net/icmp.h"
#include "net/ip.h"
#include "net/local.h"

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
	const struct net *net, const struct rte_ipv4_hdr *ip, bool link_group)
{
	uint32_t source = rte_be_to_cpu_32(ip->src_addr);
	uint32_t destination = rte_be_to_cpu_32(ip->dst_addr);

	if (source >> 24 == 0 || source >> 24 == 127 || source >= IPV4_MULTICAST ||
		ipv4_is_broadcast(net, ip->src_addr) || local_find(net, NULL, ip->src_addr) != NULL)
		return NET_DROP_IP_SOURCE;
	if (local_find(net, NULL, ip->dst_addr) != NULL)
		return link_group ? NET_DROP_LINK_BROADCAST : NET_DROPS;
	if (ipv4_is_broadcast(net, ip->dst_addr))
		return NET_DROP_BROADCAST;
	if (destination >= IPV4_MULTICAST && destination < IPV4_RESERVED)
		return NET_DROP_MULTICAST;
	return NET_DROP_NOT_OURS;
}

static void delivery_fill(const struct ip_packet *packet, enum net_delivery_kind kind,
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

static bool icmp_deliver(
	struct net *net, struct ip_packet *packet, struct net_delivery *ret_delivery)
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
	struct net *net, const struct ip_packet *packet, uint8_t code, enum net_drop reason)
{
	const struct icmp_error error = {.type = ICMP_TYPE_UNREACHABLE, .code = code};

	icmp_error_send(net, packet->netif, packet->m, &error);
	net_drop(net, packet->m, reason);
}

bool ipv4_input(struct net *net, struct ip_packet *packet, struct net_delivery *ret_delivery)
{
	enum net_drop wrong = ipv4_validate(packet->netif, packet->m);
	const struct rte_ipv4_hdr *ip = ipv4_header(packet->m);

	if (wrong == NET_DROPS)
		wrong = ipv4_check_addresses(net, ip, packet->link_group);
	if (wrong != NET_DROPS) {
		net_drop(net, packet->m, wrong);
		return false;
	}
	counter_inc(&net->counters.ip_packets[NET_RECEIVED]);
	if (unlikely(rte_ipv4_frag_pkt_is_fragmented(ip))) {
		packet->m = fragment_input_ipv4(net, packet->m);
		if (packet->m == NULL)
			return false;
		ip = ipv4_header(packet->m);
	}
	switch (ip->next_proto_id) {
	case IPPROTO_TCP:
		delivery_fill(packet, NET_DELIVERY_TCP, ret_delivery);
		return ip_tcp_deliver(net, ret_delivery);
	case IPPROTO_ICMP:
		return icmp_deliver(net, packet, ret_delivery);
	case IPPROTO_UDP:
		if (net->config.udp) {
			delivery_fill(packet, NET_DELIVERY_UDP, ret_delivery);
			datagram_udp_input(net, ret_delivery);
			return false;
		}
		ipv4_refuse(net, packet, ICMP_CODE_PORT_UNREACHABLE, NET_DROP_UDP);
		return false;
	default:
		ipv4_refuse(net, packet, ICMP_CODE_PROTOCOL_UNREACHABLE, NET_DROP_IP_PROTOCOL);
		return false;
	}
}
