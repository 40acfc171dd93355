// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A few packets, searched one by one; the parts of each in the order they came, with
// where they belong. Worker's thread.

#include "net/gather.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/wheel.h"
#include "net/ip.h"
#include "net/ipv4.h"
#include "net/ipv6.h"

#include <rte_tcp.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_US	    (60 * US_IN_S)
#define FRAGMENT_HEADER_LEN ((uint32_t)sizeof(struct rte_ipv6_fragment_ext))

struct part {
	struct list link;
	struct rte_mbuf *m;
	uint32_t tag;
	uint16_t at;	 // in the frame, where its share of the packet begins
	uint32_t offset; // in the packet
	uint32_t length;
};

struct gather_packet {
	struct list link;  // used, the oldest first; or free
	struct list parts; // in the order they came
	struct net_address source, destination;
	uint32_t id;
	uint16_t vlan;
	bool passes;
	uint16_t l3, l4;      // of the first part's frame, without a fragment header
	uint32_t have, total; // octets behind the IP header; total 0: not known yet
	uint64_t expires_us;
};

struct gather {
	struct gather_packet packets[GATHER_PACKETS];
	struct part parts[GATHER_PARTS];
	struct list used, packets_free, parts_free;
};

int gather_create(struct gather **ret_gather)
{
	struct gather *gather = calloc(1, sizeof(*gather));

	if (gather == NULL)
		return -ENOMEM;
	list_init(&gather->used);
	list_init(&gather->packets_free);
	list_init(&gather->parts_free);
	for (unsigned i = 0; i < GATHER_PACKETS; i++)
		list_append(&gather->packets_free, &gather->packets[i].link);
	for (unsigned i = 0; i < GATHER_PARTS; i++)
		list_append(&gather->parts_free, &gather->parts[i].link);
	*ret_gather = gather;
	return 0;
}

void gather_destroy(struct gather *gather)
{
	if (gather == NULL)
		return;
	while (!list_empty(&gather->used))
		gather_release(gather, container_of(gather->used.next, struct gather_packet, link));
	free(gather);
}

// --- packets -------------------------------------------------------------------------------------

static bool is_of(const struct gather_packet *packet, const struct net_transit *t)
{
	return packet->id == t->id && packet->vlan == t->vlan &&
	       net_address_equal(&packet->source, &t->source.address) &&
	       net_address_equal(&packet->destination, &t->destination.address);
}

static struct gather_packet *packet_find(struct gather *gather, const struct net_transit *t)
{
	list_for_each (node, &gather->used) {
		struct gather_packet *packet = container_of(node, struct gather_packet, link);

		if (is_of(packet, t))
			return packet;
	}
	return NULL;
}

// The place of one that passes: what follows of it will be looked at anew.
static void make_room(struct gather *gather)
{
	list_for_each (node, &gather->used) {
		struct gather_packet *packet = container_of(node, struct gather_packet, link);

		if (packet->passes) {
			gather_release(gather, packet);
			return;
		}
	}
}

static struct gather_packet *packet_begin(
	struct gather *gather, const struct net_transit *t, uint64_t now_us)
{
	struct gather_packet *packet;
	struct list *node;

	if (list_empty(&gather->packets_free))
		make_room(gather);
	node = list_pop(&gather->packets_free);
	if (node == NULL)
		return NULL;
	packet = container_of(node, struct gather_packet, link);
	*packet = (struct gather_packet){
		.source = t->source.address,
		.destination = t->destination.address,
		.id = t->id,
		.vlan = t->vlan,
		.expires_us = now_us + TIMEOUT_US,
	};
	list_init(&packet->parts);
	list_append(&gather->used, &packet->link);
	return packet;
}

struct rte_mbuf *gather_take(struct gather *gather, struct gather_packet *packet, uint32_t *ret_tag)
{
	struct list *node = list_pop(&packet->parts);
	struct part *part;

	if (node == NULL)
		return NULL;
	part = container_of(node, struct part, link);
	*ret_tag = part->tag;
	list_append(&gather->parts_free, node);
	return part->m;
}

