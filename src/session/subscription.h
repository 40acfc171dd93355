// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What session.c asks of the subscriptions of a session; internal to the floor.

#pragma once

#include "session/session.h"

// All subscriptions of the session go.
void session_drop_subscriptions(struct session_map *map, struct session *session);
// Nothing is under way any more: pending subscriptions count as active, unsubscriptions as not
// made.
void session_settle_pending(struct session *session);
