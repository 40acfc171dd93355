// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A client connects, and its session may be with another worker ([MQTT-3.1.4-3]): all
// are asked before the CONNACK passes.
//
//   this worker                          the one that has the session
//     ask ──────────────────────────────▶ its client loses it, it is as of one that is away
//                                          nothing more comes in for it
//     bind: subscriptions pending ◀─────── what they are, in pieces
//     what it is owed is copied   ◀─────── (read there)
//     the others know of it
//     moved ────────────────────────────▶ gone
//     CONNACK passes: subscriptions active, what is owed is sent
//
// While both have it, it keeps messages above QoS 0 with the broker. Where two clients
// connect with one identifier at once, the one whose CONNECT passed later has it in the end,
// as with the broker.

#pragma once

#include "offload/state.h"

int moves_create(struct slab **ret_slab);
// No worker runs any more: gives back what is under way.
void moves_abandon(struct offload *offload);

// The broker has accepted the client: may the CONNACK pass? False: not now, ask again. The session
// is bound then, and held.
bool move_run(struct client *client, const struct mqtt_connack *connack);
// The CONNACK has passed.
void move_arrived(struct client *client);
// The client goes.
void move_end(struct client *client);
// Finishes what clients have left behind.
void moves_poll(struct offload *offload);
