// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What this worker's subscribers of a topic show behind a probe, target by target:
//
//   routed ─▶ has the message come to it? ──yes──▶ it may read
//                 │ not for a moment
//                 ▼
//             PINGREQ ─▶ PINGRESP, and still nothing ──▶ it may not, or that says nothing
//                                                        (offload/evidence.h)
//
// The probe is this worker's (offload/probes.h) or another one's (offload/survey.h).

#pragma once

#include "offload/state.h"

struct sighting {
	uint64_t hash;	       // of the topic
	uint64_t since_us;     // the message has passed; nothing earlier shows anything
	uint64_t routed_us;    // the broker had routed it by then
	uint64_t route_serial; // of the targets that the cursor goes over
	uint64_t epoch;	       // fence epoch of the question to silent subscribers; 0: not asked
	uint32_t cursor;       // targets before it have shown what there is to see
	uint32_t length;       // of the message
	uint32_t expiry_s;
	bool expires;
	bool compared; // the broker considers the same readers as the map
	bool unsent;   // a subscriber could not be asked yet
	bool silent;   // a subscriber's silence says nothing
};

// True when of every target is seen what there is to see. The publisher's own messages may not come
// back to it; NULL: it is another worker's.
bool sighting_walk(struct sighting *sighting, struct offload *offload,
	const struct proof_route *route, const struct client *publisher);
