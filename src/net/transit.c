// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reading frames that pass by. Nothing in them is believed before it is proven to be
// there; what is not there makes them "other". Worker's thread.

#include "net/transit.h"

#include "net/checksum.h"
#include "net/icmp.h"
#include "net/ipv4.h"
#include "net/ipv6.h"
#include "net/state.h"

#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_tcp.h>

#define EXTENSION_UNIT	8u
#define QUOTED_L4_MIN	8u // TCP's ports and sequence number (RFC 792)
#define IPV6_HEADER_LEN ((uint32_t)sizeof(struct rte_ipv6_hdr))

// `length` octets at `offset`, when the first mbuf has them; else NULL.
static const void *bytes_at(const struct rte_mbuf *m, uint32_t offset, uint32_t length)
{
	return offset + length <= m->data_len ? rte_pktmbuf_mtod_offset(m, const void *, offset)
					      : NULL;
}

static bool ports_read(const struct rte_mbuf *m, uint32_t at, struct net_transit *t)
{
	const struct rte_tcp_hdr *tcp = bytes_at(m, at, QUOTED_L4_MIN);

	if (tcp == NULL)
		return false;
	t->source.port = rte_be_to_cpu_16(tcp->src_port);
	t->destination.port = rte_be_to_cpu_16(tcp->dst_port);
	return true;
}

static enum net_transit_kind tcp_read(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_tcp_hdr *tcp = bytes_at(m, t->l4, sizeof(*tcp));
	uint32_t header;

	if (tcp == NULL)
		return NET_TRANSIT_OTHER;
	header = (uint32_t)(tcp->data_off >> 4) * 4;
	if (header < sizeof(*tcp) || t->l4 + header > m->data_len ||
		t->l4 + header > t->l3 + t->length)
		return NET_TRANSIT_OTHER;
	return ports_read(m, t->l4, t) ? NET_TRANSIT_TCP : NET_TRANSIT_OTHER;
}

// --- IPv4 ----------------------------------------------------------------------------------------

static bool icmp_is_error(uint8_t type)
{
	return type == ICMP_TYPE_UNREACHABLE || type == ICMP_TYPE_TIME_EXCEEDED ||
	       type == ICMP_TYPE_PARAMETER_PROBLEM;
}

// The packet that an error quotes.
static enum net_transit_kind quote_read_ipv4(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_icmp_hdr *icmp = bytes_at(m, t->l4, sizeof(*icmp));
	uint32_t at = t->l4 + (uint32_t)sizeof(*icmp);
	const struct rte_ipv4_hdr *ip = bytes_at(m, at, sizeof(*ip));

	if (icmp == NULL || ip == NULL || !icmp_is_error(icmp->icmp_type) ||
		ip->version != IPVERSION || ip->ihl < RTE_IPV4_MIN_IHL ||
		ip->next_proto_id != IPPROTO_TCP || ipv4_offset(ip) != 0)
		return NET_TRANSIT_OTHER;
	t->source.address = net_address_from_ipv4(ip->src_addr);
	t->destination.address = net_address_from_ipv4(ip->dst_addr);
	return ports_read(m, at + rte_ipv4_hdr_len(ip), t) ? NET_TRANSIT_ICMP_ERROR
							   : NET_TRANSIT_OTHER;
}

static enum net_transit_kind ipv4_read(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_ipv4_hdr *ip = bytes_at(m, t->l3, sizeof(*ip));

	if (ip == NULL || ip->version != IPVERSION || ip->ihl < RTE_IPV4_MIN_IHL)
		return NET_TRANSIT_OTHER;
	t->l4 = (uint16_t)(t->l3 + rte_ipv4_hdr_len(ip));
	t->length = rte_be_to_cpu_16(ip->total_length);
	if (t->l4 > t->l3 + t->length || t->l3 + t->length > m->pkt_len)
		return NET_TRANSIT_OTHER;
	t->source.address = net_address_from_ipv4(ip->src_addr);
	t->destination.address = net_address_from_ipv4(ip->dst_addr);
	if (unlikely(rte_ipv4_frag_pkt_is_fragmented(ip))) {
		t->id = ip->packet_id;
		t->offset = ipv4_offset(ip);
		t->more = ipv4_more_fragments(ip);
		return ip->next_proto_id == IPPROTO_TCP ? NET_TRANSIT_FRAGMENT : NET_TRANSIT_OTHER;
	}
	switch (ip->next_proto_id) {
	case IPPROTO_TCP:
		return tcp_read(m, t);
	case IPPROTO_ICMP:
		return quote_read_ipv4(m, t);
	default:
		return NET_TRANSIT_OTHER;
	}
}

// --- IPv6 ----------------------------------------------------------------------------------------

