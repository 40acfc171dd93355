// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Epochs number the questions: a client that has answered epoch n has answered
// every fence that asked at or before n, so a fence only walks a cursor over its
// targets and keeps no list of who is outstanding.

#include "offload/fencing.h"

#include "offload/output.h"
#include "offload/pass.h"

// Real clients take a stall of half a second for a failure.
#define FENCE_TIMEOUT_US (200 * US_IN_MS)

// Below PING_FENCE the ring of pings means other things.
static uint64_t next_epoch(struct offload *offload)
{
	if (++offload->fence_epoch < PING_FENCE)
		offload->fence_epoch = PING_FENCE;
	return offload->fence_epoch;
}

static bool ask(struct client *client, uint64_t epoch)
{
	if (!pass_ping(client, epoch))
		return false;
	client->ping_epoch = epoch;
	client->ping_settled = output_broker_settled(client);
	client->ping_publishes = client->broker_publishes;
	return true;
}

void fencing_answered(struct client *client, uint64_t epoch)
{
	client->pong_epoch = epoch;
	if (epoch != client->ping_epoch)
		return; // a later question is under way, and its answer will tell
	if (client->ping_settled && client->ping_publishes == client->broker_publishes &&
		output_broker_settled(client))
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
		client->behind_epoch = next_epoch(client->offload);
		client->broker_publish_us = client->offload->now_us;
	}
	if (ping ? client->settled_epoch >= client->behind_epoch : silent(client))
		session_caught_up(client->broker->map, session);
	else if (ping && client->ping_epoch < client->behind_epoch && output_broker_settled(client))
		ask(client, client->behind_epoch);
}

bool fencing_begin(
	struct client *client, uint64_t key, struct payload *topic, struct delivery *held)
{
	struct fence_run *fence = &client->fence;
	uint64_t epoch = next_epoch(client->offload);

	if (!ask(client, epoch))
		return false;
	fence->key = key;
	fence->held = held;
	fence->topic = payload_get(topic);
	fence->deadline_us = client->offload->now_us + FENCE_TIMEOUT_US;
	fence->epoch = epoch;
	fence->publisher_done = false;
	list_append(&client->offload->fencing, &fence->link);
	return true;
}

void fencing_end(struct client *client)
{
	if (!list_linked(&client->fence.link))
		return;
	list_remove(&client->fence.link);
	payload_put(client->fence.topic);
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
static void fence_ask(struct fence_run *fence, const struct proof_route *route)
{
	fence->unsent = false;
	for (uint32_t i = fence->cursor; i < route->targets; i++) {
		struct client *subscriber = proof_route_target(route, i)->owner;

		if (subscriber->ping_epoch >= fence->epoch)
			continue;
		if (!output_broker_settled(subscriber) || !ask(subscriber, fence->epoch))
			fence->unsent = true;
	}
}

// True when all subscribers have answered.
static bool fence_subscribers(struct fence_run *fence, const struct proof_route *route)
{
	if (fence->route_serial != route->serial) {
		fence->route_serial = route->serial;
		fence->cursor = 0;
		fence->unsent = true;
	}
	if (fence->unsent)
		fence_ask(fence, route);
	while (fence->cursor < route->targets) {
		const struct client *subscriber = proof_route_target(route, fence->cursor)->owner;

		if (subscriber->settled_epoch < fence->epoch) {
			// Its answer proved nothing: it is to be asked again.
			fence->unsent |= subscriber->ping_epoch < fence->epoch;
			return false;
		}
		fence->cursor++;
	}
	return true;
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
		if (client->pong_epoch < fence->epoch)
			return;
		fence->publisher_done = true;
		fence->epoch = next_epoch(client->offload);
		fence->route_serial = 0;
	}
	route = proof_route_find(
		client->broker->routes, mqtt_bytes(fence->topic->data, fence->topic->length));
	// Who could not be captured now anyway is not held any longer.
	if (route == NULL || route->reason != PROOF_CAPTURE)
		fence_finish(client, false);
	else if (fence_subscribers(fence, route))
		fence_finish(client, true);
}

void fencing_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->fencing) {
		fence_poll(container_of(link, struct client, fence.link));
	}
}
