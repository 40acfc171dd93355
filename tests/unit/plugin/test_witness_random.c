// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A model of mosquitto with few clients and topics calls back at random, and knows what must
// be told and who must be skipped. Its memory comes from malloc() and is freed as soon as
// mosquitto would free it, so contexts and topics lie where others lay before.

#include "plugin_tests.h"
#include "told.h"

#include "base/marker.h"
#include "base/random.h"
#include "plugin/events.h"
#include "plugin/probes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS	 300
#define STEPS	 300
#define SESSIONS 6
#define TOPICS	 3
#define TOKENS	 (STEPS * 8)

struct session {
	char id[8];
	void *context;	     // NULL: mosquitto has nothing of it
	unsigned connection; // the how manieth
	bool online, persistent, qos_2;
	bool busy; // between a marker and its end: only what others do happens, and its end
	uint64_t key, joined; // 0: not joined; number of the event
	unsigned subscriptions[TOPICS];
	char *held; // topic of a message of QoS 2 that is not released; and its probe
	unsigned held_topic;
	uint64_t held_token;
};

struct expected {
	bool due, seen, written, cut;
	unsigned count; // of readers that can be told
	uint64_t keys[TOLD_READERS_MAX + 1];
	unsigned joined; // how many of `keys` there are; the others have a key of no joined client
};

struct model {
	struct told told;
	struct random random;
	struct session sessions[SESSIONS];
	struct expected expected[TOKENS];
	uint64_t tokens, sequence;
	unsigned depth;
};

static void step(struct model *model);

static unsigned draw(struct model *model, unsigned bound)
{
	return random_below(&model->random, bound);
}

static const char *topic_name(unsigned topic)
{
	static const char *const names[TOPICS] = {"a", "b/c", "a/long/one"};

	return names[topic];
}

static struct witness_client as_client(const struct session *session)
{
	return (struct witness_client){session->context, session->id, NULL};
}

static void collect(struct model *model)
{
	Offramp__V1__BrokerMessage *event;

	while ((event = told_next(&model->told))) {
		model->sequence = event->sequence;
		if (event->kind_case == OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED) {
			const Offramp__V1__Published *published = event->published;
			struct expected *expected = &model->expected[published->token];
			unsigned found = 0;

			assert_true(published->token <= model->tokens);
			assert_true(expected->due && !expected->seen);
			expected->seen = true;
			assert_int_equal(published->written, expected->written);
			assert_int_equal(published->cut, expected->cut);
			assert_int_equal(published->n_readers, expected->count);
			for (unsigned i = 0; i < expected->joined; i++)
				for (size_t r = 0; r < published->n_readers; r++)
					if (published->readers[r] == expected->keys[i]) {
						published->readers[r] = UINT64_MAX;
						found++;
						break;
					}
			assert_int_equal(found, expected->joined);
			for (size_t r = 0; r < published->n_readers; r++)
				for (unsigned s = 0; s < SESSIONS; s++)
					assert_true(
						!model->sessions[s].joined ||
						published->readers[r] != model->sessions[s].key);
		}
		told_free(event);
	}
}

// --- connections ---------------------------------------------------------------------------------

static void leave(struct model *model, struct session *session)
{
	struct witness_client client = as_client(session);

	witness_disconnect(model->told.witness, &client);
	session->online = false;
	session->joined = 0;
	session->qos_2 = false;
	// What is not released of a persistent session stays, but its probe is over.
	session->held_token = 0;
	if (session->persistent)
		return;
	free(session->held);
	session->held = NULL;
	memset(session->subscriptions, 0, sizeof(session->subscriptions));
	free(session->context);
	session->context = NULL;
}

static void come(struct model *model, struct session *session)
{
	struct witness_client older = as_client(session);
	void *context = malloc(100);

	if (session->context) { // taken over, or resumed: what there was ends
		witness_disconnect(model->told.witness, &older);
		free(session->context);
	}
	session->context = context;
	session->connection++;
	session->online = true;
	session->joined = 0;
	session->qos_2 = false;
	session->held_token = 0;
	session->persistent = draw(model, 2);
}

static void join(struct model *model, struct session *session)
{
	struct witness_client client = as_client(session);
	uint64_t before = session->joined ? session->key : 0, sequence;

	witness_tick(model->told.witness); // what is told at the next callback is told now
	collect(model);
	session->key = told_join(&model->told, &client, &sequence);
	model->sequence = sequence;
	if (before)
		assert_int_equal(session->key, before);
	else
		session->joined = sequence;
}

// --- messages ------------------------------------------------------------------------------------

// mosquitto routes a message: it asks for each subscription.
static void route(struct model *model, const char *topic, const void *payload, unsigned number,
	struct expected *expected, const struct marker *skip)
{
	for (unsigned s = 0; s < SESSIONS; s++) {
		struct session *session = &model->sessions[s];
		struct witness_client client = as_client(session);

		for (unsigned i = 0; i < session->subscriptions[number]; i++) {
			bool denied = witness_read(model->told.witness, &client, topic, payload);
			bool meant = skip && session->joined && session->joined <= skip->token &&
				     !(skip->except_count && skip->except[0] == session->key);

			assert_int_equal(denied, meant);
			if (!expected)
				continue;
			if (expected->count == TOLD_READERS_MAX) {
				expected->cut = true;
				continue;
			}
			expected->count++;
			if (session->joined)
				expected->keys[expected->joined++] = session->key;
		}
	}
}

