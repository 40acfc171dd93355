// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frame by frame: the bridge says where it would go, a look says whether it belongs to
// a connection with a broker, and the table says what that connection is. Runs on the
// worker.

#include "attach/monitor.h"

#include "attach/track.h"
#include "base/assert.h"
#include "net/bridge.h"
#include "net/gather.h"

#include <rte_mbuf.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const char *const state_names[TRACK_STATES - 1] = {
	[TRACK_OPENING - 1] = "opening",
	[TRACK_ADOPTED - 1] = "adopted",
	[TRACK_GONE - 1] = "gone",
};

static const char *const pass_names[PASSES] = {
	[PASS_NOT_MQTT] = "not_mqtt",
	[PASS_BROKER_FIRST] = "broker_first",
	[PASS_EARLY_TEXT] = "early_text",
	[PASS_OPTION] = "option",
	[PASS_SIMULTANEOUS] = "simultaneous",
	[PASS_ONE_PORT] = "one_port",
	[PASS_ONE_DIRECTION] = "one_direction",
	[PASS_ENDED] = "ended",
	[PASS_IDLE] = "idle",
	[PASS_FULL] = "full",
};

static const char *const move_names[MOVES] = {
	[MOVE_FOLLOWED] = "followed",
	[MOVE_REFUSED] = "refused",
};

static const char *const drop_names[MONITOR_DROPS] = {
	[MONITOR_DROP_EARLY] = "flow_early_text",
	[MONITOR_DROP_FRAGMENT] = "flow_fragment",
	[MONITOR_DROP_UNFINISHED] = "flow_fragment_timeout",
};

static const struct counter_family families[] = {
	{"flows", "connections with brokers that monitor mode knows", "state", state_names,
		TRACK_STATES - 1, COUNTER_GAUGE},
	{"flows_passed_total", "connections with brokers that pass untouched, by the reason why",
		"reason", pass_names, PASSES, COUNTER_MONOTONIC},
	{"flow_strays_total", "segments of connections that had ended, which were reset", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"flow_moves_total",
		"ends of adopted connections that came from another port or Ethernet address",
		"result", move_names, MOVES, COUNTER_MONOTONIC},
	{"flow_packets_reassembled_total",
		"packets of brokers' connections put together from fragments", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"packets_dropped_total", "packets that went no further, by the reason why", "reason",
		drop_names, MONITOR_DROPS, COUNTER_MONOTONIC},
};

static_assert(sizeof(struct monitor_counter_slots) ==
		      sizeof(uint64_t) * (TRACK_STATES - 1 + PASSES + 2 + MOVES + MONITOR_DROPS),
	"a family a field, in order");

int monitor_create(const char *name, const struct monitor_config *config, struct stack *stack,
	struct net *net, struct bridge *bridge, uint64_t now_us, struct monitor **ret_monitor)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	int rc;

	if (monitor == NULL)
		return -ENOMEM;
	monitor->stack = stack;
	monitor->net = net;
	monitor->bridge = bridge;
	monitor->netifs = config->netifs;
	monitor->netifs_count = config->netifs_count;
	monitor->share = config->share;
	monitor->now_us = now_us;
	wheel_init(&monitor->timers, now_us);
	rc = tracks_create(monitor, name, config->flows_max, config->hash_seed);
	if (rc == 0)
		rc = gather_create(&monitor->gather);
	if (rc < 0) {
		monitor_destroy(monitor);
		return rc;
	}
	tracks_recall(monitor, config->left, config->left_count);
	*ret_monitor = monitor;
	return 0;
}

void monitor_destroy(struct monitor *monitor)
{
	if (monitor == NULL)
		return;
	gather_destroy(monitor->gather);
	tracks_destroy(monitor);
	free(monitor);
}

// --- ways out ------------------------------------------------------------------------------------

void monitor_forward(struct monitor *monitor, struct passer *passer)
{
	if (unlikely(passer->pieces != NULL)) {
		rte_pktmbuf_free(passer->m);
		pieces_forward(monitor, passer->pieces);
		return;
	}
	bridge_send(monitor->bridge, passer->m, passer->ports);
}

