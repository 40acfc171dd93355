// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Packets that do not lie in one piece. A look at the packet that begins at the front of the bytes
// that wait, before the framer gets it: a PUBLISH too long to gather streams through, and its topic
// and identifier must be known before its first byte goes on.

#pragma once

#include "offload/state.h"

enum head_kind {
	HEAD_ORDINARY, // the framer's business
	HEAD_MORE,     // cannot be told yet: more bytes are needed
	HEAD_LONG,     // a PUBLISH that will stream: *ret_publish has its topic, QoS, flags,
		       // identifier and topic alias; empty where it is no legal PUBLISH
};

// Nearly always: a short packet, seen by one length byte. Nothing else need be looked at.
static inline bool head_is_short(const struct tcp_span *first)
{
	return first->length >= 2 && first->data[1] < 0x80;
}

// `framer` must be idle. ret_publish->topic points into the offload's scratch; *ret_size is the
// size of the fixed header.
enum head_kind head_look(const struct client *client, const struct tcp_span *spans, unsigned count,
	const struct mqtt_framer *framer, struct mqtt_header *ret_header,
	struct mqtt_publish *ret_publish);

// What follows the fixed header, all of it: a packet gathered from several payloads is copied into
// the offload's scratch, and stands there until that is used again.
struct mqtt_bytes head_body(const struct client *client, const struct mqtt_frame *frame);

// Spans that hold at least OFFLOAD_SCRATCH bytes even in the smallest segments that count.
#define HEAD_SPANS 160
