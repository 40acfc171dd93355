// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Processes: how they come and go, their slots, and what is new of them.

#include <errno.h>
#include <stdlib.h>

#include "attach/socket_flow.h"
#include "base/assert.h"

// News of one process dealt with in a turn at most.
#define NEWS_MAX 1024

// --- slots ---------------------------------------------------------------------------------------

uint32_t socket_slot_take(struct socket_process *process)
{
	ASSERT(process->free_count > 0);
	return process->free_slots[--process->free_count];
}

void socket_slot_settle(struct socket_process *process, uint32_t slot)
{
	struct lane_slot state;

	lane_slot(process->lane, slot, &state);
	if (!state.closed)
		return;
	process->flows[slot] = NULL;
	process->free_slots[process->free_count++] = slot;
	process->sockets->look = true;
}

// --- news ----------------------------------------------------------------------------------------

static void receive_slot(struct socket_process *process, uint32_t slot)
{
	struct socket_flow *flow = process->flows[slot];
	struct socket_datagram *datagram;

	if (flow == SOCKET_SLOT_LEFT) {
		socket_slot_settle(process, slot);
		return;
	}
	if (flow == NULL) {
		datagram = socket_datagram_at(process, slot);
		if (datagram != NULL) // else a notice of a life that is over
			socket_datagram_take(datagram);
		return;
	}
	socket_flow_take(flow);
	if (!list_linked(&flow->link))
		list_append(&process->sockets->ready, &flow->link);
}

unsigned socket_process_receive(struct socket_process *process)
{
	struct lane_news news;
	unsigned count = 0;

	for (; count < NEWS_MAX && !process->broken && !process->gone; count++) {
		lane_poll(process->lane, &news);
		switch (news.what) {
		case LANE_NOTHING:
			return count;
		case LANE_MESSAGE:
			socket_message_take(process, &news.message);
			break;
		case LANE_MOVED:
			receive_slot(process, news.slot);
			break;
		case LANE_GONE:
			__atomic_store_n(&process->gone, true, __ATOMIC_RELAXED);
			return count;
		case LANE_OPENED:
		case LANE_BROKEN:
			__atomic_store_n(&process->broken, true, __ATOMIC_RELAXED);
			break;
		}
	}
	return count;
}

// --- coming and going ----------------------------------------------------------------------------

int sockets_attach(struct sockets *sockets, const struct sockets_process *from)
{
	uint32_t slots = from->lane->slots;

	for (unsigned i = 0; i < SOCKETS_PROCESSES_MAX; i++) {
		struct socket_process *process = &sockets->processes[i];

		if (process->lane != NULL)
			continue;
		*process = (struct socket_process){
			.sockets = sockets,
			.wake = from->wake,
			.wake_ctx = from->wake_ctx,
			.flows = calloc(slots, sizeof(struct socket_flow *)),
			.free_slots = calloc(slots, sizeof(uint32_t)),
		};
		if (process->flows == NULL || process->free_slots == NULL) {
			free(process->flows);
			free(process->free_slots);
			*process = (struct socket_process){0};
			return -ENOMEM;
		}
		// The first slots are given away first: memory that was touched is used again.
		while (process->free_count < slots) {
			process->free_slots[process->free_count] = slots - 1 - process->free_count;
			process->free_count++;
		}
		list_init(&process->datagrams);
		process->lane = from->lane;
		sockets->counters.processes++;
		return (int)i;
	}
	return -ENOSPC;
}

static void end_connections(struct socket_process *process)
{
	const struct sockets *sockets = process->sockets;

	for (uint32_t i = 0; i < slab_count(sockets->flows); i++) {
		struct socket_flow *flow = slab_at(sockets->flows, i);

		if (flow != NULL && flow->process == process)
			socket_flow_orphan(flow);
	}
	socket_datagrams_forget(process);
}

void socket_process_end(struct socket_process *process)
{
	process->ended = true;
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++)
		if (process->listeners[i].used)
			socket_unlisten(process, process->listeners[i].number);
	end_connections(process);
}

void socket_process_bequeath(struct socket_process *process)
{
	process->ended = true;
	for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++)
		process->listeners[i].accepts = false;
	end_connections(process);
}

// What it wrote before it ended is its will, within reason.
static void hear_out(struct socket_process *process)
{
	for (unsigned i = 0;
		i < 64 && !process->ended && socket_process_receive(process) == NEWS_MAX; i++)
		;
}

void sockets_detach(struct sockets *sockets, unsigned number)
{
	struct socket_process *process = &sockets->processes[number];

	hear_out(process);
	socket_process_end(process);
	free(process->flows);
	free(process->free_slots);
	*process = (struct socket_process){0};
	counter_add(&sockets->counters.processes, -1);
}

void sockets_bequeath(struct sockets *sockets, unsigned number)
{
	struct socket_process *process = &sockets->processes[number];

	hear_out(process);
	socket_process_bequeath(process);
}

bool sockets_is_broken(const struct sockets *sockets, unsigned number)
{
	return __atomic_load_n(&sockets->processes[number].broken, __ATOMIC_RELAXED);
}

bool sockets_is_gone(const struct sockets *sockets, unsigned number)
{
	return __atomic_load_n(&sockets->processes[number].gone, __ATOMIC_RELAXED);
}

void sockets_wake(struct sockets *sockets, unsigned number)
{
	sockets->processes[number].wake_wanted = true;
}
