// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Messages that match a subscription whose SUBACK is still to come. Clients publish
// right after they subscribe and expect their own message: it is held, and
// judged as the broker would judge it once the SUBACK has passed.

#pragma once

#include "offload/state.h"

bool pending_has_room(const struct client *client);
// Holds a captured PUBLISH for the subscriber.
// `version` of its publisher; `own`: that is the
// subscriber itself.
void pending_hold(struct client *subscriber, const struct mqtt_frame *frame,
	enum mqtt_version version, bool own);
// A SUBACK has passed: what waits for no other one is delivered, in order.
void pending_release(struct client *client);
// The connection ends, and the session lives on: what is held for what it has subscribed to before
// is owed to it. (What another worker has captured; this one's publishers' messages pass while a
// SUBACK is awaited.)
void pending_park(struct client *client, struct session *session);
// Drops everything that is held.
void pending_clear(struct client *client);
