// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ND messages of our own, and the groups they go to: RFC 4861 7.2, RFC 4862 5.4.2, RFC
// 4291 2.7.1, RFC 2464 7. Worker's thread.

#include "net/nd.h"

#include "net/checksum.h"
#include "net/ipv6.h"
#include "net/local.h"

const struct net_address nd_all_nodes = {.bytes = {0xff, 0x02, [15] = 1}};
static const struct net_address unspecified;

// --- groups --------------------------------------------------------------------------------------

struct net_address nd_solicited_node(const struct net_address *address)
{
	const uint8_t *b = address->bytes;

	return (struct net_address){.bytes = {0xff, 0x02, [11] = 1, 0xff, b[13], b[14], b[15]}};
}

struct rte_ether_addr nd_group_mac(const struct net_address *group)
{
	const uint8_t *b = group->bytes;

	return (struct rte_ether_addr){{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

bool nd_group_is_ours(
	const struct net *net, const struct net_if *netif, const struct net_address *group)
{
	bool all = net_address_equal(group, &nd_all_nodes);

	for (unsigned i = 0; i < net->locals6_count; i++) {
		const struct net_local *local = &net->locals6[i];
		struct net_address own = nd_solicited_node(&local->address);

		if (local->netif == netif && local->state != NET_LOCAL_DUPLICATE &&
			(all || net_address_equal(group, &own)))
			return true;
	}
	return false;
}

bool nd_group_mac_is_ours(
	const struct net *net, const struct net_if *netif, const struct rte_ether_addr *mac)
{
	struct rte_ether_addr group = nd_group_mac(&nd_all_nodes);

	if (rte_is_same_ether_addr(mac, &group))
		return link6_find(net, netif) != NULL;
	for (unsigned i = 0; i < net->locals6_count; i++) {
		struct net_address own = nd_solicited_node(&net->locals6[i].address);

		group = nd_group_mac(&own);
		if (net->locals6[i].netif == netif && rte_is_same_ether_addr(mac, &group))
			return true;
	}
	return false;
}

// --- frames --------------------------------------------------------------------------------------

struct rte_mbuf *nd_frame_alloc(struct net *net, const struct nd_frame *frame, void **ret_payload)
{
	struct net_if *netif = frame->netif;
	struct rte_mbuf *m = rte_pktmbuf_alloc(netif->tx_pool);
	struct rte_ether_hdr *ether;
	struct rte_ipv6_hdr *ip;

	if (m == NULL && netif->tx_reserve != NULL)
		m = rte_pktmbuf_alloc(netif->tx_reserve);
	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
		return NULL;
	}
	ether = (void *)rte_pktmbuf_append(
		m, (uint16_t)(sizeof(*ether) + sizeof(*ip) + frame->length));
	rte_ether_addr_copy(&frame->to, &ether->dst_addr);
	memcpy(ether->src_addr.addr_bytes, netif->mac, RTE_ETHER_ADDR_LEN);
	ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6);
	ip = (void *)(ether + 1);
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->payload_len = rte_cpu_to_be_16(frame->length);
	ip->proto = frame->protocol;
	ip->hop_limits = frame->hop_limit;
	memcpy(ip->src_addr, frame->source.bytes, sizeof(ip->src_addr));
	memcpy(ip->dst_addr, frame->destination.bytes, sizeof(ip->dst_addr));
	*ret_payload = ip + 1;
	return m;
}

struct nd_spec {
	struct net_if *netif;
	const struct net_address *source, *destination, *target;
	struct rte_ether_addr to;
	uint32_t flags;
	uint8_t type;
	uint8_t option; // that carries our MAC; 0: none
};

static void nd_send(struct net *net, const struct nd_spec *spec)
{
	struct nd_option_mac *option;
	struct nd_message *message;
	struct nd_frame frame = {
		.netif = spec->netif,
		.source = *spec->source,
		.destination = *spec->destination,
		.to = spec->to,
		.protocol = IPPROTO_ICMPV6,
		.hop_limit = ND_HOP_LIMIT,
		.length = sizeof(*message) + (spec->option != 0 ? sizeof(*option) : 0),
	};
	void *payload;
	struct rte_mbuf *m = nd_frame_alloc(net, &frame, &payload);
	uint16_t sum;

	if (m == NULL)
		return;
	message = payload;
	message->type = spec->type;
	message->code = 0;
	message->checksum = 0;
	message->flags = rte_cpu_to_be_32(spec->flags);
	memcpy(message->target, spec->target->bytes, sizeof(message->target));
	if (spec->option != 0) {
		option = (void *)message->options;
		option->type = spec->option;
		option->units = 1;
		memcpy(option->mac.addr_bytes, spec->netif->mac, RTE_ETHER_ADDR_LEN);
	}
	sum = net_checksum_pseudo(spec->source, spec->destination, IPPROTO_ICMPV6, frame.length);
	sum = net_checksum_chain(m, m->pkt_len - frame.length, frame.length, sum);
	message->checksum = (uint16_t)~sum;
	if (spec->type == ND_SOLICITATION)
		counter_inc(&net->counters.nd_solicitations[NET_SENT]);
	else
		counter_inc(&net->counters.nd_advertisements[NET_SENT]);
	spec->netif->tx(spec->netif->ctx, m);
}

// --- messages ------------------------------------------------------------------------------------

void nd_solicit(struct net *net, struct net_if *netif, const struct net_address *target,
	const struct rte_ether_addr *to)
{
	const struct net_local *local = local6_towards(net, netif, target);
	struct net_address group = nd_solicited_node(target);

	if (local == NULL) // still being probed for: the next try may find one
		return;
	nd_send(net, &(struct nd_spec){
			     .netif = netif,
			     .source = &local->address,
			     .destination = to != NULL ? target : &group,
			     .target = target,
			     .to = to != NULL ? *to : nd_group_mac(&group),
			     .type = ND_SOLICITATION,
			     .option = ND_OPTION_SOURCE_MAC,
		     });
}

void nd_probe(struct net *net, const struct net_local *local)
{
	struct net_address group = nd_solicited_node(&local->address);

	nd_send(net, &(struct nd_spec){
			     .netif = local->netif,
			     .source = &unspecified,
			     .destination = &group,
			     .target = &local->address,
			     .to = nd_group_mac(&group),
			     .type = ND_SOLICITATION,
		     });
}

void nd_advertise(struct net *net, const struct net_local *local,
	const struct net_address *destination, const struct rte_ether_addr *to)
{
	if (net->hearing) // who has received it answers
		return;
	nd_send(net,
		&(struct nd_spec){
			.netif = local->netif,
			.source = &local->address,
			.destination = destination != NULL ? destination : &nd_all_nodes,
			.target = &local->address,
			.to = to != NULL ? *to : nd_group_mac(&nd_all_nodes),
			.flags = ND_FLAG_OVERRIDE | (destination != NULL ? ND_FLAG_SOLICITED : 0),
			.type = ND_ADVERTISEMENT,
			.option = ND_OPTION_TARGET_MAC,
		});
}
