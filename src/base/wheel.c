// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Hierarchical timer wheel of four levels of 256 slots.
//
// A timer is filed under a tick T = slot_ms, at the level of the highest byte in which T differs
// from now, in the slot which that byte names:
//
//   now  00 00 12 40
//   T    00 00 12 7f   level 0, slot 7f        T    00 05 .. ..   level 2, slot 05
//   T    00 00 13 ..   level 1, slot 13        T    01 .. .. ..   level 3, slot 01
//
// From this follow the three things that the code relies on: a slot in use lies ahead of now's own
// byte at its level (only level 0 may use now's slot, the `current` one); the first slot ahead on
// the lowest level that has one is the next to open; and a timer's place can be computed from T and
// now at any time, so disarming needs no back pointer. What lies beyond the 32 bits is filed under
// the last tick before they wrap and filed again there.

#include "base/wheel.h"

#include "base/assert.h"

#include <string.h>

#define EXPIRED	  UINT64_MAX // slot_ms of a timer that waits in `expired`
#define SPAN_MASK ((1ull << (WHEEL_LEVELS * WHEEL_SLOT_BITS)) - 1)

static unsigned slot_index(uint64_t tick_ms, unsigned level)
{
	return (unsigned)(tick_ms >> (level * WHEEL_SLOT_BITS)) & (WHEEL_SLOTS - 1);
}

static unsigned tick_level(const struct wheel *w, uint64_t tick_ms)
{
	uint64_t differ = tick_ms ^ w->now_ms;

	return differ == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differ)) / WHEEL_SLOT_BITS;
}

static void occupied_set(struct wheel *w, unsigned level, unsigned slot)
{
	w->occupied[level][slot / 64] |= 1ull << (slot % 64);
}

static void occupied_clear(struct wheel *w, unsigned level, unsigned slot)
{
	w->occupied[level][slot / 64] &= ~(1ull << (slot % 64));
}

// The first occupied slot above `slot`, or -1.
static int occupied_next(const struct wheel *w, unsigned level, unsigned slot)
{
	unsigned from = slot + 1;

	if (from == WHEEL_SLOTS)
		return -1;

	uint64_t bits = w->occupied[level][from / 64] & (~0ull << (from % 64));

	for (unsigned word = from / 64;;) {
		if (bits != 0)
			return (int)(word * 64 + (unsigned)__builtin_ctzll(bits));
		if (++word == WHEEL_SLOTS / 64)
			return -1;
		bits = w->occupied[level][word];
	}
}

static void timer_file(struct wheel *w, struct wheel_timer *t)
{
	uint64_t tick_ms = t->deadline_us / US_PER_TICK;

	if (tick_ms < w->now_ms)
		tick_ms = w->now_ms;
	if (tick_ms > (w->now_ms | SPAN_MASK))
		tick_ms = w->now_ms | SPAN_MASK;

	unsigned level = tick_level(w, tick_ms), slot = slot_index(tick_ms, level);

	t->slot_ms = tick_ms;
	list_append(&w->slots[level][slot], &t->link);
	occupied_set(w, level, slot);
	if (tick_ms == w->now_ms && t->deadline_us < w->current_due_us)
		w->current_due_us = t->deadline_us;
}

static void timer_unlink(struct wheel *w, struct wheel_timer *t)
{
	list_remove(&t->link);
	if (t->slot_ms == EXPIRED)
		return;

	unsigned level = tick_level(w, t->slot_ms), slot = slot_index(t->slot_ms, level);

	if (list_empty(&w->slots[level][slot]))
		occupied_clear(w, level, slot);
}

static void timer_file_or_expire(struct wheel *w, struct wheel_timer *t)
{
	if (t->deadline_us > w->now_us) {
		timer_file(w, t);
	} else {
		t->slot_ms = EXPIRED;
		list_append(&w->expired, &t->link);
	}
}

// Takes all timers out of a slot.
static void slot_take(struct wheel *w, unsigned level, unsigned slot, struct list *ret_timers)
{
	list_init(ret_timers);
	list_move_all(&w->slots[level][slot], ret_timers);
	occupied_clear(w, level, slot);
}

static void timers_file_or_expire(struct wheel *w, struct list *timers)
{
	struct list *link;

	while ((link = list_pop(timers)) != NULL)
		timer_file_or_expire(w, container_of(link, struct wheel_timer, link));
}

// The next tick at which a slot opens, WHEEL_NEVER when none is in use ahead of now.
static uint64_t next_tick(const struct wheel *w)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		int slot = occupied_next(w, level, slot_index(w->now_ms, level));
		unsigned shift = level * WHEEL_SLOT_BITS;

		if (slot >= 0)
			return (w->now_ms >> shift >> WHEEL_SLOT_BITS << WHEEL_SLOT_BITS << shift) |
			       ((uint64_t)slot << shift);
	}
	return WHEEL_NEVER;
}

