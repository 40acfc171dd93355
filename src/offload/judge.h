// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The verdict on a PUBLISH: would Offramp deliver it exactly as the broker would?

#pragma once

#include "offload/message.h"
#include "offload/state.h"

// All that can be said of the packet, its sender, the broker and the topic. PROOF_CAPTURE with
// *ret_route (valid until the next route is asked for), or why it must pass.
// `may_ask`: where the broker is to tell, the message may be one that asks (offload/proving.h).
enum proof_reason judge_publish(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, bool may_ask, struct proof_route **ret_route);

// What the operator declared, what the broker is to tell: does it hold for any message at all?
enum proof_reason judge_broker(const struct offload *offload, const struct broker *broker);

// May an earlier message of this topic and QoS still be on its way through the broker?
enum judge_order {
	JUDGE_IN_ORDER, // no
	JUDGE_HELD,	// perhaps: the topic stays with the broker
	JUDGE_UNPROVEN, // perhaps: a fence can tell
};
enum judge_order judge_order(struct client *client, const struct proof_route *route, uint8_t qos);

// Nothing that is begun may fail half-way: PROOF_CAPTURE when there is room for all of it, else
// PROOF_NO_MEMORY.
enum proof_reason judge_memory(const struct offload *offload, const struct proof_route *route,
	const struct mqtt_frame *frame, const struct message *message);

// Above QoS 0: what outlives connections can be kept, here and by the workers that have targets.
enum proof_reason judge_kept(const struct client *client, const struct proof_route *route);

// Every SUBACK that is waited for leaves room to hold one more message.
bool judge_pending(const struct proof_route *route);
