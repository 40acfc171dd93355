// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The messages of one publisher that are on their way: when each was issued and
// how many subscribers it has still to reach. A ring by sequence number; when a
// message is still on its way after the ring went once around, it is forgotten
// (its deliveries are still checked and counted, its distribution time is not
// known).
//
// Written by the publisher's thread, counted down by the subscribers' threads:
//
//    state   63        32 31         0      remaining 0: nobody waits, or abandoned
//            [ sequence ][ remaining ]

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bench_flight_slot {
	_Atomic uint64_t state;
	_Atomic uint64_t issued_us;
};

struct bench_flight {
	struct bench_flight_slot *slots;
	uint32_t mask;
};

enum bench_flight_arrival {
	BENCH_FLIGHT_MORE,    // others still wait for it
	BENCH_FLIGHT_LAST,    // this was the last subscriber waiting for it
	BENCH_FLIGHT_UNKNOWN, // forgotten or abandoned
};

// Room for `capacity` messages at least.
void bench_flight_init(struct bench_flight *flight, uint32_t capacity);
void bench_flight_fini(struct bench_flight *flight);
// Publisher's thread, before the message can reach anybody.
void bench_flight_issue(
	struct bench_flight *flight, uint32_t sequence, uint32_t fanout, uint64_t issued_us);
// A subscriber's thread, once for each delivery. Fills *ret_issued_us unless UNKNOWN.
enum bench_flight_arrival bench_flight_arrive(
	struct bench_flight *flight, uint32_t sequence, uint64_t *ret_issued_us);
// Publisher's thread: nobody waits for it any longer. True when somebody did.
bool bench_flight_abandon(struct bench_flight *flight, uint32_t sequence);
