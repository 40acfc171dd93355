// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Hierarchical timer wheel: 1 ms ticks, O(1) arm and disarm, no allocation.
// Timers are embedded in their owners. Single-threaded: one wheel a worker.
// Nothing is called back: the owner pops what has expired.
//
// Lazy re-arming: wheel_arm() with a later deadline than the armed one only
// stores the new deadline; the timer is moved when its old slot comes up. An
// earlier deadline moves it at once.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_LEVELS	4
#define WHEEL_SLOT_BITS 8
#define WHEEL_SLOTS	(1u << WHEEL_SLOT_BITS)

#define WHEEL_NEVER UINT64_MAX
#define US_PER_TICK 1000u

struct wheel_timer {
	struct list link;
	uint64_t deadline_us; // when it is to fire
	uint64_t slot_ms;     // the tick it is filed under; at most deadline (or then's now)
};

struct wheel {
	uint64_t now_us;	 // of the last wheel_advance()
	uint64_t now_ms;	 // the tick it lies in
	uint64_t current_due_us; // no timer in now's own slot is due earlier
	uint32_t armed;		 // timers in the wheel, `expired` included
	uint64_t occupied[WHEEL_LEVELS][WHEEL_SLOTS / 64]; // one bit a non-empty slot
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
	struct list expired;
};

void wheel_init(struct wheel *w, uint64_t now_us);

void wheel_timer_init(struct wheel_timer *t);

// Fires at the first wheel_advance() whose now_us >= deadline_us (never earlier).
// Deadlines beyond the wheel's span (about 49 days) are clamped by cascading.
void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t deadline_us);
// Harmless on a timer that is not armed.
void wheel_disarm(struct wheel *w, struct wheel_timer *t);

static inline bool wheel_armed(const struct wheel_timer *t)
{
	return list_linked(&t->link);
}

// Moves time forward; what has expired waits for wheel_pop(). Time never goes back: an earlier
// now_us does nothing. Costs the slots in use that it passes, not the time that it skips.
void wheel_advance(struct wheel *w, uint64_t now_us);
// The next expired timer (now disarmed), or NULL. Owners loop on it after wheel_advance().
struct wheel_timer *wheel_pop(struct wheel *w);

// A lower bound of the next expiry (exact to the slot of the lowest level), WHEEL_NEVER when
// nothing is armed; `now` when something waits in `expired`. Costs a bit scan, not a walk.
uint64_t wheel_next_us(const struct wheel *w);

// Asserts the wheel's invariants; for tests. Walks everything.
void wheel_check(const struct wheel *w);
