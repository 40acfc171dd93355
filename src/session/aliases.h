// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The topic aliases of one publisher (MQTT 5, 3.3.2.3.4), for the life of its connection: what
// each stands for, and whether the broker knows it. An alias that was defined by a captured PUBLISH
// is news to the broker.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/payload.h"

// More of one publisher are not followed: PUBLISHes that define them pass.
#define ALIASES_MAX 256

struct alias {
	struct payload *topic;
	uint16_t number;
	bool broker_knows;
};

struct aliases {
	uint16_t count;
	struct alias list[ALIASES_MAX];
};

void aliases_init(struct aliases *aliases);
// Gives the topics back.
void aliases_fini(struct aliases *aliases);

// NULL: not defined, or not followed.
struct alias *aliases_find(struct aliases *aliases, uint16_t number);
// May `number` be defined?
bool aliases_have_room(struct aliases *aliases, uint16_t number);
// Defines it anew; takes over the caller's reference to `topic`. There must be room.
void aliases_define(
	struct aliases *aliases, uint16_t number, struct payload *topic, bool broker_knows);
// What it stands for is not known any more; harmless when it is not defined.
void aliases_forget(struct aliases *aliases, uint16_t number);
