// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What an orderly stop left undelivered to persistent sessions: written into the ledger
// (offload/ledger.h) when the workers have stopped, and recalled from it when its client
// resumes its session.
//
//   owed ──▶ ledger ── stop, start ──▶ ledger ── CONNACK: Session Present 1 ──▶ owed
//                                        └────── CONNACK: Session Present 0 ──▶ gone, counted
//
// Recalling runs on the worker that binds the session; memory is its own pools'.

#pragma once

#include "offload/state.h"

// The client is owed something by an earlier run.
bool recall_has(const struct client *client, struct mqtt_bytes client_id);
// The broker does not resume the session: what it was owed goes.
void recall_forget(struct client *client, struct mqtt_bytes client_id);
// The client has resumed its session: what it was owed is owed to it again. False: no memory; it
// stays where it is.
bool recall(struct client *client);
