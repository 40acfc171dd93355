// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Owners and rings.

#include "daemon/steering.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_tcp.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/monitor.h"
#include "base/assert.h"
#include "control/config.h"
#include "net/bridge.h"

#define PACKETS 4096u // on their way from one worker to another
#define FRAMES	4096u
#define NEWS	512u

struct steering_counters {
	uint64_t steered;
	uint64_t dropped;
};

struct lane {
	struct rte_ring *frames;  // to be sent; of mbufs
	struct rte_ring *packets; // received; of struct net_delivery
	struct rte_ring *handed;  // monitor mode, instead of packets; of struct monitor_frame
	struct rte_ring *news;	  // where there is a bridge; of struct bridge_news
};

struct station { // a worker's own
	struct steering_counters counters;
} __rte_cache_aligned;

struct steering {
	const struct offload_broker_config *brokers;
	unsigned brokers_count;
	unsigned workers;
	uint32_t seed;
	struct station *stations;
	struct lane lanes[]; // [from * workers + to]
};

static_assert(sizeof(struct net_delivery) % 4 == 0, "an element of a ring");
static_assert(sizeof(struct monitor_frame) % 4 == 0, "an element of a ring");
static_assert(sizeof(struct bridge_news) % 4 == 0, "an element of a ring");

static const char *const dropped_names[] = {"steering_full"};

static const struct counter_family families[] = {
	{"packets_steered_total", "packets that one worker received for another", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"packets_dropped_total", "packets that went no further, by the reason why", "reason",
		dropped_names, 1, COUNTER_MONOTONIC},
};

static struct lane *lane_of(const struct steering *steering, unsigned from, unsigned to)
{
	return (struct lane *)&steering->lanes[from * steering->workers + to];
}

// --- making --------------------------------------------------------------------------------------

