// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who is to get a message although nobody is there: persistent sessions with
// subscriptions above QoS 0 whose clients have gone since it was captured.
// Everybody else's messages for them pass (STANDING_OFFLINE).

#pragma once

#include "proof/overlap.h"
#include "session/session.h"

// Calls `keep` for each copy that the broker would queue, as of a route's targets: one for each
// session, or one for each subscription with its identifier. `qos` > 0 as granted.
void proof_away_match(const struct session_map *map, enum proof_overlap overlap,
	struct mqtt_bytes topic,
	void (*keep)(void *ctx, struct session *session, uint8_t qos, uint32_t id), void *ctx);
