// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fragments of segments between brokers and others: kept until the first of a packet
// tells the ports. Those of connections that are adopted, or may be, are put together;
// all others go on as they came. Runs on the worker.

#include "attach/track.h"

#include "net/bridge.h"
#include "net/gather.h"

#include <rte_mbuf.h>

// Fragments without ports: is a broker's address one of the two?
static bool may_concern(const struct monitor *monitor, const struct net_transit *t)
{
	const struct offload_config *config = monitor->stack->config;

	for (unsigned i = 0; i < config->brokers_count; i++) {
		const struct net_address *broker = &config->brokers[i].address.address;

		if (net_address_equal(&t->source.address, broker) ||
			net_address_equal(&t->destination.address, broker))
			return true;
	}
	return false;
}

void pieces_forward(struct monitor *monitor, struct gather_packet *packet)
{
	struct rte_mbuf *m;
	uint32_t ports;

	while ((m = gather_take(monitor->gather, packet, &ports)) != NULL)
		bridge_send(monitor->bridge, m, ports);
}

// Is it of a connection that passes? The first part has come.
static bool is_foreign(
	const struct monitor *monitor, struct passer *passer, const struct gather_packet *packet)
{
	struct track_key key;

	if (!gather_ports(
		    packet, &passer->transit.source.port, &passer->transit.destination.port) ||
		!monitor_find_broker(monitor, passer))
		return true;
	key = monitor_key(passer);
	return track_find(monitor, &key) == NULL;
}

static void whole(struct monitor *monitor, struct passer *passer, struct gather_packet *packet)
{
	passer->m = gather_whole(packet, passer->from->tx_pool);
	if (passer->m == NULL) {
		counter_inc(&monitor->counters.dropped[MONITOR_DROP_FRAGMENT]);
	} else {
		counter_inc(&monitor->counters.reassembled);
		passer->pieces = packet;
		net_transit_read(passer->from, passer->m, &passer->transit);
		if (passer->transit.kind == NET_TRANSIT_TCP)
			monitor_segment(monitor, passer);
		else
			monitor_forward(monitor, passer);
	}
	gather_release(monitor->gather, packet);
}

void pieces_pass(struct monitor *monitor, struct passer *passer)
{
	struct gather_packet *packet;
	enum gather_news news;

	if (!may_concern(monitor, &passer->transit)) {
		monitor_forward(monitor, passer);
		return;
	}
	news = gather_add(monitor->gather, passer->m, &passer->transit, passer->ports,
		monitor->now_us, &packet);
	switch (news) {
	case GATHER_PASSES:
		monitor_forward(monitor, passer);
		return;
	case GATHER_REFUSED:
		counter_inc(&monitor->counters.dropped[MONITOR_DROP_FRAGMENT]);
		return;
	case GATHER_WAITS:
		return;
	case GATHER_FIRST:
	case GATHER_COMPLETE:
		break;
	}
	if (is_foreign(monitor, passer, packet)) {
		gather_let_pass(packet);
		pieces_forward(monitor, packet);
		if (news == GATHER_COMPLETE)
			gather_release(monitor->gather, packet);
	} else if (news == GATHER_COMPLETE) {
		whole(monitor, passer, packet);
	}
}