static bool icmp6_is_error(uint8_t type)
{
	return type == ICMP6_TYPE_UNREACHABLE || type == ICMP6_TYPE_TOO_BIG ||
	       type == ICMP6_TYPE_TIME_EXCEEDED || type == ICMP6_TYPE_PARAMETER_PROBLEM;
}

static enum net_transit_kind quote_read_ipv6(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_icmp_hdr *icmp = bytes_at(m, t->l4, sizeof(*icmp));
	uint32_t at = t->l4 + (uint32_t)sizeof(*icmp);
	const struct rte_ipv6_hdr *ip = bytes_at(m, at, sizeof(*ip));

	if (icmp == NULL || ip == NULL || !icmp6_is_error(icmp->icmp_type) ||
		rte_be_to_cpu_32(ip->vtc_flow) >> 28 != 6 || ip->proto != IPPROTO_TCP)
		return NET_TRANSIT_OTHER;
	t->source.address = ipv6_address(ip->src_addr);
	t->destination.address = ipv6_address(ip->dst_addr);
	return ports_read(m, at + IPV6_HEADER_LEN, t) ? NET_TRANSIT_ICMP_ERROR : NET_TRANSIT_OTHER;
}

static enum net_transit_kind fragment_read_ipv6(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_ipv6_fragment_ext *fragment = bytes_at(m, t->l4, sizeof(*fragment));
	uint16_t data;

	if (fragment == NULL || fragment->next_header != IPPROTO_TCP ||
		t->l4 + sizeof(*fragment) > t->l3 + t->length)
		return NET_TRANSIT_OTHER;
	data = rte_be_to_cpu_16(fragment->frag_data);
	t->id = fragment->id;
	t->offset = data & RTE_IPV6_EHDR_FO_MASK;
	t->more = (data & RTE_IPV6_EHDR_MF_MASK) != 0;
	t->l4 = (uint16_t)(t->l4 + sizeof(*fragment));
	return NET_TRANSIT_FRAGMENT;
}

// What follows the headers that any host skips.
static enum net_transit_kind upper_read_ipv6(
	const struct rte_mbuf *m, struct net_transit *t, uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return tcp_read(m, t);
	case IPPROTO_FRAGMENT:
		return fragment_read_ipv6(m, t);
	case IPPROTO_ICMPV6:
		return quote_read_ipv6(m, t);
	default:
		return NET_TRANSIT_OTHER;
	}
}

static enum net_transit_kind ipv6_read(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_ipv6_hdr *ip = bytes_at(m, t->l3, sizeof(*ip));
	uint8_t protocol;

	if (ip == NULL || rte_be_to_cpu_32(ip->vtc_flow) >> 28 != 6)
		return NET_TRANSIT_OTHER;
	t->l4 = (uint16_t)(t->l3 + IPV6_HEADER_LEN);
	t->length = IPV6_HEADER_LEN + rte_be_to_cpu_16(ip->payload_len);
	if (t->l3 + t->length > m->pkt_len)
		return NET_TRANSIT_OTHER;
	t->source.address = ipv6_address(ip->src_addr);
	t->destination.address = ipv6_address(ip->dst_addr);
	protocol = ip->proto;
	while (unlikely(protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS)) {
		const uint8_t *extension = bytes_at(m, t->l4, EXTENSION_UNIT);

		if (extension == NULL || t->l4 - t->l3 > IPV6_EXTENSIONS_MAX)
			return NET_TRANSIT_OTHER;
		protocol = extension[0];
		t->l4 = (uint16_t)(t->l4 + (1u + extension[1]) * EXTENSION_UNIT);
		if (t->l4 > t->l3 + t->length)
			return NET_TRANSIT_OTHER;
	}
	return upper_read_ipv6(m, t, protocol);
}

// --- frames --------------------------------------------------------------------------------------

// The type of what follows the Ethernet header and its tag; 0: not for us.
static uint16_t ethernet_read(const struct rte_mbuf *m, struct net_transit *t)
{
	const struct rte_ether_hdr *ether = bytes_at(m, 0, sizeof(*ether));
	const struct rte_vlan_hdr *tag;
	uint16_t type;

	if (ether == NULL)
		return 0;
	type = rte_be_to_cpu_16(ether->ether_type);
	t->l3 = sizeof(*ether);
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		t->vlan = m->vlan_tci & 0xfff;
	} else if (type == RTE_ETHER_TYPE_VLAN) {
		tag = bytes_at(m, sizeof(*ether), sizeof(*tag));
		if (tag == NULL)
			return 0;
		t->vlan = rte_be_to_cpu_16(tag->vlan_tci) & 0xfff;
		t->l3 = sizeof(*ether) + sizeof(*tag);
		type = rte_be_to_cpu_16(tag->eth_proto);
	}
	return type;
}

