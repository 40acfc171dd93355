// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames: where each belongs, and its way out. Worker's thread; nothing is allocated
// after start.

#include "net/bridge.h"

#include "base/assert.h"
#include "base/clock.h"
#include "net/net_if.h"
#include "net/stations.h"
#include "net/sums.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VLAN_MASK 0x0fffu
#define TAGS_MAX  2u

enum bridge_drop {
	BRIDGE_DROP_MALFORMED, // no Ethernet header, or a group as its source
	BRIDGE_DROP_SAME_PORT, // its station is where it came from
	BRIDGE_DROP_UNKNOWN,   // static: not a station of the configuration
	BRIDGE_DROP_PAUSE,     // for the link it was sent on only
	BRIDGE_DROP_TOO_BIG,   // longer than the MTU of where it goes
	BRIDGE_DROP_NO_MBUF,   // for a copy
	BRIDGE_DROPS,
};

struct bridge_counter_slots {
	uint64_t frames;
	uint64_t flooded;
	struct stations_counters stations;
	uint64_t dropped[BRIDGE_DROPS];
};

struct bridge {
	enum bridge_mode mode;
	uint64_t now_us; // of the turn
	uint32_t all;	 // a bit a port
	struct net_if *netifs[BRIDGE_PORTS_MAX];
	struct stations *stations;
	struct bridge_counter_slots counters;
};

static const char *const kind_names[STATION_KINDS] = {
	[STATION_STATIC] = "static",
	[STATION_LEARNED] = "learned",
};

static const char *const drop_names[BRIDGE_DROPS] = {
	[BRIDGE_DROP_MALFORMED] = "bridge_malformed",
	[BRIDGE_DROP_SAME_PORT] = "bridge_same_port",
	[BRIDGE_DROP_UNKNOWN] = "bridge_unknown",
	[BRIDGE_DROP_PAUSE] = "bridge_pause",
	[BRIDGE_DROP_TOO_BIG] = "bridge_too_big",
	[BRIDGE_DROP_NO_MBUF] = "bridge_no_mbuf",
};

static const struct counter_family families[] = {
	{"bridge_frames_total", "frames that were sent on", NULL, NULL, 1, COUNTER_MONOTONIC},
	{"bridge_flooded_total",
		"frames for all ports but their own: for many, or for nobody known", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"bridge_stations", "stations that the bridge knows", "kind", kind_names, STATION_KINDS,
		COUNTER_GAUGE},
	{"bridge_stations_refused_total", "stations not learned because there was no room", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"packets_dropped_total", "packets that went no further, by the reason why", "reason",
		drop_names, BRIDGE_DROPS, COUNTER_MONOTONIC},
};

// IEEE 802.3 annex 31B.
static const struct rte_ether_addr pause_address = {{0x01, 0x80, 0xc2, 0x00, 0x00, 0x01}};

// --- start and end -------------------------------------------------------------------------------

void bridge_config_init(struct bridge_config *config)
{
	*config = (struct bridge_config){
		.mode = BRIDGE_LEARNING,
		.stations_max = 4096,
		.age_us = 300 * US_IN_S,
	};
}

int bridge_create(const char *name, const struct bridge_config *config, struct random *rng,
	struct bridge **ret_bridge)
{
	struct bridge *bridge;
	int rc;

	if (config->netifs_count < 2 || config->netifs_count > BRIDGE_PORTS_MAX ||
		config->stations_count > config->stations_max)
		return -EINVAL;
	bridge = calloc(1, sizeof(*bridge));
	if (bridge == NULL)
		return -ENOMEM;
	bridge->mode = config->mode;
	for (unsigned i = 0; i < config->netifs_count; i++) {
		ASSERT(config->netifs[i]->index == i);
		bridge->netifs[i] = config->netifs[i];
		bridge->all |= 1u << i;
	}
	rc = stations_create(name, config, rng, &bridge->counters.stations, &bridge->stations);
	if (rc < 0) {
		bridge_destroy(bridge);
		return rc;
	}
	*ret_bridge = bridge;
	return 0;
}

void bridge_destroy(struct bridge *bridge)
{
	if (bridge == NULL)
		return;
	stations_destroy(bridge->stations);
	free(bridge);
}

// --- frames --------------------------------------------------------------------------------------

// Priority tags name no VLAN: they belong to the untagged.
static uint16_t frame_vlan(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_vlan_hdr *tag = (const void *)(ether + 1);

	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		return m->vlan_tci & VLAN_MASK;
	if (ether->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN) &&
		ether->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_QINQ))
		return 0;
	if (m->data_len < sizeof(*ether) + sizeof(*tag))
		return 0;
	return rte_be_to_cpu_16(tag->vlan_tci) & VLAN_MASK;
}

static uint32_t nowhere(struct bridge *bridge, enum bridge_drop reason)
{
	counter_inc(&bridge->counters.dropped[reason]);
	return 0;
}

static uint32_t everywhere_else(struct bridge *bridge, const struct net_if *from)
{
	counter_inc(&bridge->counters.flooded);
	return bridge->all & ~(1u << from->index);
}

bool bridge_learn(
	struct bridge *bridge, const struct net_if *from, const struct rte_mbuf *m, uint64_t now_us)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct station_key key;

	if (m->data_len < sizeof(*ether) || rte_is_multicast_ether_addr(&ether->src_addr))
		return false;
	if (bridge->mode != BRIDGE_LEARNING)
		return true;
	key.vlan = frame_vlan(m);
	memcpy(key.mac, &ether->src_addr, sizeof(key.mac));
	stations_learn(bridge->stations, &key, from->index, now_us);
	return true;
}

