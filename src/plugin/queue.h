// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Events on their way from mosquitto's thread to the stream's: a ring of bytes and numbers,
// set aside at start, without locks. An event is numbered when it is put in and stays until
// it is acknowledged, so that it can be sent again:
//
//   tail ── sent, not acknowledged ── cursor ── not sent ── head
//
// What finds no room is lost. Nothing that follows a lost event makes sense without it, so
// the stream's thread drops what was kept before it and tells Offramp (queue_drop_lost).

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

// Room for `bytes` (a power of two), at most `events`; -ENOMEM.
int queue_create(size_t bytes, unsigned events, struct queue **ret_queue);
void queue_destroy(struct queue *queue);

// --- mosquitto's thread --------------------------------------------------------------------------

// The number that the next event gets, from 1 on.
uint64_t queue_next_sequence(const struct queue *queue);
// Puts in the event that bears queue_next_sequence(). false: no room, it is lost.
bool queue_put(struct queue *queue, const void *event, size_t length);

// --- the stream's thread -------------------------------------------------------------------------

// The latest event there is; all up to it that were not lost can be seen by queue_peek().
uint64_t queue_latest(const struct queue *queue);
// The oldest event that is kept; when none is: 0, or what comes next if the latest were lost.
uint64_t queue_oldest(const struct queue *queue);
// The next event to be sent: its length, its number and a copy of up to `size` bytes; 0: none.
size_t queue_peek(struct queue *queue, void *out, size_t size, uint64_t *ret_sequence);
void queue_advance(struct queue *queue);
// Sends again from the oldest kept event on whose number is not below.
void queue_rewind(struct queue *queue, uint64_t sequence);
// Forgets all up to this one.
void queue_acknowledge(struct queue *queue, uint64_t sequence);
// Were events lost since it was last asked? Then what was kept before them is forgotten.
bool queue_drop_lost(struct queue *queue);
