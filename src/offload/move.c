// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The worker that asks. Answers are written into its memory; what the session is owed it copies
// from the holder's, which changes nothing of it until it is told that the session has moved.

#include "offload/move.h"

#include "base/assert.h"
#include "offload/capture.h"
#include "offload/client.h"
#include "offload/move_state.h"
#include "offload/owed.h"
#include "offload/peers.h"
#include "offload/pending.h"

#define MOVES 256u

int moves_create(struct slab **ret_slab)
{
	return slab_create("moves", MOVES, sizeof(struct move), ret_slab);
}

static void rooms_put(struct move *move)
{
	for (unsigned i = 0; i < CROSSING_WORKERS_MAX; i++) {
		if (move->copies[i].room != NULL)
			payload_put(move->copies[i].room);
		move->copies[i].room = NULL;
	}
}

static void move_free(struct offload *offload, struct move *move)
{
	rooms_put(move);
	payload_put(move->id);
	list_remove(&move->link);
	slab_give(offload->peers->moves, move);
}

void moves_abandon(struct offload *offload)
{
	for (uint32_t i = 0; i < slab_count(offload->peers->moves); i++) {
		struct move *move = slab_at(offload->peers->moves, i);

		if (move != NULL)
			move_free(offload, move);
	}
}

static void copy_back(struct crossing_message *message, void *sender)
{
	struct move_copy *copy = container_of(message, struct move_copy, message);
	struct move *move = copy->move;

	if (--move->missing > 0)
		return;
	if (move->ending)
		move_free(sender, move);
	else if (move->client != NULL)
		client_kick(move->client);
}

static void copy_post(
	struct offload *offload, struct move *move, unsigned to, enum move_question question)
{
	struct move_copy *copy = &move->copies[to];

	copy->message = (struct crossing_message){.run = lend_run, .back = copy_back};
	copy->move = move;
	copy->question = question;
	move->missing++;
	crossing_post(
		offload->peers->config.changes, offload->peers->config.self, to, &copy->message);
}

static bool may_ask(const struct offload *offload)
{
	const struct offload_peers_config *peers = &offload->peers->config;

	for (unsigned to = 0; to < peers->count; to++)
		if (to != peers->self && !crossing_has_room(peers->changes, peers->self, to))
			return false;
	return true;
}

// Memory for the answers. False: there is none.
static bool rooms_take(struct offload *offload, struct move *move)
{
	for (unsigned to = 0; move->present && to < offload->peers->config.count; to++) {
		if (to == offload->peers->config.self)
			continue;
		move->copies[to].room = payload_alloc(offload->payloads, PAYLOAD_LARGEST);
		if (move->copies[to].room == NULL)
			return false;
	}
	return true;
}

static struct move *move_begin(struct client *client, struct mqtt_bytes id, bool present)
{
	struct offload *offload = client->offload;
	const struct offload_peers_config *peers = &offload->peers->config;
	struct move *move;

	if (!may_ask(offload))
		return NULL;
	move = slab_take(offload->peers->moves);
	if (move == NULL)
		return NULL;
	list_init(&move->link);
	for (unsigned i = 0; i < CROSSING_WORKERS_MAX; i++)
		list_init(&move->copies[i].link);
	move->present = present;
	move->id =
		id.length <= PAYLOAD_LARGEST ? payload_alloc(offload->payloads, id.length) : NULL;
	if (move->id == NULL || !rooms_take(offload, move)) {
		rooms_put(move);
		if (move->id != NULL)
			payload_put(move->id);
		slab_give(offload->peers->moves, move);
		return NULL;
	}
	memcpy(move->id->data, id.data, id.length);
	move->id->length = id.length;
	move->client = client;
	move->broker = (unsigned)(client->broker - offload->brokers);
	move->connect_us = client->connect_us;
	move->holder = -1;
	list_append(&offload->peers->moving, &move->link);
	for (unsigned to = 0; to < peers->count; to++)
		if (to != peers->self)
			copy_post(offload, move, to, MOVE_ASK);
	return move;
}

static bool move_stale(const struct move *move)
{
	for (unsigned i = 0; i < CROSSING_WORKERS_MAX; i++)
		if (move->copies[i].stale)
			return true;
	return false;
}

// What the holder has written becomes subscriptions here. True: that was all.
static bool move_read(struct client *client, struct move *move)
{
	struct session_map *map = client->broker->map;
	struct move_copy *copy = &move->copies[move->holder];
	bool whole = session_read(map, client->session, copy->room->data, copy->room->length);

	if (copy->more && whole && copy->found) {
		if (may_ask(client->offload))
			copy_post(client->offload, move, (unsigned)move->holder, MOVE_FETCH);
		else
			copy->room->length = 0; // read, and the next piece is asked for later
		return false;
	}
	if (!whole || copy->unknown || copy->cursor < copy->subscriptions)
		session_set_unknown(map, client->session);
	move->whole = true;
	return true;
}

// The copy that is in force: of several workers the one whose client came last.
static int holder_find(const struct move *move)
{
	int holder = -1;

	for (int i = 0; i < CROSSING_WORKERS_MAX; i++)
		if (move->copies[i].found &&
			(holder < 0 || move->copies[i].bound_us > move->copies[holder].bound_us))
			holder = i;
	return holder;
}

