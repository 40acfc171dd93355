// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A ring that is only written forward: who comes after it has gone round asks anew.

#include "session/changes.h"

#include <string.h>

#include "mqtt/topic.h"

void session_changes_init(struct session_changes *changes)
{
	changes->version = 1; // 0 is "never" to who remembers
}

static struct session_change *change_next(struct session_changes *changes)
{
	return &changes->ring[++changes->version % SESSION_CHANGES];
}

void session_changes_add_all(struct session_changes *changes)
{
	change_next(changes)->length = 0;
}

// The whole levels of the first bytes of a longer filter, and '#'; 0: there is none.
static uint8_t change_cut(uint8_t *filter)
{
	uint8_t length = SESSION_CHANGE_TEXT - 1;

	while (length > 0 && filter[length - 1] != '/')
		length--;
	if (length > 0)
		filter[length++] = '#';
	return length;
}

void session_changes_add(struct session_changes *changes, const struct mqtt_trie_entry *entry)
{
	struct session_change *change = change_next(changes);
	uint32_t length = mqtt_trie_entry_filter(entry, change->filter, sizeof(change->filter));

	change->length =
		length <= sizeof(change->filter) ? (uint8_t)length : change_cut(change->filter);
}

void session_changes_add_filter(struct session_changes *changes, struct mqtt_bytes filter)
{
	struct session_change *change = change_next(changes);
	uint32_t length =
		filter.length < sizeof(change->filter) ? filter.length : sizeof(change->filter);

	memcpy(change->filter, filter.data, length);
	change->length = filter.length <= sizeof(change->filter) ? (uint8_t)length
								 : change_cut(change->filter);
}

static bool change_touches(const struct session_change *change, struct mqtt_bytes topic)
{
	// Nearly always the first character tells.
	if (change->length > 0 && change->filter[0] != topic.data[0] && change->filter[0] != '+' &&
		change->filter[0] != '#')
		return false;
	return change->length == 0 ||
	       mqtt_filter_matches(mqtt_bytes(change->filter, change->length), topic);
}

bool session_changes_touch(
	const struct session_changes *changes, uint64_t version, struct mqtt_bytes topic)
{
	if (session_changes_since(changes, version) > SESSION_CHANGES)
		return true;
	while (version < changes->version)
		if (change_touches(&changes->ring[++version % SESSION_CHANGES], topic))
			return true;
	return false;
}
