// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received ICMPv6: echo requests are answered, errors about TCP of ours go to their
// owner, replies and errors about datagrams of somebody above to them; ND and MLD have their own
// files, the rest is dropped and counted: routers' advertisements and redirects too, for addresses
// and routes are configured. RFC 4443. Worker's thread.

#include "net/checksum.h"
#include "net/datagram.h"
#include "net/icmp.h"
#include "net/ipv6.h"
#include "net/local.h"
#include "net/nd.h"

#include <rte_icmp.h>

// TCP's ports and sequence number.
#define EMBEDDED_L4_MIN 8

// To a group it is answered from an address of the interface (RFC 4443 4.2).
static void echo_input(
	struct net *net, const struct ip_packet *packet, const struct rte_ipv6_hdr *request)
{
	struct icmp_echo echo = {
		.local = ipv6_address(request->dst_addr),
		.remote = ipv6_address(request->src_addr),
		.tos = ipv6_traffic_class(request) & RTE_IPV4_HDR_DSCP_MASK,
		.protocol = IPPROTO_ICMPV6,
		.reply = ICMP6_TYPE_ECHO_REPLY,
	};

	if (ipv6_is_multicast(&echo.local)) {
		const struct net_local *own = local6_towards(net, packet->netif, &echo.remote);

		if (own == NULL) {
			net_drop(net, packet->m, NET_DROP_NO_ROUTE);
			return;
		}
		echo.local = own->address;
	}
	icmp_echo_reply(net, packet->netif, packet->m, &echo);
}

// Is what m starts with (l3_len is set if so) the head of a TCP segment that we sent? We put no
// extension header in front of one.
static bool embedded_is_ours(const struct net *net, struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *ip = ipv6_header(m);
	struct net_address source, destination;

	if (m->data_len < sizeof(*ip) + EMBEDDED_L4_MIN ||
		rte_be_to_cpu_32(ip->vtc_flow) >> 28 != 6 || ip->proto != IPPROTO_TCP)
		return false;
	m->l2_len = 0;
	m->l3_len = sizeof(*ip);
	source = ipv6_address(ip->src_addr);
	destination = ipv6_address(ip->dst_addr);
	return local6_find(net, NULL, &source) != NULL &&
	       local6_find(net, NULL, &destination) == NULL && !net_address_is_ipv4(&destination);
}

// m starts at the ICMPv6 header.
static enum net_drop error_input(
	struct net *net, struct rte_mbuf *m, struct icmp_error_info *ret_info)
{
	const struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *);
	struct icmp_error_info info = {.type = icmp->icmp_type, .code = icmp->icmp_code};

	if (info.type == ICMP6_TYPE_TOO_BIG) {
		uint32_t mtu = (uint32_t)rte_be_to_cpu_16(icmp->icmp_ident) << 16 |
			       rte_be_to_cpu_16(icmp->icmp_seq_nb);

		if (mtu < IPV6_MTU_MIN) // RFC 8201 4
			return NET_DROP_ICMP_IGNORED;
		info.mtu = (uint16_t)RTE_MIN(mtu, (uint32_t)UINT16_MAX);
	}
	rte_pktmbuf_adj(m, sizeof(*icmp));
	if (!embedded_is_ours(net, m))
		return NET_DROP_ICMP_EMBEDDED;
	counter_inc(&net->counters.icmp_errors[NET_RECEIVED]);
	*ret_info = info;
	return NET_DROPS;
}

static bool sum_good(const struct rte_mbuf *m, const struct rte_ipv6_hdr *ip)
{
	struct net_address source = ipv6_address(ip->src_addr);
	struct net_address destination = ipv6_address(ip->dst_addr);
	uint16_t sum = net_checksum_pseudo(&source, &destination, IPPROTO_ICMPV6, m->pkt_len);

	return net_checksum_chain(m, 0, m->pkt_len, sum) == 0xffff;
}

