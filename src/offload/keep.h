// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Another worker has captured a message for a session whose client has gone meanwhile: it is
// owed to the session, as if it had come in time (offload/owed.h). What is captured later passes,
// for that worker will know.

#pragma once

#include "offload/message.h"
#include "offload/state.h"

// There is room for what the message is to be kept for.
bool keep_has_room(const struct offload *offload, const struct proof_route *route);
// Keeps it for everybody who is away and may get it, as was said at `since_us` at the earliest
// (offload/promise.h).
void keep_for_away(
	struct broker *broker, struct message *message, uint64_t topic_hash, uint64_t since_us);
// One that was held for the client until its connection ended (offload/pending.h).
void keep_held(struct client *client, struct session *session, struct message *message);
