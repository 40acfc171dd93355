// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// How control threads speak to a worker: a bounded ring of messages that the
// worker runs between two bursts. A message is a function with its argument
// (embedded in the sender's structure); it runs on the worker, must be short and
// bounded, and must not block. The sender may wait for it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mailbox_message {
	// On the worker's thread; `worker` is what mailbox_create() was given.
	void (*run)(struct mailbox_message *message, void *worker);
};

struct mailbox;

// Room for `size` messages, waiting or awaited. Needs the EAL; `name` is unique in the process.
int mailbox_create(const char *name, uint32_t size, void *worker, struct mailbox **ret_mailbox);
// Nobody posts or waits any more; what was not run never is. Accepts NULL.
void mailbox_destroy(struct mailbox *mailbox);

// Any thread. The message must live until it has run. -EAGAIN when the ring is full.
int mailbox_post(struct mailbox *mailbox, struct mailbox_message *message);
// Posts and sleeps until the message has run; -EAGAIN when the ring is full, -ETIMEDOUT when it
// has not begun to run within timeout_ms: it is then withdrawn and never runs. 0: it has run. Never
// from the worker's own thread.
int mailbox_call(struct mailbox *mailbox, struct mailbox_message *message, unsigned timeout_ms);

// The worker: runs at most `max` waiting messages, returns how many. One relaxed load when empty.
unsigned mailbox_run(struct mailbox *mailbox, unsigned max);
