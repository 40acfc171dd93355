// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The asking and the asked worker's half. Between them goes a pointer to memory of who asks, once
// for each of the two questions.

#include "offload/survey.h"

#include "offload/peers.h"
#include "offload/proving.h"

#define SURVEYS 512u
// So long others may take to be ready; so long what was prepared waits for a message, unless
// somebody else needs its place.
#define PREPARE_US (50 * US_IN_MS)
#define KEEP_US	   (10 * US_IN_S)
// Most often it takes two turns; a message waits that long, for the next may be a minute away.
#define SOON_US (5 * US_IN_MS)
// Keys in a payload; as many payloads as the longest list of readers that a plugin sends takes.
#define PART_KEYS (PAYLOAD_LARGEST / sizeof(uint64_t))
#define PARTS_MAX (65536 / PART_KEYS + 1)

struct survey_copy {
	struct crossing_message message;
	struct survey *survey;
	// The answers.
	bool ready;		    // to WATCH
	struct hooks_tally own;	    // likewise, of who tells everything
	struct readers_tally tally; // to SHOW
	uint64_t until_us, since_us;
	bool silent;
	// The asked worker's.
	struct list link; // in peers.surveyed
	uint64_t watched_us, route_serial;
	uint64_t version; // of the map
	bool tallied;
	struct sighting sighting;
};

struct survey {
	struct list link; // in peers.surveys
	bool left;	  // nobody waits for it
	bool taken;	  // by a probe; else it is of a route's standing
	unsigned missing; // answers
	// Read by those asked.
	bool shows; // SHOW is asked, not WATCH
	unsigned broker;
	uint64_t tide, heard;
	uint64_t deadline_us;
	uint64_t hash;
	struct payload *topic;
	struct sighting sighting;
	struct readers_part readers[PARTS_MAX];
	unsigned parts_count;
	struct payload *parts[PARTS_MAX];
	struct survey_copy copies[CROSSING_WORKERS_MAX];
};

int surveys_create(struct slab **ret_slab)
{
	return slab_create("surveys", SURVEYS, sizeof(struct survey), ret_slab);
}

static void survey_free(struct offload *offload, struct survey *survey)
{
	list_remove(&survey->link);
	payload_put(survey->topic);
	for (unsigned i = 0; i < survey->parts_count; i++)
		payload_put(survey->parts[i]);
	slab_give(offload->peers->surveys, survey);
}

void surveys_abandon(struct offload *offload)
{
	for (uint32_t i = 0; i < slab_count(offload->peers->surveys); i++) {
		struct survey *survey = slab_at(offload->peers->surveys, i);

		if (survey != NULL)
			survey_free(offload, survey);
	}
}

void survey_leave(struct offload *offload, struct survey *survey)
{
	survey->left = true;
	if (survey->missing == 0)
		survey_free(offload, survey);
}

// --- who is asked --------------------------------------------------------------------------------

static struct broker *broker_of(struct offload *offload, const struct survey *survey)
{
	return &offload->brokers[survey->broker];
}

static struct proof_route *route_of(struct offload *offload, const struct survey *survey)
{
	return proof_route_find(broker_of(offload, survey)->routes,
		mqtt_bytes(survey->topic->data, survey->topic->length));
}

// True: there is nothing to wait for.
static bool watch(struct offload *offload, struct survey_copy *copy)
{
	const struct payload *topic = copy->survey->topic;
	const struct broker *broker = broker_of(offload, copy->survey);
	struct proof_route *route;
	uint64_t all;

	if (broker->stream.told.complete) {
		copy->ready = hooks_tally(
			broker, mqtt_bytes(topic->data, topic->length), &copy->own, &all);
		return true;
	}
	route = route_of(offload, copy->survey);
	if (route == NULL)
		return true;
	if (proving_subscribers_ready(broker_of(offload, copy->survey), route) != PROOF_CAPTURE)
		return false;
	copy->ready = true;
	copy->route_serial = route->serial;
	copy->version = route->version;
	copy->watched_us = offload->now_us;
	return true;
}

static void tally(struct offload *offload, struct survey_copy *copy)
{
	const struct survey *survey = copy->survey;

	copy->tallied = true;
	if (!copy->ready)
		copy->version = broker_of(offload, survey)->map->changes.version;
	copy->tally.same = true;
	if (survey->sighting.compared)
		readers_tally(broker_of(offload, survey), NULL,
			mqtt_bytes(survey->topic->data, survey->topic->length), copy->version,
			survey->readers, survey->parts_count, &copy->tally);
	copy->sighting = survey->sighting;
	copy->sighting.compared &= !copy->tally.moving;
	// By this worker's clock, which may have been behind when the message passed.
	copy->sighting.since_us = copy->watched_us;
	copy->sighting.routed_us = offload->now_us;
	copy->sighting.route_serial = copy->route_serial;
}