void net_transit_read(
	const struct net_if *netif, const struct rte_mbuf *m, struct net_transit *ret_transit)
{
	struct net_transit t = {.kind = NET_TRANSIT_OTHER};
	uint16_t type;

	if (netif->raw_ip)
		type = m->data_len > 0 && *rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 6
			       ? RTE_ETHER_TYPE_IPV6
			       : RTE_ETHER_TYPE_IPV4;
	else
		type = ethernet_read(m, &t);
	if (type == RTE_ETHER_TYPE_IPV4)
		t.kind = ipv4_read(m, &t);
	else if (type == RTE_ETHER_TYPE_IPV6)
		t.kind = ipv6_read(m, &t);
	*ret_transit = t;
}

void net_transit_observe(const struct rte_mbuf *m, const struct net_transit *transit,
	struct net_if *leaves, struct net_observed *ret_observed)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const void *header = rte_pktmbuf_mtod_offset(m, const void *, transit->l3);
	struct net_observed seen = {.netif = leaves};

	if (!leaves->raw_ip) {
		const struct rte_vlan_hdr *tag = (const void *)(ether + 1);

		memcpy(seen.source, &ether->src_addr, sizeof(seen.source));
		memcpy(seen.destination, &ether->dst_addr, sizeof(seen.destination));
		if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
			seen.tagged = true;
			seen.tag = m->vlan_tci;
		} else if (transit->l3 > sizeof(*ether)) {
			seen.tagged = true;
			seen.tag = rte_be_to_cpu_16(tag->vlan_tci);
		}
	}
	if (net_address_is_ipv4(&transit->source.address)) {
		const struct rte_ipv4_hdr *ip = header;

		seen.ttl = ip->time_to_live;
		seen.tos = ip->type_of_service;
		seen.fragments =
			(ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG)) == 0;
	} else {
		const struct rte_ipv6_hdr *ip = header;

		seen.ttl = ip->hop_limits;
		seen.tos = ipv6_traffic_class(ip);
		seen.flow_label = rte_be_to_cpu_32(ip->vtc_flow) & RTE_IPV6_HDR_FL_MASK;
	}
	*ret_observed = seen;
}

// --- from there to a delivery --------------------------------------------------------------------

// NET_DROPS: nothing wrong.
static enum net_drop header_check(
	const struct net_if *netif, const struct rte_mbuf *m, const struct net_transit *t)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, const void *, t->l3);
	uint64_t seen = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	bool good;

	if (ip->version != IPVERSION)
		return NET_DROPS;
	if (netif->caps.rx_checksum && seen != RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN)
		good = seen != RTE_MBUF_F_RX_IP_CKSUM_BAD;
	else
		good = rte_raw_cksum(ip, rte_ipv4_hdr_len(ip)) == 0xffff;
	return good ? NET_DROPS : NET_DROP_IP_CHECKSUM;
}

static enum net_drop segment_check(
	const struct net_if *netif, const struct rte_mbuf *m, const struct net_transit *t)
{
	uint64_t seen = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint32_t length = t->l3 + t->length - t->l4;
	enum net_drop wrong = header_check(netif, m, t);
	uint16_t sum;

	if (wrong != NET_DROPS)
		return wrong;
	if (netif->caps.rx_checksum && seen != RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN)
		return seen != RTE_MBUF_F_RX_L4_CKSUM_BAD ? NET_DROPS : NET_DROP_TCP_CHECKSUM;
	sum = net_checksum_pseudo(&t->source.address, &t->destination.address, IPPROTO_TCP, length);
	return net_checksum_chain(m, t->l4, length, sum) == 0xffff ? NET_DROPS
								   : NET_DROP_TCP_CHECKSUM;
}

bool net_transit_intact(
	const struct net_if *netif, const struct rte_mbuf *m, const struct net_transit *transit)
{
	return segment_check(netif, m, transit) == NET_DROPS;
}

static void addresses_fill(
	const struct rte_mbuf *m, const struct net_transit *t, struct net_delivery *delivery)
{
	const struct rte_ipv4_hdr *ip4 = rte_pktmbuf_mtod_offset(m, const void *, t->l3);
	const struct rte_ipv6_hdr *ip6 = (const void *)ip4;

	if (ip4->version == IPVERSION) {
		delivery->source = net_address_from_ipv4(ip4->src_addr);
		delivery->destination = net_address_from_ipv4(ip4->dst_addr);
		delivery->ecn = ip4->type_of_service & RTE_IPV4_HDR_ECN_MASK;
		delivery->ttl = ip4->time_to_live;
		return;
	}
	delivery->source = ipv6_address(ip6->src_addr);
	delivery->destination = ipv6_address(ip6->dst_addr);
	delivery->ecn = ipv6_traffic_class(ip6) & RTE_IPV4_HDR_ECN_MASK;
	delivery->ttl = ip6->hop_limits;
}

