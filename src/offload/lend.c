// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Nothing holds up the questions behind one that has to wait: those may be what it waits for.

#include "offload/lend.h"

#include "base/assert.h"
#include "offload/client.h"
#include "offload/move_state.h"
#include "offload/owed.h"
#include "offload/peers.h"

static struct broker *broker_of(struct offload *offload, const struct move_copy *copy)
{
	return &offload->brokers[copy->move->broker];
}

// A client of this worker that is just coming with the same identifier.
static struct move *rival_find(const struct offload *offload, const struct move *move)
{
	list_for_each (link, &offload->peers->moving) {
		struct move *rival = container_of(link, struct move, link);

		if (!rival->ending && rival->broker == move->broker &&
			mqtt_bytes_equal(move_id(rival), move_id(move)))
			return rival;
	}
	return NULL;
}

static void found_will(void *ctx, uint64_t key)
{
	struct move_copy *copy = ctx;

	if (copy->wills_count < MOVE_WILLS)
		copy->wills[copy->wills_count] = key;
	if (copy->wills_count <= MOVE_WILLS)
		copy->wills_count++;
}

static void wills_tell(struct offload *offload, struct move_copy *copy)
{
	const struct broker *broker = broker_of(offload, copy);

	wills_find(&broker->wills, proof_topic_hash(broker->routes, move_id(copy->move)),
		offload->now_us, found_will, copy);
}

static void subscriptions_fill(struct move_copy *copy, const struct session *session)
{
	copy->unknown = session->unknown;
	copy->subscriptions = session->subscriptions_count;
	if (copy->room != NULL)
		copy->room->length = session_write(session, &copy->cursor, copy->room->data,
			copy->room->capacity, &copy->more);
}

// Its client, if it has one, loses it. False: that one came later.
static bool take_away(struct offload *offload, struct move_copy *copy, struct session *session)
{
	const struct move *move = copy->move;
	struct client *owner = session->owner;

	if (owner != NULL && move_is_later(owner->connect_us, offload->peers->config.self,
				     move->connect_us, copy->message.from))
		return false;
	if (owner != NULL && move->present)
		owed_park(owner, session);
	if (owner != NULL)
		client_lose_session(owner);
	session_leave(broker_of(offload, copy)->map, session);
	return true;
}

// What other workers have captured for the session is here.
static bool is_quiet(struct offload *offload, struct move_copy *copy)
{
	const struct offload_peers_config *peers = &offload->peers->config;

	if (copy->stage == LEND_TOLD && peers_settled(broker_of(offload, copy), copy->due)) {
		crossing_point(peers->parcels, peers->self, &copy->point);
		copy->stage = LEND_DRAINING;
	}
	return copy->stage == LEND_DRAINING &&
	       crossing_passed(peers->parcels, peers->self, &copy->point);
}

static void lend(struct offload *offload, struct move_copy *copy, struct session *session)
{
	session_lend(broker_of(offload, copy)->map, session);
	copy->found = true;
	copy->session = session;
	copy->bound_us = session->bound_us;
	subscriptions_fill(copy, session);
}

// False: not now.
static bool answer_session(struct offload *offload, struct move_copy *copy, struct session *session)
{
	struct session_map *map = broker_of(offload, copy)->map;

	if (session->owner != NULL)
		copy->stage = LEND_ASKED;
	if (copy->stage == LEND_ASKED) {
		if (!take_away(offload, copy, session)) {
			copy->stale = true;
			return true;
		}
		copy->due = replica_now(map->replica);
		copy->stage = LEND_TOLD;
	}
	if (!copy->move->present) {
		session_drop(map, session);
		return true;
	}
	if (!is_quiet(offload, copy))
		return false;
	lend(offload, copy, session);
	return true;
}

static bool answer(struct offload *offload, struct move_copy *copy)
{
	const struct move *move = copy->move, *rival = rival_find(offload, move);
	struct session *session;

	if (copy->stage == LEND_ASKED && rival != NULL) {
		copy->stale = move_is_later(rival->connect_us, offload->peers->config.self,
			move->connect_us, copy->message.from);
		// It comes first, and then it is taken over.
		return copy->stale;
	}
	session = session_lookup(broker_of(offload, copy)->map, move_id(move));
	if (session != NULL && !answer_session(offload, copy, session))
		return false;
	wills_tell(offload, copy);
	return true;
}

// What was lent comes back, or more of it is wanted.
static enum crossing_run borrowed_run(struct offload *offload, struct move_copy *copy)
{
	struct session_map *map = broker_of(offload, copy)->map;
	struct session *session = session_lookup(map, move_id(copy->move));

	ASSERT(session != NULL && session == copy->session);
	copy->more = false;
	if (copy->question == MOVE_FETCH)
		subscriptions_fill(copy, session);
	else
		session_give_back(map, session, copy->question == MOVE_MOVED, offload->now_us);
	return CROSSING_DONE;
}

enum crossing_run lend_run(struct crossing_message *message, void *receiver)
{
	struct move_copy *copy = container_of(message, struct move_copy, message);
	struct offload *offload = receiver;

	if (copy->question != MOVE_ASK)
		return borrowed_run(offload, copy);
	if (answer(offload, copy))
		return CROSSING_DONE;
	list_append(&offload->peers->asked, &copy->link);
	return CROSSING_KEPT;
}

void lends_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->asked) {
		struct move_copy *copy = container_of(link, struct move_copy, link);

		if (!answer(offload, copy))
			continue;
		list_remove(link);
		crossing_return(offload->peers->config.changes, &copy->message);
	}
}
