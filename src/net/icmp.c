// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received ICMP: echo requests are answered (RFC 1122 3.2.2.6, whatever their size),
// errors about TCP of ours go to their owner, the rest is dropped and counted. Worker's
// thread.

#include "net/icmp.h"

#include "net/checksum.h"
#include "net/state.h"

#include <rte_icmp.h>

// TCP's ports and sequence number: what RFC 792 promises of the packet in an error.
#define EMBEDDED_L4_MIN 8

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

// Consumes m, which starts at the ICMP header.
static void echo_reply(
	struct net *net, const struct ipv4_packet *packet, const struct rte_ipv4_hdr *request)
{
	struct net_address local = net_address_from_ipv4(request->dst_addr);
	struct net_address remote = net_address_from_ipv4(request->src_addr);
	uint8_t tos = request->type_of_service & RTE_IPV4_HDR_DSCP_MASK;
	struct rte_mbuf *m = echo_prepare(packet->netif, packet->m);
	struct rte_icmp_hdr *icmp;
	struct net_path path;

	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
		return;
	}
	icmp = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
	icmp->icmp_cksum = 0;
	icmp->icmp_cksum = (uint16_t)~net_checksum_chain(m, 0, m->pkt_len, 0);
	if (net_path_open(net, &local, &remote, &path) != 0) {
		net_drop(net, m, NET_DROP_NO_ROUTE);
		return;
	}
	path.df = false;
	path.tos = tos;
	counter_inc(&net->counters.icmp_echo);
	net_path_send(&path, m, IPPROTO_ICMP, 0, net->now_us);
	net_path_close(&path);
}

// Is what m starts with (l3_len is set if so) the head of a TCP segment that we sent?
static bool embedded_is_ours(const struct net *net, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ipv4_header(m);

	if (m->data_len < sizeof(*ip) || ip->version != IPVERSION || ip->ihl < RTE_IPV4_MIN_IHL)
		return false;
	m->l2_len = 0;
	m->l3_len = rte_ipv4_hdr_len(ip);
	return m->data_len >= m->l3_len + EMBEDDED_L4_MIN && ip->next_proto_id == IPPROTO_TCP &&
	       ipv4_offset(ip) == 0 && net_local_find(net, NULL, ip->src_addr) != NULL &&
	       net_local_find(net, NULL, ip->dst_addr) == NULL;
}

// m starts at the ICMP header.
static bool error_input(struct net *net, struct rte_mbuf *m, struct icmp_error_info *ret_info)
{
	const struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *);
	struct icmp_error_info info = {.type = icmp->icmp_type, .code = icmp->icmp_code};

	// RFC 1191 4: the low half of the word that other errors leave unused.
	if (info.type == ICMP_TYPE_UNREACHABLE && info.code == ICMP_CODE_FRAGMENTATION_NEEDED)
		info.mtu = rte_be_to_cpu_16(icmp->icmp_seq_nb);
	rte_pktmbuf_adj(m, sizeof(*icmp));
	if (!embedded_is_ours(net, m)) {
		net_drop(net, m, NET_DROP_ICMP_EMBEDDED);
		return false;
	}
	counter_inc(&net->counters.icmp_errors[NET_RECEIVED]);
	*ret_info = info;
	return true;
}

bool icmp_input(struct net *net, struct ipv4_packet *packet, struct icmp_error_info *ret_info)
{
	struct rte_mbuf *m = packet->m;
	const struct rte_ipv4_hdr outer = *ipv4_header(m);

	if (m->data_len < m->l3_len + sizeof(struct rte_icmp_hdr)) {
		net_drop(net, m, NET_DROP_ICMP_SHORT);
		return false;
	}
	rte_pktmbuf_adj(m, (uint16_t)m->l3_len);
	if (net_checksum_chain(m, 0, m->pkt_len, 0) != 0xffff) {
		net_drop(net, m, NET_DROP_ICMP_CHECKSUM);
		return false;
	}
	switch (rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *)->icmp_type) {
	case RTE_IP_ICMP_ECHO_REQUEST:
		echo_reply(net, packet, &outer);
		return false;
	case ICMP_TYPE_UNREACHABLE:
	case ICMP_TYPE_TIME_EXCEEDED:
	case ICMP_TYPE_PARAMETER_PROBLEM:
		return error_input(net, m, ret_info);
	default:
		net_drop(net, m, NET_DROP_ICMP_IGNORED);
		return false;
	}
}
