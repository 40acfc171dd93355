// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A publisher's PUBACKs and PUBRECs leave in the order its PUBLISHes came
// ([MQTT-4.6.0-2], [MQTT-4.6.0-3]), whether Offramp captured them or the broker
// acknowledges them. While a passed
// PUBLISH waits for the broker, the acknowledgements of captured ones behind it wait
// here. Lives only while something waits.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ACKS_MAX 512

struct acks {
	uint16_t head, count;
	struct ack_entry {
		uint16_t id;
		uint8_t type; // of a captured one: the acknowledgement, MQTT_PUBACK or MQTT_PUBREC
		uint8_t reason;
		uint8_t state; // internal
	} ring[ACKS_MAX];
};

void acks_init(struct acks *acks);
bool acks_empty(const struct acks *acks);
bool acks_full(const struct acks *acks);

// A PUBLISH above QoS 0 has passed to the broker. Not when full.
void acks_passed(struct acks *acks, uint16_t id);
// One was captured while something waits; `type` acknowledges it. Not when full.
void acks_captured(struct acks *acks, uint16_t id, uint8_t type, uint8_t reason);
// One was captured and is on its way to subscribers elsewhere: it is acknowledged when
// acks_crossed() says so. Not when full.
void acks_crossing(struct acks *acks, uint16_t id, uint8_t type);
// False: it was not waited for.
bool acks_crossed(struct acks *acks, uint16_t id, uint8_t type, uint8_t reason);
// The broker has acknowledged `id` (its packet goes on now). False when it was not waited for.
bool acks_broker(struct acks *acks, uint16_t id);
// The next captured one whose turn has come; false when there is none.
bool acks_next(struct acks *acks, uint16_t *ret_id, uint8_t *ret_type, uint8_t *ret_reason);
