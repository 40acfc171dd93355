// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the offload can be told: brokers, limits, what to capture. Filled by
// control from the configuration file (or by a test), read-only afterwards.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"
#include "proof/overlap.h"

enum offload_knowledge {	  // how the map of subscriptions is known to be complete
	OFFLOAD_KNOWLEDGE_BROKER, // the broker tells (offload/notice.h); until it does, everything
				  // passes
	OFFLOAD_KNOWLEDGE_WIRE,	  // the operator declares that every client comes through Offramp
	OFFLOAD_KNOWLEDGE_NONE,	  // nothing is declared: everything passes
};

enum offload_authorization {
	OFFLOAD_AUTHORIZATION_BROKER, // the broker has let the client write or read the topic
	OFFLOAD_AUTHORIZATION_OPEN,   // the operator declares that the broker has no ACLs
	OFFLOAD_AUTHORIZATION_NONE,   // nothing is declared: everything passes
};

enum offload_fence {
	OFFLOAD_FENCE_PING, // a PINGRESP proves that what came before has been routed (mosquitto)
	OFFLOAD_FENCE_NONE, // it proves nothing: a changed topic waits out capture.hold
};

enum offload_topics {
	OFFLOAD_TOPICS_MQTT, // levels are parted by '/', and that is all
	OFFLOAD_TOPICS_AMQP, // by '.' too, and a level '*' is '+' (RabbitMQ)
};

enum offload_ack {		// what is acknowledged to who has sent it
	OFFLOAD_ACK_EARLY,	// what Offramp has received: it owns that then
	OFFLOAD_ACK_END_TO_END, // what it was passed on to has acknowledged, and what was captured
};

struct offload_capture_config {
	bool enabled;	   // true; false: everything passes (reason "disabled")
	uint16_t qos;	   // the highest QoS captured; 2
	uint32_t max_size; // larger PUBLISHes pass as a stream; 1100 KiB, which is the most
	uint64_t hold_us;  // a topic that changed path stays with the broker at least so long; 1 s
	const char *const *pass; // topic filters whose messages always pass (bridges, rules)
	unsigned pass_count;
};

struct offload_proof_config {
	uint64_t ttl_us;   // what was proven holds so long; 30 s
	uint64_t lease_us; // so long after the broker's last word what it told is relied on; 500 ms
};

struct offload_client_config {	 // bounds of one client
	uint32_t queue_messages; // deliveries waiting for a slow subscriber; 16384
	uint32_t queue_bytes;	 // 16 MiB
	uint32_t queued_qos1;	 // QoS 1 deliveries waiting behind the in-flight window; 1000
	uint16_t inflight;	 // our unacknowledged QoS 1 deliveries; 1024 at most, default 1024
	uint32_t subscriptions;	 // 1024
	uint32_t pending_messages; // deliveries held between SUBSCRIBE and SUBACK; 64
};

struct offload_broker_config {
	const char *name;
	struct net_endpoint listen;  // where clients connect (stack mode: an address of ours)
	struct net_endpoint address; // the broker
	const struct net_address
		*sources;	// stack mode: local addresses of the peer connections, ours; at
	unsigned sources_count; // least one
	enum offload_knowledge knowledge;
	enum offload_authorization authorization;
	bool hooks; // it may tell all that it has: room is set aside for that
	enum offload_fence fence;
	enum proof_overlap overlap;
	enum offload_topics topics;
	enum offload_ack ack; // EARLY
	struct offload_capture_config capture;
	struct offload_proof_config proof;
	struct offload_client_config client;
	uint64_t connect_timeout_us; // the broker's leg must stand within this; 10 s
};

struct crossing;

// Several workers have the same brokers, and clients of their own.
struct offload_peers_config {
	struct crossing *changes, *parcels; // with the offload as the worker
	unsigned self, count;		    // count 0 or 1: there is no other
	uint8_t hash_key[16];		    // the same for all
};

struct offload_config {
	const struct offload_broker_config *brokers;
	unsigned brokers_count;
	uint32_t clients_max;	    // connections a worker serves; 16384
	uint32_t sessions_max;	    // persistent sessions remembered beside them; 16384
	uint32_t subscriptions_max; // per worker; 262144
	uint32_t filters_max;	    // different ones of all workers; 262144
	struct offload_peers_config peers;
};

void offload_config_init(struct offload_config *config);
void offload_broker_config_init(struct offload_broker_config *broker);