static bool show(struct offload *offload, struct survey_copy *copy)
{
	struct broker *broker = broker_of(offload, copy->survey);
	struct proof_route *route;

	if (broker->stream.heard < copy->survey->heard)
		return false;
	if (!copy->tallied)
		tally(offload, copy);
	route = route_of(offload, copy->survey);
	// What came before a route is made is not seen.
	if ((!copy->tally.same && !copy->tally.moving) || !copy->ready || route == NULL ||
		route->serial != copy->route_serial)
		return true;
	if (broker->config->authorization == OFFLOAD_AUTHORIZATION_BROKER &&
		!sighting_walk(&copy->sighting, offload, route, NULL))
		return false;
	copy->silent = copy->sighting.silent;
	copy->since_us = offload->now_us;
	copy->until_us = proving_subscribers_until(broker, route);
	return true;
}

// True: it is answered, or nobody waits for the answer any longer.
static bool answer(struct offload *offload, struct survey_copy *copy)
{
	const struct survey *survey = copy->survey;
	const struct broker_stream *stream = &broker_of(offload, survey)->stream;

	if (offload->now_us >= survey->deadline_us || stream->tide > survey->tide)
		return true;
	if (stream->tide < survey->tide || !stream->live)
		return false;
	return survey->shows ? show(offload, copy) : watch(offload, copy);
}

static enum crossing_run survey_run(struct crossing_message *message, void *receiver)
{
	struct survey_copy *copy = container_of(message, struct survey_copy, message);
	struct offload *offload = receiver;

	if (answer(offload, copy))
		return CROSSING_DONE;
	list_append(&offload->peers->surveyed, &copy->link);
	return CROSSING_KEPT;
}

// --- who asks ------------------------------------------------------------------------------------

static void survey_back(struct crossing_message *message, void *sender)
{
	struct survey *survey = container_of(message, struct survey_copy, message)->survey;

	if (--survey->missing == 0 && survey->left)
		survey_free(sender, survey);
}

// To all others: who is not known to have subscribers may have readers all the same.
static bool room_for_all(const struct offload_peers_config *peers)
{
	for (unsigned to = 0; to < peers->count; to++)
		if (to != peers->self && !crossing_has_room(peers->changes, peers->self, to))
			return false;
	return true;
}

static void survey_post(struct offload *offload, struct survey *survey)
{
	const struct offload_peers_config *peers = &offload->peers->config;

	for (unsigned to = 0; to < peers->count; to++) {
		struct survey_copy *copy = &survey->copies[to];

		if (to == peers->self)
			continue;
		copy->message = (struct crossing_message){.run = survey_run, .back = survey_back};
		copy->survey = survey;
		list_init(&copy->link);
		survey->missing++;
		crossing_post(peers->changes, peers->self, to, &copy->message);
	}
}

static struct proof_route *route_prepared(
	const struct offload *offload, const struct survey *survey)
{
	struct proof_route *route = proof_route_peek(offload->brokers[survey->broker].routes,
		mqtt_bytes(survey->topic->data, survey->topic->length), survey->hash);

	return route != NULL && route->standing.survey == survey ? route : NULL;
}

// Gives up what was prepared first of all that nobody has used yet.
static void make_room(struct offload *offload)
{
	list_for_each (link, &offload->peers->asking) {
		struct survey *survey = container_of(link, struct survey, link);
		struct proof_route *route;

		if (survey->taken || survey->left || survey->missing > 0)
			continue;
		route = route_prepared(offload, survey);
		if (route != NULL)
			route->standing.survey = NULL;
		survey_leave(offload, survey);
		return;
	}
}

// NULL: not now.
static struct survey *survey_make(
	struct offload *offload, const struct broker *broker, const struct proof_route *route)
{
	struct slab *slab = offload->peers->surveys;
	struct survey *survey;

	if (slab_used(slab) == slab_count(slab))
		make_room(offload);
	survey = slab_take(slab);
	if (survey == NULL)
		return NULL;
	list_init(&survey->link);
	list_append(&offload->peers->asking, &survey->link);
	survey->broker = (unsigned)(broker - offload->brokers);
	survey->topic = payload_get(route->topic);
	survey->hash = route->hash;
	survey->tide = broker->stream.tide;
	return survey;
}

static bool all_ready(const struct offload *offload, const struct survey *survey)
{
	for (unsigned i = 0; i < offload->peers->config.count; i++)
		if (i != offload->peers->config.self && !survey->copies[i].ready)
			return false;
	return true;
}

enum survey_state survey_prepare(
	struct broker *broker, struct offload *offload, struct proof_route *route)
{
	struct survey *survey = route->standing.survey;

