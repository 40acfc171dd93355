// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Split delivery: a message of QoS 0 or 1 for clients that are here, and for others that only
// the broker can serve (persistent sessions of clients that are away, clients that come another
// way), goes to the broker, behind a marker that says whom it is not for, and is delivered
// here to those.
//
//   SKIP (events heard, except) │ PUBLISH ─▶ broker ─▶ everybody else
//                  └─▶ fan-out ─▶ everybody who is here
//
// Only where it is shown that of the clients that are here the broker considers the same as
// readers (offload/proving.h). The broker
// leaves out those of whom Offramp had heard that they are joined when it wrote the marker, so who
// joins on the way gets it from the broker; and not those that Offramp knows to be away
// (`except`), though the broker may believe that they are there. The broker acknowledges.

#pragma once

#include "offload/state.h"

// Does the broker have to get it too, as far as QoS 0 and 1 go?
bool split_needed(const struct client *client, const struct proof_route *route, uint8_t qos);
// As far as the topic and the broker go.
bool split_possible(const struct client *client, const struct proof_route *route);
// Passes the packet behind its marker. Returns as pass_packet().
int split_pass(
	struct client *client, const struct proof_route *route, const struct mqtt_frame *frame);
