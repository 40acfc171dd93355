// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Does the broker consider the same readers of a topic as the map has? Compared as
// multisets, one for each matching subscription: a set would hide shared ones.

#pragma once

#include "offload/notice.h"
#include "offload/state.h"

// Of a message of `publisher`, whose own subscriptions with No Local do not count.
bool readers_equal(const struct client *publisher, struct mqtt_bytes topic,
	const struct offload_published *published);
