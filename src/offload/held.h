// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A PUBLISH that is kept whole, as it came, to be judged later: until a SUBACK
// (offload/pending.h) or until its PUBREL (offload/exact.h).

#pragma once

#include "offload/output.h"

// Keeps the packet; its payloads are referred to or, in place, copied. NULL: no memory. The caller
// links and fills in what is its own; delivery_drop() ends it.
struct delivery *held_take(
	struct offload *offload, const struct mqtt_frame *frame, enum mqtt_version version);

// The packet again. Valid while the delivery is.
struct held_packet {
	struct mqtt_frame frame;
	struct mqtt_publish publish;
	struct payload *parts[MQTT_FRAME_PARTS_MAX];
};
void held_open(const struct delivery *delivery, struct held_packet *ret_packet);

// Takes the time it was held off its expiry (3.3.2.3.3). False: none is left.
bool held_age(const struct delivery *delivery, uint64_t now_us, struct mqtt_publish *publish);
