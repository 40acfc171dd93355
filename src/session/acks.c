// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A ring in the order of the PUBLISHes; entries that the broker acknowledged out
// of its own order become holes.

#include "session/acks.h"

#include "base/assert.h"

enum { ACK_HOLE, ACK_PASSED, ACK_CAPTURED, ACK_CROSSING };

static struct ack_entry *entry(struct acks *acks, unsigned i)
{
	return &acks->ring[(acks->head + i) % ACKS_MAX];
}

static void drop_holes(struct acks *acks)
{
	while (acks->count > 0 && entry(acks, 0)->state == ACK_HOLE) {
		acks->head = (acks->head + 1) % ACKS_MAX;
		acks->count--;
	}
}

static void append(struct acks *acks, struct ack_entry e)
{
	ASSERT(acks->count < ACKS_MAX);
	*entry(acks, acks->count++) = e;
}

void acks_init(struct acks *acks)
{
	acks->head = acks->count = 0;
}

bool acks_empty(const struct acks *acks)
{
	return acks->count == 0;
}

bool acks_full(const struct acks *acks)
{
	return acks->count == ACKS_MAX;
}

void acks_passed(struct acks *acks, uint16_t id)
{
	append(acks, (struct ack_entry){.id = id, .state = ACK_PASSED});
}

void acks_captured(struct acks *acks, uint16_t id, uint8_t type, uint8_t reason)
{
	append(acks, (struct ack_entry){id, type, reason, ACK_CAPTURED});
}

void acks_crossing(struct acks *acks, uint16_t id, uint8_t type)
{
	append(acks, (struct ack_entry){id, type, 0, ACK_CROSSING});
}

bool acks_crossed(struct acks *acks, uint16_t id, uint8_t type, uint8_t reason)
{
	for (unsigned i = 0; i < acks->count; i++) {
		struct ack_entry *e = entry(acks, i);

		if (e->state != ACK_CROSSING || e->id != id || e->type != type)
			continue;
		e->state = ACK_CAPTURED;
		e->reason = reason;
		return true;
	}
	return false;
}

bool acks_broker(struct acks *acks, uint16_t id)
{
	for (unsigned i = 0; i < acks->count; i++) {
		struct ack_entry *e = entry(acks, i);

		if (e->state != ACK_PASSED || e->id != id)
			continue;
		e->state = ACK_HOLE;
		drop_holes(acks);
		return true;
	}
	return false;
}

bool acks_next(struct acks *acks, uint16_t *ret_id, uint8_t *ret_type, uint8_t *ret_reason)
{
	struct ack_entry *e = entry(acks, 0);

	if (acks->count == 0 || e->state != ACK_CAPTURED)
		return false;
	*ret_id = e->id;
	*ret_type = e->type;
	*ret_reason = e->reason;
	e->state = ACK_HOLE;
	drop_holes(acks);
	return true;
}
