// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The IPv4 header of what is sent. RFC 791 3.1, RFC 6864. Worker's thread.

#include "net/ipv4.h"

#include "base/sum.h"
#include "net/ip.h"

#include <string.h>

static inline void store32(uint8_t *to, uint32_t word)
{
	memcpy(to, &word, sizeof(word));
}

static uint16_t fragment_field(const struct net_path *path, const struct ip_fields *fields)
{
	uint16_t field = (uint16_t)(fields->offset / IP_FRAGMENT_UNIT);

	if (path->df)
		field |= RTE_IPV4_HDR_DF_FLAG;
	if (fields->more)
		field |= RTE_IPV4_HDR_MF_FLAG;
	return field;
}

// Word by word from registers, and summed there: what was just written in parts cannot be read back
// at once without a stall.
static void header_write(const struct net_path *path, uint8_t *header, uint16_t length,
	const struct ip_fields *fields, bool in_hardware)
{
	uint32_t id = path->df ? 0 : fields->id & 0xffff;
	uint32_t first = rte_cpu_to_be_32((uint32_t)RTE_IPV4_VHL_DEF << 24 |
					  (uint32_t)(path->tos | fields->ecn) << 16 | length);
	uint32_t second = rte_cpu_to_be_32(id << 16 | fragment_field(path, fields));
	uint32_t third =
		rte_cpu_to_be_32((uint32_t)path->ttl << 24 | (uint32_t)fields->protocol << 16);
	uint32_t source = net_address_to_ipv4(&path->local);
	uint32_t destination = net_address_to_ipv4(&path->remote);

	if (!in_hardware) {
		uint16_t sum = sum_fold((uint64_t)first + second + third + source + destination);

		third |= rte_cpu_to_be_32(rte_be_to_cpu_16((uint16_t)~sum));
	}
	store32(header, first);
	store32(header + 4, second);
	store32(header + 8, third);
	store32(header + 12, source);
	store32(header + 16, destination);
}

void ipv4_transmit(struct net_path *path, struct rte_mbuf *m, const struct ip_fields *fields)
{
	uint8_t *header = (void *)rte_pktmbuf_prepend(m, sizeof(struct rte_ipv4_hdr));
	// Who cuts a frame makes the headers of its parts, even where it sums no others (virtio).
	bool in_hardware =
		path->netif->caps.tx_ip_checksum || (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);

	header_write(path, header, (uint16_t)m->pkt_len, fields, in_hardware);
	m->l3_len = sizeof(struct rte_ipv4_hdr);
	if (in_hardware)
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	ip_transmit(path, m);
}
