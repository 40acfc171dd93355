// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Does the broker consider the same readers of a topic as the map has? Compared as
// multisets, one for each matching subscription: a set would hide shared ones. Clients that are
// away are strangers: the broker's side does not know them by their keys any more. Where there are
// several workers, each counts those that are its own clients' (offload/survey.h).

#pragma once

#include "offload/notice.h"
#include "offload/state.h"

enum readers {
	READERS_UNSURE, // the broker's side cannot say who they are
	READERS_MOVING, // they change just now: one difference may hide another
	READERS_OTHER,	// a client of ours is missing, or has more subscriptions than one knows of
	READERS_STRANGERS, // all of ours, and others
	READERS_SAME,
};

struct readers_part {
	const uint64_t *keys;
	uint32_t count;
};

struct readers_tally {
	bool moving;	  // subscriptions that match come or go
	bool same;	  // those that are this worker's clients' are those that it matches
	uint32_t claimed; // how many that are
};
// Of a message whose publisher has this session (NULL: none here); its own subscriptions with No
// Local do not count. `version`: the map's, when the message was not on its way yet.
void readers_tally(struct broker *broker, const struct session *publisher, struct mqtt_bytes topic,
	uint64_t version, const struct readers_part *parts, unsigned parts_count,
	struct readers_tally *ret_tally);

// Of a message of `publisher`, as far as this worker can tell: there are *ret_claimed of its own.
enum readers readers_compare(const struct client *publisher, struct mqtt_bytes topic,
	const struct offload_published *published, uint64_t version, uint32_t *ret_claimed);
