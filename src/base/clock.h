// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The one place that reads a clock. Everything below the worker loop is handed
// `now_us` as an argument, so tests run in virtual time.

#pragma once

#include <stdint.h>

#define US_IN_MS 1000ull
#define US_IN_S	 1000000ull

// Monotonic microseconds since an arbitrary start; TSC based after EAL init, a
// few nanoseconds a call, no system call. Without EAL: CLOCK_MONOTONIC, with another
// start; do not compare a time from before EAL init with one from after it.
uint64_t clock_now_us(void);

// The time of day: nanoseconds since 1970, UTC. For people to read, never for timers: it jumps
// when it is set.
uint64_t clock_wall_ns(void);
