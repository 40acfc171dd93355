// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Packets that do not go out as they are: fragmentation (RFC 791 3.2, RFC 8200 4.5),
// and chains made flat for a netif that takes one segment only. Both copy into fresh
// mbufs; the functions of rte_ip_frag would make chains of what they should cut. Off
// the hot path. Worker's thread.

#include "net/ip.h"

#include <rte_ip.h>

// Copies `length` bytes from `offset` of m into one new mbuf with room for the headers in front.
static struct rte_mbuf *part_copy(
	struct net_path *path, const struct rte_mbuf *m, uint32_t offset, uint32_t length)
{
	struct rte_mbuf *part = rte_pktmbuf_alloc(path->netif->tx_pool);
	const void *data;
	char *room;

	if (part == NULL)
		return NULL;
	part->data_off = RTE_MAX(part->data_off, (uint16_t)NET_HEADROOM);
	room = rte_pktmbuf_append(part, (uint16_t)length);
	DASSERT(room != NULL); // part_room() has looked
	data = rte_pktmbuf_read(m, offset, length, room);
	if (data != room)
		memcpy(room, data, length);
	part->l4_len = offset == 0 ? m->l4_len : 0;
	return part;
}

// The most that one frame carries behind headers of that length: the MTU's or the mbuf's limit.
static uint32_t part_room(const struct net_path *path, uint32_t headers)
{
	uint32_t buffer = rte_pktmbuf_data_room_size(path->netif->tx_pool);
	uint32_t front = RTE_MAX(RTE_PKTMBUF_HEADROOM, NET_HEADROOM);

	return buffer > front ? RTE_MIN(buffer - front, path->mtu - headers) : 0;
}

// How much of `total` goes into each part; all of it when one is enough, 0 when it cannot be cut.
static uint32_t part_step(const struct net_path *path, uint32_t total)
{
	uint32_t header = path->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);

	if (total <= part_room(path, header))
		return total;
	if (path->df)
		return 0;
	if (path->ipv6)
		header += sizeof(struct rte_ipv6_fragment_ext);
	return part_room(path, header) & ~(IP_FRAGMENT_UNIT - 1);
}

void ip_transmit_parts(struct net_path *path, struct rte_mbuf *m, const struct ip_fields *fields)
{
	uint32_t total = m->pkt_len, step = part_step(path, total);
	struct net *net = path->netif->net;

	if (step == 0) {
		net_drop(net, m, NET_DROP_TOO_BIG);
		return;
	}
	for (uint32_t offset = 0; offset < total; offset += step) {
		uint32_t length = RTE_MIN(step, total - offset);
		struct rte_mbuf *part = part_copy(path, m, offset, length);
		struct ip_fields one = *fields;

		if (part == NULL) {
			net_drop_count(net, NET_DROP_NO_MBUF);
			break; // the rest would be worth nothing without it
		}
		one.offset = (uint16_t)offset;
		one.part = step < total;
		one.more = offset + length < total;
		if (one.part)
			counter_inc(&net->counters.fragments[NET_SENT]);
		if (path->ipv6)
			ipv6_transmit(path, part, &one);
		else
			ipv4_transmit(path, part, &one);
	}
	rte_pktmbuf_free(m);
}