void monitor_hand_over(struct monitor *monitor, const struct passer *passer, unsigned owner)
{
	const struct monitor_frame frame = {passer->m, passer->from->index, passer->ports};

	monitor->share.hand_over(monitor->share.ctx, owner, &frame);
}

static void deliveries_flush(struct monitor *monitor)
{
	tcp_input_burst(monitor->stack->tcp, monitor->deliveries, monitor->deliveries_count);
	monitor->deliveries_count = 0;
}

void monitor_deliver(struct monitor *monitor, struct passer *passer)
{
	if (monitor->deliveries_count == MONITOR_BURST)
		deliveries_flush(monitor);
	monitor->deliveries_count += net_transit_deliver(passer->from, passer->m, &passer->transit,
		&monitor->deliveries[monitor->deliveries_count]);
}

// --- frames --------------------------------------------------------------------------------------

static bool is_at(const struct net_endpoint *a, const struct net_endpoint *b)
{
	return a->port == b->port && net_address_equal(&a->address, &b->address);
}

// Whose connection it would be; false: nobody's.
bool monitor_find_broker(const struct monitor *monitor, struct passer *passer)
{
	const struct offload_config *config = monitor->stack->config;

	for (unsigned i = 0; i < config->brokers_count; i++) {
		const struct net_endpoint *broker = &config->brokers[i].address;

		passer->broker = i;
		if (is_at(&passer->transit.destination, broker)) {
			passer->side = CLIENT;
			return true;
		}
		if (is_at(&passer->transit.source, broker)) {
			passer->side = BROKER;
			return true;
		}
	}
	return false;
}

static const struct net_endpoint *client_of(const struct passer *passer)
{
	return passer->side == CLIENT ? &passer->transit.source : &passer->transit.destination;
}

bool monitor_is_elsewhere(
	const struct monitor *monitor, const struct passer *passer, unsigned *ret_owner)
{
	const struct monitor_share *share = &monitor->share;

	if (share->owner == NULL)
		return false;
	*ret_owner = share->owner(share->ctx,
		&monitor->stack->config->brokers[passer->broker].address, client_of(passer));
	return *ret_owner != share->self;
}

struct track_key monitor_key(const struct passer *passer)
{
	const struct net_endpoint *client = client_of(passer);

	return (struct track_key){
		.client = client->address,
		.port = client->port,
		.broker = (uint16_t)passer->broker,
		.vlan = passer->transit.vlan,
	};
}

static bool segment_decode(struct passer *passer)
{
	const struct net_transit *t = &passer->transit;

	return tcp_segment_decode(rte_pktmbuf_mtod_offset(passer->m, const uint8_t *, t->l4),
		(uint32_t)passer->m->data_len - t->l4, t->l3 + t->length - t->l4, &passer->segment);
}

// A connection that is not known passes. But whom the broker speaks to there, it may deliver to,
// and nobody here knows what: the map is not complete.
static void unknown_segment(
	struct monitor *monitor, struct passer *passer, const struct track_key *key)
{
	const uint8_t flags = passer->segment.flags;

