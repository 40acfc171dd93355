// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Default values: safe, and good enough to be left alone.

#include "offload/config.h"

#include "base/clock.h"
#include "session/identifiers.h"

#include <string.h>

void offload_config_init(struct offload_config *config)
{
	*config = (struct offload_config){
		.clients_max = 16384,
		.sessions_max = 16384,
		.subscriptions_max = 262144,
		.filters_max = 262144,
	};
}

void offload_broker_config_init(struct offload_broker_config *broker)
{
	*broker = (struct offload_broker_config){
		.knowledge = OFFLOAD_KNOWLEDGE_BROKER,
		.authorization = OFFLOAD_AUTHORIZATION_BROKER,
		.fence = OFFLOAD_FENCE_PING,
		.overlap = PROOF_OVERLAP_MOSQUITTO,
		.topics = OFFLOAD_TOPICS_MQTT,
		.ack = OFFLOAD_ACK_EARLY,
		.capture = {.enabled = true, .qos = 2, .max_size = 1100 << 10, .hold_us = US_IN_S},
		.proof = {.ttl_us = 30 * US_IN_S, .lease_us = 500 * US_IN_MS},
		.client =
			{
				.queue_messages = 16384,
				.queue_bytes = 16 << 20,
				.queued_qos1 = 1000,
				.inflight = IDENTIFIERS_WINDOW,
				.subscriptions = 1024,
				.pending_messages = 64,
			},
		.connect_timeout_us = 10 * US_IN_S,
	};
}