void gather_let_pass(struct gather_packet *packet)
{
	packet->passes = true;
}

void gather_release(struct gather *gather, struct gather_packet *packet)
{
	struct rte_mbuf *m;
	uint32_t tag;

	while ((m = gather_take(gather, packet, &tag)) != NULL)
		rte_pktmbuf_free(m);
	list_remove(&packet->link);
	list_append(&gather->packets_free, &packet->link);
}

// --- parts ---------------------------------------------------------------------------------------

static bool overlaps(const struct gather_packet *packet, uint32_t offset, uint32_t length)
{
	list_for_each (node, &packet->parts) {
		const struct part *other = container_of(node, struct part, link);

		if (offset < other->offset + other->length && other->offset < offset + length)
			return true;
	}
	return false;
}

// Could it be a part of that packet, by what is known of it?
static bool fits(const struct gather_packet *packet, const struct net_transit *t, uint32_t length)
{
	uint32_t end = t->offset + length;

	if (length == 0 || (t->more && length % IP_FRAGMENT_UNIT != 0) || end > IP_LENGTH_MAX)
		return false;
	// The first part holds the whole TCP header, and none begins inside it (RFC 1858).
	if (t->offset == 0 ? length < sizeof(struct rte_tcp_hdr)
			   : t->offset < sizeof(struct rte_tcp_hdr))
		return false;
	if (!t->more && packet->total != 0 && packet->total != end)
		return false;
	if (packet->total != 0 && end > packet->total)
		return false;
	return !overlaps(packet, t->offset, length);
}

static void part_add(struct gather *gather, struct gather_packet *packet, struct rte_mbuf *m,
	const struct net_transit *t, uint32_t length, uint32_t tag)
{
	struct part *part = container_of(list_pop(&gather->parts_free), struct part, link);
	bool ipv4 = net_address_is_ipv4(&t->source.address);

	part->m = m;
	part->tag = tag;
	part->at = t->l4;
	part->offset = t->offset;
	part->length = length;
	list_append(&packet->parts, &part->link);
	packet->have += length;
	if (!t->more)
		packet->total = t->offset + length;
	if (t->offset == 0) {
		packet->l3 = t->l3;
		packet->l4 = (uint16_t)(ipv4 ? t->l4 : t->l4 - FRAGMENT_HEADER_LEN);
	}
}

// Counted, to know when all have gone by.
static void part_passes(struct gather *gather, struct gather_packet *packet,
	const struct net_transit *t, uint32_t length)
{
	packet->have += length;
	if (!t->more)
		packet->total = t->offset + length;
	if (packet->total != 0 && packet->have >= packet->total)
		gather_release(gather, packet);
}

enum gather_news gather_add(struct gather *gather, struct rte_mbuf *m,
	const struct net_transit *transit, uint32_t tag, uint64_t now_us,
	struct gather_packet **ret_packet)
{
	struct gather_packet *packet = packet_find(gather, transit);
	uint32_t length = transit->l3 + transit->length - transit->l4;

	if (packet == NULL)
		packet = packet_begin(gather, transit, now_us);
	*ret_packet = packet;
	if (packet != NULL && packet->passes) {
		part_passes(gather, packet, transit, length);
		return GATHER_PASSES;
	}
	if (packet == NULL || list_empty(&gather->parts_free) || !fits(packet, transit, length)) {
		rte_pktmbuf_free(m);
		if (packet != NULL)
			gather_release(gather, packet);
		*ret_packet = NULL;
		return GATHER_REFUSED;
	}
	part_add(gather, packet, m, transit, length, tag);
	if (packet->total != 0 && packet->have == packet->total)
		return GATHER_COMPLETE;
	return transit->offset == 0 ? GATHER_FIRST : GATHER_WAITS;
}

static const struct part *part_at(const struct gather_packet *packet, uint32_t offset)
{
	list_for_each (node, &packet->parts) {
		const struct part *part = container_of(node, struct part, link);

		if (part->offset == offset)
			return part;
	}
	return NULL;
}

