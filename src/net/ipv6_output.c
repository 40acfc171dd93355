// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The IPv6 header of what is sent, and the fragment header of parts. RFC 8200 3 and
// 4.5. Worker's thread.

#include "net/ipv6.h"

static void fragment_header_prepend(struct rte_mbuf *m, const struct ip_fields *fields)
{
	struct rte_ipv6_fragment_ext *fragment = (void *)rte_pktmbuf_prepend(m, sizeof(*fragment));

	fragment->next_header = fields->protocol;
	fragment->reserved = 0;
	fragment->frag_data =
		rte_cpu_to_be_16(RTE_IPV6_SET_FRAG_DATA(fields->offset, fields->more));
	fragment->id = rte_cpu_to_be_32(fields->id);
}

void ipv6_transmit(struct net_path *path, struct rte_mbuf *m, const struct ip_fields *fields)
{
	uint32_t traffic_class = (uint32_t)path->tos | fields->ecn;
	struct rte_ipv6_hdr *ip;
	uint16_t length;

	if (fields->part)
		fragment_header_prepend(m, fields);
	length = (uint16_t)m->pkt_len;
	ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));
	ip->vtc_flow = rte_cpu_to_be_32(
		6u << 28 | traffic_class << RTE_IPV6_HDR_TC_SHIFT | path->flow_label);
	ip->payload_len = rte_cpu_to_be_16(length);
	ip->proto = fields->part ? IPPROTO_FRAGMENT : fields->protocol;
	ip->hop_limits = path->ttl;
	memcpy(ip->src_addr, path->local.bytes, sizeof(ip->src_addr));
	memcpy(ip->dst_addr, path->remote.bytes, sizeof(ip->dst_addr));
	m->l3_len = sizeof(*ip) + (fields->part ? sizeof(struct rte_ipv6_fragment_ext) : 0);
	ip_transmit(path, m);
}