	if (passer->side == CLIENT && passer->ports != 0 &&
		(flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN &&
		net_transit_intact(passer->from, passer->m, &passer->transit)) {
		opening_begin(monitor, passer, key);
		return;
	}
	if (passer->side == BROKER && passer->segment.length > 0 && passer->ports != 0 &&
		offload_broker_trusted(monitor->stack->offload, passer->broker) &&
		net_transit_intact(passer->from, passer->m, &passer->transit))
		offload_broker_distrust(monitor->stack->offload, passer->broker,
			"the broker serves connections that pass untouched");
	monitor_forward(monitor, passer);
}

void monitor_segment(struct monitor *monitor, struct passer *passer)
{
	const struct track_key key = monitor_key(passer);
	struct track *track = track_find(monitor, &key);

	if (!segment_decode(passer)) {
		monitor_forward(monitor, passer);
		return;
	}
	if (track == NULL)
		unknown_segment(monitor, passer, &key);
	else if (track->state != TRACK_OPENING)
		adopted_segment(monitor, track, passer);
	else if (passer->ports != 0 &&
		 net_transit_intact(passer->from, passer->m, &passer->transit))
		opening_segment(monitor, track, passer);
	else
		monitor_forward(monitor, passer);
}

// Whom the error is about has sent what it quotes, or seems to.
static void error_pass(struct monitor *monitor, struct passer *passer)
{
	const struct track_key key = monitor_key(passer);
	struct track *track = track_find(monitor, &key);

	if (track == NULL || !adopted_error(monitor, track, passer))
		monitor_forward(monitor, passer);
}

// What is not a broker's goes on from here, whoever would own it.
static void frame_pass(struct monitor *monitor, struct passer *passer)
{
	unsigned owner;

	net_transit_read(passer->from, passer->m, &passer->transit);
	if (passer->transit.kind == NET_TRANSIT_FRAGMENT)
		pieces_pass(monitor, passer);
	else if (passer->transit.kind == NET_TRANSIT_OTHER || !monitor_find_broker(monitor, passer))
		monitor_forward(monitor, passer);
	else if (monitor_is_elsewhere(monitor, passer, &owner))
		monitor_hand_over(monitor, passer, owner);
	else if (passer->transit.kind == NET_TRANSIT_TCP)
		monitor_segment(monitor, passer);
	else
		error_pass(monitor, passer);
}

void monitor_input(struct monitor *monitor, struct net_if *from, struct rte_mbuf **frames,
	unsigned count, uint64_t now_us)
{
	monitor->now_us = now_us;
	for (unsigned i = 0; i < count; i++) {
		struct passer passer = {.m = frames[i], .from = from};

		if (i + 1 < count)
			rte_prefetch0(rte_pktmbuf_mtod(frames[i + 1], void *));
		passer.ports = bridge_route(monitor->bridge, from, frames[i], now_us);
		frame_pass(monitor, &passer);
	}
	deliveries_flush(monitor);
}

void monitor_take(struct monitor *monitor, const struct monitor_frame *frames, unsigned count,
	uint64_t now_us)
{
	monitor->now_us = now_us;
	for (unsigned i = 0; i < count; i++) {
		struct passer passer = {
			.m = frames[i].m,
			.from = monitor->netifs[frames[i].from],
			.ports = frames[i].ports,
		};

		if (i + 1 < count)
			rte_prefetch0(rte_pktmbuf_mtod(frames[i + 1].m, void *));
		frame_pass(monitor, &passer);
	}
	deliveries_flush(monitor);
}

// --- time ----------------------------------------------------------------------------------------

void monitor_timers(struct monitor *monitor, uint64_t now_us)
{
	struct wheel_timer *timer;

	monitor->now_us = now_us;
	wheel_advance(&monitor->timers, now_us);
	while ((timer = wheel_pop(&monitor->timers)) != NULL)
		track_timeout(monitor, container_of(timer, struct track, timer));
	counter_add(&monitor->counters.dropped[MONITOR_DROP_UNFINISHED],
		gather_expire(monitor->gather, now_us));
}

uint64_t monitor_next_deadline(const struct monitor *monitor)
{
	uint64_t tracks_us = wheel_next_us(&monitor->timers);
	uint64_t pieces_us = gather_next_deadline(monitor->gather);

	return tracks_us < pieces_us ? tracks_us : pieces_us;
}

// --- looking in ----------------------------------------------------------------------------------

struct pool_usage monitor_usage(const struct monitor *monitor)
{
	struct pool_usage usage = {
		.size = monitor->tracks_max,
		.object_bytes = sizeof(struct track),
	};
	// Those that are gone give way to others.
	usage.in_use = monitor->counters.flows[TRACK_OPENING - 1] +
		       monitor->counters.flows[TRACK_ADOPTED - 1];
	return usage;
}

struct counter_set monitor_counters(const struct monitor *monitor)
{
	static const struct monitor_counter_slots none;

	return (struct counter_set){
		.families = families,
		.families_count = sizeof(families) / sizeof(families[0]),
		.values = (const uint64_t *)(monitor != NULL ? &monitor->counters : &none),
	};
}

void monitor_check(const struct monitor *monitor)
{
	ASSERT(monitor->deliveries_count == 0);
	tracks_check(monitor);
}