static enum net_drop icmp_check(const struct net_if *netif, const struct rte_mbuf *m,
	const struct net_transit *t, const struct net_delivery *delivery)
{
	bool ipv4 = net_address_is_ipv4(&delivery->source);
	uint32_t length = t->l3 + t->length - t->l4;
	enum net_drop wrong = header_check(netif, m, t);
	uint16_t sum = 0;

	if (wrong != NET_DROPS)
		return wrong;
	if (!ipv4)
		sum = net_checksum_pseudo(
			&delivery->source, &delivery->destination, IPPROTO_ICMPV6, length);
	return net_checksum_chain(m, t->l4, length, sum) == 0xffff ? NET_DROPS
								   : NET_DROP_ICMP_CHECKSUM;
}

// What the error says. False for an MTU that no IPv6 link has (RFC 8201 4).
static bool icmp_fill(
	const struct rte_mbuf *m, const struct net_transit *t, struct net_delivery *delivery)
{
	const struct rte_icmp_hdr *icmp =
		rte_pktmbuf_mtod_offset(m, const struct rte_icmp_hdr *, t->l4);
	bool ipv4 = net_address_is_ipv4(&delivery->source);
	uint32_t mtu = rte_be_to_cpu_16(icmp->icmp_seq_nb);

	delivery->kind = NET_DELIVERY_ICMP_ERROR;
	delivery->icmp_type = icmp->icmp_type;
	delivery->icmp_code = icmp->icmp_code;
	if (ipv4 && icmp->icmp_type == ICMP_TYPE_UNREACHABLE &&
		icmp->icmp_code == ICMP_CODE_FRAGMENTATION_NEEDED)
		delivery->icmp_mtu = (uint16_t)mtu;
	if (ipv4 || icmp->icmp_type != ICMP6_TYPE_TOO_BIG)
		return true;
	mtu |= (uint32_t)rte_be_to_cpu_16(icmp->icmp_ident) << 16;
	delivery->icmp_mtu = (uint16_t)RTE_MIN(mtu, (uint32_t)UINT16_MAX);
	return mtu >= IPV6_MTU_MIN;
}

static enum net_drop icmp_deliver(const struct net_if *netif, struct rte_mbuf *m,
	const struct net_transit *t, struct net_delivery *delivery)
{
	enum net_drop wrong = icmp_check(netif, m, t, delivery);
	const struct rte_ipv4_hdr *quoted;

	if (wrong != NET_DROPS)
		return wrong;
	if (!icmp_fill(m, t, delivery))
		return NET_DROP_ICMP_IGNORED;
	rte_pktmbuf_adj(m, (uint16_t)(t->l4 + sizeof(struct rte_icmp_hdr)));
	quoted = ipv4_header(m);
	m->l3_len = quoted->version == IPVERSION ? rte_ipv4_hdr_len(quoted) : IPV6_HEADER_LEN;
	return NET_DROPS;
}

// m starts at the IP header afterwards, and ends with the packet: Ethernet may have padded it.
static enum net_drop segment_deliver(const struct net_if *netif, struct rte_mbuf *m,
	const struct net_transit *t, struct net_delivery *delivery)
{
	enum net_drop wrong = segment_check(netif, m, t);

	if (wrong != NET_DROPS)
		return wrong;
	delivery->kind = NET_DELIVERY_TCP;
	rte_pktmbuf_adj(m, t->l3);
	if (t->length < m->pkt_len && rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - t->length)) != 0)
		return NET_DROP_IP_LENGTH; // padding longer than the last segment
	m->l3_len = (uint32_t)(t->l4 - t->l3);
	return NET_DROPS;
}

bool net_transit_deliver(struct net_if *netif, struct rte_mbuf *m,
	const struct net_transit *transit, struct net_delivery *ret_delivery)
{
	struct net_delivery delivery = {.m = m, .netif = netif};
	enum net_drop wrong;

	addresses_fill(m, transit, &delivery);
	m->l2_len = 0;
	if (transit->kind == NET_TRANSIT_ICMP_ERROR)
		wrong = icmp_deliver(netif, m, transit, &delivery);
	else
		wrong = segment_deliver(netif, m, transit, &delivery);
	if (wrong != NET_DROPS) {
		net_drop(netif->net, m, wrong);
		return false;
	}
	if (delivery.kind == NET_DELIVERY_ICMP_ERROR)
		counter_inc(&netif->net->counters.icmp_errors[NET_RECEIVED]);
	else
		counter_inc(&netif->net->counters.ip_packets[NET_RECEIVED]);
	*ret_delivery = delivery;
	return true;
}
