// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Questions and answers about sessions. Answers are written into memory of who asks.

#include "offload/move.h"

#include "base/assert.h"
#include "offload/client.h"
#include "offload/peers.h"
#include "offload/pending.h"

#define MOVES 256u

enum move_question {
	MOVE_ASK,   // who has it? (and the first of its subscriptions)
	MOVE_FETCH, // more of its subscriptions
	MOVE_END,   // it has moved: drop it
	MOVE_STAY,  // it has not: keep it
};

struct move_copy {
	struct crossing_message message;
	struct move *move;
	enum move_question question;
	uint32_t cursor;
	struct payload *room; // for subscriptions; NULL: none are wanted
	// The answer.
	bool found;
	bool stale; // a later connection has the session
	bool more;
	bool unknown;
	uint32_t subscriptions;
};

struct move {
	struct list link;      // in peers.moving
	struct client *client; // NULL: gone
	unsigned broker;
	uint64_t connect_us;
	bool present;	  // it goes on ([MQTT-3.2.2-2])
	bool bound, done; // the session is here; with all its subscriptions
	bool ending;	  // the last question has been put
	unsigned missing; // answers
	int holder;	  // the worker that had it, -1: none
	struct payload *id;
	struct move_copy copies[CROSSING_WORKERS_MAX];
};

// --- the worker that is asked --------------------------------------------------------------------

// The later CONNECT has the session; both workers must come to the same answer.
static bool is_later(uint64_t connect_us, unsigned worker, uint64_t than_us, unsigned than_worker)
{
	return connect_us != than_us ? connect_us > than_us : worker > than_worker;
}

static struct mqtt_bytes move_id(const struct move *move)
{
	return mqtt_bytes(move->id->data, move->id->length);
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

static void answer_fill(struct move_copy *copy, const struct session *session)
{
	copy->unknown = session->unknown;
	copy->subscriptions = session->subscriptions_count;
	if (copy->room != NULL)
		copy->room->length = session_write(session, &copy->cursor, copy->room->data,
			copy->room->capacity, &copy->more);
}

static enum crossing_run answer_ask(struct offload *offload, struct move_copy *copy)
{
	const struct move *move = copy->move, *rival = rival_find(offload, move);
	struct session_map *map = offload->brokers[move->broker].map;
	unsigned self = offload->peers->config.self;
	struct session *session;

	if (rival != NULL) {
		copy->stale =
			is_later(rival->connect_us, self, move->connect_us, copy->message.from);
		// It comes first, and then it is taken over.
		return copy->stale ? CROSSING_DONE : CROSSING_LATER;
	}
	session = session_lookup(map, move_id(move));
	if (session == NULL)
		return CROSSING_DONE;
	if (session->owner != NULL) {
		struct client *owner = session->owner;

		copy->stale =
			is_later(owner->connect_us, self, move->connect_us, copy->message.from);
		if (copy->stale)
			return CROSSING_DONE;
		client_lose_session(owner);
	}
	session_leave(map, session);
	copy->found = true;
	if (!move->present)
		session_drop(map, session);
	else
		answer_fill(copy, session);
	return CROSSING_DONE;
}

static enum crossing_run copy_run(struct crossing_message *message, void *receiver)
{
	struct move_copy *copy = container_of(message, struct move_copy, message);
	const struct move *move = copy->move;
	struct offload *offload = receiver;
	struct session_map *map = offload->brokers[move->broker].map;
	struct session *session;

	if (copy->question == MOVE_ASK)
		return answer_ask(offload, copy);
	session = session_lookup(map, move_id(move));
	copy->found = session != NULL && session->owner == NULL;
	copy->more = false;
	if (!copy->found)
		return CROSSING_DONE;
	if (copy->question == MOVE_FETCH)
		answer_fill(copy, session);
	else if (copy->question == MOVE_END)
		session_drop(map, session);
	else
		session_stay(map, session, offload->now_us);
	return CROSSING_DONE;
}

// --- the worker that asks ------------------------------------------------------------------------

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

	if (copy->question == MOVE_ASK && copy->found)
		move->holder = copy->message.to;
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

	copy->message = (struct crossing_message){.run = copy_run, .back = copy_back};
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
	return true;
}

// All have answered: the session is bound, and comes along.
static bool move_settle(
	struct client *client, struct move *move, const struct mqtt_connack *connack)
{
	if (!move->bound) {
		move->bound = true;
		if (move_stale(move)) {
			client->superseded = true;
			move->done = true;
		} else {
			client_bind(client, connack, move->holder >= 0 && move->present);
			if (client->session != NULL)
				session_hold(client->broker->map, client->session);
		}
	}
	if (!move->done) {
		bool read = move->holder >= 0 && move->present && client->session != NULL;

		move->done = !read || move_read(client, move);
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
	if (client->session == NULL)
		return;
	session_settle(client->broker->map, client->session);
	pending_release(client);
}

void move_end(struct client *client)
{
	struct move *move = client->move;

	if (move == NULL)
		return;
	// Half of it is no session: the whole stays where it is.
	if (move->bound && !move->done && client->session != NULL) {
		session_drop(client->broker->map, client->session);
		client->session = NULL;
	}
	move_finish(client, move);
}

// Its client has gone on, or is gone: the holder is told which.
static void move_poll(struct offload *offload, struct move *move)
{
	const struct offload_peers_config *peers = &offload->peers->config;

	if (move->client != NULL || move->ending || move->missing > 0)
		return;
	if (move->holder < 0 || !move->present) {
		move_free(offload, move);
	} else if (crossing_has_room(peers->changes, peers->self, (unsigned)move->holder)) {
		move->ending = true;
		copy_post(offload, move, (unsigned)move->holder,
			move->done && !move_stale(move) ? MOVE_END : MOVE_STAY);
	}
}

void moves_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->moving) {
		move_poll(offload, container_of(link, struct move, link));
	}
}
