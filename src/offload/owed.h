// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a persistent session's client is owed: QoS 1 deliveries are kept until the
// client acknowledges them, and outlive its connection (4.1, 4.4).
//
//              sent             PUBACK
//   windowed ───────▶ owed ───────────▶ gone
//      │                │
//      └── connection ──┴──▶ owed (of the session, while it is away)
//             ends             │ resumed: sent again, with DUP, under the same identifiers, in
//                              ▼ the order of the first time; then what had not been sent yet
//                           windowed
//
// The list is the session's; it goes with the session. An orderly stop writes it down
// (offload/recall.h).

#pragma once

#include "offload/output.h"

// Is what the client gets at this QoS kept until it is acknowledged? Not at QoS 2, at which
// persistent sessions are not served.
bool owed_keeps(const struct client *client, uint8_t qos);
// May more be kept, all sessions together? What waits for who is away may wait for ever, so it
// never takes all there is.
bool owed_has_room(const struct offload *offload);
// What other workers have captured before they knew that there is none: some more.
bool owed_takes_late(const struct offload *offload);

// The delivery, in no list, is owed to the session, behind what is owed to it already.
void owed_append(struct offload *offload, struct session *session, struct delivery *delivery);
// The delivery, in no list, has been sent under delivery->id.
void owed_sent(struct client *client, struct delivery *delivery);
// The client has acknowledged the identifier.
void owed_acknowledged(struct client *client, uint16_t id);

// The connection has lost the session, which lives on: what waits in its output is the session's.
void owed_park(struct client *client, struct session *session);
// The client has resumed its session.
void owed_resume(struct client *client);
// What is a copy of what another worker keeps is not kept here.
void owed_forget(struct offload *offload, struct session *session);
// For session_map.ended; `ctx` is the offload.
void owed_drop(void *ctx, struct session *session);

// The delivery in the form that the client's version asks for. -ENOMEM: not now; -E2BIG: never.
int owed_adapt(struct client *client, struct delivery *delivery);