// Leaves the current tick for a later one and opens the slots that begin there. Nothing may be
// filed between the two.
static void tick_enter(struct wheel *w, uint64_t tick_ms)
{
	struct list timers;

	slot_take(w, 0, slot_index(w->now_ms, 0), &timers);
	w->now_ms = tick_ms;
	w->current_due_us = WHEEL_NEVER;
	timers_file_or_expire(w, &timers);
	for (unsigned level = WHEEL_LEVELS; level-- > 0;) {
		slot_take(w, level, slot_index(tick_ms, level), &timers);
		timers_file_or_expire(w, &timers);
	}
}

void wheel_init(struct wheel *w, uint64_t now_us)
{
	memset(w, 0, sizeof(*w));
	w->now_us = now_us;
	w->now_ms = now_us / US_PER_TICK;
	w->current_due_us = WHEEL_NEVER;
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			list_init(&w->slots[level][slot]);
	list_init(&w->expired);
}

void wheel_timer_init(struct wheel_timer *t)
{
	list_init(&t->link);
	t->deadline_us = t->slot_ms = 0;
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t deadline_us)
{
	bool armed = wheel_armed(t);

	t->deadline_us = deadline_us;
	if (armed && t->slot_ms != EXPIRED && t->slot_ms <= deadline_us / US_PER_TICK) {
		// Lazy: its slot opens no later than the deadline, and files it again.
		if (t->slot_ms == w->now_ms && deadline_us < w->current_due_us)
			w->current_due_us = deadline_us;
		return;
	}
	if (armed)
		timer_unlink(w, t);
	else
		w->armed++;
	timer_file(w, t);
}

void wheel_disarm(struct wheel *w, struct wheel_timer *t)
{
	if (!wheel_armed(t))
		return;
	timer_unlink(w, t);
	w->armed--;
}

void wheel_advance(struct wheel *w, uint64_t now_us)
{
	uint64_t target_ms = now_us / US_PER_TICK;
	struct list timers;

	if (now_us < w->now_us)
		return;
	w->now_us = now_us;
	while (w->now_ms < target_ms) {
		uint64_t tick_ms = next_tick(w);

		tick_enter(w, tick_ms < target_ms ? tick_ms : target_ms);
	}
	if (w->current_due_us > now_us)
		return;
	slot_take(w, 0, slot_index(w->now_ms, 0), &timers);
	w->current_due_us = WHEEL_NEVER;
	timers_file_or_expire(w, &timers);
}

struct wheel_timer *wheel_pop(struct wheel *w)
{
	struct list *link = list_pop(&w->expired);

	if (link == NULL)
		return NULL;
	w->armed--;
	return container_of(link, struct wheel_timer, link);
}

uint64_t wheel_next_us(const struct wheel *w)
{
	if (!list_empty(&w->expired))
		return w->now_us;
	if (w->armed == 0)
		return WHEEL_NEVER;

	uint64_t tick_ms = next_tick(w);
	uint64_t next_us = tick_ms == WHEEL_NEVER ? WHEEL_NEVER : tick_ms * US_PER_TICK;

	if (w->current_due_us < next_us)
		next_us = w->current_due_us;
	return next_us > w->now_us ? next_us : w->now_us;
}

static uint32_t slot_check(const struct wheel *w, unsigned level, unsigned slot)
{
	const struct list *head = &w->slots[level][slot];
	bool bit = w->occupied[level][slot / 64] >> (slot % 64) & 1;
	uint32_t count = 0;

	ASSERT(bit == !list_empty(head));
	list_for_each (link, head) {
		const struct wheel_timer *t = container_of(link, struct wheel_timer, link);

		ASSERT(t->slot_ms >= w->now_ms && t->slot_ms <= (w->now_ms | SPAN_MASK));
		ASSERT(tick_level(w, t->slot_ms) == level && slot_index(t->slot_ms, level) == slot);
		// Filed late only if it was due when it was filed.
		ASSERT(t->slot_ms * US_PER_TICK <= t->deadline_us || t->slot_ms == w->now_ms);
		if (t->slot_ms == w->now_ms)
			ASSERT(w->current_due_us <= t->deadline_us);
		count++;
	}
	return count;
}

void wheel_check(const struct wheel *w)
{
	uint32_t count = 0;

	ASSERT(w->now_ms == w->now_us / US_PER_TICK);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			count += slot_check(w, level, slot);
	list_for_each (link, &w->expired) {
		ASSERT(container_of(link, struct wheel_timer, link)->slot_ms == EXPIRED);
		count++;
	}
	ASSERT(count == w->armed);
}
