// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Worker mailboxes. What travels through the ring is a slot of the mailbox's own, never a caller's
// memory, so a call that timed out can leave while its slot still waits in the ring:
//
//              post            worker                         caller
//   free ──► PENDING ──────► RUNNING ──────► DONE ──────────► free
//               │  caller's timeout
//               └──────────► CANCELLED ─ worker skips it ──► free
//
// PENDING is left by one compare-and-swap, the worker's or the caller's: a message either runs or
// is withdrawn. A slot without waiter goes from RUNNING to free by the worker's hand.

#include "base/mailbox.h"

#include "base/assert.h"

#include <rte_errno.h>
#include <rte_ring.h>

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum slot_state {
	SLOT_PENDING,
	SLOT_RUNNING,
	SLOT_DONE,
	SLOT_CANCELLED,
};

struct slot {
	struct mailbox_message *message;
	_Atomic uint32_t state; // enum slot_state; a futex for the waiting caller
	bool awaited;		// the caller frees the slot
};

struct mailbox {
	struct rte_ring *waiting; // slots to run; senders → worker
	struct rte_ring *free;	  // idle slots; worker and callers → senders
	void *worker;
	struct slot slots[];
};

// Waits while *state is `value`, until the deadline on CLOCK_MONOTONIC (NULL: none).
static int futex_wait_until(
	_Atomic uint32_t *state, uint32_t value, const struct timespec *deadline)
{
	// FUTEX_WAIT_BITSET takes an absolute time, so interrupted waits need no arithmetic.
	if (syscall(SYS_futex, state, FUTEX_WAIT_BITSET_PRIVATE, value, deadline, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return -errno;
}

static void futex_wake(_Atomic uint32_t *state)
{
	syscall(SYS_futex, state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static struct rte_ring *ring_create(
	const char *name, const char *suffix, uint32_t size, unsigned flags)
{
	char full_name[RTE_RING_NAMESIZE];
	int length = snprintf(full_name, sizeof(full_name), "%s.%s", name, suffix);

	if (length < 0 || (size_t)length >= sizeof(full_name)) {
		rte_errno = ENAMETOOLONG;
		return NULL;
	}
	return rte_ring_create(full_name, size, SOCKET_ID_ANY, flags | RING_F_EXACT_SZ);
}

int mailbox_create(const char *name, uint32_t size, void *worker, struct mailbox **ret_mailbox)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox) + size * sizeof(struct slot));

	if (mailbox == NULL)
		return -ENOMEM;
	mailbox->worker = worker;
	mailbox->waiting = ring_create(name, "waiting", size, RING_F_SC_DEQ);
	if (mailbox->waiting != NULL)
		mailbox->free = ring_create(name, "free", size, 0);
	if (mailbox->free == NULL) {
		int r = -rte_errno;

		mailbox_destroy(mailbox);
		return r;
	}
	for (uint32_t i = 0; i < size; i++)
		ASSERT(rte_ring_enqueue(mailbox->free, &mailbox->slots[i]) == 0);
	*ret_mailbox = mailbox;
	return 0;
}

void mailbox_destroy(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	rte_ring_free(mailbox->waiting);
	rte_ring_free(mailbox->free);
	free(mailbox);
}

// There are as many slots as places in either ring: whoever holds a slot finds room for it.
static void slot_free(struct mailbox *mailbox, struct slot *slot)
{
	ASSERT(rte_ring_enqueue(mailbox->free, slot) == 0);
}

static struct slot *slot_send(
	struct mailbox *mailbox, struct mailbox_message *message, bool awaited)
{
	void *object;

	if (rte_ring_dequeue(mailbox->free, &object) < 0)
		return NULL;

	struct slot *slot = object;

	slot->message = message;
	slot->awaited = awaited;
	atomic_store_explicit(&slot->state, SLOT_PENDING, memory_order_relaxed);
	ASSERT(rte_ring_enqueue(mailbox->waiting, slot) == 0);
	return slot;
}

int mailbox_post(struct mailbox *mailbox, struct mailbox_message *message)
{
	return slot_send(mailbox, message, false) != NULL ? 0 : -EAGAIN;
}

static struct timespec deadline_after_ms(unsigned timeout_ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += timeout_ms / 1000;
	ts.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	return ts;
}

int mailbox_call(struct mailbox *mailbox, struct mailbox_message *message, unsigned timeout_ms)
{
	struct timespec deadline = deadline_after_ms(timeout_ms);
	struct slot *slot = slot_send(mailbox, message, true);
	uint32_t state;

	if (slot == NULL)
		return -EAGAIN;
	while ((state = atomic_load(&slot->state)) != SLOT_DONE) {
		uint32_t pending = SLOT_PENDING;
		// Once it runs it is bounded, and the caller must outlive it.
		const struct timespec *until = state == SLOT_PENDING ? &deadline : NULL;

		if (futex_wait_until(&slot->state, state, until) == -ETIMEDOUT &&
			atomic_compare_exchange_strong(&slot->state, &pending, SLOT_CANCELLED))
			return -ETIMEDOUT; // the worker frees the slot when it meets it
	}
	slot_free(mailbox, slot);
	return 0;
}

static void slot_run(struct mailbox *mailbox, struct slot *slot)
{
	struct mailbox_message *message = slot->message;
	bool awaited = slot->awaited;
	uint32_t pending = SLOT_PENDING;

	if (!atomic_compare_exchange_strong(&slot->state, &pending, SLOT_RUNNING)) {
		slot_free(mailbox, slot);
		return;
	}
	message->run(message, mailbox->worker);
	if (!awaited) {
		slot_free(mailbox, slot);
		return;
	}
	// The caller may free the slot between these two lines; the wake-up is then spurious for
	// whoever waits on it next, and waiters look at the state again.
	atomic_store(&slot->state, SLOT_DONE);
	futex_wake(&slot->state);
}

unsigned mailbox_run(struct mailbox *mailbox, unsigned max)
{
	unsigned count = 0;
	void *slot;

	if (__builtin_expect(rte_ring_empty(mailbox->waiting), 1))
		return 0;
	while (count < max && rte_ring_dequeue(mailbox->waiting, &slot) == 0) {
		slot_run(mailbox, slot);
		count++;
	}
	return count;
}
