// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a subscriber's leg shows of its right to read (authorization: broker).
//
// It may read a topic when the broker has delivered that topic to it; not just so any
// delivery, for a broker hands out what it has queued also after the right is gone.
// A leg is *fresh* when nothing of an earlier epoch can come by it any more:
//
//   epoch begins ─▶ PINGREQ ─▶ PINGRESP, and nothing waited behind it: fresh
//   CONNECT in this epoch, to a session that was not there before:    fresh
//
// It may not read when the broker has considered it as a reader, and yet there came nothing
// before the answer to a PINGREQ that was sent after the message had been routed. Silence has
// other causes too: whatever might be one makes the silence say nothing (evidence_silence()).

#pragma once

#include "offload/sighting.h"
#include "offload/state.h"

// The broker has sent this PUBLISH to the client.
void evidence_delivered(struct client *client, const struct mqtt_publish *publish);
// It has sent a part of one that could not be looked at.
void evidence_unseen(struct client *client);
// The session is this connection's from now on.
void evidence_bind(struct client *client);
// The client may be somebody else from now on (AUTH): what was shown is of who it was.
void evidence_identity(struct client *client);

bool evidence_fresh(const struct client *client);
// Asks for what makes it so; harmless when it is, or cannot be asked now.
void evidence_freshen(struct client *client);

// The connection begins: it is new in this epoch.
void evidence_connect(struct client *client);
// Its session was not there before.
void evidence_clean(struct client *client);

// What is known of the client's right to read the topic; NULL: nothing.
struct grant *evidence_find(const struct client *client, uint64_t topic_hash);
// The client has answered, and the message had not come: does that mean that it may not read?
bool evidence_silence(const struct client *client, const struct sighting *sighting);
void evidence_denied(struct client *client, uint64_t topic_hash, uint64_t until_us);
