// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The ring has one writer, the gRPC thread. Each worker has a place in it up to which it
// has run; the writer frees what all have run when it posts. A worker is asked to look by
// one message in its mailbox, which asks again while there is more.

#include "control/notices.h"

#include "base/mailbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define NOTICES_MAX 1024u // a power of two
#define BYTES_MAX   (8u << 20)
#define BURST	    32 // run by one message

struct queue { // of one worker
	struct mailbox_message message;
	struct notices *notices;
	struct mailbox *mailbox;
	struct offload *offload;
	unsigned worker;
	atomic_bool asked;    // the message is in the mailbox
	_Atomic uint64_t run; // so many notices; written by the worker
};

struct notices {
	struct notice *ring[NOTICES_MAX];
	_Atomic uint64_t posted; // so many; written by the gRPC thread
	uint64_t freed;		 // its own, as is what follows
	size_t bytes;
	unsigned workers;
	struct queue queues[];
};

static void ask(struct queue *queue)
{
	if (atomic_exchange(&queue->asked, true))
		return;
	// A full mailbox is asked again with the next notice.
	if (mailbox_post(queue->mailbox, &queue->message) != 0)
		atomic_store(&queue->asked, false);
}

static void queue_run(struct mailbox_message *message, void *worker)
{
	struct queue *queue = (struct queue *)message;
	struct notices *notices = queue->notices;
	uint64_t run = atomic_load_explicit(&queue->run, memory_order_relaxed);
	uint64_t until;

	(void)worker;
	// Before looking: what is posted after the look asks again.
	atomic_store(&queue->asked, false);
	until = atomic_load(&notices->posted);
	for (unsigned i = 0; i < BURST && run < until; i++) {
		const struct notice *notice = notices->ring[run % NOTICES_MAX];

		notice->run(notice, queue->offload, queue->worker);
		atomic_store_explicit(&queue->run, ++run, memory_order_release);
	}
	if (run < until)
		ask(queue);
}

int notices_create(const struct control_source *source, struct notices **ret_notices)
{
	struct notices *notices =
		calloc(1, sizeof(*notices) + source->workers_count * sizeof(struct queue));

	if (!notices)
		return -ENOMEM;
	notices->workers = source->workers_count;
	for (unsigned i = 0; i < notices->workers; i++) {
		struct queue *queue = &notices->queues[i];

		queue->message.run = queue_run;
		queue->notices = notices;
		queue->mailbox = source->workers[i].mailbox;
		queue->offload = source->workers[i].offload;
		queue->worker = i;
	}
	*ret_notices = notices;
	return 0;
}

// Frees what all workers have run, up to `until`.
static void free_until(struct notices *notices, uint64_t until)
{
	for (; notices->freed < until; notices->freed++) {
		struct notice *notice = notices->ring[notices->freed % NOTICES_MAX];

		notices->bytes -= notice->size;
		notice->free(notice);
	}
}

// So many notices have been run by all workers.
static uint64_t run_by_all(const struct notices *notices)
{
	uint64_t run = notices_posted(notices);

	for (unsigned i = 0; i < notices->workers; i++) {
		uint64_t own = atomic_load_explicit(&notices->queues[i].run, memory_order_acquire);

		if (own < run)
			run = own;
	}
	return run;
}

bool notices_post(struct notices *notices, struct notice *notice)
{
	uint64_t posted = atomic_load_explicit(&notices->posted, memory_order_relaxed);
	bool room;

	free_until(notices, run_by_all(notices));
	// However large, one alone has room.
	room = posted - notices->freed < NOTICES_MAX &&
	       (notices->bytes == 0 || notices->bytes + notice->size <= BYTES_MAX);
	if (room) {
		notices->ring[posted % NOTICES_MAX] = notice;
		notices->bytes += notice->size;
		atomic_store(&notices->posted, posted + 1);
	}
	for (unsigned i = 0; i < notices->workers; i++)
		if (atomic_load(&notices->queues[i].run) < atomic_load(&notices->posted))
			ask(&notices->queues[i]);
	return room;
}

uint64_t notices_posted(const struct notices *notices)
{
	return atomic_load_explicit(&notices->posted, memory_order_relaxed);
}

bool notices_have_run(const struct notices *notices, uint64_t count)
{
	return run_by_all(notices) >= count;
}

void notices_destroy(struct notices *notices)
{
	if (!notices)
		return;
	free_until(notices, atomic_load(&notices->posted));
	free(notices);
}
