// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ARP: RFC 826; announcing and defending our addresses: RFC 5227 2.3 and 2.4 (c).
// Addresses are configured, so they are announced without being probed for first
// (2.1.1): a start must not wait for seconds. Worker's thread.

#include "net/arp.h"

#include "base/clock.h"
#include "net/ipv4.h"
#include "net/local.h"
#include "net/neighbour.h"
#include "net/state.h"

#include <rte_arp.h>

#define ANNOUNCE_NUM	     2
#define ANNOUNCE_INTERVAL_US (2 * US_IN_S)

static const struct rte_ether_addr ether_broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

struct arp_parties {
	uint32_t source, target;	    // network byte order
	const struct rte_ether_addr *asked; // target's MAC, NULL when unknown
};

static void arp_send(struct net *net, struct net_if *netif, uint16_t opcode,
	const struct arp_parties *parties, const struct rte_ether_addr *to)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(netif->tx_pool);
	struct rte_ether_hdr *ether;
	struct rte_arp_hdr *arp;

	if (m == NULL && netif->tx_reserve != NULL)
		m = rte_pktmbuf_alloc(netif->tx_reserve);
	if (m == NULL) {
		net_drop_count(net, NET_DROP_NO_MBUF);
		return;
	}
	ether = (void *)rte_pktmbuf_append(m, sizeof(*ether) + sizeof(*arp));
	rte_ether_addr_copy(to, &ether->dst_addr);
	memcpy(ether->src_addr.addr_bytes, netif->mac, RTE_ETHER_ADDR_LEN);
	ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP);

	arp = (void *)(ether + 1);
	*arp = (struct rte_arp_hdr){
		.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER),
		.arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = sizeof(uint32_t),
		.arp_opcode = rte_cpu_to_be_16(opcode),
		.arp_data.arp_sha = ether->src_addr,
		.arp_data.arp_sip = parties->source,
		.arp_data.arp_tip = parties->target,
	};
	if (parties->asked != NULL)
		rte_ether_addr_copy(parties->asked, &arp->arp_data.arp_tha);
	if (opcode == RTE_ARP_OP_REQUEST)
		counter_inc(&net->counters.arp_requests[NET_SENT]);
	else
		counter_inc(&net->counters.arp_replies[NET_SENT]);
	netif->tx(netif->ctx, m);
}

static void arp_announce(struct net *net, const struct net_local *local)
{
	const struct arp_parties self = {.source = local->ipv4, .target = local->ipv4};

	if (!local->netif->raw_ip)
		arp_send(net, local->netif, RTE_ARP_OP_REQUEST, &self, &ether_broadcast);
}

void arp_timers(struct net *net)
{
	if (net->now_us < net->announce_us)
		return;
	for (unsigned i = 0; i < net->locals_count && !net->config.quiet; i++)
		arp_announce(net, &net->locals[i]);
	net->announcements++;
	net->announce_us = net->announcements < ANNOUNCE_NUM ? net->now_us + ANNOUNCE_INTERVAL_US
							     : WHEEL_NEVER;
}

// The address of the interface that shares the target's prefix: a neighbour may refuse to answer
// a sender that it cannot reach itself.
static uint32_t arp_source(const struct net *net, const struct net_if *netif, uint32_t target)
{
	struct net_address address = net_address_from_ipv4(target);

	for (unsigned i = 0; i < net->locals_count; i++) {
		const struct net_local *local = &net->locals[i];

		if (local->netif == netif &&
			net_prefix_contains(&local->address, local->prefix, &address))
			return local->ipv4;
	}
	return 0; // not reached: every next hop lies in a prefix of its interface
}

void arp_request(
	struct net *net, struct net_if *netif, uint32_t target, const struct rte_ether_addr *to)
{
	const struct arp_parties parties = {
		.source = arp_source(net, netif, target),
		.target = target,
		.asked = to,
	};

	arp_send(net, netif, RTE_ARP_OP_REQUEST, &parties, to != NULL ? to : &ether_broadcast);
}

static bool arp_valid(const struct rte_mbuf *m)
{
	const struct rte_arp_hdr *arp = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
	uint16_t opcode;
	uint32_t sender;

	if (m->data_len < sizeof(*arp))
		return false;
	opcode = rte_be_to_cpu_16(arp->arp_opcode);
	sender = rte_be_to_cpu_32(arp->arp_data.arp_sip);
	return arp->arp_hardware == rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) &&
	       arp->arp_protocol == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
	       arp->arp_hlen == RTE_ETHER_ADDR_LEN && arp->arp_plen == sizeof(uint32_t) &&
	       (opcode == RTE_ARP_OP_REQUEST || opcode == RTE_ARP_OP_REPLY) &&
	       rte_is_valid_assigned_ether_addr(&arp->arp_data.arp_sha) &&
	       sender < IPV4_MULTICAST && sender >> 24 != 127;
}

// Somebody else uses an address of ours: defended with one announcement.
static void arp_conflict(struct net *net, struct net_local *local, const struct rte_ether_addr *mac)
{
	counter_inc(&net->counters.arp_conflicts);
	if (local_conflict(net, local, mac) && !net->hearing)
		arp_announce(net, local);
}

static bool arp_sender_on_link(const struct net *net, const struct net_if *netif, uint32_t sender)
{
	return sender != 0 && arp_source(net, netif, sender) != 0;
}

void arp_input(struct net *net, struct net_if *netif, struct rte_mbuf *m)
{
	const struct rte_arp_ipv4 *data = &rte_pktmbuf_mtod(m, struct rte_arp_hdr *)->arp_data;
	struct net_local *claimed, *target;
	bool request, news = false;

	if (!arp_valid(m)) {
		net_drop(net, m, NET_DROP_ARP_MALFORMED);
		return;
	}
	request = rte_pktmbuf_mtod(m, struct rte_arp_hdr *)->arp_opcode ==
		  rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
	claimed = local_find(net, netif, data->arp_sip);
	if (claimed != NULL) {
		// Our own words, sent back by a hub or another worker, are no conflict.
		if (memcmp(data->arp_sha.addr_bytes, netif->mac, RTE_ETHER_ADDR_LEN) != 0)
			arp_conflict(net, claimed, &data->arp_sha);
		net_drop(net, m, NET_DROP_ARP_CONFLICT);
		return;
	}
	target = local_find(net, netif, data->arp_tip);
	if (arp_sender_on_link(net, netif, data->arp_sip)) {
		struct net_address sender = net_address_from_ipv4(data->arp_sip);

		news = neighbour_learn(net, netif, &sender, &data->arp_sha,
			target == NULL ? NEIGHBOUR_OVERRIDES
			: request ? NEIGHBOUR_OVERRIDES | NEIGHBOUR_CONFIRMS | NEIGHBOUR_CREATES
				  : NEIGHBOUR_OVERRIDES | NEIGHBOUR_CONFIRMS);
	}
	if (target == NULL && !news) {
		net_drop(net, m, NET_DROP_ARP_NOT_OURS);
		return;
	}
	if (target != NULL && request && !net->hearing) {
		// A probe (sender 0) is answered too: that is how we defend (RFC 5227 2.1.1).
		const struct arp_parties parties = {
			.source = data->arp_tip,
			.target = data->arp_sip,
			.asked = &data->arp_sha,
		};

		counter_inc(&net->counters.arp_requests[NET_RECEIVED]);
		arp_send(net, netif, RTE_ARP_OP_REPLY, &parties, &data->arp_sha);
	} else if (target != NULL && !request) {
		counter_inc(&net->counters.arp_replies[NET_RECEIVED]);
	}
	rte_pktmbuf_free(m);
}
