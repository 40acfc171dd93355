// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A publisher: issues messages as the pace allows, keeps its window of
// unacknowledged ones. Owned by one worker; what other workers touch is atomic.

#pragma once

#include "bench/conn.h"
#include "bench/flight.h"
#include "bench/plan.h"

struct bench;

// A PUBLISH of QoS 1 or 2 that is not acknowledged; its packet identifier is index + 1.
struct bench_inflight {
	uint64_t issued_us;
	uint8_t awaits; // MQTT_PUBACK, MQTT_PUBREC, MQTT_PUBCOMP; 0: the identifier is free
};

struct bench_publisher {
	struct bench_conn conn; // first: a conn of this role is its publisher
	char topic[BENCH_TOPIC_MAX];
	uint32_t topic_length;
	bool done; // has issued all it was to issue, or cannot any more

	struct bench_flight flight;
	_Atomic uint32_t issued;    // the next sequence number
	_Atomic uint32_t completed; // messages that reached all their subscribers
	uint32_t measured;	    // issued after the warm-up
	uint32_t due;		    // BENCH_PACE_RATE: messages whose time has come

	// BENCH_PACE_CLOSED: what is no longer waited for, and since when nothing completed.
	uint32_t abandoned, completed_seen;
	uint64_t progress_us;
	// Link of the worker's stack of publishers that may go on; `credited` while in it.
	struct bench_publisher *credit_next;
	_Atomic bool credited;

	struct bench_inflight *inflight; // options.inflight of them, QoS > 0
	uint16_t *free_ids;		 // ring of free identifiers, so that none is reused early
	uint32_t free_first, free_count;
};

void bench_publisher_init(
	struct bench_publisher *publisher, struct bench_worker *worker, uint32_t index);
void bench_publisher_fini(struct bench_publisher *publisher);
// The broker's receive maximum (MQTT 5) shrinks the window; before the first message.
void bench_publisher_limit(struct bench_publisher *publisher, uint16_t receive_maximum);
// When message n of the publisher is due, BENCH_PACE_RATE.
uint64_t bench_publisher_due_us(const struct bench *bench, uint32_t publisher, uint64_t n);
// Issues and sends what may be issued now.
void bench_publisher_run(struct bench_publisher *publisher);
// Any packet after CONNACK. False when the connection is lost.
bool bench_publisher_packet(struct bench_publisher *publisher, const struct mqtt_header *header,
	struct mqtt_bytes body);
// Nothing more will be issued: whoever waits for this publisher need not.
void bench_publisher_finish(struct bench_publisher *publisher);
// BENCH_PACE_CLOSED: stops waiting for messages that made no progress for the drain time.
void bench_publisher_give_up(struct bench_publisher *publisher, uint64_t now_us);
// Messages that were to be issued and were not.
uint64_t bench_publisher_unsent(const struct bench_publisher *publisher);
