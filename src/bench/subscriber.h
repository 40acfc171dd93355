// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A subscriber: asks for its topics, then judges every PUBLISH that comes. Owned
// by one worker.

#pragma once

#include "bench/conn.h"
#include "bench/track.h"

struct bench_subscriber {
	struct bench_conn conn; // first: a conn of this role is its subscriber
	uint32_t filters_asked, filters_granted;
	struct bench_track *tracks; // one a publisher it hears (bench/plan.h)
	uint32_t tracks_count;
};

void bench_subscriber_init(
	struct bench_subscriber *subscriber, struct bench_worker *worker, uint32_t index);
void bench_subscriber_fini(struct bench_subscriber *subscriber);
// Sends the next SUBSCRIBE; false when all filters have been granted.
bool bench_subscriber_ask(struct bench_subscriber *subscriber);
// Any packet after CONNACK. False when the connection is lost.
bool bench_subscriber_packet(struct bench_subscriber *subscriber, const struct mqtt_header *header,
	struct mqtt_bytes body);
// Deliveries that never came, once all threads have ended.
uint64_t bench_subscriber_missing(const struct bench_subscriber *subscriber);
