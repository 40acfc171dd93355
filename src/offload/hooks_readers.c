// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The two maps compared, subscription by subscription, as multisets: by the sum of keyed hashes. It
// runs once for each route as made. Where there are several workers, what the broker has and is not
// this worker's must be what the others say they have.

#include "offload/hooks.h"

#include "offload/survey.h"
#include "session/roster.h"

// Without success again after this.
#define LOOK_US (2 * US_IN_MS)

struct comparison {
	struct hooks_tally *own;
	uint64_t theirs, all; // of this worker's clients, as the broker has them; of all it has
};

// Arrivals have the same number at every worker.
static uint64_t weight(
	const struct roster_client *entry, uint64_t filter_hash, uint8_t qos, bool no_local)
{
	uint64_t hash = filter_hash ^ entry->arrival * 0x9e3779b97f4a7c15ull;

	hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull + qos + 4u * no_local;
	hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ull;
	return hash ^ hash >> 32;
}

static void add_ours(void *ctx, struct mqtt_trie_entry *trie_entry)
{
	const struct subscription *sub = container_of(trie_entry, struct subscription, entry);
	struct comparison *comparison = ctx;
	struct client *owner = sub->session->owner;

	if (owner == NULL)
		return; // the broker's, if it has it, is a stranger's
	if (sub->state != SUBSCRIPTION_ACTIVE || sub->unsubscribe_id != 0)
		comparison->own->unsettled = true;
	else if (!hooks_join(owner))
		comparison->own->unjoined = true;
	else
		comparison->own->sum +=
			weight(owner->entry, sub->filter_hash, sub->qos, sub->no_local);
}

static void add_theirs(void *ctx, struct mqtt_trie_entry *trie_entry)
{
	const struct roster_subscription *sub =
		container_of(trie_entry, struct roster_subscription, entry);
	struct comparison *comparison = ctx;
	const struct client *owner = sub->client->owner;
	uint64_t one = weight(sub->client, sub->filter_hash, sub->qos, sub->no_local);

	comparison->all += one;
	if (owner != NULL && owner->session != NULL && hooks_joined(owner))
		comparison->theirs += one;
}

bool hooks_tally(const struct broker *broker, struct mqtt_bytes topic,
	struct hooks_tally *ret_tally, uint64_t *ret_all)
{
	struct comparison comparison = {.own = ret_tally};

	*ret_tally = (struct hooks_tally){.sum = 0};
	if (mqtt_trie_match(broker->map->trie, topic, add_ours, &comparison) < 0 ||
		mqtt_trie_match(broker->roster->trie, topic, add_theirs, &comparison) < 0)
		return false;
	ret_tally->same = ret_tally->sum == comparison.theirs;
	*ret_all = comparison.all;
	return true;
}

static enum proof_reason judge(const struct hooks_tally *tally)
{
	if (tally->unjoined)
		return PROOF_UNJOINED;
	return tally->unsettled || !tally->same ? PROOF_UNREAD : PROOF_CAPTURE;
}

// What the broker has beside this worker's must be the others', when it is to say who reads.
static enum proof_reason judge_others(
	const struct broker *broker, const struct hooks_tally *others, uint64_t rest)
{
	enum proof_reason reason = judge(others);

	if (reason == PROOF_CAPTURE && rest != others->sum &&
		broker->config->knowledge == OFFLOAD_KNOWLEDGE_BROKER)
		reason = PROOF_UNKNOWN_READER;
	return reason;
}

// What they said before holds while nothing of theirs that matches has changed, nor what the broker
// has of them.
static bool others_hold(const struct proof_route *route, uint64_t rest)
{
	const struct proof_standing *standing = &route->standing;

	return standing->others_until_us != 0 && standing->others_sum == rest &&
	       standing->others_stamp == route->stamp;
}

// Asks the other workers. PROOF_UNPROVEN: they have not answered yet, or cannot.
static enum proof_reason ask_others(
	struct client *client, struct proof_route *route, uint64_t rest, bool may_wait)
{
	struct proof_standing *standing = &route->standing;
	enum survey_state state = survey_prepare(client->broker, client->offload, route);
	enum proof_reason reason;
	struct survey *survey;
	struct hooks_tally others;

	client->preparing = may_wait && state == SURVEY_SOON;
	if (state != SURVEY_READY)
		return PROOF_UNPROVEN;
	survey = survey_take(route);
	others = survey_tally(survey);
	survey_leave(client->offload, survey);
	reason = judge_others(client->broker, &others, rest);
	if (reason == PROOF_CAPTURE) {
		standing->others_until_us = UINT64_MAX;
		standing->others_learned = replica_learned(client->broker->map->replica);
		standing->others_sum = rest;
		standing->others_stamp = route->stamp;
	}
	return reason;
}

static enum proof_reason compare(struct client *client, struct proof_route *route, bool may_wait)
{
	const struct broker *broker = client->broker;
	struct hooks_tally own;
	enum proof_reason reason;
	uint64_t all, rest;

	if (!hooks_tally(broker, mqtt_bytes(route->topic->data, route->topic->length), &own, &all))
		return PROOF_LEVELS;
	reason = judge(&own);
	rest = all - own.sum;
	if (reason != PROOF_CAPTURE)
		return reason;
	if (route->workers == 0)
		return judge_others(broker, &(struct hooks_tally){.same = true}, rest);
	// One that answers may not have heard of it yet.
	if (broker->roster->portless && !hooks_names_hold(broker))
		return PROOF_UNJOINED;
	return others_hold(route, rest) ? PROOF_CAPTURE : ask_others(client, route, rest, may_wait);
}

// What is not as it should be is looked at now and then.
enum proof_reason hooks_look_readers(
	struct client *client, struct proof_route *route, bool may_wait)
{
	struct proof_standing *standing = &route->standing;
	const struct broker *broker = client->broker;
	enum proof_reason reason;

	if (standing->epoch != broker->stream.epoch)
		*standing = (struct proof_standing){.epoch = broker->stream.epoch};
	if (standing->shown)
		return PROOF_CAPTURE;
	if (client->offload->now_us < standing->ask_us)
		return standing->reason;
	reason = compare(client, route, may_wait);
	standing->reason = (uint8_t)reason;
	// It is asked, and waits.
	if (standing->survey != NULL)
		return reason;
	standing->shown = standing->known = standing->here = reason == PROOF_CAPTURE;
	standing->agreed = broker->map->doubts.version;
	standing->until_us = standing->ask_us = UINT64_MAX;
	if (reason != PROOF_CAPTURE)
		standing->ask_us = hooks_later_us(client, LOOK_US, &standing->failures);
	return reason;
}
