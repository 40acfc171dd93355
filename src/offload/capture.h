// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The verdict on a PUBLISH, and its distribution when it is captured.

#pragma once

#include "offload/held.h"
#include "offload/message.h"
#include "offload/pace.h"
#include "offload/state.h"

// 1: captured, acknowledged, and delivered (QoS 2: to be delivered when it is released). 0: it must
// pass, *ret_reason says why. -EAGAIN: it must wait (a fence, acknowledgements, slow subscribers,
// other workers); nothing has happened and the client is run again.
int capture_publish(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason);
// A taken PUBLISH of QoS 2 has been released: the verdict again, and the fan-out. One of these, or
// as capture_publish().
enum {
	CAPTURE_DONE = 1,     // all have it
	CAPTURE_CROSSING = 2, // exact_complete() follows when other workers have it too
};
int capture_released(struct client *client, struct delivery *held, const struct held_packet *packet,
	enum proof_reason *ret_reason);
// A PUBLISH that neither passes nor is delivered: acknowledged as one that its sender may not make.
// False: not now.
bool capture_refuse(struct client *client, const struct mqtt_publish *publish);
// A PUBLISH has passed for this reason: order must be kept with what comes after it. `topic` may be
// empty: unknown.
void capture_passed(
	struct client *client, struct mqtt_bytes topic, uint8_t qos, enum proof_reason reason);
// A message of this topic and QoS (fence_key()) is on its way through the broker, though the client
// did not publish it on this connection: what it publishes now is behind it.
void capture_behind(struct client *client, uint64_t key);
void capture_behind_all(struct client *client); // topics are not known
// What another worker's publisher of this version has sent, and that worker has captured.
void capture_distribute_others(struct offload *offload, enum mqtt_version version,
	const struct proof_route *route, const struct mqtt_frame *frame, struct message *message,
	struct pace *pace);
