// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who tells whom to look, and who sleeps meanwhile.

#include "channel/shared_state.h"

static _Atomic uint32_t *notices(struct shared_lane *lane, enum channel_side side)
{
	return (_Atomic uint32_t *)(lane->memory + lane->layout.notices[side]);
}

static _Atomic uint32_t *notified(struct shared_lane *lane, enum channel_side to, uint32_t slot)
{
	return slot == CHANNEL_MESSAGES ? &lane->header->of[to].messages_notified
					: &lane->shared[slot].notified[to];
}

static void wake(struct shared_lane *lane)
{
	_Atomic uint32_t *sleeping = &shared_theirs(lane)->sleeping;

	// The notice is there before this looks; arm() says that it sleeps before it looks for
	// notices.
	atomic_thread_fence(memory_order_seq_cst);
	if (lane->wake != NULL && atomic_load_explicit(sleeping, memory_order_relaxed) != 0 &&
		atomic_exchange_explicit(sleeping, 0, memory_order_relaxed) != 0)
		lane->wake(lane->wake_ctx);
}

void shared_notify(struct shared_lane *lane, uint32_t slot)
{
	enum channel_side to = shared_other(lane);
	struct channel_words *mine = shared_mine(lane);
	uint32_t tail;

	if (atomic_exchange_explicit(notified(lane, to, slot), 1, memory_order_acq_rel) != 0)
		return;
	tail = atomic_load_explicit(&shared_theirs(lane)->notices_tail, memory_order_acquire);
	// It has cleared what it has not read: its loss alone.
	if (lane->notices_head - tail >= lane->layout.notices_size)
		return;
	atomic_store_explicit(
		&notices(lane,
			lane->lane.side)[lane->notices_head & (lane->layout.notices_size - 1)],
		slot, memory_order_relaxed);
	atomic_store_explicit(&mine->notices_head, ++lane->notices_head, memory_order_release);
	wake(lane);
}

static bool anything(struct shared_lane *lane)
{
	return atomic_load_explicit(&shared_theirs(lane)->notices_head, memory_order_acquire) !=
	       lane->notices_tail;
}

bool shared_noticed(struct shared_lane *lane, uint32_t *ret_slot)
{
	enum channel_side me = lane->lane.side;
	uint32_t head =
		atomic_load_explicit(&shared_theirs(lane)->notices_head, memory_order_acquire);
	uint32_t slot;

	if (head == lane->notices_tail)
		return false;
	if (head - lane->notices_tail > lane->layout.notices_size) {
		lane->broken = true;
		return false;
	}
	slot = atomic_load_explicit(
		&notices(lane,
			shared_other(lane))[lane->notices_tail & (lane->layout.notices_size - 1)],
		memory_order_relaxed);
	atomic_store_explicit(
		&shared_mine(lane)->notices_tail, ++lane->notices_tail, memory_order_release);
	if (slot != CHANNEL_MESSAGES && slot >= lane->lane.slots) {
		lane->broken = true;
		return false;
	}
	// From here on something new makes a new notice. By exchange: what led to this one is seen.
	atomic_exchange_explicit(notified(lane, me, slot), 0, memory_order_acq_rel);
	*ret_slot = slot;
	return true;
}

bool shared_arm(struct lane *base)
{
	struct shared_lane *lane = (struct shared_lane *)base;

	atomic_store_explicit(&shared_mine(lane)->sleeping, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (!lane->broken && !anything(lane))
		return true;
	shared_disarm(base);
	return false;
}

void shared_disarm(struct lane *base)
{
	struct shared_lane *lane = (struct shared_lane *)base;

	atomic_store_explicit(&shared_mine(lane)->sleeping, 0, memory_order_relaxed);
}
