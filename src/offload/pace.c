// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Who is slow, who only lags, and how long that holds a publisher up.

#include "offload/pace.h"

#include "offload/output.h"

// A subscriber that has acknowledged nothing for so long is stalled: nobody waits for it.
#define STALLED_US (200 * US_IN_MS)
// How long publishers wait for one subscriber that lags behind the others, until it has caught up.
#define PATIENCE_US (250 * US_IN_MS)

static bool stalled(const struct client *subscriber)
{
	return subscriber->offload->now_us - tcp_send_progress_us(subscriber->pcb) >= STALLED_US;
}

void pace_look(struct pace *pace, struct client *subscriber)
{
	if (!output_above_soft_mark(subscriber)) {
		subscriber->patience_us = 0;
		pace->below++;
		return;
	}
	if (stalled(subscriber))
		return;
	pace->above++;
	pace->slow = subscriber;
	if (output_above_hard_mark(subscriber))
		pace->lagging = subscriber;
}

void pace_apply(const struct pace *pace, struct client *publisher)
{
	uint64_t now_us = publisher->offload->now_us, until_us = UINT64_MAX;
	struct client *slow = pace->slow;

	if (pace->above <= pace->below) {
		slow = pace->lagging;
		if (slow == NULL)
			return;
		if (slow->patience_us == 0)
			slow->patience_us = now_us + PATIENCE_US;
		until_us = slow->patience_us;
		if (now_us >= until_us)
			return;
	}
	publisher->waits_index = slab_index(publisher->offload->clients, slow);
	publisher->waits_serial = slow->serial;
	publisher->waits_until_us = until_us;
	counter_inc(&publisher->offload->counters.paused);
}

bool pace_may_resume(const struct client *publisher)
{
	struct offload *offload = publisher->offload;
	const struct client *slow = slab_at(offload->clients, publisher->waits_index);

	if (slow == NULL || slow->serial != publisher->waits_serial)
		return true;
	return offload->now_us >= publisher->waits_until_us || !output_above_soft_mark(slow) ||
	       stalled(slow);
}
