// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A broker's stream as verdicts see it: is it in step, and since when. An *epoch* is a
// time in which nothing has ended all proofs at once: a stream that comes or goes and
// rights that change begin another one, and what was proven in an earlier one is void.
// While a lease is missed nothing is relied on; what was proven stands when the stream is heard
// again, for then all has been heard that it had to say.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "offload/notice.h"

struct broker_stream {
	struct offload_stream told;
	uint64_t instance; // of the latest one
	uint64_t serial;   // how many there have been
	bool up;
	bool snapshot_over; // with told.complete: all that the broker has is known
	bool live;	    // up, in step, and the lease holds in this turn
	const char *down;   // why it is not up
	uint64_t heard;	    // the number of the latest event
	uint64_t epoch;	    // from 1 on
	// How often a notice has begun one. All workers run the same notices in the same order, so
	// two that have come as far have heard the same of rights.
	uint64_t tide;
	uint64_t since_us;   // its beginning
	uint64_t fresh_from; // fence epoch of its beginning
	bool walking;	     // clients are being joined (offload/markers.h), from the cursor on
	uint32_t cursor;
};

struct broker;
struct offload;

void stream_init(struct broker_stream *stream);
// The broker is to tell something.
bool stream_wanted(const struct broker *broker);
// The turn has begun: do the leases hold?
void streams_advance(struct offload *offload);
// Why nothing can be proven now, one line; NULL: it can be.
const char *stream_reason(const struct broker *broker);
