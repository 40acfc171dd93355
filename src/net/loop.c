// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Packets to addresses of ours, where net_config.loop has it so: they leave by an interface that
// has no wire, wait here until the turn is over, and come in again (RFC 1122 3.3.1.1). They were
// never out of this memory, so nothing of them is checked; there is nothing but TCP among them.
// Worker's thread.

#include "net/loop.h"

#include "net/ip.h"
#include "net/local.h"

#include <netinet/in.h>

#include <errno.h>

static void loop_tx(void *ctx, struct rte_mbuf *m)
{
	struct net *net = ctx;

	if (net->looped_count == NET_LOOP_MAX) {
		net_drop(net, m, NET_DROP_NO_MBUF);
		return;
	}
	net->looped[net->looped_count++] = m;
}

void loop_init(struct net *net, const struct net_config *config)
{
	const struct net_if *first = config->interfaces[0].netif;

	net->loop = (struct net_if){
		.name = "loop",
		.mtu = first->mtu,
		.raw_ip = true,
		.tx_pool = first->tx_pool,
		.tx_reserve = first->tx_reserve,
		.tx = loop_tx,
		.ctx = net,
		.net = net,
	};
}

void loop_fini(struct net *net)
{
	rte_pktmbuf_free_bulk(net->looped, net->looped_count);
}

bool loop_leads_to(const struct net *net, const struct net_address *remote)
{
	return net->config.loop && net_address_is_local(net, remote);
}

int loop_path_open(struct net *net, const struct net_address *local,
	const struct net_address *remote, struct net_path *ret_path)
{
	if (!local_usable(net, remote))
		return -EADDRNOTAVAIL;
	*ret_path = (struct net_path){
		.netif = &net->loop,
		.local = *local,
		.remote = *remote,
		.mtu = net->loop.mtu,
		.ipv6 = !net_address_is_ipv4(remote),
		.ttl = IP_TTL_DEFAULT,
		.df = true,
	};
	return 0;
}

// The interface that has the destination stands for where it came in.
static bool deliver_ipv4(const struct net *net, struct net_delivery *delivery)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(delivery->m, const struct rte_ipv4_hdr *);
	const struct net_local *own = local_find(net, NULL, ip->dst_addr);

	delivery->m->l3_len = sizeof(*ip);
	delivery->source = net_address_from_ipv4(ip->src_addr);
	delivery->destination = net_address_from_ipv4(ip->dst_addr);
	delivery->ecn = ip->type_of_service & RTE_IPV4_HDR_ECN_MASK;
	delivery->ttl = ip->time_to_live;
	delivery->netif = own != NULL ? own->netif : NULL;
	return own != NULL && ip->next_proto_id == IPPROTO_TCP;
}

static bool deliver_ipv6(const struct net *net, struct net_delivery *delivery)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(delivery->m, const struct rte_ipv6_hdr *);
	const struct net_local *own;

	delivery->m->l3_len = sizeof(*ip);
	memcpy(delivery->source.bytes, ip->src_addr, sizeof(delivery->source.bytes));
	memcpy(delivery->destination.bytes, ip->dst_addr, sizeof(delivery->destination.bytes));
	delivery->ecn = (uint8_t)(rte_be_to_cpu_32(ip->vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT) &
			RTE_IPV4_HDR_ECN_MASK;
	delivery->ttl = ip->hop_limits;
	own = local6_find(net, NULL, &delivery->destination);
	delivery->netif = own != NULL ? own->netif : NULL;
	return own != NULL && ip->proto == IPPROTO_TCP;
}

unsigned net_looped(
	struct net *net, struct net_delivery *ret_deliveries, unsigned max, uint64_t now_us)
{
	unsigned taken = RTE_MIN(net->looped_count, max), count = 0;

	net->now_us = now_us;
	for (unsigned i = 0; i < taken; i++) {
		struct net_delivery *delivery = &ret_deliveries[count];
		bool ipv6 = *rte_pktmbuf_mtod(net->looped[i], const uint8_t *) >> 4 == 6;

		*delivery = (struct net_delivery){.kind = NET_DELIVERY_TCP, .m = net->looped[i]};
		delivery->m->l2_len = 0;
		if (ipv6 ? deliver_ipv6(net, delivery) : deliver_ipv4(net, delivery))
			count++;
		else
			net_drop(net, delivery->m, NET_DROP_IP_PROTOCOL);
	}
	net->looped_count -= taken;
	memmove(net->looped, net->looped + taken, net->looped_count * sizeof(net->looped[0]));
	return count;
}
