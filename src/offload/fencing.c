// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Epochs number the questions: a client that has answered epoch n has answered
// every fence that asked at or before n, so a fence only walks a cursor over its
// targets and keeps no list of who is outstanding.

#include "offload/fencing.h"

#include "offload/output.h"
#include "offload/pass.h"
#include "offload/peers.h"

// Real clients take a stall of half a second for a failure.
// Fences under way that ask other workers.
#define VISITS		 256u
#define FENCE_TIMEOUT_US (200 * US_IN_MS)

// Below PING_FENCE the ring of pings means other things.
uint64_t fencing_epoch(struct offload *offload)
{
	if (++offload->fence_epoch < PING_FENCE)
		offload->fence_epoch = PING_FENCE;
	return offload->fence_epoch;
}

static uint32_t broker_unacknowledged(const struct client *client)
{
	return client->identifiers == NULL ? 0 : client_identifiers(client)->broker_count;
}

static bool ask(struct client *client, uint64_t epoch)
{
	if (!pass_ping(client, epoch))
		return false;
	client->ping_epoch = epoch;
	client->ping_unacknowledged = broker_unacknowledged(client);
	client->ping_publishes = client->broker_publishes;
	return true;
}

// What the broker had sent and the client had not acknowledged when the broker read the question.
// If that was less than it has been at once before, the broker had room for more, and no more.
static bool had_nothing_more(const struct client *client)
{
	uint32_t came = client->broker_publishes - client->ping_publishes;
	uint32_t under_way = client->ping_unacknowledged + came;

	return client->windowed_broker == 0 && (under_way == 0 || under_way < client->broker_peak);
}

// Can the answer be of use?
static bool worth_asking(const struct client *client)
{
	return output_broker_settled(client) ||
	       (client->windowed_broker == 0 &&
		       broker_unacknowledged(client) < client->broker_peak);
}

// A subscriber under a steady load at QoS 1 is never without something unacknowledged.
bool fencing_ask(struct client *client, uint64_t epoch)
{
	return client->ping_epoch >= epoch || (worth_asking(client) && ask(client, epoch));
}

void fencing_answered(struct client *client, uint64_t epoch)
{
	client->pong_epoch = epoch;
	if (epoch != client->ping_epoch)
		return; // a later question is under way, and its answer will tell
	if (had_nothing_more(client))
		client->settled_epoch = epoch;
	else
		client->ping_epoch = client->settled_epoch; // as if not asked
}

// Where a PINGRESP proves nothing, silence for as long as a topic is held has to do.
static bool silent(const struct client *client)
{
	return output_broker_settled(client) &&
	       client->offload->now_us - client->broker_publish_us >=
		       client->broker->config->capture.hold_us;
}

void fencing_catch_up(struct client *client)
{
	struct session *session = client->session;
	bool ping = client->broker->config->fence == OFFLOAD_FENCE_PING;

	if (session == NULL || !session->behind)
		return;
	if (client->behind_epoch == 0) {
		client->behind_epoch = fencing_epoch(client->offload);
		client->broker_publish_us = client->offload->now_us;
	}
	if (ping ? client->settled_epoch >= client->behind_epoch : silent(client))
		session_caught_up(client->broker->map, session);
	else if (ping && client->ping_epoch < client->behind_epoch && worth_asking(client))
		ask(client, client->behind_epoch);
}

bool fencing_begin(
	struct client *client, uint64_t key, struct payload *topic, struct delivery *held)
{
	struct fence_run *fence = &client->fence;
	uint64_t epoch = fencing_epoch(client->offload);

	if (!ask(client, epoch))
		return false;
	fence->key = key;
	fence->held = held;
	fence->topic = payload_get(topic);
	fence->deadline_us = client->offload->now_us + FENCE_TIMEOUT_US;
	fence->walk.epoch = epoch;
	fence->visit = NULL;
	fence->publisher_done = false;
	list_append(&client->offload->fencing, &fence->link);
	return true;
}

static void visit_leave(struct offload *offload, struct visit *visit);