static struct rte_ring *ring_create(
	const char *what, unsigned i, size_t element_size, unsigned count)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "%s%u", what, i);
	return rte_ring_create_elem(
		name, (unsigned)element_size, count, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static int lane_create(struct lane *lane, unsigned i, const struct config *config)
{
	bool monitors = config->mode == CONFIG_MODE_MONITOR;
	bool bridges = config->bridge != CONFIG_BRIDGE_NONE;

	lane->frames = ring_create("frames", i, sizeof(struct rte_mbuf *), FRAMES);
	if (monitors)
		lane->handed = ring_create("handed", i, sizeof(struct monitor_frame), PACKETS);
	else
		lane->packets = ring_create("packets", i, sizeof(struct net_delivery), PACKETS);
	if (bridges)
		lane->news = ring_create("news", i, sizeof(struct bridge_news), NEWS);
	return lane->frames != NULL && (lane->handed != NULL || lane->packets != NULL) &&
			       (lane->news != NULL || !bridges)
		       ? 0
		       : -ENOMEM;
}

static void lane_destroy(struct lane *lane)
{
	struct net_delivery delivery;
	struct monitor_frame frame;
	void *m;

	while (lane->packets != NULL &&
		rte_ring_sc_dequeue_elem(lane->packets, &delivery, sizeof(delivery)) == 0)
		rte_pktmbuf_free(delivery.m);
	while (lane->handed != NULL &&
		rte_ring_sc_dequeue_elem(lane->handed, &frame, sizeof(frame)) == 0)
		rte_pktmbuf_free(frame.m);
	while (lane->frames != NULL && rte_ring_sc_dequeue(lane->frames, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(lane->frames);
	rte_ring_free(lane->packets);
	rte_ring_free(lane->handed);
	rte_ring_free(lane->news);
}

int steering_create(const struct config *config, uint64_t seed, struct steering **ret_steering)
{
	unsigned workers = config->workers;
	struct steering *steering = rte_zmalloc(
		"steering", sizeof(*steering) + workers * workers * sizeof(steering->lanes[0]), 64);

	if (steering == NULL)
		return -ENOMEM;
	steering->brokers = config->brokers;
	steering->brokers_count = config->brokers_count;
	steering->workers = workers;
	steering->seed = (uint32_t)(seed ^ seed >> 32);
	steering->stations = rte_zmalloc("stations", workers * sizeof(steering->stations[0]), 64);
	if (steering->stations == NULL)
		goto err;
	for (unsigned i = 0; i < workers * workers; i++)
		if (i / workers != i % workers && lane_create(&steering->lanes[i], i, config) < 0)
			goto err;
	*ret_steering = steering;
	return 0;
err:
	steering_destroy(steering);
	return -ENOMEM;
}

void steering_destroy(struct steering *steering)
{
	if (steering == NULL)
		return;
	for (unsigned i = 0; i < steering->workers * steering->workers; i++)
		lane_destroy(&steering->lanes[i]);
	rte_free(steering->stations);
	rte_free(steering);
}

// --- owners --------------------------------------------------------------------------------------

// Ephemeral ports come in patterns (Linux prefers even ones, one after the other): every bit of the
// port stirs every bit of the hash.
static unsigned port_owner(const struct steering *steering, uint16_t port)
{
	uint32_t hash = (port + steering->seed) * 0x9e3779b1u;

	hash = (hash ^ hash >> 15) * 0x85ebca6bu;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
	hash ^= hash >> 16;
	return (unsigned)((uint64_t)hash * steering->workers >> 32);
}

static bool is_listener(const struct steering *steering, const struct net_endpoint *local)
{
	for (unsigned i = 0; i < steering->brokers_count; i++) {
		const struct net_endpoint *listen = &steering->brokers[i].listen;

		if (listen->port == local->port &&
			net_address_equal(&listen->address, &local->address))
			return true;
	}
	return false;
}

unsigned steering_owner(const struct steering *steering, const struct net_endpoint *local,
	const struct net_endpoint *remote)
{
	return port_owner(steering, is_listener(steering, local) ? remote->port : local->port);
}

// The ports of a segment (source first), or of what an ICMP error quotes of one.
static void ports_read(const struct rte_mbuf *m, uint16_t *ret_first, uint16_t *ret_second)
{
	const uint8_t *tcp = rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len);

	*ret_first = (uint16_t)(tcp[0] << 8 | tcp[1]);
	*ret_second = (uint16_t)(tcp[2] << 8 | tcp[3]);
}

// The source of a packet that we sent.
static struct net_address quoted_source(const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct net_address address;

	if (*ip >> 4 == 4)
		return net_address_from_ipv4(
			((const struct rte_ipv4_hdr *)(const void *)ip)->src_addr);
	memcpy(address.bytes, ip + offsetof(struct rte_ipv6_hdr, src_addr), sizeof(address.bytes));
	return address;
}

static unsigned delivery_owner(const struct steering *steering, const struct net_delivery *delivery)
{
	struct net_endpoint local = {.port = 0}, remote = {.port = 0};

	if (delivery->kind == NET_DELIVERY_TCP) {
		ports_read(delivery->m, &remote.port, &local.port);
		local.address = delivery->destination;
	} else {
		ports_read(delivery->m, &local.port, &remote.port);
		local.address = quoted_source(delivery->m);
	}
	return steering_owner(steering, &local, &remote);
}

// --- packets -------------------------------------------------------------------------------------

// `element` refers to m, which is consumed.
static void packet_put(struct steering *steering, unsigned self, struct rte_ring *ring,
	const void *element, unsigned size, struct rte_mbuf *m)
{
	struct steering_counters *counters = &steering->stations[self].counters;

	if (rte_ring_sp_enqueue_elem(ring, (void *)element, size) == 0) {
		counter_inc(&counters->steered);
		return;
	}
	counter_inc(&counters->dropped);
	rte_pktmbuf_free(m);
}

static void delivery_put(
	struct steering *steering, unsigned self, unsigned to, const struct net_delivery *delivery)
{
	packet_put(steering, self, lane_of(steering, self, to)->packets, delivery,
		sizeof(*delivery), delivery->m);
}

unsigned steering_sort(
	struct steering *steering, unsigned self, struct net_delivery *deliveries, unsigned count)
{
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned owner = delivery_owner(steering, &deliveries[i]);

		if (owner != self)
			delivery_put(steering, self, owner, &deliveries[i]);
		else if (left++ != i)
			deliveries[left - 1] = deliveries[i];
	}
	return left;
}

unsigned steering_take(struct steering *steering, unsigned self, unsigned other,
	struct net_delivery *ret_deliveries, unsigned max)
{
	return rte_ring_sc_dequeue_burst_elem(lane_of(steering, other, self)->packets,
		ret_deliveries, sizeof(*ret_deliveries), max, NULL);
}

void steering_datagram(
	struct steering *steering, unsigned self, unsigned to, const struct net_delivery *delivery)
{
	delivery_put(steering, self, to, delivery);
}

void steering_share(struct steering *steering, unsigned self, struct net_if *netif,
	const struct rte_mbuf *frame)
{
	for (unsigned to = 0; to < steering->workers; to++) {
		struct net_delivery delivery = {.kind = STEERING_HEARD, .netif = netif};

		if (to == self)
			continue;
		delivery.m = rte_pktmbuf_copy(frame, netif->tx_pool, 0, UINT32_MAX);
		if (delivery.m == NULL)
			counter_inc(&steering->stations[self].counters.dropped);
		else
			delivery_put(steering, self, to, &delivery);
	}
}

// --- monitor mode --------------------------------------------------------------------------------

void steering_hand(
	struct steering *steering, unsigned self, unsigned owner, const struct monitor_frame *frame)
{
	packet_put(steering, self, lane_of(steering, self, owner)->handed, frame, sizeof(*frame),
		frame->m);
}

unsigned steering_handed(struct steering *steering, unsigned self, unsigned other,
	struct monitor_frame *ret_frames, unsigned max)
{
	return rte_ring_sc_dequeue_burst_elem(
		lane_of(steering, other, self)->handed, ret_frames, sizeof(*ret_frames), max, NULL);
}

bool steering_tell(struct steering *steering, unsigned self, const struct bridge_news *news)
{
	for (unsigned to = 0; to < steering->workers; to++)
		if (to != self && rte_ring_full(lane_of(steering, self, to)->news))
			return false;
	for (unsigned to = 0; to < steering->workers; to++)
		if (to != self)
			rte_ring_sp_enqueue_elem(
				lane_of(steering, self, to)->news, (void *)news, sizeof(*news));
	return true;
}

bool steering_hear(struct steering *steering, unsigned self, struct bridge_news *ret_news)
{
	for (unsigned other = 0; other < steering->workers; other++)
		if (other != self && rte_ring_sc_dequeue_elem(lane_of(steering, other, self)->news,
					     ret_news, sizeof(*ret_news)) == 0)
			return true;
	return false;
}

// --- frames to be sent ---------------------------------------------------------------------------

void steering_send(struct steering *steering, unsigned self, unsigned sender, unsigned port,
	struct rte_mbuf *m)
{
	m->port = (uint16_t)port;
	if (rte_ring_sp_enqueue(lane_of(steering, self, sender)->frames, m) == 0)
		return;
	counter_inc(&steering->stations[self].counters.dropped);
	rte_pktmbuf_free(m);
}

unsigned steering_frames(struct steering *steering, unsigned self, unsigned other,
	struct rte_mbuf **ret_frames, unsigned max)
{
	return rte_ring_sc_dequeue_burst(
		lane_of(steering, other, self)->frames, (void **)ret_frames, max, NULL);
}

struct counter_set steering_counters(const struct steering *steering, unsigned self)
{
	static const struct steering_counters none;
	const struct steering_counters *counters =
		steering == NULL ? &none : &steering->stations[self].counters;

	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = (const uint64_t *)counters,
	};
}
