// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Finds the sum of an unfragmented packet, without extension headers: nobody leaves
// others to a device. Worker's thread.

#include "net/sums.h"

#include "net/checksum.h"
#include "net/ipv4.h"
#include "net/ipv6.h"

#include <rte_ether.h>
#include <rte_tcp.h>
#include <rte_udp.h>

struct packet {
	struct net_address source, destination;
	uint32_t l4, length; // in the frame; of the segment
	uint8_t protocol;
};

static bool ipv4_find(const struct rte_mbuf *m, uint32_t l3, struct packet *ret_packet)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, l3);
	uint32_t header;

	if (m->data_len < l3 + sizeof(*ip) || rte_ipv4_frag_pkt_is_fragmented(ip))
		return false;
	header = rte_ipv4_hdr_len(ip);
	*ret_packet = (struct packet){
		.source = net_address_from_ipv4(ip->src_addr),
		.destination = net_address_from_ipv4(ip->dst_addr),
		.l4 = l3 + header,
		.length = rte_be_to_cpu_16(ip->total_length) - header,
		.protocol = ip->next_proto_id,
	};
	return rte_be_to_cpu_16(ip->total_length) >= header;
}

static bool ipv6_find(const struct rte_mbuf *m, uint32_t l3, struct packet *ret_packet)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_hdr *, l3);

	if (m->data_len < l3 + sizeof(*ip))
		return false;
	*ret_packet = (struct packet){
		.source = ipv6_address(ip->src_addr),
		.destination = ipv6_address(ip->dst_addr),
		.l4 = l3 + (uint32_t)sizeof(*ip),
		.length = rte_be_to_cpu_16(ip->payload_len),
		.protocol = ip->proto,
	};
	return true;
}

static bool packet_find(const struct rte_mbuf *m, struct packet *ret_packet)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_vlan_hdr *tag = (const void *)(ether + 1);
	uint32_t l3 = sizeof(*ether);
	uint16_t type;

	if (m->data_len < sizeof(*ether) + sizeof(*tag))
		return false;
	type = ether->ether_type;
	if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN)) {
		type = tag->eth_proto;
		l3 += (uint32_t)sizeof(*tag);
	}
	if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		return ipv4_find(m, l3, ret_packet);
	return type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6) && ipv6_find(m, l3, ret_packet);
}

void net_sums_complete(struct rte_mbuf *m)
{
	struct packet packet;
	uint16_t *field, sum;
	uint32_t at;

	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_NONE ||
		!packet_find(m, &packet))
		return;
	if (packet.protocol == IPPROTO_TCP)
		at = packet.l4 + (uint32_t)offsetof(struct rte_tcp_hdr, cksum);
	else if (packet.protocol == IPPROTO_UDP)
		at = packet.l4 + (uint32_t)offsetof(struct rte_udp_hdr, dgram_cksum);
	else
		return;
	if (m->data_len < at + sizeof(*field) || packet.l4 + packet.length > m->pkt_len)
		return;
	field = rte_pktmbuf_mtod_offset(m, uint16_t *, at);
	*field = 0;
	sum = net_checksum_pseudo(
		&packet.source, &packet.destination, packet.protocol, packet.length);
	sum = (uint16_t)~net_checksum_chain(m, packet.l4, packet.length, sum);
	// RFC 768: in UDP, zero says that there is none.
	*field = packet.protocol == IPPROTO_UDP && sum == 0 ? 0xffff : sum;
	m->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
}
