// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fences: proof that nothing a publisher sent through the broker is still on its way.
//
//   publisher's leg   PUBLISH (passed) … PINGREQ ──▶ broker ──▶ PINGRESP: all of it is routed
//   subscriber's leg                     PINGREQ ──▶ broker ──▶ PINGRESP: all that was routed to
//                                                               it has come out
//
// A broker holds QoS 1 and 2 back behind so many that the client has not acknowledged,
// and goes on when it has: a subscriber's PINGRESP proves something only when nothing
// was under way above QoS 0 when the broker read the PINGREQ, or less than the broker
// has sent at once before. Otherwise the question is put again.
//
// The publisher is held meanwhile (its window closes), for what it sent would
// pass and the fence never end. Without an answer in time the topic stays with the
// broker. One PINGREQ to a subscriber serves every fence that has begun by then.

#pragma once

#include "offload/state.h"

// False: cannot be begun now. True: the client waits (client->fence.link) and is run again at the
// end.
// `held`: the PUBLISH of QoS 2 whose PUBREL waits, told of the end (in_order or late); NULL: one
// that waits in the stream.
bool fencing_begin(
	struct client *client, uint64_t key, struct payload *topic, struct delivery *held);
// The topic and QoS of `key` are clear.
void fencing_clear(struct client *client, uint64_t key);
// The broker has answered a PINGREQ of ours.
void fencing_answered(struct client *client, uint64_t epoch);
// A question of somebody else's: a number for it, and put to a client whose answer can be of use.
// False: not now. It is answered when client->settled_epoch has come so far.
uint64_t fencing_epoch(struct offload *offload);
bool fencing_ask(struct client *client, uint64_t epoch);
// A resumed session: has the broker sent all that it had for it? Asks, and acts on the answer; call
// it after whatever happened to the client.
void fencing_catch_up(struct client *client);
// Moves all fences on; costs nothing when there are none.
void fencing_poll(struct offload *offload);
// The client goes.
void fencing_end(struct client *client);

// Asking subscribers of other workers: what a worker needs for it (offload/peers.h).
int fencing_visits_create(struct slab **ret_slab);
// No worker runs any more: gives back what is under way.
void fencing_visits_abandon(struct offload *offload);
