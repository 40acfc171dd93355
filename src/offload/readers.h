// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Does the broker consider the same readers of a topic as the map has? Compared as
// multisets, one for each matching subscription: a set would hide shared ones. Clients that are
// away are strangers: the broker's side does not know them by their keys any more.

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

// Of a message of `publisher`, whose own subscriptions with No Local do not count. `version`: the
// map's, when the message was not on its way yet.
enum readers readers_compare(const struct client *publisher, struct mqtt_bytes topic,
	const struct offload_published *published, uint64_t version);
