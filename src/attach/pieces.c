// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fragments of segments between brokers and others: kept until the first of a packet
// tells the ports. Those of connections that are adopted, or may be, are put together;
// all others go on as they came. Another worker's go there as they came when all are
// here; who has several queues is to bring the parts of one packet to one of them. Runs
// on the worker.

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

// Does it belong to a connection with a broker? The first part has come.
static bool is_brokers(
	const struct monitor *monitor, struct passer *passer, const struct gather_packet *packet)
{
	return gather_ports(
		       packet, &passer->transit.source.port, &passer->transit.destination.port) &&
	       monitor_find_broker(monitor, passer);
}

// To one that passes?
static bool is_foreign(const struct monitor *monitor, const struct passer *passer)
{
	const struct track_key key = monitor_key(passer);

	return track_find(monitor, &key) == NULL;
}

static void let_pass(struct monitor *monitor, struct gather_packet *packet, bool complete)
{
	gather_let_pass(packet);
	pieces_forward(monitor, packet);
	if (complete)
		gather_release(monitor->gather, packet);
}

static void hand_over(struct monitor *monitor, const struct passer *passer,
	struct gather_packet *packet, unsigned owner)
{
	struct passer part = *passer;

	while ((part.m = gather_take(monitor->gather, packet, &part.ports)) != NULL)
		monitor_hand_over(monitor, &part, owner);
	gather_release(monitor->gather, packet);
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

// Whose it is can be told: the first part has come, or all of it.
static void known_pass(
	struct monitor *monitor, struct passer *passer, struct gather_packet *packet, bool complete)
{
	unsigned owner;

	if (!is_brokers(monitor, passer, packet)) {
		let_pass(monitor, packet, complete);
	} else if (monitor_is_elsewhere(monitor, passer, &owner)) {
		if (complete)
			hand_over(monitor, passer, packet, owner);
	} else if (is_foreign(monitor, passer)) {
		let_pass(monitor, packet, complete);
	} else if (complete) {
		whole(monitor, passer, packet);
	}
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
		known_pass(monitor, passer, packet, news == GATHER_COMPLETE);
	}
}