	if (survey == NULL) {
		survey = room_for_all(&offload->peers->config) ? survey_make(offload, broker, route)
							       : NULL;
		if (survey == NULL)
			return SURVEY_NOT;
		survey->deadline_us = offload->now_us + PREPARE_US;
		route->standing.survey = survey;
		survey_post(offload, survey);
		return SURVEY_SOON;
	}
	if (survey->missing > 0)
		return offload->now_us < survey->deadline_us - PREPARE_US + SOON_US ? SURVEY_SOON
										    : SURVEY_LATER;
	if (all_ready(offload, survey))
		return SURVEY_READY;
	route->standing.survey = NULL;
	survey_leave(offload, survey);
	return SURVEY_NOT;
}

struct survey *survey_take(struct proof_route *route)
{
	struct survey *survey = route->standing.survey;

	route->standing.survey = NULL;
	if (survey != NULL)
		survey->taken = true;
	return survey;
}

static bool readers_copy(
	struct offload *offload, struct survey *survey, const struct offload_published *published)
{
	uint32_t done = 0;

	while (done < published->readers_count && survey->parts_count < PARTS_MAX) {
		uint32_t left = published->readers_count - done;
		uint32_t count = left < PART_KEYS ? left : PART_KEYS;
		struct payload *part =
			payload_alloc(offload->payloads, count * (uint32_t)sizeof(uint64_t));

		if (part == NULL)
			return false;
		memcpy(part->data, published->readers + done, count * sizeof(uint64_t));
		survey->readers[survey->parts_count] = (struct readers_part){
			.keys = (const uint64_t *)(const void *)part->data,
			.count = count,
		};
		survey->parts[survey->parts_count++] = part;
		done += count;
	}
	return done == published->readers_count;
}

struct survey *survey_show(struct offload *offload, const struct broker *broker,
	struct survey *survey, const struct proof_route *route,
	const struct offload_published *published, const struct sighting *sighting,
	uint64_t deadline_us)
{
	if (survey == NULL) {
		survey = survey_make(offload, broker, route);
		if (survey == NULL)
			return NULL;
		survey->taken = true;
	}
	if (!room_for_all(&offload->peers->config) || !readers_copy(offload, survey, published)) {
		survey_leave(offload, survey);
		return NULL;
	}
	survey->shows = true;
	survey->tide = broker->stream.tide;
	survey->heard = broker->stream.heard;
	survey->deadline_us = deadline_us;
	survey->sighting = *sighting;
	survey_post(offload, survey);
	return survey;
}

bool survey_answered(const struct survey *survey)
{
	return survey->missing == 0;
}

void survey_result(const struct survey *survey, const struct proof_route *route,
	struct survey_result *ret_result)
{
	*ret_result = (struct survey_result){
		.same = true, .until_us = UINT64_MAX, .since_us = UINT64_MAX};
	for (unsigned i = 0; i < CROSSING_WORKERS_MAX; i++) {
		const struct survey_copy *copy = &survey->copies[i];
		bool known = route->workers >> i & 1;

		if (copy->survey == NULL)
			continue;
		// Where none are known to be there can be none.
		ret_result->moving |= copy->tally.moving;
		ret_result->same &= copy->tally.same && (known || copy->tally.claimed == 0);
		ret_result->claimed += copy->tally.claimed;
		if (!known)
			continue;
		ret_result->silent |= copy->silent;
		if (copy->until_us < ret_result->until_us)
			ret_result->until_us = copy->until_us;
		if (copy->since_us < ret_result->since_us)
			ret_result->since_us = copy->since_us;
	}
}

struct hooks_tally survey_tally(const struct survey *survey)
{
	struct hooks_tally all = {.same = true};

	for (unsigned i = 0; i < CROSSING_WORKERS_MAX; i++) {
		const struct survey_copy *copy = &survey->copies[i];

		if (copy->survey == NULL)
			continue;
		all.sum += copy->own.sum;
		all.same &= copy->own.same;
		all.unjoined |= copy->own.unjoined;
		all.unsettled |= copy->own.unsettled;
	}
	return all;
}

// --- a turn --------------------------------------------------------------------------------------

// What was prepared for a route that has been made anew, or that no message asks for.
static bool is_forsaken(const struct offload *offload, const struct survey *survey)
{
	struct proof_route *route = route_prepared(offload, survey);

	if (route == NULL)
		return true;
	if (survey->missing > 0 || offload->now_us < survey->deadline_us + KEEP_US)
		return false;
	route->standing.survey = NULL;
	return true;
}

void surveys_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->surveyed) {
		struct survey_copy *copy = container_of(link, struct survey_copy, link);

		if (!answer(offload, copy))
			continue;
		list_remove(link);
		crossing_return(offload->peers->config.changes, &copy->message);
	}
}

void surveys_expire(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->asking) {
		struct survey *survey = container_of(link, struct survey, link);

		if (!survey->taken && !survey->left && is_forsaken(offload, survey))
			survey_leave(offload, survey);
	}
}