void fencing_end(struct client *client)
{
	if (!list_linked(&client->fence.link))
		return;
	list_remove(&client->fence.link);
	payload_put(client->fence.topic);
	if (client->fence.visit != NULL)
		visit_leave(client->offload, client->fence.visit);
	client->fence.visit = NULL;
}

void fencing_clear(struct client *client, uint64_t key)
{
	if (client->fences == NULL)
		return;
	fences_cleared(client_fences(client), key);
	if (fences_empty(client_fences(client))) {
		payload_put(client->fences);
		client->fences = NULL;
	}
}

static void fence_finish(struct client *client, bool cleared)
{
	struct offload *offload = client->offload;
	uint64_t key = client->fence.key;

	if (client->fence.held != NULL) {
		client->fence.held->in_order = cleared;
		client->fence.held->late = !cleared;
	}
	// A message that passed at QoS 2 and is not released yet is behind this one, and before the
	// next: it keeps the topic blocked.
	if (cleared && (client->fence.held == NULL || client->exchanges == NULL))
		fencing_clear(client, key);
	else if (!cleared)
		fences_failed(client_fences(client), key, offload->now_us,
			client->broker->config->capture.hold_us);
	counter_inc(&offload->counters
			     .fences[cleared ? OFFLOAD_FENCE_CLEARED : OFFLOAD_FENCE_TIMED_OUT]);
	fencing_end(client);
	client_kick(client);
}

// Asks every subscriber from the cursor on that has not been asked since the fence began.
static void walk_ask(struct fence_walk *walk, const struct proof_route *route)
{
	walk->unsent = false;
	for (uint32_t i = walk->cursor; i < route->targets; i++) {
		struct client *subscriber = proof_route_target(route, i)->owner;

		if (!fencing_ask(subscriber, walk->epoch))
			walk->unsent = true;
	}
}

// True when all subscribers have answered.
static bool walk_on(struct fence_walk *walk, const struct proof_route *route)
{
	if (walk->route_serial != route->serial) {
		walk->route_serial = route->serial;
		walk->cursor = 0;
		walk->unsent = true;
	}
	if (walk->unsent)
		walk_ask(walk, route);
	while (walk->cursor < route->targets) {
		const struct client *subscriber = proof_route_target(route, walk->cursor)->owner;

		if (subscriber->settled_epoch < walk->epoch) {
			// Its answer proved nothing: it is to be asked again.
			walk->unsent |= subscriber->ping_epoch < walk->epoch;
			return false;
		}
		walk->cursor++;
	}
	return true;
}

static void walk_begin(struct fence_walk *walk, struct offload *offload)
{
	*walk = (struct fence_walk){.epoch = fencing_epoch(offload)};
}

// --- at other workers ----------------------------------------------------------------------------

struct visit_copy {
	struct crossing_message message;
	struct visit *visit;
	bool answered;
	// The visited worker's.
	struct list link; // in peers.visiting
	struct fence_walk walk;
};

// A publisher's question to the subscribers of other workers.
struct visit {
	unsigned missing; // workers that have not answered
	uint32_t workers; // that were asked
	bool answered;	  // all that have, have said yes
	bool left;	  // the publisher does not wait any longer
	unsigned broker;
	uint64_t deadline_us;
	struct payload *topic;
	struct visit_copy copies[CROSSING_WORKERS_MAX];
};

int fencing_visits_create(struct slab **ret_slab)
{
	return slab_create("visits", VISITS, sizeof(struct visit), ret_slab);
}

static void visit_free(struct offload *offload, struct visit *visit)
{
	payload_put(visit->topic);
	slab_give(offload->peers->visits, visit);
}

void fencing_visits_abandon(struct offload *offload)
{
	for (uint32_t i = 0; i < slab_count(offload->peers->visits); i++) {
		struct visit *visit = slab_at(offload->peers->visits, i);

		if (visit != NULL)
			visit_free(offload, visit);
	}
}

static void visit_leave(struct offload *offload, struct visit *visit)
{
	visit->left = true;
	if (visit->missing == 0)
		visit_free(offload, visit);
}

static enum crossing_run visit_run(struct crossing_message *message, void *receiver)
{
	struct visit_copy *copy = container_of(message, struct visit_copy, message);
	struct offload *offload = receiver;

