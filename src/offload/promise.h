// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Promises: to a survey (offload/survey.h) a worker says of a topic that the right to read of
// every client of its own that subscribes is known. Another one captures messages relying on that,
// also for a moment after it has ceased to hold: until it has learned so. Each message bears
// the time at which the promise was made, so who came to a subscription, or to another identity,
// behind that is not meant. What is known now decides, then what was known last; where that is
// forgotten it was no denial, for denials are the last to be forgotten.

#pragma once

#include "offload/state.h"

// A message of this QoS has arrived that relies on promises made at `since_us` at the earliest.
// Marks the targets that may not get it (ROUTE_DENIED).
void promise_arrived(
	struct broker *broker, struct proof_route *route, uint8_t qos, uint64_t since_us);
// Likewise: may a session get it whose client has gone meanwhile?
bool promise_may_keep(const struct broker *broker, const struct session *session,
	uint64_t topic_hash, uint64_t since_us);
