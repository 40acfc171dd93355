// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One client's window of unacknowledged messages: one budget (Receive Maximum, 4.9) and one
// space of identifiers for the broker's and Offramp's (session/identifiers.h).

#pragma once

#include "offload/state.h"

// An identifier for a delivery of ours at QoS 1 or 2; 0: not now.
uint16_t window_take(struct client *client, uint8_t qos);
// A delivery that was sent on an earlier connection may be sent again, under its identifier; 0: not
// now. _undo: it was not.
uint16_t window_resend(struct client *client, uint16_t id);
void window_resend_undo(struct client *client);
// It will not be: its identifier is free.
void window_resend_drop(struct client *client, uint16_t id);
// The broker's PUBLISH may go out under its identifier.
bool window_broker_take(struct client *client, uint16_t id);
// After identifiers were given back: the window goes when nothing is unacknowledged.
void window_release(struct client *client);
// Nothing is on its way to the client whose acknowledgement will open the window.
bool window_idle(const struct client *client);

// A session is resumed: the window stands; false: no memory.
bool window_begin(struct client *client);
// The identifier was used on an earlier connection and is unacknowledged; before any other is
// taken. False: it cannot be kept.
bool window_restore(struct client *client, uint16_t id);
// Where identifiers go on: the next of ours, the broker's latest.
void window_position(const struct client *client, uint16_t *ret_next, uint16_t *ret_broker);