bool gather_ports(
	const struct gather_packet *packet, uint16_t *ret_source, uint16_t *ret_destination)
{
	const struct part *first = part_at(packet, 0);
	struct rte_tcp_hdr scratch;
	const struct rte_tcp_hdr *tcp;

	if (first == NULL)
		return false;
	tcp = rte_pktmbuf_read(first->m, first->at, sizeof(scratch), &scratch);
	if (tcp == NULL)
		return false;
	*ret_source = rte_be_to_cpu_16(tcp->src_port);
	*ret_destination = rte_be_to_cpu_16(tcp->dst_port);
	return true;
}

// --- the whole -----------------------------------------------------------------------------------

// The headers say one packet now, and where it ends.
static void headers_mend(struct rte_mbuf *m, const struct gather_packet *packet)
{
	struct rte_ipv4_hdr *ip4 = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, packet->l3);
	struct rte_ipv6_hdr *ip6 = (void *)ip4;
	uint32_t header = (uint32_t)(packet->l4 - packet->l3);

	if (ip4->version == IPVERSION) {
		ip4->total_length = rte_cpu_to_be_16((uint16_t)(header + packet->total));
		ip4->fragment_offset = 0;
		ip4->hdr_checksum = 0;
		ip4->hdr_checksum = (uint16_t)~rte_raw_cksum(ip4, header);
		return;
	}
	ip6->proto = IPPROTO_TCP;
	ip6->payload_len = rte_cpu_to_be_16((uint16_t)(header - sizeof(*ip6) + packet->total));
}

// Headers and the first part in one mbuf, so that TCP's header is whole.
static struct rte_mbuf *whole_begin(
	const struct gather_packet *packet, const struct part *first, struct rte_mempool *pool)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	const void *data;
	char *room;

	if (m == NULL)
		return NULL;
	room = rte_pktmbuf_append(m, (uint16_t)(packet->l4 + first->length));
	if (room == NULL || first->m->data_len < packet->l4) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(room, rte_pktmbuf_mtod(first->m, const void *), packet->l4);
	data = rte_pktmbuf_read(first->m, first->at, first->length, room + packet->l4);
	if (data != room + packet->l4)
		memcpy(room + packet->l4, data, first->length);
	// What the device has said of the tag holds of the whole; of sums it has seen parts.
	m->vlan_tci = first->m->vlan_tci;
	m->ol_flags |= first->m->ol_flags & (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	headers_mend(m, packet);
	return m;
}

struct rte_mbuf *gather_whole(const struct gather_packet *packet, struct rte_mempool *pool)
{
	const struct part *part = part_at(packet, 0);
	uint32_t header = (uint32_t)(packet->l4 - packet->l3);
	struct rte_mbuf *m;

	ASSERT(part != NULL && packet->have == packet->total);
	// Other headers between IPv6's own and the fragment header name what follows them.
	if (header + packet->total > IP_LENGTH_MAX ||
		(!net_address_is_ipv4(&packet->source) && header != sizeof(struct rte_ipv6_hdr)))
		return NULL;
	m = whole_begin(packet, part, pool);
	for (uint32_t at = part->length; m != NULL && at < packet->total; at += part->length) {
		struct rte_mbuf *more;

		part = part_at(packet, at);
		more = rte_pktmbuf_copy(part->m, pool, part->at, part->length);
		if (more == NULL || rte_pktmbuf_chain(m, more) != 0) {
			rte_pktmbuf_free(more);
			rte_pktmbuf_free(m);
			return NULL;
		}
	}
	return m;
}

// --- time ----------------------------------------------------------------------------------------

unsigned gather_expire(struct gather *gather, uint64_t now_us)
{
	unsigned unfinished = 0;

	while (!list_empty(&gather->used)) {
		struct gather_packet *packet =
			container_of(gather->used.next, struct gather_packet, link);

		if (packet->expires_us > now_us)
			break;
		unfinished += !packet->passes;
		gather_release(gather, packet);
	}
	return unfinished;
}

uint64_t gather_next_deadline(const struct gather *gather)
{
	if (list_empty(&gather->used))
		return WHEEL_NEVER;
	return container_of(gather->used.next, struct gather_packet, link)->expires_us;
}
