// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What one worker thread counts. The first group is also read while it runs, for
// progress and to see when all has arrived (base/counters.h); the rest is read
// and summed when the thread has ended.

#pragma once

#include "base/counters.h"
#include "base/histogram.h"

#include <stdint.h>

struct bench_stats {
	// Live.
	uint64_t subscribers_ready, publishers_ready, publishers_done;
	uint64_t connections_lost;
	uint64_t published, acknowledged; // acknowledged: QoS > 0
	uint64_t expected;		  // deliveries of what was published
	uint64_t delivered;		  // of these, each once
	uint64_t unflushed;		  // bytes that wait in publishers' outputs, at the end

	// What must not be.
	uint64_t duplicated, reordered, corrupted;
	uint64_t unexpected; // PUBLISHes of a topic that this run does not have
	uint64_t refused;    // v5: acknowledged with an error
	uint64_t abandoned;  // closed loop: messages no longer waited for

	// Of messages issued after the warm-up.
	uint64_t measured_published, measured_delivered, measured_bytes;
	uint64_t unmeasured;	  // deliveries of messages that were forgotten (bench/flight.h)
	uint64_t last_arrival_us; // 0: none
	struct histogram distribution, delivery, acknowledgement, lag; // microseconds
};
