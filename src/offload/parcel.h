// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A captured PUBLISH on its way to the subscribers of other workers: the packet as it
// came, once for each of these workers. The receiver matches it in its own trie and
// distributes it as its own publishers'; when it has, the parcel returns, which means "queued".
// What it keeps it has copied, for the payloads are the sender's.
//
// A parcel whose subscribers are slow returns when they have caught up or patience is
// over (offload/pace.h): a publisher has a bounded number under way, and so is paced.
// One for which the receiver has no memory waits there, and what follows it too.

#pragma once

#include "offload/message.h"
#include "offload/state.h"

// Of one publisher, on their way to others.
#define PARCELS_OF_CLIENT 128u

struct parcel;

int parcels_create(struct slab **ret_slab);
// No worker runs any more: gives back what is under way.
void parcels_abandon(struct offload *offload);

// The client may send one more to these workers now.
bool parcel_may(const struct client *client, uint32_t workers);
// NULL: no memory. `publish` as it is to be delivered: its expiry may have been aged.
struct parcel *parcel_make(struct client *client, const struct proof_route *route,
	const struct mqtt_frame *frame, const struct mqtt_publish *publish);
void parcel_drop(struct client *client, struct parcel *parcel);
// Sends it. With a `type`, the client's acknowledgement (which stands in its acks by then, but for
// a PUBCOMP) goes out when all have it; `matched`: somebody here has got it.
void parcel_post(struct client *client, struct parcel *parcel, uint32_t workers, uint8_t type,
	uint16_t packet_id, bool matched);

// Lets go on whose subscribers have caught up.
void parcels_poll(struct offload *offload);
