// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// PUBLISHes with a topic alias (3.3.2.3.4). One that names only the alias is written out with its
// topic before anything else is done with it:
//
//   PUBLISH topic, alias   captured: the broker has not seen it    passed: it has
//   PUBLISH alias          written out; captured, or passed: as it came if the broker knows the
//                          alias, else as written out, topic and alias, and now it knows

#pragma once

#include "offload/state.h"

// A packet written out: owns its payloads.
struct alias_packet {
	struct mqtt_frame frame;
	struct mqtt_publish publish;
	struct payload *parts[MQTT_FRAME_PARTS_MAX];
};
// Writes `frame` out with the alias's topic. -ENOMEM; -E2BIG: longer than what is gathered.
int alias_expand(struct client *client, const struct mqtt_frame *frame, const struct alias *alias,
	struct alias_packet *ret_packet);
void alias_packet_fini(struct alias_packet *packet);

// The alias of a number; NULL: not defined, or not followed.
struct alias *alias_find(const struct client *client, uint16_t number);

// The client defines an alias: room and memory for it, or NULL (the PUBLISH must pass then).
struct payload *alias_prepare(struct client *client, const struct mqtt_publish *publish);
// It is defined; takes over the payload of alias_prepare().
void alias_define(struct client *client, const struct mqtt_publish *publish, struct payload *topic,
	bool broker_knows);
// A PUBLISH that defines an alias has passed.
void alias_passed(struct client *client, const struct mqtt_publish *publish);
// The connection ends, and its aliases with it.
void alias_clear(struct client *client);
