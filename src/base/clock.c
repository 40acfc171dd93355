// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Monotonic time from the TSC (on Arm: the generic timer). Before the EAL knows its frequency, and
// in programs that never start the EAL, CLOCK_MONOTONIC stands in; the two have different origins,
// so a program reads time either before or after EAL init, not across it.

#include "base/clock.h"

#include <rte_cycles.h>

#include <stdatomic.h>
#include <time.h>

static uint64_t monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * US_IN_S + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts); // no system call: the vDSO has it
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_us(void)
{
	// Microseconds a cycle as a 0.64 fixed-point fraction. A constant of the machine, cached
	// because a multiplication is cheaper than two divisions; racing threads store the same.
	static _Atomic uint64_t us_per_cycle;
	uint64_t factor = atomic_load_explicit(&us_per_cycle, memory_order_relaxed);

	if (__builtin_expect(factor == 0, 0)) {
		uint64_t hz = rte_get_tsc_hz();

		if (hz <= US_IN_S)
			return monotonic_us();
		factor = (uint64_t)(((unsigned __int128)US_IN_S << 64) / hz);
		atomic_store_explicit(&us_per_cycle, factor, memory_order_relaxed);
	}
	return (uint64_t)(((unsigned __int128)rte_rdtsc() * factor) >> 64);
}
