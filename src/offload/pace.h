// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Pacing: publishers and the pace of their subscribers.
//
// A publisher faster than most of its subscribers waits for them, as it would for a broker that is
// busy writing to them. For a few that lag behind the rest it waits a little, once, before their
// bounds make them lose messages; then it goes on without regard to them until they have caught up.
// A subscriber that does not move at all is not waited for.

#pragma once

#include "offload/state.h"

// Of one message, all zero at first.
struct pace {
	uint32_t below, above;	// the soft mark
	struct client *slow;	// one above it
	struct client *lagging; // one about to lose messages
};

// The subscriber has been given its delivery.
void pace_look(struct pace *pace, struct client *subscriber);
// All have: does the publisher wait before its next message, and for whom?
bool pace_decide(const struct pace *pace, struct offload *offload, struct pace_wait *ret_wait);
// That subscriber has caught up, stalled, or gone, or patience is over.
bool pace_over(const struct offload *offload, const struct pace_wait *wait);
