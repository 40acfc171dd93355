// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The state of what is shown, and when a message asks. A route is looked at target by
// target only when something has come about: a probe has ended, or a message would ask.

#include "offload/proving.h"

#include "offload/evidence.h"
#include "offload/exact.h"
#include "offload/markers.h"
#include "offload/probes.h"
#include "offload/survey.h"

// An answer is awaited so long before another message asks.
#define ANSWER_US US_IN_S
// Without success: again after this, twice as much …
#define AGAIN_US     (50 * US_IN_MS)
#define FAILURES_MAX 7 // … up to 6.4 s
// What is missing is about to come, without a message that asks.
#define SOON_US (2 * US_IN_MS)
// Where others read too, a message asks again after this, twice as much …
#define GONE_US	      US_IN_S
#define STRANGERS_MAX 6 // … up to 64 s
// A topic whose subscribers come and go is asked for so often within a second at once; then less.
#define UNREST_FREE 3
#define UNREST_MAX  8
#define UNREST_US   (25 * US_IN_MS)
// This part of proof.ttl before its end a message asks anew, or a little earlier: what was shown
// at the same time does not end at the same time.
#define REFRESH_PART 8

static bool rights_by_broker(const struct broker *broker)
{
	return broker->config->authorization == OFFLOAD_AUTHORIZATION_BROKER;
}

static bool by_broker(const struct client *client)
{
	return rights_by_broker(client->broker);
}

static uint64_t again_us(const struct client *client, uint8_t *failures)
{
	uint64_t wait_us = AGAIN_US << *failures;

	if (*failures < FAILURES_MAX)
		(*failures)++;
	return client->offload->now_us + wait_us;
}

static uint64_t refresh_us(const struct client *client, uint64_t hash, uint64_t until_us)
{
	uint64_t part_us = client->broker->config->proof.ttl_us / REFRESH_PART;

	return until_us - part_us - hash % (part_us + 1);
}

// --- to write ------------------------------------------------------------------------------------

static uint64_t write_key(const struct client *client, uint64_t hash)
{
	return grant_key(hash, client->identity, client->broker->stream.epoch);
}

void proving_written(struct client *publisher, uint64_t hash, bool written, uint64_t since_us)
{
	struct grant *grant;

	if (!by_broker(publisher))
		return;
	grant = grants_get(
		publisher->broker->writes, write_key(publisher, hash), publisher->offload->now_us);
	if (written) {
		grant->state = GRANT_ALLOWED;
		grant->until_us = since_us + publisher->broker->config->proof.ttl_us;
		grant->mark_us = refresh_us(publisher, hash, grant->until_us);
		grant->failures = 0;
	} else {
		grant->state = GRANT_DENIED;
		grant->until_us = 0;
		grant->mark_us = again_us(publisher, &grant->failures);
		publisher->written.epoch = 0;
	}
}

// --- the route -----------------------------------------------------------------------------------

static struct proof_standing *standing_of(const struct client *client, struct proof_route *route)
{
	struct proof_standing *standing = &route->standing;

	if (standing->epoch != client->broker->stream.epoch)
		*standing = (struct proof_standing){
			.epoch = client->broker->stream.epoch,
			.reason = PROOF_UNPROVEN,
			.known = client->broker->config->knowledge != OFFLOAD_KNOWLEDGE_BROKER,
			.here = client->broker->config->knowledge != OFFLOAD_KNOWLEDGE_BROKER,
			.unrest = standing->unrest,
			.asked_us = standing->asked_us,
			.strangers = standing->strangers,
		};
	return standing;
}

static void route_failed(
	const struct client *client, struct proof_standing *standing, enum proof_reason reason)
{
	standing->shown = false;
	standing->reason = (uint8_t)reason;
	standing->ask_us = again_us(client, &standing->failures);
}

// Some of them may just have been on their way out.
static void strangers_count(
	const struct client *publisher, struct proof_standing *standing, enum readers readers)
{
	if (readers != READERS_STRANGERS) {
		standing->strangers = 0;
		return;
	}
	standing->gone_us = publisher->offload->now_us + (GONE_US << standing->strangers);
	if (standing->strangers < STRANGERS_MAX)
		standing->strangers++;
}

bool proving_compared(struct client *publisher, struct proof_route *route, enum readers readers)
{
	struct proof_standing *standing = standing_of(publisher, route);
	const struct broker *broker = publisher->broker;
	bool vague = readers == READERS_UNSURE || readers == READERS_MOVING;

	// What was known before stands.
	if (vague && !standing->here) {
		proving_ask_others(publisher, route);
		return false;
	}
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_BROKER && !vague) {
		strangers_count(publisher, standing, readers);
		standing->known = readers == READERS_SAME;
		// From now on both have the same of ours: what the broker confirms on the wire both
		// change likewise.
		standing->agreed = broker->map->doubts.version;
		standing->here = standing->known ||
				 (readers == READERS_STRANGERS && broker->stream.told.split);
		if (!standing->here) {
			route_failed(publisher, standing, PROOF_UNKNOWN_READER);
			return false;
		}
	}
	if (by_broker(publisher))
		return true;
	proving_shown(publisher, route, true);
	return false;
}

