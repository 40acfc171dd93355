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

bool pace_decide(const struct pace *pace, struct offload *offload, struct pace_wait *ret_wait)
{
	uint64_t now_us = offload->now_us, until_us = UINT64_MAX;
	struct client *slow = pace->slow;

	if (pace->above <= pace->below) {
		slow = pace->lagging;
		if (slow == NULL)
			return false;
		if (slow->patience_us == 0)
			slow->patience_us = now_us + PATIENCE_US;
		until_us = slow->patience_us;
		if (now_us >= until_us)
			return false;
	}
	*ret_wait = (struct pace_wait){
		.index = slab_index(offload->clients, slow),
		.serial = slow->serial,
		.until_us = until_us,
	};
	counter_inc(&offload->counters.paused);
	return true;
}

bool pace_over(const struct offload *offload, const struct pace_wait *wait)
{
	const struct client *slow = slab_at(offload->clients, wait->index);

	if (slow == NULL || slow->serial != wait->serial)
		return true;
	return offload->now_us >= wait->until_us || !output_above_soft_mark(slow) || stalled(slow);
}
