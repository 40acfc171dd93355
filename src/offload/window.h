// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One client's window of unacknowledged messages: one budget (Receive Maximum, 4.9) and one
// space of identifiers for the broker's and Offramp's (session/identifiers.h).

#pragma once

#include "offload/state.h"

// An identifier for a delivery of ours at QoS 1 or 2; 0: not now.
uint16_t window_take(struct client *client, uint8_t qos);
// The broker's PUBLISH may go out under its identifier.
bool window_broker_take(struct client *client, uint16_t id);
// After identifiers were given back: the window goes when nothing is unacknowledged.
void window_release(struct client *client);