void proving_ask_others(struct client *publisher, struct proof_route *route)
{
	struct proof_standing *standing = standing_of(publisher, route);

	if (!standing->shown)
		standing->ask_us = publisher->offload->now_us;
}

static void target_mark(struct proof_target *target, bool denied)
{
	target->flags &= (uint8_t)~ROUTE_DENIED;
	if (denied)
		target->flags |= ROUTE_DENIED;
}

// What is known of all targets: until when it holds, 0: not of all. Marks those that may not read.
// `publisher`: NULL when it is another worker's.
static uint64_t targets_until(const struct client *publisher, struct proof_route *route,
	uint64_t now_us, uint64_t *ret_only)
{
	uint64_t until_us = UINT64_MAX;

	*ret_only = 0;
	for (uint32_t i = 0; i < route->targets; i++) {
		struct proof_target *target = proof_route_target(route, i);
		const struct grant *grant = evidence_find(target->owner, route->hash);

		if (grant_holds(grant, now_us)) {
			target_mark(target, grant->state == GRANT_DENIED);
			if (grant->until_us < until_us)
				until_us = grant->until_us;
		} else if ((target->flags & ROUTE_NO_LOCAL) && target->owner == publisher) {
			// Its own messages do not go to it, others' may.
			*ret_only = publisher->identity;
		} else {
			return 0;
		}
	}
	route->marks = PROOF_MARKS_ALL;
	return until_us;
}

// All that is needed of the route is known: its messages may be captured.
static bool route_look(const struct client *publisher, struct proof_route *route)
{
	struct proof_standing *standing = standing_of(publisher, route);
	uint64_t until_us = UINT64_MAX, only = 0;

	if (!standing->here)
		return false;
	if (by_broker(publisher))
		until_us = targets_until(publisher, route, publisher->offload->now_us, &only);
	if (by_broker(publisher) && route->workers != 0 && standing->others_until_us < until_us)
		until_us = standing->others_until_us;
	if (until_us <= publisher->offload->now_us)
		return false;
	standing->shown = true;
	standing->only = only;
	standing->failures = 0;
	standing->until_us = until_us;
	standing->ask_us =
		until_us == UINT64_MAX ? UINT64_MAX : refresh_us(publisher, route->hash, until_us);
	if (!standing->known && standing->gone_us < standing->ask_us)
		standing->ask_us = standing->gone_us;
	return true;
}

void proving_shown_elsewhere(const struct broker *broker, struct proof_route *route,
	uint64_t until_us, uint64_t since_us)
{
	route->standing.others_until_us = until_us;
	route->standing.others_since_us = since_us;
	route->standing.others_learned = replica_learned(broker->map->replica);
}

void proving_shown(struct client *publisher, struct proof_route *route, bool all)
{
	if (!route_look(publisher, route))
		route_failed(publisher, standing_of(publisher, route), PROOF_UNREAD);
	else if (!all)
		route->standing.ask_us = publisher->offload->now_us + ANSWER_US;
}

void proving_unanswered(struct client *publisher, uint64_t hash, struct proof_route *route)
{
	if (by_broker(publisher)) {
		struct grant *grant =
			grants_find(publisher->broker->writes, write_key(publisher, hash));

		if (grant != NULL)
			grant->mark_us = again_us(publisher, &grant->failures);
	}
	if (route != NULL && !standing_of(publisher, route)->shown)
		route_failed(publisher, &route->standing, PROOF_UNPROVEN);
}

// --- asking --------------------------------------------------------------------------------------

enum proof_reason proving_subscribers_ready(struct broker *broker, const struct proof_route *route)
{
	bool keys = broker->config->knowledge == OFFLOAD_KNOWLEDGE_BROKER &&
		    broker->stream.told.markers;
	enum proof_reason reason = PROOF_CAPTURE;

	for (uint32_t i = 0; i < route->targets; i++) {
		struct client *subscriber = proof_route_target(route, i)->owner;

		if (keys && !marker_is_joined(subscriber)) {
			marker_join(subscriber);
			reason = PROOF_UNJOINED;
		}
		if (rights_by_broker(broker) && !evidence_fresh(subscriber)) {
			evidence_freshen(subscriber);
			reason = PROOF_UNREAD;
		}
	}
	return reason;
}

// … and of other workers' subscribers.
static enum survey_state others_ready(struct client *client, struct proof_route *route)
{
	enum survey_state state;

	if (route->workers == 0 || !client->broker->stream.told.markers)
		return SURVEY_READY;
	state = survey_prepare(client->broker, client->offload, route);
	client->preparing = state == SURVEY_SOON;
	return state;
}

// Where subscribers come and go all the time, every change would ask, and every fence behind it
// ask all subscribers.
static bool is_restless(const struct client *client, const struct proof_standing *standing)
{
	unsigned more = standing->unrest > UNREST_FREE ? standing->unrest - UNREST_FREE : 0;

	return more > 0 && client->offload->now_us < standing->asked_us + (UNREST_US << more);
}

