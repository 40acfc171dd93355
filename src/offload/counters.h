// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The offload's counters: single writer, its worker.

#pragma once

#include <stdint.h>

#include "base/counters.h"
#include "mqtt/packet.h"
#include "proof/reason.h"

enum offload_drop {		  // deliveries_dropped_total{reason}
	OFFLOAD_DROP_QUEUE_FULL,  // the subscriber is slow: QoS 0 beyond its bound, QoS 1 beyond
				  // queued_qos1
	OFFLOAD_DROP_PACKET_SIZE, // larger than the subscriber takes (3.1.2.11.4)
	OFFLOAD_DROP_EXPIRED,	  // message expiry passed while it waited (3.3.2.3.3)
	OFFLOAD_DROP_CLOSED,	  // the subscriber's connection ended while it waited
	OFFLOAD_DROP_REFUSED,	  // its SUBSCRIBE was refused
	OFFLOAD_DROP_SESSION,	  // it was kept for a session that ended
	OFFLOAD_DROPS,
};

enum { OFFLOAD_FENCE_CLEARED, OFFLOAD_FENCE_TIMED_OUT, OFFLOAD_FENCES };

enum { OFFLOAD_ROUTE_MADE, OFFLOAD_ROUTE_CONFIRMED, OFFLOAD_ROUTES };

struct offload_counters {
	uint64_t captured[3]; // by QoS
	uint64_t passed[PROOF_REASONS];
	uint64_t deliveries[3];
	uint64_t dropped[OFFLOAD_DROPS];
	uint64_t resent;
	uint64_t connections, subscriptions, sessions_offline, owed, map_complete;
	uint64_t fences[OFFLOAD_FENCES];
	uint64_t pings; // PINGREQs of ours to brokers
	uint64_t from_clients[MQTT_TYPES], from_brokers[MQTT_TYPES];
	uint64_t malformed;   // packets no specification allows, either direction
	uint64_t aborted;     // connections reset because memory ran out
	uint64_t passed_late; // PUBLISHes of QoS 2 taken first and passed when released
	uint64_t abandoned;   // PUBLISHes of QoS 2 whose publisher went without releasing them
	uint64_t held;	      // deliveries that waited for a SUBACK
	uint64_t crossed;     // captured by other workers, for subscribers of this one
	uint64_t split;	      // PUBLISHes delivered here, and by the broker to who is away
	uint64_t refused;     // PUBLISHes to a topic that is Offramp's own
	uint64_t paused;      // times a publisher was made to wait for its subscribers
	uint64_t routes[OFFLOAD_ROUTES];
};

extern const struct counter_family offload_counter_families[];
extern const unsigned offload_counter_families_count;
