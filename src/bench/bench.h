// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One run of the load generator: what all its threads share. Everything but the
// phase is written before the threads start or, the times, before the phase that
// uses them; a worker owns its clients.

#pragma once

#include "bench/address.h"
#include "bench/options.h"
#include "bench/plan.h"

#include <stdint.h>

struct bench_publisher;
struct bench_subscriber;
struct bench_worker;

enum bench_phase {
	BENCH_PHASE_IDLE,
	BENCH_PHASE_SUBSCRIBE, // subscribers connect and subscribe
	BENCH_PHASE_CONNECT,   // publishers connect
	BENCH_PHASE_RUN,       // warm-up and measurement
	BENCH_PHASE_DRAIN,     // nothing new is issued, what is on its way arrives
	BENCH_PHASE_STOP,      // disconnect and end
};

struct bench {
	const struct bench_options *options;
	struct bench_plan plan;
	struct bench_address target;
	uint32_t id; // random, part of client identifiers and topics

	struct bench_publisher *publishers;
	struct bench_subscriber *subscribers;
	struct bench_worker *workers;
	unsigned workers_count;

	_Atomic int phase; // enum bench_phase, set by the controller
	int notify_fd;	   // eventfd: a worker has something to tell the controller
	// Valid from BENCH_PHASE_RUN on: first message due, end of the warm-up, end of the
	// duration (UINT64_MAX when the number of messages decides).
	uint64_t start_us, measure_us, end_us;
};

// Why a run could not be made or ended early.
enum bench_outcome {
	BENCH_OUTCOME_DONE,
	BENCH_OUTCOME_INTERRUPTED,
	BENCH_OUTCOME_NOT_CONNECTED,
};
