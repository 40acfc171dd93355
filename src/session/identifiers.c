// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Identifier 0 does not exist ([MQTT-2.2.1-4]): inside the window it is a hole like
// the broker's own identifiers.

#include "session/identifiers.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

static uint64_t bit(uint16_t id)
{
	return 1ull << (id % 64);
}

static bool is_live(const struct identifiers *ids, uint16_t id)
{
	return (ids->live[id % IDENTIFIERS_WINDOW / 64] & bit(id)) != 0;
}

static int broker_find(const struct identifiers *ids, uint16_t id)
{
	for (int i = 0; i < ids->broker_count; i++)
		if (ids->broker_ids[i] == id)
			return i;
	return -1;
}

void identifiers_init(struct identifiers *ids, uint16_t next, uint16_t broker_last)
{
	uint16_t ahead = next - broker_last;

	memset(ids, 0, sizeof(*ids));
	// Less than a quarter of the space ahead of (or behind) the broker: move away.
	if (next == 0 || ahead < 16384 || ahead >= 49152)
		next = broker_last + 32768;
	ids->first = next;
}

uint16_t identifiers_next(const struct identifiers *ids)
{
	return ids->first + ids->span;
}

bool identifiers_empty(const struct identifiers *ids)
{
	return ids->inflight == 0 && ids->broker_count == 0;
}

static void set(uint64_t *words, uint16_t id, bool on)
{
	uint64_t *at = &words[id % IDENTIFIERS_WINDOW / 64];

	*at = on ? *at | bit(id) : *at & ~bit(id);
}

uint16_t identifiers_take(struct identifiers *ids, bool exactly)
{
	while (ids->span < IDENTIFIERS_WINDOW) {
		uint16_t id = ids->first + ids->span;

		if (id != 0 && broker_find(ids, id) < 0) {
			ids->span++;
			set(ids->live, id, true);
			set(ids->exactly, id, exactly);
			ids->inflight++;
			return id;
		}
		// A hole; the window never begins with one.
		if (ids->span > 0)
			ids->span++;
		else
			ids->first++;
	}
	return 0;
}

bool identifiers_restore(struct identifiers *ids, uint16_t id)
{
	uint16_t ahead = id - ids->first;

	if (id == 0 || (ids->span > 0 && (ahead < ids->span || ahead >= IDENTIFIERS_WINDOW)))
		return false;
	if (ids->span == 0) {
		ids->first = id;
		ahead = 0;
	}
	ids->span = ahead + 1;
	set(ids->live, id, true);
	set(ids->exactly, id, false);
	ids->inflight++;
	return true;
}

bool identifiers_ours(const struct identifiers *ids, uint16_t id)
{
	return (uint16_t)(id - ids->first) < ids->span && is_live(ids, id);
}

bool identifiers_exactly(const struct identifiers *ids, uint16_t id)
{
	return (ids->exactly[id % IDENTIFIERS_WINDOW / 64] & bit(id)) != 0;
}

void identifiers_give(struct identifiers *ids, uint16_t id)
{
	ASSERT(identifiers_ours(ids, id));
	set(ids->live, id, false);
	ids->inflight--;
	while (ids->span > 0 && !is_live(ids, ids->first)) {
		ids->first++;
		ids->span--;
	}
}

int identifiers_broker_take(struct identifiers *ids, uint16_t id)
{
	if (identifiers_ours(ids, id))
		return -EBUSY;
	if (broker_find(ids, id) >= 0)
		return 0;
	if (ids->broker_count == IDENTIFIERS_BROKER)
		return -ENOSPC;
	ids->broker_ids[ids->broker_count++] = id;
	return 0;
}

void identifiers_broker_give(struct identifiers *ids, uint16_t id)
{
	int i = broker_find(ids, id);

	if (i >= 0)
		ids->broker_ids[i] = ids->broker_ids[--ids->broker_count];
}

void identifiers_check(const struct identifiers *ids)
{
	unsigned live = 0;

	ASSERT(ids->span <= IDENTIFIERS_WINDOW && ids->broker_count <= IDENTIFIERS_BROKER);
	for (unsigned i = 0; i < IDENTIFIERS_WINDOW / 64; i++)
		live += __builtin_popcountll(ids->live[i]);
	ASSERT(live == ids->inflight && live <= ids->span);
	ASSERT(ids->span == 0 || is_live(ids, ids->first));
	for (unsigned i = 0; i < ids->broker_count; i++)
		ASSERT(!identifiers_ours(ids, ids->broker_ids[i]));
}