// The client's wills, which other workers have seen set off, come before what it publishes now.
static void wills_heed(struct client *client, const struct move *move)
{
	for (unsigned i = 0; i < CROSSING_WORKERS_MAX; i++) {
		const struct move_copy *copy = &move->copies[i];

		if (copy->wills_count > MOVE_WILLS)
			capture_behind_all(client);
		for (unsigned n = 0; n < copy->wills_count && n < MOVE_WILLS; n++)
			capture_behind(client, copy->wills[n]);
	}
}

// What the session is owed is copied. False: not all of it yet, for want of memory.
static bool owed_fetch(struct client *client, struct move *move)
{
	const struct session *theirs = move->copies[move->holder].session;

	if (move->owed == NULL)
		move->owed = &theirs->owed;
	while (move->owed->next != &theirs->owed) {
		struct delivery *own = delivery_copy(
			client->offload, container_of(move->owed->next, struct delivery, link));

		if (own == NULL)
			return false;
		owed_append(client->offload, client->session, own);
		move->owed = move->owed->next;
	}
	client->session->identifier_next = theirs->identifier_next;
	client->session->identifier_broker = theirs->identifier_broker;
	return true;
}

// Another worker still reads what this one has of the session, or is about to say that it has done
// so.
static bool is_lent(const struct client *client, const struct move *move)
{
	const struct session *session = session_lookup(client->broker->map, move_id(move));

	return session != NULL && session->borrowed > 0;
}

static void move_bind(struct client *client, struct move *move, const struct mqtt_connack *connack)
{
	move->bound = true;
	move->holder = holder_find(move);
	if (move_stale(move)) {
		client->superseded = true;
		move->done = true;
		return;
	}
	client_bind(client, connack, move->holder >= 0 && move->present);
	if (client->session != NULL)
		session_hold(client->broker->map, client->session);
	wills_heed(client, move);
}

// All have answered: the session is bound, and comes along.
static bool move_settle(
	struct client *client, struct move *move, const struct mqtt_connack *connack)
{
	if (!move->bound && is_lent(client, move))
		return false;
	if (!move->bound)
		move_bind(client, move, connack);
	if (!move->done) {
		bool comes = move->holder >= 0 && move->present && client->session != NULL;

		move->done = !comes ||
			     ((move->whole || move_read(client, move)) && owed_fetch(client, move));
		client_mark(client);
	}
	return move->done && client_settled(client);
}

static void move_finish(struct client *client, struct move *move)
{
	client->move = NULL;
	move->client = NULL;
}

// MQTT 3.1 does not say whether the session goes on: it does when there is one.
static bool is_wanted(const struct client *client, const struct mqtt_connack *connack)
{
	return client->version == MQTT_VERSION_3_1 ? client->session_expiry != 0
						   : connack->session_present;
}

bool move_run(struct client *client, const struct mqtt_connack *connack)
{
	struct mqtt_bytes id = client_id_in_force(client, connack);

	if (client->offload->peers == NULL || connack->reason != 0 ||
		(client->unknown && client->move == NULL))
		return true;
	if (id.length == 0) { // nobody else can have it
		if (client->session == NULL)
			client_bind(client, connack, false);
		return true;
	}
	if (client->move == NULL)
		client->move = move_begin(client, id, is_wanted(client, connack));
	if (client->move == NULL || client->move->missing > 0 ||
		!move_settle(client, client->move, connack))
		return false;
	move_finish(client, client->move);
	return true;
}

void move_arrived(struct client *client)
{
	if (client->superseded)
		client->state = CLIENT_ENDED; // the broker is about to close it
	if (client->session != NULL)
		session_settle(client->broker->map, client->session);
}

void move_end(struct client *client)
{
	struct move *move = client->move;

	if (move == NULL)
		return;
	// Half of it is no session: the whole stays where it is.
	if (move->bound && !move->done && client->session != NULL) {
		owed_forget(client->offload, client->session);
		session_drop(client->broker->map, client->session);
		client->session = NULL;
	}
	move_finish(client, move);
}

// Everybody who has lent it is told whether it has moved. False: there is no room to tell.
static bool give_back(struct offload *offload, struct move *move)
{
	const struct offload_peers_config *peers = &offload->peers->config;
	bool moved = move->done && !move_stale(move);

	for (unsigned to = 0; to < peers->count; to++)
		if (move->copies[to].found && !crossing_has_room(peers->changes, peers->self, to))
			return false;
	move->ending = true;
	for (unsigned to = 0; to < peers->count; to++)
		if (move->copies[to].found)
			copy_post(offload, move, to, moved ? MOVE_MOVED : MOVE_STAYS);
	return true;
}

// Its client has gone on, or is gone.
static void move_poll(struct offload *offload, struct move *move)
{
	if (move->client != NULL || move->ending || move->missing > 0)
		return;
	if (give_back(offload, move) && move->missing == 0)
		move_free(offload, move);
}

void moves_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->moving) {
		move_poll(offload, container_of(link, struct move, link));
	}
}
