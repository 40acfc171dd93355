// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What becomes of every MQTT packet: type × direction × version → handler, drawn as a
// table in dispatch.c.

#pragma once

#include "offload/state.h"

enum dispatch_from { FROM_CLIENT, FROM_BROKER };

// Deals with a packet. False: not now, nothing has happened.
typedef bool dispatch_handler(struct client *client, const struct mqtt_frame *frame);

// Hands a packet to its handler, and counts it when it is dealt with.
bool dispatch_packet(
	struct client *client, enum dispatch_from from, const struct mqtt_frame *frame);
