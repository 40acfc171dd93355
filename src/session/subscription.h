// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What session.c asks of the subscriptions of a session; internal to the floor.

#pragma once

#include "session/session.h"

// All subscriptions of the session go; `sure` as below.
void session_drop_subscriptions(struct session_map *map, struct session *session, bool sure);
// The connection has ended, and with it what was under way: unsubscriptions are made where the
// client said goodbye behind them; for the rest nobody knows.
void session_settle_pending(struct session_map *map, struct session *session);
// Something about it has changed: caches and other workers are to know. `sure`: the broker has the
// same subscriptions as the map, if it had before (session_map.doubts).
void subscription_changed(struct session_map *map, struct subscription *sub, bool sure);
