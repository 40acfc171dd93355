// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Packets that do not go out as they are: fragmentation (RFC 791 3.2), and chains
// made flat for a netif that takes one segment only. Both copy into fresh mbufs;
// rte_ipv4_fragment_packet() would make chains of what it should cut. Off the hot
// path. Worker's thread.

#include "net/ipv4.h"

#include "net/state.h"

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

// The most that one frame carries behind its IP header: the MTU's or the mbuf's limit.
static uint32_t part_room(const struct net_path *path)
{
	uint32_t buffer = rte_pktmbuf_data_room_size(path->netif->tx_pool);
	uint32_t front = RTE_MAX(RTE_PKTMBUF_HEADROOM, NET_HEADROOM);
	uint32_t mtu = path->mtu - (uint32_t)sizeof(struct rte_ipv4_hdr);

	return buffer > front ? RTE_MIN(buffer - front, mtu) : 0;
}

void ipv4_transmit_parts(
	struct net_path *path, struct rte_mbuf *m, const struct ipv4_fields *fields)
{
	uint32_t total = m->pkt_len, room = part_room(path), step = total;
	struct net *net = path->net;

	if (total > room) {
		step = room & ~(RTE_IPV4_HDR_OFFSET_UNITS - 1u);
		if (path->df || step == 0) {
			net_drop(net, m, NET_DROP_TOO_BIG);
			return;
		}
	}
	for (uint32_t offset = 0; offset < total; offset += step) {
		uint32_t length = RTE_MIN(step, total - offset);
		struct rte_mbuf *part = part_copy(path, m, offset, length);
		struct ipv4_fields one = *fields;

		if (part == NULL) {
			net_drop_count(net, NET_DROP_NO_MBUF);
			break; // the rest would be worth nothing without it
		}
		one.length = (uint16_t)(length + sizeof(struct rte_ipv4_hdr));
		one.offset |= (uint16_t)(offset / RTE_IPV4_HDR_OFFSET_UNITS);
		if (offset + length < total)
			one.offset |= RTE_IPV4_HDR_MF_FLAG;
		if (step < total)
			counter_inc(&net->counters.fragments[NET_SENT]);
		ipv4_transmit(path, part, &one);
	}
	rte_pktmbuf_free(m);
}
