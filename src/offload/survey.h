// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Surveys: where there are several workers, what a probe of one of them shows has to be put
// together with what the clients of the others show.
//
//   publisher's worker                         each other worker
//   a message would ask ── WATCH topic ──▶     makes a route, joins and freshens its subscribers
//        it may ask  ◀──────────────────────── ready
//   PUBLISH between markers ─▶ broker ─▶ Published
//        own readers counted ── SHOW readers ▶ counts its own readers, sees what its subscribers
//        all of them are whose? ◀───────────── get: so many are mine, they are the ones I match,
//                                              and until then all of them are known
//
// Of a broker that understands no markers and tells everything (offload/hooks.h) WATCH alone asks:
// what each worker's own clients have of the topic.
//
// What was answered holds as long as the route for which it was asked, and within its epoch: every
// change of the map of any worker makes that anew before the client knows of it
// (session_map_config.tells_all). An answer is given only by who has heard the same of the broker's
// rights (broker_stream.tide) and, to SHOW, as much of its clients.

#pragma once

#include "offload/hooks.h"
#include "offload/readers.h"
#include "offload/sighting.h"
#include "offload/state.h"

struct survey;

int surveys_create(struct slab **ret_slab);
// No worker runs any more: gives back what is under way.
void surveys_abandon(struct offload *offload);
// Answers those of others.
void surveys_poll(struct offload *offload);
// Gives up what was asked here in vain; call it once a second or so.
void surveys_expire(struct offload *offload);

enum survey_state {
	SURVEY_READY, // ask the broker
	SURVEY_SOON,  // they have been asked a moment ago
	SURVEY_LATER, // likewise, and it takes longer
	SURVEY_NOT,   // somebody is not ready
};
// Are the subscribers of other workers ready for a message that asks?
enum survey_state survey_prepare(
	struct broker *broker, struct offload *offload, struct proof_route *route);
// The message asks: what was prepared is the probe's. NULL: nothing was.
struct survey *survey_take(struct proof_route *route);

// Asks about the readers; `sighting` is of the probe. `survey` may be NULL: nothing was prepared,
// and nobody else is known to have readers. NULL: not now; what was prepared is given up.
struct survey *survey_show(struct offload *offload, const struct broker *broker,
	struct survey *survey, const struct proof_route *route,
	const struct offload_published *published, const struct sighting *sighting,
	uint64_t deadline_us);
// Of brokers that tell everything: what all others together have, when they are ready.
struct hooks_tally survey_tally(const struct survey *survey);
bool survey_answered(const struct survey *survey);

struct survey_result {
	bool moving;	   // at one of them subscriptions that match come or go
	bool same;	   // each worker's readers are those that it matches
	uint32_t claimed;  // how many there are of all of them
	uint64_t until_us; // so long the rights of all of them are known; 0: they are not
	uint64_t since_us; // when that was said, by their clocks
	bool silent;	   // of somebody silence said nothing
};
void survey_result(const struct survey *survey, const struct proof_route *route,
	struct survey_result *ret_result);
// Nobody waits for it any longer.
void survey_leave(struct offload *offload, struct survey *survey);