static void unrest_count(const struct client *client, struct proof_standing *standing)
{
	uint64_t now_us = client->offload->now_us;

	if (now_us >= standing->asked_us + US_IN_S)
		standing->unrest = 0;
	else if (standing->unrest < UNREST_MAX)
		standing->unrest++;
	standing->asked_us = now_us;
}

// The message asks, if that is possible now: for the publisher and, if that is due, the route.
static bool ask(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, struct grant *grant, bool for_route)
{
	uint64_t again = client->offload->now_us + ANSWER_US;

	if (client->broker->stream.told.markers && probe_make(client, route, publish) == NULL)
		return false;
	if (grant != NULL)
		grant->mark_us = again;
	if (for_route && client->asking != NULL)
		client->asking->survey = survey_take(route);
	if (for_route) {
		route->standing.ask_us = client->broker->stream.told.markers
						 ? again
						 : client->offload->now_us + SOON_US;
		route->standing.gone_us = again;
	}
	return true;
}

// What is shown of the publisher is looked up only once for many messages.
static void remember_written(
	struct client *client, const struct proof_route *route, const struct grant *grant)
{
	client->written = (struct client_written){
		.hash = route->hash,
		.epoch = client->broker->stream.epoch,
		.until_us = grant->mark_us < grant->until_us ? grant->mark_us : grant->until_us,
	};
}

static enum proof_reason not_yet(const struct grant *grant)
{
	return grant->state == GRANT_DENIED ? PROOF_UNWRITTEN : PROOF_UNPROVEN;
}

// Everything is shown: perhaps it is time to show it again.
static enum proof_reason look_shown(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, struct grant *grant, bool may_ask)
{
	uint64_t now_us = client->offload->now_us;
	bool due = now_us >= route->standing.ask_us || (grant != NULL && now_us >= grant->mark_us);

	if (grant != NULL)
		remember_written(client, route, grant);
	if (!due || !may_ask || others_ready(client, route) != SURVEY_READY)
		return PROOF_CAPTURE;
	return ask(client, route, publish, grant, true) ? PROOF_REFRESH : PROOF_CAPTURE;
}

// It is to ask for the route: can that be answered?
static enum proof_reason look_ready(struct client *client, struct proof_route *route)
{
	struct proof_standing *standing = &route->standing;
	enum proof_reason reason = proving_subscribers_ready(client->broker, route);
	enum survey_state others;

	if (reason == PROOF_CAPTURE && is_restless(client, standing))
		return PROOF_UNPROVEN;
	if (reason == PROOF_CAPTURE) {
		others = others_ready(client, route);
		if (others == SURVEY_SOON || others == SURVEY_LATER)
			return PROOF_UNPROVEN;
		if (others == SURVEY_NOT)
			reason = PROOF_UNREAD;
	}
	if (reason != PROOF_CAPTURE) {
		standing->reason = (uint8_t)reason;
		standing->ask_us = client->offload->now_us + SOON_US;
	}
	return reason;
}

enum proof_reason proving_look(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, bool may_ask)
{
	struct proof_standing *standing = standing_of(client, route);
	uint64_t now_us = client->offload->now_us;
	// Its messages do not show who the readers are: another's may, or those that come later.
	bool mute = !standing->here && (client->unsure >> publish->qos & 1) &&
		    !exact_broker_has_none(client);
	bool due = !mute && now_us >= standing->ask_us, shown, written = true;
	struct grant *grant = NULL;

	// It was to ask when it came first, and could not pass then.
	if (client->asking != NULL && client->asking->sighting.hash == route->hash)
		return PROOF_UNPROVEN;
	if (by_broker(client)) {
		grant = grants_get(client->broker->writes, write_key(client, route->hash), now_us);
		written = grant_holds(grant, now_us);
	}
	shown = standing->shown && now_us < standing->until_us &&
		(standing->only == 0 || standing->only == client->identity);
	// It may be known from other publishers' messages, or from before a change.
	if (!shown && due)
		shown = route_look(client, route);
	if (shown && written)
		return look_shown(client, route, publish, grant, may_ask);
	if (!written && now_us < grant->mark_us)
		return not_yet(grant);
	if (written && !due)
		return standing->reason;
	if (!may_ask)
		return PROOF_UNPROVEN;
	if (!shown && due) {
		enum proof_reason reason = look_ready(client, route);

		if (reason != PROOF_CAPTURE)
			return reason;
	}
	if (ask(client, route, publish, grant, !shown && due) && !shown && due)
		unrest_count(client, standing);
	if (!shown)
		standing->reason = PROOF_UNPROVEN;
	return PROOF_UNPROVEN;
}

uint64_t proving_subscribers_until(struct broker *broker, struct proof_route *route)
{
	uint64_t only;

	if (!rights_by_broker(broker))
		return UINT64_MAX;
	return targets_until(NULL, route, broker->map->now_us, &only);
}
