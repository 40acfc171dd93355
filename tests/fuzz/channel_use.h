// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What an owner does with its side of a lane, as a fuzz target has it done.

#pragma once

#include <stdint.h>

#include "channel/lane.h"

// Every octet that waits is read, in memory that the sanitizers watch.
void use_read(struct lane *lane, uint32_t slot, uint32_t at_most);
// One call: `what` is anything.
void use_call(struct lane *lane, uint8_t what, uint8_t value);
// Until nothing is new, within bounds. False: the lane is over.
bool use_poll(struct lane *lane);
