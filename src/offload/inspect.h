// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Looking into a worker's offload: rows for `offramp connections` and
// `subscriptions`. Runs on the worker (through its mailbox), in slices: every call
// fills at most `max` rows from *cursor on (0 at first) and moves *cursor; it
// returns 0 at the end. What changes between two slices may be missed or doubled.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

struct offload;

#define OFFLOAD_ROW_CLIENT_ID 128
#define OFFLOAD_ROW_FILTER    256

struct offload_connection_row {
	char broker[32];
	char client_id[OFFLOAD_ROW_CLIENT_ID]; // cut (with "…") when longer; empty before CONNECT
	struct net_endpoint client;	       // the client's end
	struct net_endpoint broker_local;      // our end of the broker's leg
	uint8_t version;		       // enum mqtt_version; 0 before CONNECT
	bool accepted;			       // CONNACK seen
	bool persistent;
	uint16_t keep_alive;
	uint32_t subscriptions;
	const char *client_state; // TCP state names
	const char *broker_state;
	uint64_t client_queued, broker_queued; // bytes not yet acknowledged
	uint32_t queued_messages;	       // deliveries waiting behind window or bounds
	uint32_t inflight;		       // our unacknowledged QoS 1 deliveries
	uint32_t retransmits;
	uint64_t captured, passed, delivered; // PUBLISHes from, PUBLISHes of ours to this client
};

struct offload_subscription_row {
	char broker[32];
	char client_id[OFFLOAD_ROW_CLIENT_ID];
	char filter[OFFLOAD_ROW_FILTER];
	uint8_t qos;
	bool no_local, online, pending, persistent;
	uint32_t subscription_id;
};

unsigned offload_connections_list(const struct offload *offload, uint64_t *cursor,
	struct offload_connection_row *ret_rows, unsigned max);
unsigned offload_subscriptions_list(const struct offload *offload, uint64_t *cursor,
	struct offload_subscription_row *ret_rows, unsigned max);

// A topic that was published to lately, and what becomes of its messages.
struct offload_topic_row {
	char broker[32];
	char topic[OFFLOAD_ROW_FILTER];
	// A reason of proof/reason.h by name; "captured": none. Above QoS 0 there may be another.
	const char *verdict, *verdict_qos1, *verdict_qos2;
	uint32_t targets; // subscriptions of clients of this worker that get its messages
	uint32_t denied,
		pending;  // of these: the broker does not let them read; a SUBACK is awaited
	uint32_t workers; // bit i: worker i has subscribers too
	// Where the broker is to tell (offload/proving.h).
	bool known, shown;
	uint64_t shown_us; // what was shown holds for so long; 0: it does not, UINT64_MAX: no end
	uint64_t asks_us;  // so long until a message asks again
};
unsigned offload_topics_list(const struct offload *offload, uint64_t *cursor,
	struct offload_topic_row *ret_rows, unsigned max);

// Per broker, cheap.
struct offload_broker_status {
	const char *name;
	struct net_endpoint listen, address;
	const char *knowledge, *authorization; // as in the configuration
	bool map_complete;
	const char *map_reason; // why not, one line; NULL when complete
	bool reachable;		// the last attempt to connect succeeded (or none was made yet)
	uint32_t connections, subscriptions, sessions;
};
unsigned offload_brokers_list(
	const struct offload *offload, struct offload_broker_status *ret_statuses, unsigned max);
