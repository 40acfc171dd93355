// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received IPv6: RFC 8200 3 and 4, RFC 4291 2. Every packet is proven whole before
// anything in it is believed: header, length, addresses, extension headers, then the
// transport's sum. Worker's thread.

#include "net/ipv6.h"

#include "net/datagram.h"
#include "net/fragment.h"
#include "net/icmp.h"
#include "net/local.h"
#include "net/nd.h"

// Proves the header and cuts what lies behind the packet (Ethernet pads to 60 bytes). NET_DROPS:
// nothing wrong.
static enum net_drop ipv6_validate(struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(m);
	uint32_t length;

	if (m->data_len < sizeof(*ip))
		return NET_DROP_FRAME_SHORT;
	if (rte_be_to_cpu_32(ip->vtc_flow) >> 28 != 6)
		return NET_DROP_IP_HEADER;
	m->l2_len = 0;
	m->l3_len = sizeof(*ip);
	length = (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	if (length > m->pkt_len)
		return NET_DROP_IP_LENGTH;
	if (length < m->pkt_len && rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - length)) != 0)
		return NET_DROP_IP_LENGTH; // padding longer than the last segment
	return NET_DROPS;
}

// That it is one of ours is no reason yet: ND has to see such claims.
static bool source_possible(const struct net_address *source)
{
	return net_address_is_host(source) ? !net_address_is_ipv4(source)
					   : ipv6_is_unspecified(source);
}

static enum net_drop ipv6_check_addresses(const struct net *net, const struct ip_packet *packet)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(packet->m);
	struct net_address source = ipv6_address(ip->src_addr);
	struct net_address destination = ipv6_address(ip->dst_addr);
	const struct net_local *local;

	if (!source_possible(&source))
		return NET_DROP_IP_SOURCE;
	if (ipv6_is_multicast(&destination))
		return nd_group_is_ours(net, packet->netif, &destination) ? NET_DROPS
									  : NET_DROP_MULTICAST;
	local = local6_find_arrived(net, packet->netif, &destination);
	if (local == NULL || local->state != NET_LOCAL_ASSIGNED)
		return NET_DROP_NOT_OURS;
	return packet->link_group ? NET_DROP_LINK_BROADCAST : NET_DROPS;
}

static void delivery_fill(const struct ip_packet *packet, enum net_delivery_kind kind,
	struct net_delivery *ret_delivery)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(packet->m);

	*ret_delivery = (struct net_delivery){
		.kind = kind,
		.m = packet->m,
		.source = ipv6_address(ip->src_addr),
		.destination = ipv6_address(ip->dst_addr),
		.netif = packet->netif,
		.ecn = ipv6_traffic_class(ip) & RTE_IPV6_HDR_ECN_MASK >> RTE_IPV6_HDR_TC_SHIFT,
		.ttl = ip->hop_limits,
	};
}

static bool icmp6_deliver(struct net *net, struct ip_packet *packet, const struct ipv6_chain *chain,
	struct net_delivery *ret_delivery)
{
	struct icmp_error_info info;

	// Before the outer header is cut off. On failure the ICMP code has consumed m.
	delivery_fill(packet, NET_DELIVERY_ICMP_ERROR, ret_delivery);
	if (!icmp6_input(net, packet, chain, &info))
		return false;
	ret_delivery->icmp_type = info.type;
	ret_delivery->icmp_code = info.code;
	ret_delivery->icmp_mtu = info.mtu;
	return true;
}

// Nothing of ours listens: say so, then forget it.
static void ipv6_refuse(
	struct net *net, const struct ip_packet *packet, const struct ipv6_chain *chain)
{
	struct icmp_error error = {
		.type = ICMP6_TYPE_PARAMETER_PROBLEM,
		.code = ICMP6_CODE_BAD_NEXT_HEADER,
		.pointer = chain->next_at,
	};

	if (chain->protocol == IPPROTO_NONE) {
		net_drop(net, packet->m, NET_DROP_IPV6_EMPTY);
		return;
	}
	if (chain->protocol == IPPROTO_UDP)
		error = (struct icmp_error){
			.type = ICMP6_TYPE_UNREACHABLE,
			.code = ICMP6_CODE_PORT_UNREACHABLE,
		};
	icmp_error_send(net, packet->netif, packet->m, &error);
	net_drop(net, packet->m,
		chain->protocol == IPPROTO_UDP ? NET_DROP_UDP : NET_DROP_IP_PROTOCOL);
}

// Nothing but ICMPv6 comes from nobody, from ourselves, or to a group.
static enum net_drop transport_check_addresses(const struct net *net, const struct rte_ipv6_hdr *ip)
{
	struct net_address source = ipv6_address(ip->src_addr);

	if (ipv6_is_unspecified(&source) || local6_find(net, NULL, &source) != NULL)
		return NET_DROP_IP_SOURCE;
	return ip->dst_addr[0] == 0xff ? NET_DROP_MULTICAST : NET_DROPS;
}

static bool ipv6_dispatch(struct net *net, struct ip_packet *packet, const struct ipv6_chain *chain,
	struct net_delivery *ret_delivery)
{
	enum net_drop wrong;

	packet->m->l3_len = chain->offset;
	if (chain->protocol == IPPROTO_ICMPV6)
		return icmp6_deliver(net, packet, chain, ret_delivery);
	wrong = transport_check_addresses(net, ipv6_header(packet->m));
	if (wrong != NET_DROPS) {
		net_drop(net, packet->m, wrong);
		return false;
	}
	if (likely(chain->protocol == IPPROTO_TCP)) {
		delivery_fill(packet, NET_DELIVERY_TCP, ret_delivery);
		return ip_tcp_deliver(net, ret_delivery);
	}
	if (chain->protocol == IPPROTO_UDP && net->config.udp) {
		delivery_fill(packet, NET_DELIVERY_UDP, ret_delivery);
		datagram_udp_input(net, ret_delivery);
		return false;
	}
	ipv6_refuse(net, packet, chain);
	return false;
}

static struct ipv6_chain chain_begin(const struct rte_mbuf *m, bool reassembled)
{
	return (struct ipv6_chain){
		.offset = sizeof(struct rte_ipv6_hdr),
		.next_at = offsetof(struct rte_ipv6_hdr, proto),
		.protocol = ipv6_header(m)->proto,
		.reassembled = reassembled,
	};
}

bool ipv6_input(struct net *net, struct ip_packet *packet, struct net_delivery *ret_delivery)
{
	enum net_drop wrong = ipv6_validate(packet->m);
	struct ipv6_chain chain;

	if (wrong == NET_DROPS)
		wrong = ipv6_check_addresses(net, packet);
	if (wrong != NET_DROPS) {
		net_drop(net, packet->m, wrong);
		return false;
	}
	counter_inc(&net->counters.ip_packets[NET_RECEIVED]);
	chain = chain_begin(packet->m, false);
	for (;;) {
		wrong = ipv6_extensions_skip(net, packet, &chain);
		if (wrong != NET_DROPS) {
			net_drop(net, packet->m, wrong);
			return false;
		}
		if (likely(chain.protocol != IPPROTO_FRAGMENT))
			return ipv6_dispatch(net, packet, &chain, ret_delivery);
		packet->m = fragment_input_ipv6(net, packet, &chain);
		if (packet->m == NULL)
			return false;
		chain = chain_begin(packet->m, true);
	}
}
