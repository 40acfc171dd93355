// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The last changes of a map, one filter each, so that who remembers what a topic
// matched can tell whether that still holds: it does unless one of the filters
// changed since then matches the topic.
//
//   ring   … │ plant/+/temp │ a/b │ (all) │ plant/7/# │
//               version - 3    …             version
//
// A filter longer than an entry is kept as far as whole levels go, with '#' behind:
// that touches more topics than it need, never fewer.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mqtt/packet.h"
#include "mqtt/trie.h"

#define SESSION_CHANGES	    256 // a power of two
#define SESSION_CHANGE_TEXT 63

struct session_changes {
	uint64_t version; // of the map: how many changes there have been, and one
	struct session_change {
		uint8_t length; // 0: any topic may match otherwise now
		uint8_t filter[SESSION_CHANGE_TEXT];
	} ring[SESSION_CHANGES];
};

void session_changes_init(struct session_changes *changes);

// Something about the entry's subscription has changed, or is about to (it is still in the trie).
void session_changes_add(struct session_changes *changes, const struct mqtt_trie_entry *entry);
// Likewise for a filter that is in no trie; any text.
void session_changes_add_filter(struct session_changes *changes, struct mqtt_bytes filter);
// More has changed than can be said.
void session_changes_add_all(struct session_changes *changes);

// How many changes there have been since `version`.
static inline uint64_t session_changes_since(
	const struct session_changes *changes, uint64_t version)
{
	return changes->version - version;
}

// May the topic match otherwise than it did at `version`?
bool session_changes_touch(
	const struct session_changes *changes, uint64_t version, struct mqtt_bytes topic);
