// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Names of the counters, in the order of struct offload_counters.

#include "offload/counters.h"

#include <assert.h>
#include <stddef.h>

#include "mqtt/packet.h"

static const char *const qos_names[] = {"0", "1", "2"};

static const char *const drop_names[OFFLOAD_DROPS] = {
	[OFFLOAD_DROP_QUEUE_FULL] = "queue_full",
	[OFFLOAD_DROP_PACKET_SIZE] = "packet_size",
	[OFFLOAD_DROP_EXPIRED] = "expired",
	[OFFLOAD_DROP_CLOSED] = "closed",
	[OFFLOAD_DROP_REFUSED] = "refused",
	[OFFLOAD_DROP_SESSION] = "session_ended",
};

static const char *const fence_names[OFFLOAD_FENCES] = {
	[OFFLOAD_FENCE_CLEARED] = "cleared",
	[OFFLOAD_FENCE_TIMED_OUT] = "timed_out",
};

static const char *const route_names[OFFLOAD_ROUTES] = {
	[OFFLOAD_ROUTE_MADE] = "made",
	[OFFLOAD_ROUTE_CONFIRMED] = "confirmed",
};

const struct counter_family offload_counter_families[] = {
	{"publish_captured_total", "PUBLISHes taken off the road", "qos", qos_names, 3,
		COUNTER_MONOTONIC},
	{"publish_passed_total", "PUBLISHes passed to the broker, by the reason why", "reason",
		proof_reason_names, PROOF_REASONS, COUNTER_MONOTONIC},
	{"deliveries_total", "PUBLISHes delivered to subscribers by Offramp", "qos", qos_names, 3,
		COUNTER_MONOTONIC},
	{"deliveries_dropped_total", "deliveries not made, by the reason why", "reason", drop_names,
		OFFLOAD_DROPS, COUNTER_MONOTONIC},
	{"deliveries_resent_total", "deliveries sent again to a client that came back", NULL, NULL,
		1, COUNTER_MONOTONIC},
	{"connections", "clients connected", NULL, NULL, 1, COUNTER_GAUGE},
	{"subscriptions", "subscriptions in the map", NULL, NULL, 1, COUNTER_GAUGE},
	{"sessions_offline", "persistent sessions of clients that are away", NULL, NULL, 1,
		COUNTER_GAUGE},
	{"deliveries_kept", "deliveries kept for persistent sessions", NULL, NULL, 1,
		COUNTER_GAUGE},
	{"map_complete", "1 while the map is known to hold every subscription", NULL, NULL, 1,
		COUNTER_GAUGE},
	{"fences_total", "fences, by how they ended", "result", fence_names, OFFLOAD_FENCES,
		COUNTER_MONOTONIC},
	{"broker_pings_total", "PINGREQs that Offramp sent to brokers", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"client_packets_total", "MQTT packets of clients dealt with, by type", "type",
		mqtt_type_names, MQTT_TYPES, COUNTER_MONOTONIC},
	{"broker_packets_total", "MQTT packets of brokers dealt with, by type", "type",
		mqtt_type_names, MQTT_TYPES, COUNTER_MONOTONIC},
	{"packets_malformed_total", "MQTT packets that no specification allows", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"clients_aborted_total", "connections reset because memory ran out", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"publish_passed_late_total",
		"PUBLISHes of QoS 2 that were taken, and passed to the broker when released", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"publish_abandoned_total",
		"PUBLISHes of QoS 2 whose publisher went without releasing them", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"deliveries_held_total", "deliveries that waited for a SUBACK", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"publish_crossed_total", "PUBLISHes captured by one worker that another one delivered",
		NULL, NULL, 1, COUNTER_MONOTONIC},
	{"publish_split_total",
		"PUBLISHes delivered by Offramp to its clients, and by the broker to everybody "
		"else",
		NULL, NULL, 1, COUNTER_MONOTONIC},
	{"publish_refused_total", "PUBLISHes of clients to the topic of Offramp's markers", NULL,
		NULL, 1, COUNTER_MONOTONIC},
	{"publishers_paused_total", "times a publisher waited for its subscribers", NULL, NULL, 1,
		COUNTER_MONOTONIC},
	{"routes_total", "topics matched, and matches that outlived a change", "result",
		route_names, OFFLOAD_ROUTES, COUNTER_MONOTONIC},
};
const unsigned offload_counter_families_count =
	sizeof(offload_counter_families) / sizeof(offload_counter_families[0]);

static_assert(
	sizeof(struct offload_counters) ==
		sizeof(uint64_t) * (3 + PROOF_REASONS + 3 + OFFLOAD_DROPS + 6 + OFFLOAD_FENCES +
					   10 + 2 * MQTT_TYPES + OFFLOAD_ROUTES),
	"a family a field, in order");
