// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a worker does when nothing arrives. `busy` polls on. `adaptive` spins for a while
// after traffic, then naps, ever longer, and is back at the first frame. The
// drivers at hand have no receive interrupts, so naps are short sleeps with a timer
// slack of a nanosecond (55 µs here; the kernel's default slack makes them 169).

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct idle {
	bool busy;
	unsigned sharing;    // workers on this core
	uint64_t traffic_us; // when there was work last
};

// On the worker's thread.
void idle_init(struct idle *idle, bool busy, unsigned sharing, uint64_t now_us);
// After each turn. May sleep, never beyond `deadline_us`; true when it has.
bool idle_turn(struct idle *idle, bool worked, uint64_t now_us, uint64_t deadline_us);
