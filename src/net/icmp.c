// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received ICMP for IPv4: echo requests are answered, errors about TCP of ours go to their owner,
// replies and errors about datagrams of somebody above to them; the rest is dropped and counted.
// Worker's thread.

#include "net/icmp.h"

#include "net/checksum.h"
#include "net/datagram.h"
#include "net/ipv4.h"
#include "net/local.h"

#include <rte_icmp.h>

// TCP's ports and sequence number: what RFC 792 promises of the packet in an error.
#define EMBEDDED_L4_MIN 8

// Is what m starts with (l3_len is set if so) the head of a TCP segment that we sent?
static bool embedded_is_ours(const struct net *net, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);

	if (m->data_len < sizeof(*ip) || ip->version != IPVERSION || ip->ihl < RTE_IPV4_MIN_IHL)
		return false;
	m->l2_len = 0;
	m->l3_len = rte_ipv4_hdr_len(ip);
	return m->data_len >= m->l3_len + EMBEDDED_L4_MIN && ip->next_proto_id == IPPROTO_TCP &&
	       ipv4_offset(ip) == 0 && local_find(net, NULL, ip->src_addr) != NULL &&
	       local_find(net, NULL, ip->dst_addr) == NULL;
}

// m starts at the ICMP header, `header` octets behind its IP header.
static bool error_input(struct net *net, struct net_if *netif, struct rte_mbuf *m, uint16_t header,
	struct icmp_error_info *ret_info)
{
	const struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *);
	struct icmp_error_info info = {.type = icmp->icmp_type, .code = icmp->icmp_code};

	// RFC 1191 4: the low half of the word that other errors leave unused.
	if (info.type == ICMP_TYPE_UNREACHABLE && info.code == ICMP_CODE_FRAGMENTATION_NEEDED)
		info.mtu = rte_be_to_cpu_16(icmp->icmp_seq_nb);
	rte_pktmbuf_adj(m, sizeof(*icmp));
	if (net->config.datagram != NULL && datagram_is_ours(net, m)) {
		rte_pktmbuf_prepend(m, sizeof(*icmp)); // it is still there
		datagram_return(net, netif, m, header);
		return false;
	}
	if (!embedded_is_ours(net, m)) {
		net_drop(net, m, NET_DROP_ICMP_EMBEDDED);
		return false;
	}
	counter_inc(&net->counters.icmp_errors[NET_RECEIVED]);
	*ret_info = info;
	return true;
}

static void echo_input(
	struct net *net, const struct ip_packet *packet, const struct rte_ipv4_hdr *request)
{
	const struct icmp_echo echo = {
		.local = net_address_from_ipv4(request->dst_addr),
		.remote = net_address_from_ipv4(request->src_addr),
		.tos = request->type_of_service & RTE_IPV4_HDR_DSCP_MASK,
		.protocol = IPPROTO_ICMP,
		.reply = RTE_IP_ICMP_ECHO_REPLY,
	};

	icmp_echo_reply(net, packet->netif, packet->m, &echo);
}

bool icmp_input(struct net *net, struct ip_packet *packet, struct icmp_error_info *ret_info)
{
	struct rte_mbuf *m = packet->m;
	const struct rte_ipv4_hdr outer = *ipv4_header(m);
	uint16_t header;

	if (m->data_len < m->l3_len + sizeof(struct rte_icmp_hdr)) {
		net_drop(net, m, NET_DROP_ICMP_SHORT);
		return false;
	}
	header = (uint16_t)m->l3_len;
	rte_pktmbuf_adj(m, header);
	if (net_checksum_chain(m, 0, m->pkt_len, 0) != 0xffff) {
		net_drop(net, m, NET_DROP_ICMP_CHECKSUM);
		return false;
	}
	switch (rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *)->icmp_type) {
	case RTE_IP_ICMP_ECHO_REQUEST:
		echo_input(net, packet, &outer);
		return false;
	case ICMP_TYPE_UNREACHABLE:
	case ICMP_TYPE_TIME_EXCEEDED:
	case ICMP_TYPE_PARAMETER_PROBLEM:
		return error_input(net, packet->netif, m, header, ret_info);
	case RTE_IP_ICMP_ECHO_REPLY:
		if (net->config.datagram != NULL) {
			datagram_return(net, packet->netif, m, header);
			return false;
		}
		// fall through
	default:
		net_drop(net, m, NET_DROP_ICMP_IGNORED);
		return false;
	}
}
