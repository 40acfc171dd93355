// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A cursor goes over the targets of a route as it was made; made anew, it has others.

#include "offload/sighting.h"

#include "offload/evidence.h"
#include "offload/fencing.h"

// Deliveries may take so long behind the answer before anybody is asked for them.
#define GRACE_US (3 * US_IN_MS)

// Its own message does not come back to it: nothing can be seen.
static bool exempt(const struct client *publisher, const struct proof_target *target)
{
	return (target->flags & ROUTE_NO_LOCAL) && target->owner == publisher;
}

static bool seen(const struct sighting *sighting, const struct client *subscriber)
{
	const struct grant *grant = evidence_find(subscriber, sighting->hash);

	return grant != NULL && grant->mark_us >= sighting->since_us;
}

// Asks all from the cursor on of whom nothing has been seen.
static void ask_silent(struct sighting *sighting, struct offload *offload,
	const struct proof_route *route, const struct client *publisher)
{
	if (sighting->epoch == 0)
		sighting->epoch = fencing_epoch(offload);
	sighting->unsent = false;
	for (uint32_t i = sighting->cursor; i < route->targets; i++) {
		const struct proof_target *target = proof_route_target(route, i);

		if (!exempt(publisher, target) && !seen(sighting, target->owner) &&
			!fencing_ask(target->owner, sighting->epoch))
			sighting->unsent = true;
	}
}

// It has answered, and the message had not come.
static void judge_silent(struct sighting *sighting, struct client *subscriber)
{
	const struct broker *broker = subscriber->broker;

	if (sighting->compared && broker->config->fence == OFFLOAD_FENCE_PING &&
		evidence_silence(subscriber, sighting))
		evidence_denied(subscriber, sighting->hash,
			sighting->since_us + broker->config->proof.ttl_us);
	else
		sighting->silent = true;
}

bool sighting_walk(struct sighting *sighting, struct offload *offload,
	const struct proof_route *route, const struct client *publisher)
{
	while (sighting->cursor < route->targets) {
		const struct proof_target *target = proof_route_target(route, sighting->cursor);
		struct client *subscriber = target->owner;

		if (exempt(publisher, target) || seen(sighting, subscriber)) {
			sighting->cursor++;
			continue;
		}
		if (target->flags & ROUTE_PENDING) {
			sighting->silent = true; // the broker may not have had the SUBSCRIBE then
			sighting->cursor++;
			continue;
		}
		if (offload->now_us < sighting->routed_us + GRACE_US)
			return false;
		if (sighting->epoch == 0 || sighting->unsent)
			ask_silent(sighting, offload, route, publisher);
		if (subscriber->settled_epoch < sighting->epoch) {
			// Its answer proved nothing: it is to be asked again.
			sighting->unsent |= subscriber->ping_epoch < sighting->epoch;
			return false;
		}
		judge_silent(sighting, subscriber);
		sighting->cursor++;
	}
	return true;
}