// ND in fragments is refused (RFC 6980 5); without Ethernet there is none.
static enum net_drop link_input(struct net *net, const struct ip_packet *packet,
	const struct ipv6_chain *chain, const struct rte_ipv6_hdr *ip, uint8_t type)
{
	if (packet->ether == NULL)
		return NET_DROP_ICMP_IGNORED;
	if (type == MLD_QUERY)
		return mld_input(net, packet, ip);
	return chain->reassembled ? NET_DROP_ND_MALFORMED : nd_input(net, packet, ip);
}

// An error, or a reply, that somebody above waits for? m starts at the ICMPv6 header.
static bool returns_datagram(struct net *net, const struct ip_packet *packet,
	const struct ipv6_chain *chain, uint8_t type)
{
	struct rte_mbuf *m = packet->m;
	bool ours = true;

	if (net->config.datagram == NULL)
		return false;
	if (type != ICMP6_TYPE_ECHO_REPLY) {
		rte_pktmbuf_adj(m, sizeof(struct rte_icmp_hdr));
		ours = datagram_is_ours(net, m);
		rte_pktmbuf_prepend(m, sizeof(struct rte_icmp_hdr)); // it is still there
	}
	if (ours)
		datagram_return(net, packet->netif, m, chain->offset);
	return ours;
}

// NET_DROPS: consumed, or (*ret_error) an error to deliver.
static enum net_drop message_input(struct net *net, struct ip_packet *packet,
	const struct ipv6_chain *chain, const struct rte_ipv6_hdr *ip,
	struct icmp_error_info *ret_info, bool *ret_error)
{
	struct net_address source = ipv6_address(ip->src_addr);
	uint8_t type = *rte_pktmbuf_mtod(packet->m, const uint8_t *);
	enum net_drop wrong;

	if (type == ND_SOLICITATION || type == ND_ADVERTISEMENT || type == MLD_QUERY) {
		wrong = link_input(net, packet, chain, ip, type);
		if (wrong == NET_DROPS)
			rte_pktmbuf_free(packet->m);
		return wrong;
	}
	if (ipv6_is_unspecified(&source) || local6_find(net, NULL, &source) != NULL)
		return NET_DROP_IP_SOURCE;
	switch (type) {
	case ICMP6_TYPE_ECHO_REQUEST:
		echo_input(net, packet, ip);
		return NET_DROPS;
	case ICMP6_TYPE_ECHO_REPLY:
		return returns_datagram(net, packet, chain, type) ? NET_DROPS
								  : NET_DROP_ICMP_IGNORED;
	case ICMP6_TYPE_UNREACHABLE:
	case ICMP6_TYPE_TOO_BIG:
	case ICMP6_TYPE_TIME_EXCEEDED:
	case ICMP6_TYPE_PARAMETER_PROBLEM:
		if (returns_datagram(net, packet, chain, type))
			return NET_DROPS;
		wrong = error_input(net, packet->m, ret_info);
		*ret_error = wrong == NET_DROPS;
		return wrong;
	default:
		return NET_DROP_ICMP_IGNORED;
	}
}

bool icmp6_input(struct net *net, struct ip_packet *packet, const struct ipv6_chain *chain,
	struct icmp_error_info *ret_info)
{
	struct rte_mbuf *m = packet->m;
	const struct rte_ipv6_hdr ip = *ipv6_header(m);
	enum net_drop wrong;
	bool error = false;

	if (m->data_len < m->l3_len + sizeof(struct rte_icmp_hdr)) {
		net_drop(net, m, NET_DROP_ICMP_SHORT);
		return false;
	}
	rte_pktmbuf_adj(m, (uint16_t)m->l3_len);
	if (!sum_good(m, &ip)) {
		net_drop(net, m, NET_DROP_ICMP_CHECKSUM);
		return false;
	}
	wrong = message_input(net, packet, chain, &ip, ret_info, &error);
	if (wrong != NET_DROPS)
		net_drop(net, m, wrong);
	return error;
}