	walk_begin(&copy->walk, offload);
	list_append(&offload->peers->visiting, &copy->link);
	return CROSSING_KEPT;
}

static void visit_back(struct crossing_message *message, void *sender)
{
	struct visit_copy *copy = container_of(message, struct visit_copy, message);
	struct visit *visit = copy->visit;

	visit->answered &= copy->answered;
	if (--visit->missing == 0 && visit->left)
		visit_free(sender, visit);
}

// NULL: not now.
static struct visit *visit_begin(struct client *client, uint32_t workers)
{
	struct offload *offload = client->offload;
	const struct offload_peers_config *peers = &offload->peers->config;
	struct visit *visit;

	for (unsigned to = 0; workers >> to != 0; to++)
		if ((workers >> to & 1) && !crossing_has_room(peers->parcels, peers->self, to))
			return NULL;
	visit = slab_take(offload->peers->visits);
	if (visit == NULL)
		return NULL;
	visit->workers = workers;
	visit->answered = true;
	visit->broker = (unsigned)(client->broker - offload->brokers);
	visit->deadline_us = client->fence.deadline_us;
	visit->topic = payload_get(client->fence.topic);
	for (unsigned to = 0; workers >> to != 0; to++) {
		struct visit_copy *copy = &visit->copies[to];

		if (!(workers >> to & 1))
			continue;
		copy->message = (struct crossing_message){.run = visit_run, .back = visit_back};
		copy->visit = visit;
		list_init(&copy->link);
		visit->missing++;
		crossing_post(peers->parcels, peers->self, to, &copy->message);
	}
	return visit;
}

static void visits_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->visiting) {
		struct visit_copy *copy = container_of(link, struct visit_copy, link);
		const struct visit *visit = copy->visit;
		const struct proof_route *route =
			proof_route_find(offload->brokers[visit->broker].routes,
				mqtt_bytes(visit->topic->data, visit->topic->length));

		copy->answered = route != NULL && walk_on(&copy->walk, route);
		if (!copy->answered && offload->now_us < visit->deadline_us)
			continue;
		list_remove(link);
		crossing_return(offload->peers->config.parcels, &copy->message);
	}
}

// --- here ---------------------------------------------------------------------------------------

// Have the subscribers here, and those of other workers, answered?
static enum {
	ANSWER_YES,
	ANSWER_NO,
	ANSWER_LATER
} fence_answer(struct client *client, const struct proof_route *route)
{
	struct fence_run *fence = &client->fence;
	bool here = walk_on(&fence->walk, route);

	if (route->workers == 0)
		return here ? ANSWER_YES : ANSWER_LATER;
	if (fence->visit == NULL) {
		fence->visit = visit_begin(client, route->workers);
		return ANSWER_LATER;
	}
	// Whoever has come up since has not been asked.
	if (route->workers & ~fence->visit->workers)
		return ANSWER_NO;
	if (fence->visit->missing > 0 || !here)
		return ANSWER_LATER;
	return fence->visit->answered ? ANSWER_YES : ANSWER_NO;
}

static void fence_poll(struct client *client)
{
	struct fence_run *fence = &client->fence;
	const struct proof_route *route;

	if (client->offload->now_us >= fence->deadline_us) {
		fence_finish(client, false);
		return;
	}
	if (!fence->publisher_done) {
		if (client->pong_epoch < fence->walk.epoch)
			return;
		fence->publisher_done = true;
		walk_begin(&fence->walk, client->offload);
	}
	route = proof_route_find(
		client->broker->routes, mqtt_bytes(fence->topic->data, fence->topic->length));
	// Who could not be captured now anyway is not held any longer.
	if (route == NULL || route->reason != PROOF_CAPTURE) {
		fence_finish(client, false);
		return;
	}
	switch (fence_answer(client, route)) {
	case ANSWER_YES:
		fence_finish(client, true);
		break;
	case ANSWER_NO:
		fence_finish(client, false);
		break;
	case ANSWER_LATER:
		break;
	}
}

void fencing_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->fencing) {
		fence_poll(container_of(link, struct client, fence.link));
	}
	if (offload->peers != NULL)
		visits_poll(offload);
}
