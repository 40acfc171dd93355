// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fences: proof that nothing a publisher sent through the broker is still on its way.
//
//   publisher's leg   PUBLISH (passed) … PINGREQ ──▶ broker ──▶ PINGRESP: all of it is routed
//   subscriber's leg                     PINGREQ ──▶ broker ──▶ PINGRESP: all that was routed to
//                                                               it has come out
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
// Moves all fences on; costs nothing when there are none.
void fencing_poll(struct offload *offload);
// The client goes.
void fencing_end(struct client *client);
