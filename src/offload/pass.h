// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What goes to the broker: packets as they came, and PINGREQs of Offramp's own.

#pragma once

#include "offload/state.h"

// More than this waits for the broker: the client is not read further.
#define PASS_HIGH_WATER (256u << 10)

// A whole packet. -ENOMEM: nothing has happened. A broker that is gone takes everything.
int pass_packet(struct client *client, const struct mqtt_frame *frame);
// The same with other packets before and behind it, of which each may be empty: all of it or
// nothing.
int pass_between(struct client *client, struct mqtt_bytes before, const struct mqtt_frame *frame,
	struct mqtt_bytes after);
// A small packet of ours. Returns as pass_packet().
int pass_bytes(struct client *client, const uint8_t *bytes, unsigned length);
// Bytes of a packet that streams through, or of no packet. -ENOMEM: the client has failed.
int pass_stream(struct client *client, struct mqtt_bytes bytes);
// A small packet of ours. Returns as pass_packet().
int pass_inline(struct client *client, const struct tcp_piece *packet);
// A PINGREQ of ours (PING_KEEP_ALIVE or a fence's epoch). False: not now.
bool pass_ping(struct client *client, uint64_t what);
// The client has sent something that the broker did not get: when the broker has heard nothing for
// an eighth of the keep-alive time, tell it that the client is alive ([MQTT-3.1.2-22]). Done only
// in answer to the client's own activity, so that the broker still finds dead clients.
void pass_keep_alive(struct client *client);
// The broker's queue has room.
bool pass_has_room(const struct client *client);
