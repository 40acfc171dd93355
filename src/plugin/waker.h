// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Wakes a thread that waits for a gRPC completion queue. Whoever has something for it does no
// more than write to an eventfd, and that only when the thread has said that it sleeps;
// entering gRPC on mosquitto's thread could wait for a lock. A small thread in between hears
// the eventfd and puts an empty batch on the queue, of a call that leads nowhere.

#pragma once

#include <stdbool.h>

struct grpc_completion_queue;
struct waker;

// `tag` comes out of the queue for each wake-up.
int waker_start(struct grpc_completion_queue *queue, void *tag, struct waker **ret_waker);
// No tag comes any more once the queue has been drained after this.
void waker_stop(struct waker *waker);

// The thread of the queue: true before it looks a last time for something to do and then
// waits; false when it is awake again.
void waker_set_sleeping(struct waker *waker, bool sleeping);
// Any thread, after it has left something to do. Does not block.
void waker_wake(struct waker *waker);
