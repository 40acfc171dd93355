// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One writer of each side: mosquitto's thread moves `head`, the stream's `tail` and `cursor`.
// They count bytes for ever; the place in the ring is their rest. A record is a header and
// the event, and may go round the end.

#include "plugin/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct record {
	uint64_t sequence;
	uint64_t length;
};

struct queue {
	uint8_t *ring;
	size_t size;
	unsigned events_max;

	// mosquitto's thread: wo, the stream's: ro
	_Alignas(64) _Atomic uint64_t head;
	_Atomic uint64_t put;	 // events
	_Atomic uint64_t latest; // number
	_Atomic uint64_t lost;	 // the number of the latest that found no room

	// The stream's thread: wo, mosquitto's: ro
	_Alignas(64) _Atomic uint64_t tail;
	_Atomic uint64_t forgotten; // events

	// The stream's thread only.
	uint64_t cursor;
	uint64_t lost_seen;
	uint64_t settled; // all up to here are acknowledged or given up
};

int queue_create(size_t bytes, unsigned events, struct queue **ret_queue)
{
	struct queue *queue = aligned_alloc(64, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	memset(queue, 0, sizeof(*queue));
	queue->ring = malloc(bytes);
	queue->size = bytes;
	queue->events_max = events;
	if (!queue->ring) {
		free(queue);
		return -ENOMEM;
	}
	*ret_queue = queue;
	return 0;
}

void queue_destroy(struct queue *queue)
{
	if (!queue)
		return;
	free(queue->ring);
	free(queue);
}

static void ring_write(struct queue *queue, uint64_t at, const void *data, size_t length)
{
	size_t place = at & (queue->size - 1);
	size_t first = length < queue->size - place ? length : queue->size - place;

	memcpy(queue->ring + place, data, first);
	memcpy(queue->ring, (const uint8_t *)data + first, length - first);
}

static void ring_read(const struct queue *queue, uint64_t at, void *data, size_t length)
{
	size_t place = at & (queue->size - 1);
	size_t first = length < queue->size - place ? length : queue->size - place;

	memcpy(data, queue->ring + place, first);
	memcpy((uint8_t *)data + first, queue->ring, length - first);
}

// --- mosquitto's thread --------------------------------------------------------------------------

uint64_t queue_next_sequence(const struct queue *queue)
{
	return atomic_load_explicit(&queue->latest, memory_order_relaxed) + 1;
}

static bool has_room(const struct queue *queue, uint64_t head, size_t bytes)
{
	uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_acquire);
	uint64_t kept = atomic_load_explicit(&queue->put, memory_order_relaxed) -
			atomic_load_explicit(&queue->forgotten, memory_order_acquire);

	return head - tail + bytes <= queue->size && kept < queue->events_max;
}

bool queue_put(struct queue *queue, const void *event, size_t length)
{
	struct record record = {queue_next_sequence(queue), length};
	uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
	bool room = has_room(queue, head, sizeof(record) + length);

	if (room) {
		ring_write(queue, head, &record, sizeof(record));
		ring_write(queue, head + sizeof(record), event, length);
		atomic_fetch_add_explicit(&queue->put, 1, memory_order_relaxed);
		atomic_store_explicit(
			&queue->head, head + sizeof(record) + length, memory_order_release);
	} else {
		atomic_store_explicit(&queue->lost, record.sequence, memory_order_release);
	}
	atomic_store_explicit(&queue->latest, record.sequence, memory_order_release);
	return room;
}

// --- the stream's thread -------------------------------------------------------------------------

uint64_t queue_latest(const struct queue *queue)
{
	return atomic_load_explicit(&queue->latest, memory_order_acquire);
}

static bool record_at(const struct queue *queue, uint64_t at, struct record *record)
{
	if (at == atomic_load_explicit(&queue->head, memory_order_acquire))
		return false;
	ring_read(queue, at, record, sizeof(*record));
	return true;
}

uint64_t queue_oldest(const struct queue *queue)
{
	uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
	uint64_t latest = queue_latest(queue);
	struct record record;

	if (record_at(queue, tail, &record))
		return record.sequence;
	return queue->settled < atomic_load_explicit(&queue->lost, memory_order_acquire)
		       ? latest + 1
		       : 0;
}

size_t queue_peek(struct queue *queue, void *out, size_t size, uint64_t *ret_sequence)
{
	struct record record;

	if (!record_at(queue, queue->cursor, &record))
		return 0;
	ring_read(queue, queue->cursor + sizeof(record), out,
		record.length < size ? record.length : size);
	*ret_sequence = record.sequence;
	return record.length;
}

void queue_advance(struct queue *queue)
{
	struct record record;

	if (record_at(queue, queue->cursor, &record))
		queue->cursor += sizeof(record) + record.length;
}

void queue_rewind(struct queue *queue, uint64_t sequence)
{
	struct record record;

	queue->cursor = atomic_load_explicit(&queue->tail, memory_order_relaxed);
	while (record_at(queue, queue->cursor, &record) && record.sequence < sequence)
		queue_advance(queue);
}

static void forget_to(struct queue *queue, uint64_t sequence)
{
	uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
	struct record record;

	while (record_at(queue, tail, &record) && record.sequence <= sequence) {
		tail += sizeof(record) + record.length;
		atomic_fetch_add_explicit(&queue->forgotten, 1, memory_order_release);
	}
	if ((int64_t)(queue->cursor - tail) < 0)
		queue->cursor = tail;
	atomic_store_explicit(&queue->tail, tail, memory_order_release);
}

void queue_acknowledge(struct queue *queue, uint64_t sequence)
{
	if (sequence > queue->settled)
		queue->settled = sequence;
	forget_to(queue, sequence);
}

bool queue_drop_lost(struct queue *queue)
{
	uint64_t lost = atomic_load_explicit(&queue->lost, memory_order_acquire);

	if (lost == queue->lost_seen)
		return false;
	queue->lost_seen = lost;
	forget_to(queue, lost);
	return true;
}
