// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Notices: what brokers tell, from the gRPC thread to every worker, in order, without
// anybody waiting. One ring that all workers read, each at its own pace:
//
//   freed ──▶ │ run by all │ run by some │ run by none │ ──▶ notices_post()
//             oldest        the slowest   the fastest
//
// A notice is the sender's until it is posted and after it has been freed; meanwhile
// nobody changes it. When the ring is full, or what is in it too large, the sender has to
// come back: it then stops reading what it would post. Private to control.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/control.h"

struct notice {
	// On each worker's thread; short and bounded.
	void (*run)(const struct notice *notice, struct offload *offload, unsigned worker);
	// On the gRPC thread, some time after all have run it.
	void (*free)(struct notice *notice);
	size_t size; // bytes that it keeps
};

struct notices;

// -ENOMEM.
int notices_create(const struct control_source *source, struct notices **ret_notices);
// When no worker runs any more. Accepts NULL.
void notices_destroy(struct notices *notices);

// The gRPC thread. False: workers are behind; nothing has happened, try again in a moment.
bool notices_post(struct notices *notices, struct notice *notice);
// How many have been posted; have all workers run so many?
uint64_t notices_posted(const struct notices *notices);
bool notices_have_run(const struct notices *notices, uint64_t count);
