// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Exactly once, the publisher's half (4.3.3). A PUBLISH of QoS 2 that may be captured is taken and
// acknowledged; it is delivered when its publisher releases it, as mosquitto does.
//
//   PUBLISH ─▶ may be captured ─▶ kept ─▶ PUBREC, in the order of the PUBLISHes
//   PUBREL  ─▶ still so? ─┬─▶ delivered, queued at all workers ─▶ PUBCOMP
//                         └─▶ to the broker after all, under its own identifier: the broker's
//                             PUBREC is answered here, its PUBCOMP passes
//
// PUBRELs come in the order of the PUBRECs ([MQTT-4.6.0-4]), so a released message has everything
// before it released too, and a fence sent then is behind all of it. While a message goes to the
// broker after all, its publisher is not read until the broker has it.

#pragma once

#include "offload/held.h"
#include "offload/state.h"

// One more may be kept for the client.
bool exact_has_room(const struct client *client, const struct mqtt_frame *frame);
// Keeps a PUBLISH; `in_order`: nothing before it is on its way through the broker. False: no
// memory.
bool exact_take(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, bool in_order);
// The kept PUBLISH of this identifier; NULL: none.
struct delivery *exact_find(const struct client *client, uint16_t packet_id);

// The publisher releases one that is kept. False: not now, nothing has happened.
bool exact_release(struct client *client, struct delivery *held);

// All have it: the PUBCOMP goes out.
void exact_complete(struct client *client, uint16_t packet_id);

// The broker has nothing of the client's that waits for a PUBREL, for sure. Then it has no reason
// to refuse one more message for want of room (4.9).
bool exact_broker_has_none(const struct client *client);
// A PUBLISH above QoS 0 is about to pass: does it leave that uncertain for good?
void exact_account(struct client *client, const struct mqtt_publish *publish);
// A PUBLISH of QoS 2 is about to pass. False: no memory to follow it.
bool exact_passing(struct client *client, const struct mqtt_publish *publish);
// It did not pass after all.
void exact_not_passed(struct client *client, const struct mqtt_publish *publish);
// The broker acknowledges (PUBACK, PUBREC, PUBCOMP): does that belong to an exchange of Offramp's
// own?
enum exact_verdict {
	EXACT_PASS,    // no: it passes to the client
	EXACT_SWALLOW, // yes, and it is dealt with
	EXACT_WAIT,    // yes, but not now
};
enum exact_verdict exact_broker_ack(
	struct client *client, const struct mqtt_ack *ack, uint8_t type);
// It has passed.
void exact_broker_acked(struct client *client, const struct mqtt_ack *ack, uint8_t type);

// A late exchange keeps the publisher from being read.
bool exact_is_late(const struct client *client);
// The publisher goes, and with it what it has not released (as at the broker).
void exact_clear(struct client *client);
