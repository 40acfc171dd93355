// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A lane is an ordered pair of workers. What is under way is counted by the sender
// alone, so both rings of a lane always have room for it.

#include "base/crossing.h"

#include <rte_malloc.h>
#include <rte_ring.h>

#include <errno.h>
#include <stdio.h>

#include "base/assert.h"

#define BURST 32u

struct lane {
	struct rte_ring *there, *back;
	// The sender's.
	uint32_t under_way __rte_cache_aligned;
	// The receiver's: answered CROSSING_LATER; how many have run.
	struct crossing_message *stalled __rte_cache_aligned;
	uint64_t run;
} __rte_cache_aligned;

struct turn {
	uint64_t began_us; // written by its worker, read by all
} __rte_cache_aligned;

struct crossing {
	unsigned workers, slots;
	struct turn turns[CROSSING_WORKERS_MAX]; // the latest that have ended
	struct lane lanes[];			 // [from * workers + to]
};

static struct lane *lane_of(const struct crossing *crossing, unsigned from, unsigned to)
{
	DASSERT(from < crossing->workers && to < crossing->workers && from != to);
	return (struct lane *)&crossing->lanes[from * crossing->workers + to];
}

static int lane_create(struct lane *lane, const char *name, unsigned i, unsigned slots)
{
	const unsigned flags = RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ;
	char full[RTE_RING_NAMESIZE];

	snprintf(full, sizeof(full), "%s.%u>", name, i);
	lane->there = rte_ring_create(full, slots, SOCKET_ID_ANY, flags);
	snprintf(full, sizeof(full), "%s.%u<", name, i);
	lane->back = rte_ring_create(full, slots, SOCKET_ID_ANY, flags);
	return lane->there != NULL && lane->back != NULL ? 0 : -ENOMEM;
}

int crossing_create(
	const char *name, unsigned workers, unsigned slots, struct crossing **ret_crossing)
{
	struct crossing *crossing;

	ASSERT(workers >= 1 && workers <= CROSSING_WORKERS_MAX);
	crossing = rte_zmalloc("crossing",
		sizeof(*crossing) + workers * workers * sizeof(crossing->lanes[0]),
		RTE_CACHE_LINE_SIZE);
	if (crossing == NULL)
		return -ENOMEM;
	crossing->workers = workers;
	crossing->slots = slots;
	for (unsigned i = 0; i < workers * workers; i++) {
		if (i / workers == i % workers)
			continue;
		if (lane_create(&crossing->lanes[i], name, i, slots) < 0) {
			crossing_destroy(crossing);
			return -ENOMEM;
		}
	}
	*ret_crossing = crossing;
	return 0;
}

void crossing_destroy(struct crossing *crossing)
{
	if (crossing == NULL)
		return;
	for (unsigned i = 0; i < crossing->workers * crossing->workers; i++) {
		rte_ring_free(crossing->lanes[i].there);
		rte_ring_free(crossing->lanes[i].back);
	}
	rte_free(crossing);
}

bool crossing_has_room(const struct crossing *crossing, unsigned from, unsigned to)
{
	return lane_of(crossing, from, to)->under_way < crossing->slots;
}

void crossing_post(
	struct crossing *crossing, unsigned from, unsigned to, struct crossing_message *message)
{
	struct lane *lane = lane_of(crossing, from, to);

	ASSERT(lane->under_way < crossing->slots);
	message->from = (uint16_t)from;
	message->to = (uint16_t)to;
	lane->under_way++;
	ASSERT(rte_ring_sp_enqueue(lane->there, message) == 0);
}

void crossing_return(struct crossing *crossing, struct crossing_message *message)
{
	struct lane *lane = lane_of(crossing, message->from, message->to);

	ASSERT(rte_ring_sp_enqueue(lane->back, message) == 0);
}

void crossing_turned(struct crossing *crossing, unsigned self, uint64_t began_us)
{
	__atomic_store_n(&crossing->turns[self].began_us, began_us, __ATOMIC_RELEASE);
}

bool crossing_all_turned(const struct crossing *crossing, unsigned self, uint64_t since_us)
{
	for (unsigned other = 0; other < crossing->workers; other++)
		if (other != self && __atomic_load_n(&crossing->turns[other].began_us,
					     __ATOMIC_ACQUIRE) < since_us)
			return false;
	return true;
}

static unsigned lane_waiting(const struct lane *lane)
{
	return rte_ring_count(lane->there) + (lane->stalled != NULL);
}

void crossing_point(
	const struct crossing *crossing, unsigned self, struct crossing_point *ret_point)
{
	*ret_point = (struct crossing_point){0};
	for (unsigned from = 0; from < crossing->workers; from++) {
		const struct lane *lane;

		if (from == self)
			continue;
		lane = lane_of(crossing, from, self);
		ret_point->run[from] = lane->run + lane_waiting(lane);
	}
}

bool crossing_passed(
	const struct crossing *crossing, unsigned self, const struct crossing_point *point)
{
	for (unsigned from = 0; from < crossing->workers; from++)
		if (from != self && lane_of(crossing, from, self)->run < point->run[from])
			return false;
	return true;
}

unsigned crossing_waiting(const struct crossing *crossing, unsigned self)
{
	unsigned count = 0;

	for (unsigned from = 0; from < crossing->workers; from++)
		if (from != self)
			count += lane_waiting(lane_of(crossing, from, self));
	return count;
}

// False: it has to wait, and so has what follows it.
static bool message_run(struct crossing *crossing, struct lane *lane,
	struct crossing_message *message, void *worker)
{
	switch (message->run(message, worker)) {
	case CROSSING_DONE:
		crossing_return(crossing, message);
		break;
	case CROSSING_KEPT:
		break;
	case CROSSING_LATER:
		lane->stalled = message;
		return false;
	}
	lane->run++;
	return true;
}

static unsigned lane_run(struct crossing *crossing, struct lane *lane, void *worker, unsigned max)
{
	struct crossing_message *message = lane->stalled;
	unsigned count = 0;
	void *object;

	if (message != NULL) {
		lane->stalled = NULL;
		if (!message_run(crossing, lane, message, worker))
			return 0;
		count++;
	}
	while (count < max && rte_ring_sc_dequeue(lane->there, &object) == 0) {
		if (!message_run(crossing, lane, object, worker))
			break;
		count++;
	}
	return count;
}

static unsigned lane_take_back(struct lane *lane, void *worker)
{
	void *messages[BURST];
	unsigned total = 0, count;

	do {
		count = rte_ring_sc_dequeue_burst(lane->back, messages, BURST, NULL);
		lane->under_way -= count;
		for (unsigned i = 0; i < count; i++) {
			struct crossing_message *message = messages[i];

			message->back(message, worker);
		}
		total += count;
	} while (count == BURST);
	return total;
}

unsigned crossing_run(struct crossing *crossing, unsigned self, void *worker, unsigned max)
{
	unsigned count = 0;

	for (unsigned other = 0; other < crossing->workers; other++) {
		if (other == self)
			continue;
		count += lane_take_back(lane_of(crossing, self, other), worker);
		count += lane_run(crossing, lane_of(crossing, other, self), worker, max);
	}
	return count;
}