// Where the station is that the frame is for; false: not known.
static bool destination_find(
	const struct bridge *bridge, const struct rte_mbuf *m, uint64_t now_us, uint32_t *ret_port)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct station_key key = {.vlan = frame_vlan(m)};

	memcpy(key.mac, &ether->dst_addr, sizeof(key.mac));
	return stations_find(bridge->stations, &key, now_us, ret_port);
}

uint32_t bridge_route(
	struct bridge *bridge, const struct net_if *from, const struct rte_mbuf *m, uint64_t now_us)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint32_t port;

	if (!bridge_learn(bridge, from, m, now_us))
		return nowhere(bridge, BRIDGE_DROP_MALFORMED);
	if (rte_is_multicast_ether_addr(&ether->dst_addr)) {
		if (rte_is_same_ether_addr(&ether->dst_addr, &pause_address))
			return nowhere(bridge, BRIDGE_DROP_PAUSE);
		return everywhere_else(bridge, from);
	}
	if (bridge->mode == BRIDGE_HUB)
		return everywhere_else(bridge, from);
	if (!destination_find(bridge, m, now_us, &port))
		return bridge->mode == BRIDGE_STATIC ? nowhere(bridge, BRIDGE_DROP_UNKNOWN)
						     : everywhere_else(bridge, from);
	if (port == from->index)
		return nowhere(bridge, BRIDGE_DROP_SAME_PORT);
	return 1u << port;
}

void bridge_listen(struct bridge *bridge, uint64_t now_us)
{
	bridge->now_us = now_us;
	stations_exchange(bridge->stations, now_us);
}

// How long the packet in the frame is.
static uint32_t packet_length(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t at = offsetof(struct rte_ether_hdr, ether_type);

	for (unsigned tags = 0; tags < TAGS_MAX && at + 6 <= m->data_len; tags++) {
		uint16_t type = (uint16_t)(frame[at] << 8 | frame[at + 1]);

		if (type != RTE_ETHER_TYPE_VLAN && type != RTE_ETHER_TYPE_QINQ)
			break;
		at += sizeof(struct rte_vlan_hdr);
	}
	return m->pkt_len - at - 2;
}

// What a netif takes that cannot send chains.
static struct rte_mbuf *flattened(struct bridge *bridge, struct net_if *netif, struct rte_mbuf *m)
{
	struct rte_mbuf *flat;

	if (m->nb_segs == 1 || netif->caps.multi_segment)
		return m;
	flat = rte_pktmbuf_copy(m, netif->tx_pool, 0, UINT32_MAX);
	rte_pktmbuf_free(m);
	if (flat != NULL && flat->nb_segs == 1)
		return flat;
	rte_pktmbuf_free(flat);
	nowhere(bridge, BRIDGE_DROP_NO_MBUF);
	return NULL;
}

static void send_out(struct bridge *bridge, struct net_if *netif, struct rte_mbuf *m)
{
	// What a device is to cut may be longer.
	if (unlikely(packet_length(m) > netif->mtu) && !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)) {
		nowhere(bridge, BRIDGE_DROP_TOO_BIG);
		rte_pktmbuf_free(m);
		return;
	}
	m = flattened(bridge, netif, m);
	if (m != NULL)
		netif->tx(netif->ctx, m);
}

// `ports` is not empty.
static void copies_send(struct bridge *bridge, struct rte_mbuf *m, uint32_t ports)
{
	while ((ports & (ports - 1)) != 0) {
		struct net_if *netif = bridge->netifs[__builtin_ctz(ports)];
		struct rte_mbuf *copy = rte_pktmbuf_copy(m, netif->tx_pool, 0, UINT32_MAX);

		ports &= ports - 1;
		if (copy != NULL)
			send_out(bridge, netif, copy);
		else
			nowhere(bridge, BRIDGE_DROP_NO_MBUF);
	}
	send_out(bridge, bridge->netifs[__builtin_ctz(ports)], m);
}

void bridge_send(struct bridge *bridge, struct rte_mbuf *m, uint32_t ports)
{
	DASSERT((ports & ~bridge->all) == 0);
	// The tag that a device has taken off belongs to the frame.
	if (unlikely(ports != 0 && (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)) &&
		rte_vlan_insert(&m) != 0)
		ports = nowhere(bridge, BRIDGE_DROP_NO_MBUF);
	if (ports == 0) {
		rte_pktmbuf_free(m);
		return;
	}
	counter_inc(&bridge->counters.frames);
	net_sums_complete(m);
	copies_send(bridge, m, ports);
}

void bridge_send_own(struct bridge *bridge, const struct net_if *from, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint32_t ports = bridge->all, port;

	if (!rte_is_multicast_ether_addr(&ether->dst_addr) && bridge->mode != BRIDGE_HUB) {
		if (destination_find(bridge, m, bridge->now_us, &port))
			ports = 1u << port;
		else if (bridge->mode == BRIDGE_STATIC)
			ports = 1u << from->index;
	}
	copies_send(bridge, m, ports);
}

// --- looking in ----------------------------------------------------------------------------------

struct counter_set bridge_counters(const struct bridge *bridge)
{
	static const struct bridge_counter_slots none;

	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = (const uint64_t *)(bridge != NULL ? &bridge->counters : &none),
	};
}

void bridge_check(const struct bridge *bridge)
{
	stations_check(bridge->stations, bridge->all);
}