static void others_do_something(struct model *model)
{
	if (model->depth < 3 && draw(model, 3) == 0)
		step(model);
}

static struct expected *ask(struct model *model, const struct witness_client *client)
{
	struct expected *expected;

	if (model->tokens + 1 >= TOKENS)
		return NULL;
	expected = &model->expected[++model->tokens];
	*expected = (struct expected){0};
	told_marker(
		&model->told, client, &(struct marker){.kind = MARKER_ASK, .token = model->tokens});
	return expected;
}

static void release(struct model *model, struct session *session)
{
	struct witness_client client = as_client(session);
	unsigned connection = session->connection;
	struct expected *expected =
		session->held_token ? &model->expected[session->held_token] : NULL;

	if (expected)
		*expected = (struct expected){.due = true, .written = true};
	route(model, session->held, session->held + 1, session->held_topic, expected, NULL);
	if (expected && expected->count == 0)
		expected->cut = true;
	free(session->held);
	session->held = NULL;
	if (!expected)
		return;
	others_do_something(model);
	if (session->connection != connection || !session->online)
		return;
	told_marker(&model->told, &client,
		&(struct marker){.kind = MARKER_END, .token = session->held_token});
	collect(model);
	assert_true(expected->seen);
	session->held_token = 0;
}

static void publish(struct model *model, struct session *session)
{
	struct witness_client client = as_client(session);
	unsigned connection = session->connection;
	struct expected *expected = NULL;
	struct marker marker = {.kind = MARKER_SKIP}, *skip = NULL;
	unsigned number = draw(model, TOPICS), qos = draw(model, 3);
	uint64_t token = 0;
	bool refused = draw(model, 4) == 0;
	char *topic;

	if (session->held && qos == 2)
		return;
	collect(model);
	if (session->joined && draw(model, 2)) {
		expected = ask(model, &client);
		token = model->tokens;
	}
	if (session->joined && qos < 2 && draw(model, 3) == 0) {
		skip = &marker;
		marker.token = model->sequence - draw(model, 3);
		marker.except_count = (uint8_t)draw(model, 2);
		marker.except[0] = model->sessions[draw(model, SESSIONS)].key;
		told_marker(&model->told, &client, skip);
	}
	others_do_something(model);
	if (session->connection != connection || !session->online || (session->held && qos == 2))
		return; // it has left in between, or has published in between
	if (skip && !session->joined)
		return;
	topic = strdup(topic_name(number));
	witness_write(model->told.witness, &client, topic);
	if (expected)
		*expected = (struct expected){.due = true, .written = !refused};
	if (refused) {
		free(topic);
	} else {
		assert_true(witness_message(model->told.witness, &client,
			&(struct probes_message){topic, topic + 1, (uint8_t)qos}));
		if (qos == 2) {
			session->qos_2 = true;
			session->held = topic;
			session->held_topic = number;
			session->held_token = expected ? token : 0;
			if (expected)
				expected->due = false;
			return;
		}
		route(model, topic, topic + 1, number, expected, skip);
		if (expected && expected->count == 0 && qos == 1 && session->qos_2)
			expected->cut = true;
		free(topic);
	}
	others_do_something(model);
	if (!expected || session->connection != connection || !session->online)
		return;
	told_marker(&model->told, &client, &(struct marker){.kind = MARKER_END, .token = token});
	collect(model);
	assert_true(expected->seen);
}

static void subscribe(struct model *model, struct session *session)
{
	struct witness_client client = as_client(session);
	unsigned number = draw(model, TOPICS);

	if (draw(model, 3)) {
		witness_subscribe(model->told.witness, &client,
			&(struct events_subscription){.filter = topic_name(number)});
		if (session->subscriptions[number] < 3)
			session->subscriptions[number]++;
	} else {
		witness_unsubscribe(model->told.witness, &client, topic_name(number));
		session->subscriptions[number] = 0;
	}
}

static void step(struct model *model)
{
	struct session *session = &model->sessions[draw(model, SESSIONS)];
	unsigned what = draw(model, 12);

	model->depth++;
	if (!session->online || what == 0)
		come(model, session);
	else if (what == 1)
		leave(model, session);
	else if (what == 2)
		witness_tick(model->told.witness);
	else if (what <= 4)
		subscribe(model, session);
	else if (what == 5)
		join(model, session);
	else if (!session->busy) {
		session->busy = true;
		if (session->held && what <= 7)
			release(model, session);
		else
			publish(model, session);
		session->busy = false;
	}
	model->depth--;
	if (model->depth == 0)
		collect(model);
}

static void play(uint64_t seed)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	told_init(&model->told);
	random_init(&model->random, seed);
	for (unsigned s = 0; s < SESSIONS; s++)
		snprintf(model->sessions[s].id, sizeof(model->sessions[s].id), "c%u", s);
	for (unsigned i = 0; i < STEPS; i++)
		step(model);
	for (unsigned s = 0; s < SESSIONS; s++) {
		free(model->sessions[s].context);
		free(model->sessions[s].held);
	}
	told_fini(&model->told);
	free(model);
}

static void test_any_order_of_callbacks(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		print_message("seed %llu\r", (unsigned long long)seed);
		play(seed);
	}
}

int test_plugin_witness_random(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_of_callbacks),
	};

	return cmocka_run_group_tests_name("witness random", tests, NULL, NULL);
}
