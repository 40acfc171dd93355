// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Whose a frame is, and copies of what is for many. Worker's thread.

#include "net/bridged.h"

#include "net/bridge.h"
#include "net/state.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <stdlib.h>

struct host {
	struct bridged *bridged;
	struct net_if *netif; // of the net
	struct net_if wire;   // what it was
};

struct bridged {
	struct net *net;
	struct bridge *bridge;
	unsigned count;
	struct net_if *wires[BRIDGE_PORTS_MAX]; // the hosts'
	struct host hosts[];
};

static void host_tx(void *ctx, struct rte_mbuf *m)
{
	struct host *host = ctx;

	bridge_send_own(host->bridged->bridge, &host->wire, m);
}

// --- start and end -------------------------------------------------------------------------------

static void caps_restrict(struct net_if_caps *caps, const struct net_if_caps *other)
{
	caps->rx_checksum &= other->rx_checksum;
	caps->tx_ip_checksum &= other->tx_ip_checksum;
	caps->tx_tcp_checksum &= other->tx_tcp_checksum;
	caps->tso &= other->tso;
	caps->tso_ipv6 &= other->tso_ipv6;
	caps->multi_segment &= other->multi_segment;
}

int bridged_create(struct net_if *const *netifs, unsigned count, struct bridged **ret_bridged)
{
	struct bridged *bridged = calloc(1, sizeof(*bridged) + count * sizeof(bridged->hosts[0]));

	if (bridged == NULL)
		return -ENOMEM;
	ASSERT(count <= BRIDGE_PORTS_MAX);
	bridged->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct host *host = &bridged->hosts[i];

		ASSERT(netifs[i]->index == i);
		host->bridged = bridged;
		host->netif = netifs[i];
		host->wire = *netifs[i];
		bridged->wires[i] = &host->wire;
		netifs[i]->tx = host_tx;
		netifs[i]->ctx = host;
	}
	// A frame may come and leave by any wire.
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++) {
			caps_restrict(&netifs[i]->caps, &bridged->hosts[j].wire.caps);
			netifs[i]->mtu = RTE_MIN(netifs[i]->mtu, bridged->hosts[j].wire.mtu);
		}
	*ret_bridged = bridged;
	return 0;
}

void bridged_destroy(struct bridged *bridged)
{
	free(bridged);
}

struct net_if *const *bridged_wires(const struct bridged *bridged)
{
	return bridged->wires;
}

void bridged_join(struct bridged *bridged, struct net *net, struct bridge *bridge)
{
	bridged->net = net;
	bridged->bridge = bridge;
}

// --- frames --------------------------------------------------------------------------------------

// NULL: none of ours.
static struct net_if *host_of(const struct bridged *bridged, const struct rte_ether_addr *mac)
{
	for (unsigned i = 0; i < bridged->count; i++)
		if (memcmp(bridged->hosts[i].netif->mac, mac, RTE_ETHER_ADDR_LEN) == 0)
			return bridged->hosts[i].netif;
	return NULL;
}

// Of frames for many, the net listens to these only.
static bool may_be_heard(const struct rte_ether_hdr *ether)
{
	return ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP) ||
	       ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6);
}

static void host_hear(const struct bridged *bridged, struct net_if *host, const struct rte_mbuf *m,
	uint64_t now_us)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, host->tx_pool, 0, UINT32_MAX);
	struct net_delivery delivery;

	if (copy == NULL)
		net_drop_count(bridged->net, NET_DROP_NO_MBUF);
	else if (net_input(bridged->net, host, &copy, 1, now_us, &delivery) > 0)
		rte_pktmbuf_free(delivery.m); // nothing that is for many is TCP's
}

static void cross(const struct bridged *bridged, const struct net_if *from, struct rte_mbuf *m,
	uint64_t now_us)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint32_t ports = bridge_route(bridged->bridge, from, m, now_us);

	if (m->data_len >= sizeof(*ether) && rte_is_multicast_ether_addr(&ether->dst_addr) &&
		!rte_is_multicast_ether_addr(&ether->src_addr) && may_be_heard(ether) &&
		!(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED))
		for (unsigned i = 0; i < bridged->count; i++)
			if (net_listens(bridged->net, bridged->hosts[i].netif, &ether->dst_addr))
				host_hear(bridged, bridged->hosts[i].netif, m, now_us);
	bridge_send(bridged->bridge, m, ports);
}

unsigned bridged_input(struct bridged *bridged, unsigned from, struct rte_mbuf **frames,
	unsigned count, uint64_t now_us, struct net_delivery *ret_deliveries)
{
	const struct net_if *wire = bridged->wires[from];
	struct net_if *own = bridged->hosts[from].netif;
	struct rte_mbuf *mine[BRIDGED_BURST];
	unsigned mine_count = 0, delivered = 0;

	DASSERT(count <= BRIDGED_BURST);
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *m = frames[i];
		struct net_if *host = m->data_len < sizeof(struct rte_ether_hdr)
					      ? NULL
					      : host_of(bridged, rte_pktmbuf_mtod(m, void *));

		if (i + 1 < count)
			rte_prefetch0(rte_pktmbuf_mtod(frames[i + 1], void *));
		if (host != NULL)
			bridge_learn(bridged->bridge, wire, m, now_us);
		if (host == own)
			mine[mine_count++] = m;
		else if (host != NULL)
			delivered += net_input(
				bridged->net, host, &m, 1, now_us, ret_deliveries + delivered);
		else
			cross(bridged, wire, m, now_us);
	}
	return delivered +
	       net_input(bridged->net, own, mine, mine_count, now_us, ret_deliveries + delivered);
}
