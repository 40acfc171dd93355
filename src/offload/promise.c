// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Runs for what arrives while not all targets of its topic are marked; most often they are.

#include "offload/promise.h"

#include "offload/evidence.h"

// Did the broker let who had this identity read the topic when that was last seen? It may have been
// in the epoch before: another worker may be behind.
static enum grant_state last_seen(
	const struct broker *broker, uint64_t topic_hash, uint64_t identity)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct grant *grant = grants_find(
			broker->reads, grant_key(topic_hash, identity, broker->stream.epoch - i));

		if (grant != NULL && grant->state != GRANT_UNKNOWN)
			return grant->state;
	}
	return GRANT_UNKNOWN;
}

// Who captured it was told that the right of everybody who had subscribed by then was known. What
// is not known any more was no denial, unless one has been forgotten.
static bool was_promised(
	const struct broker *broker, const struct session *session, uint64_t since_us)
{
	return session->changed_us < since_us && grants_forgot_us(broker->reads) < since_us;
}

// The client came back meanwhile: what was captured for who it was is owed to its session, above
// QoS 0.
static bool may_get_as_it_was(const struct broker *broker, const struct session *session,
	uint64_t topic_hash, uint8_t qos, uint64_t since_us)
{
	return qos > 0 && was_promised(broker, session, since_us) &&
	       last_seen(broker, topic_hash, session->identity_before) != GRANT_DENIED;
}

static bool may_get(const struct broker *broker, const struct client *subscriber,
	uint64_t topic_hash, uint8_t qos, uint64_t since_us)
{
	const struct session *session = subscriber->session;
	enum grant_state state = last_seen(broker, topic_hash, subscriber->identity);

	if (state != GRANT_UNKNOWN)
		return state == GRANT_ALLOWED;
	if (session->identity_us >= since_us)
		return may_get_as_it_was(broker, session, topic_hash, qos, since_us);
	return was_promised(broker, session, since_us);
}

void promise_arrived(
	struct broker *broker, struct proof_route *route, uint8_t qos, uint64_t since_us)
{
	// A broker that tells everything has been asked for the right when the client subscribed.
	if (broker->reads == NULL || broker->stream.told.complete ||
		route->marks == PROOF_MARKS_ALL)
		return;
	for (uint32_t i = 0; i < route->targets; i++) {
		struct proof_target *target = proof_route_target(route, i);
		const struct client *subscriber = target->owner;
		const struct grant *grant = evidence_find(subscriber, route->hash);

		// As it was marked, unless more is known by now.
		if (route->marks == PROOF_MARKS_OLD &&
			(grant == NULL || grant->state == GRANT_UNKNOWN))
			continue;
		target->flags &= (uint8_t)~ROUTE_DENIED;
		if (!may_get(broker, subscriber, route->hash, qos, since_us))
			target->flags |= ROUTE_DENIED;
	}
}

bool promise_may_keep(const struct broker *broker, const struct session *session,
	uint64_t topic_hash, uint64_t since_us)
{
	enum grant_state state;

	if (broker->reads == NULL || broker->stream.told.complete)
		return true;
	state = last_seen(broker, topic_hash, session->identity);
	return state == GRANT_UNKNOWN ? was_promised(broker, session, since_us)
				      : state == GRANT_ALLOWED;
}
