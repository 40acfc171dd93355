// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sessions and subscriptions: single cases, then random operations against a naive model.

#include "session_tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "mqtt/topic.h"
#include "session/session.h"
#include "session/subscription.h"

#define SUBSCRIPTIONS_MAX 40 // few: memory ends within the random run
#define SESSIONS_MAX	  8

struct fixture {
	struct payload_pool *payloads;
	struct session_map *map;
};

static int setup(void **state)
{
	const struct payload_pool_config payloads = {{64, 16, 0, 0}, -1};
	const struct session_map_config config = {.sessions_max = SESSIONS_MAX,
		.subscriptions_max = SUBSCRIPTIONS_MAX,
		.subscriptions_per_session = 10,
		.hash_key = "0123456789abcde"};
	struct fixture *f = malloc(sizeof(*f));

	assert_int_equal(payload_pool_create("map", &payloads, &f->payloads), 0);
	assert_int_equal(session_map_create("map", &config, f->payloads, 0, &f->map), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < slab_count(f->map->sessions); i++) {
		struct session *session = slab_at(f->map->sessions, i);

		if (session != NULL) {
			session->expiry_s = 0;
			session_unbind(f->map, session, 0);
		}
	}
	assert_int_equal(f->map->unknown, 0);
	session_map_destroy(f->map);
	payload_pool_check(f->payloads);
	payload_pool_destroy(f->payloads);
	free(f);
	return 0;
}

static struct session *bind(struct fixture *f, const char *id, bool present, uint32_t expiry_s,
	void *owner, void **ret_previous)
{
	const struct session_bind bind = {.version = MQTT_VERSION_5,
		.client_id = mqtt_bytes(id, strlen(id)),
		.session_present = present,
		.expiry_s = expiry_s,
		.owner = owner};
	struct session *session;
	void *previous;
	int rc = session_bind(
		f->map, &bind, &session, ret_previous != NULL ? ret_previous : &previous);

	session_map_check(f->map);
	return rc < 0 ? NULL : session;
}

static int subscribe(
	struct fixture *f, struct session *session, uint16_t id, const char *filter, uint8_t qos)
{
	const struct mqtt_subscribe_filter one = {
		.filter = mqtt_bytes(filter, strlen(filter)), .qos = qos};

	return session_subscribe(f->map, session, id, 0, &one, 0);
}

static void granted(struct fixture *f, struct session *session, uint16_t id, uint8_t code)
{
	session_granted(f->map, session, id, mqtt_bytes(&code, 1), NULL, NULL);
	session_map_check(f->map);
}

// What a topic matches, as a string: owner, QoS, and ? while pending; sorted.
static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

struct matches {
	char one[64][8];
	unsigned count;
	char all[600];
};

static void visit(void *ctx, struct mqtt_trie_entry *entry)
{
	const struct subscription *sub = container_of(entry, struct subscription, entry);
	struct matches *matches = ctx;
	const char *owner = sub->session->owner;

	snprintf(matches->one[matches->count++], 8, "%s%u%s ", owner == NULL ? "-" : owner,
		sub->qos, (const char *[]){"?", "", "!"}[sub->state]);
}

static const char *match(struct fixture *f, const char *topic, struct matches *matches)
{
	*matches = (struct matches){.count = 0};
	mqtt_trie_match(f->map->trie, mqtt_bytes(topic, strlen(topic)), visit, matches);
	qsort(matches->one, matches->count, sizeof(matches->one[0]), compare);
	for (unsigned i = 0; i < matches->count; i++)
		strcat(matches->all, matches->one[i]);
	return matches->all;
}

static void pending_granted_replaced_refused(void **state)
{
	struct fixture *f = *state;
	struct matches m;
	uint64_t version;
	struct session *a = bind(f, "a", false, 0, "A", NULL);

	assert_int_equal(subscribe(f, a, 1, "t/+", 0), 0);
	assert_string_equal(match(f, "t/x", &m), "A0? ");
	version = f->map->changes.version;
	granted(f, a, 2, 0); // of another SUBSCRIBE
	assert_string_equal(match(f, "t/x", &m), "A0? ");
	granted(f, a, 1, 0);
	assert_true(f->map->changes.version > version);
	assert_string_equal(match(f, "t/x", &m), "A0 ");
	// The same filter again: both stand until the SUBACK, then the new one.
	assert_int_equal(subscribe(f, a, 3, "t/+", 2), 0);
	assert_string_equal(match(f, "t/x", &m), "A0 A2? ");
	granted(f, a, 3, 1);
	assert_string_equal(match(f, "t/x", &m), "A1 ");
	// A refusal leaves the older one.
	assert_int_equal(subscribe(f, a, 4, "t/+", 0), 0);
	granted(f, a, 4, 0x87);
	assert_string_equal(match(f, "t/x", &m), "A1 ");
	// Fewer codes than filters: the rest is refused.
	assert_int_equal(subscribe(f, a, 5, "u", 0), 0);
	session_granted(f->map, a, 5, mqtt_bytes(NULL, 0), NULL, NULL);
	assert_string_equal(match(f, "u", &m), "");
}

static const struct subscription *only(const struct session *session)
{
	assert_int_equal(session->subscriptions_count, 1);
	return container_of(session->subscriptions.next, struct subscription, link);
}

// As the specification has it, and as mosquitto does.
static void made_again_with_another_no_local(void **state)
{
	struct fixture *f = *state;
	struct session *a = bind(f, "a", false, 0, "A", NULL);
	struct mqtt_subscribe_filter filter = {.filter = mqtt_bytes("t", 1), .no_local = true};

	for (unsigned keeps = 0; keeps < 2; keeps++) {
		f->map->config.keep_no_local = keeps;
		filter.no_local = true;
		session_subscribe(f->map, a, 1, 0, &filter, 0);
		granted(f, a, 1, 0);
		assert_true(only(a)->no_local);
		filter.no_local = false;
		session_subscribe(f->map, a, 2, 0, &filter, 0);
		granted(f, a, 2, 0);
		assert_int_equal(only(a)->no_local, keeps);
		// Whether it was ended is not known; nor is, then, which one the broker keeps.
		session_unsubscribe(f->map, a, 3, 0, mqtt_bytes("t", 1));
		session_settle_pending(f->map, a);
		filter.no_local = !only(a)->no_local;
		session_subscribe(f->map, a, 4, 0, &filter, 0);
		granted(f, a, 4, 0);
		assert_int_equal(
			only(a)->state, keeps ? SUBSCRIPTION_UNCERTAIN : SUBSCRIPTION_ACTIVE);
		session_drop_subscriptions(f->map, a, true);
	}
}

static void unsubscribed_at_the_answer(void **state)
{
	static const uint8_t refused[] = {0x87};
	struct fixture *f = *state;
	struct matches m;
	struct session *a = bind(f, "a", false, 0, "A", NULL);

	subscribe(f, a, 1, "t", 1);
	granted(f, a, 1, 1);
	session_unsubscribe(f->map, a, 2, 0, mqtt_bytes("t", 1));
	assert_string_equal(match(f, "t", &m), "A1 ");
	session_unsubscribed(f->map, a, 2, mqtt_bytes(refused, 1), NULL, NULL);
	assert_string_equal(match(f, "t", &m), "A1 ");
	session_unsubscribe(f->map, a, 3, 0, mqtt_bytes("t", 1));
	// Subscribed anew before the answer: that one stays.
	subscribe(f, a, 4, "t", 0);
	session_unsubscribed(f->map, a, 3, mqtt_bytes(NULL, 0), NULL, NULL);
	assert_string_equal(match(f, "t", &m), "A0? ");
	granted(f, a, 4, 0);
	assert_string_equal(match(f, "t", &m), "A0 ");
}

static void sessions_end_stay_and_move(void **state)
{
	struct fixture *f = *state;
	uint8_t kept = 0;
	uint64_t version;
	struct matches m;
	void *previous;
	struct session *a;

	f->map->kept = &kept;
	a = bind(f, "a", false, 0, "A", &previous);
	assert_null(previous);
	assert_int_equal(kept, 0);
	subscribe(f, a, 1, "t", 1);
	granted(f, a, 1, 1);
	// A takeover that begins anew loses the subscriptions.
	a = bind(f, "a", false, 100, "B", &previous);
	assert_string_equal(previous, "A");
	assert_int_equal(kept, 1);
	assert_false(session_map_forgetful(f->map));
	assert_string_equal(match(f, "t", &m), "");
	subscribe(f, a, 1, "t", 1);
	granted(f, a, 1, 1);
	subscribe(f, a, 2, "t/2", 1); // never answered
	// Kept: offline, and what was pending may be there.
	session_unbind(f->map, a, 5 * US_IN_S);
	session_map_check(f->map);
	assert_string_equal(match(f, "t", &m), "-1 ");
	assert_string_equal(match(f, "t/2", &m), "-1! ");
	assert_int_equal(f->map->offline, 1);
	// Resumed.
	assert_ptr_equal(bind(f, "a", true, 100, "C", &previous), a);
	assert_null(previous);
	assert_string_equal(match(f, "t", &m), "C1 ");
	assert_true(session_map_complete(f->map));
	// Who has no subscriptions changes no match.
	version = f->map->changes.version;
	session_unbind(f->map, bind(f, "b", false, 0, "D", &previous), 0);
	assert_int_equal(f->map->changes.version, version);
	// Gone for good, well after its time.
	session_unbind(f->map, a, 10 * US_IN_S);
	session_map_expire(f->map, 150 * US_IN_S);
	assert_int_equal(f->map->offline, 1);
	session_map_expire(f->map, 300 * US_IN_S);
	assert_int_equal(f->map->offline, 0);
	assert_true(session_map_forgetful(f->map));
	session_map_check(f->map);
}

static void what_was_not_seen_is_unknown(void **state)
{
	struct fixture *f = *state;
	struct session *a = bind(f, "a", true, UINT32_MAX, "A", NULL); // the broker knows it

	assert_false(session_map_complete(f->map));
	session_unbind(f->map, a, 0);
	assert_false(session_map_complete(f->map));
	a = bind(f, "a", true, UINT32_MAX, "A", NULL);
	assert_false(session_map_complete(f->map));
	a = bind(f, "a", false, UINT32_MAX, "A", NULL); // begins anew
	assert_true(session_map_complete(f->map));
	session_set_unknown(f->map, a);
	session_set_unknown(f->map, a); // counts once
	assert_int_equal(f->map->unknown, 1);
	session_unbind(f->map, a, 0);
	session_map_expire(f->map, UINT64_MAX / 2);
	assert_false(session_map_complete(f->map)); // never ends
}

static void without_an_identifier_each_is_its_own(void **state)
{
	struct fixture *f = *state;
	void *previous;
	struct session *a = bind(f, "", false, 0, "A", &previous);
	struct session *b = bind(f, "", false, 100, "B", &previous);

	assert_null(previous);
	assert_ptr_not_equal(a, b);
	session_unbind(f->map, b, 0); // nobody can come back to it
	assert_int_equal(f->map->offline, 0);
}

static void bounds_are_told(void **state)
{
	struct fixture *f = *state;
	char deep[600];
	struct session *a = bind(f, "a", false, 0, "A", NULL);

	memset(deep, '/', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	assert_true(subscribe(f, a, 1, deep, 0) < 0); // more levels than are followed
	session_map_check(f->map);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(subscribe(f, a, 1, "t", 0), 0);
	assert_true(subscribe(f, a, 1, "t", 0) < 0);
	for (unsigned i = 0; i < SESSIONS_MAX - 1; i++)
		assert_non_null(bind(f, (char[]){'b' + i, 0}, false, 0, "A", NULL));
	assert_null(bind(f, "z", false, 0, "A", NULL));
	session_map_check(f->map);
}

// --- the model -----------------------------------------------------------------------------------

#define IDS	8
#define OWNERS	8
#define FILTERS (sizeof(filters) / sizeof(filters[0]))

static const char *const filters[] = {"a", "a/b", "a/+", "a/#", "#", "+/b", "$share/g/a/b", "b"};
static const char *const topics[] = {"a", "a/b", "b", "c", "a/b/c"};
static char owners[OWNERS][2] = {"0", "1", "2", "3", "4", "5", "6", "7"};

struct model_sub {
	unsigned filter;
	uint16_t packet_id, unsubscribe_id;
	uint8_t qos;
	enum subscription_state state;
};

struct model_session {
	bool exists;
	int owner; // -1: offline
	uint32_t expiry_s;
	uint64_t ends_us;
	bool unknown;
	struct model_sub subs[16];
	unsigned count;
	struct session *real;
};

struct model {
	struct fixture *f;
	struct random rng;
	uint64_t now_us;
	struct model_session sessions[IDS];
	unsigned subs;
};

static void model_remove(struct model *m, struct model_session *s, unsigned i)
{
	memmove(&s->subs[i], &s->subs[i + 1], (--s->count - i) * sizeof(s->subs[0]));
	m->subs--;
}

static void model_end(struct model *m, struct model_session *s)
{
	m->subs -= s->count;
	memset(s, 0, sizeof(*s));
}

// The connection is gone.
static void model_settle(struct model *m, struct model_session *s, bool goodbye)
{
	for (unsigned i = s->count; i-- > 0;) {
		struct model_sub *sub = &s->subs[i];

		if (sub->unsubscribe_id != 0 && goodbye)
			model_remove(m, s, i);
		else if (sub->unsubscribe_id != 0 || sub->state == SUBSCRIPTION_PENDING)
			sub->state = SUBSCRIPTION_UNCERTAIN, sub->unsubscribe_id = 0;
	}
}

static void step_bind(struct model *m, struct model_session *s, unsigned id, unsigned owner)
{
	bool present = random_below(&m->rng, 2);
	uint32_t expiry_s = random_below(&m->rng, 3) * 50;
	void *previous;
	struct session *real;

	for (unsigned i = 0; i < IDS; i++)
		if (m->sessions[i].exists && m->sessions[i].owner == (int)owner)
			return; // one session a connection
	real = bind(m->f, (char[]){'a' + id, 0}, present, expiry_s, owners[owner], &previous);
	if (s->exists && s->owner >= 0)
		assert_ptr_equal(previous, owners[s->owner]);
	else
		assert_null(previous);
	if (s->exists && !present)
		model_end(m, s);
	else if (s->exists && s->owner >= 0)
		model_settle(m, s, false);
	assert_non_null(real);
	s->unknown |= !s->exists && present;
	s->exists = true;
	s->owner = (int)owner;
	s->expiry_s = expiry_s;
	s->real = real;
}

static void step_unbind(struct model *m, struct model_session *s)
{
	bool goodbye = random_below(&m->rng, 2);

	if (!s->exists || s->owner < 0)
		return;
	if (goodbye)
		session_goodbye(s->real);
	session_unbind(m->f->map, s->real, m->now_us);
	if (s->expiry_s == 0) {
		model_end(m, s);
		return;
	}
	s->owner = -1;
	s->ends_us = m->now_us + (s->expiry_s + s->expiry_s / 8 + 60ull) * US_IN_S;
	model_settle(m, s, goodbye);
}

static void step_subscribe(struct model *m, struct model_session *s)
{
	unsigned filter = random_below(&m->rng, FILTERS);
	uint8_t qos = (uint8_t)random_below(&m->rng, 3);
	uint16_t packet_id = 1 + (uint16_t)random_below(&m->rng, 4);
	int rc;

	if (!s->exists || s->owner < 0)
		return;
	for (unsigned i = 0; i < s->count; i++)
		if (s->subs[i].packet_id == packet_id && s->subs[i].state == SUBSCRIPTION_PENDING)
			return; // identifiers under way are not used again
	rc = subscribe(m->f, s->real, packet_id, filters[filter], qos);
	assert_int_equal(rc == 0, s->count < 10 && m->subs < SUBSCRIPTIONS_MAX);
	if (rc < 0)
		return;
	s->subs[s->count++] = (struct model_sub){filter, packet_id, 0, qos, SUBSCRIPTION_PENDING};
	m->subs++;
}

static void step_suback(struct model *m, struct model_session *s)
{
	uint16_t packet_id = 1 + (uint16_t)random_below(&m->rng, 4);
	uint8_t code = (uint8_t)random_below(&m->rng, 4);

	if (!s->exists || s->owner < 0)
		return;
	code = code == 3 ? 0x80 : code;
	granted(m->f, s->real, packet_id, code);
	for (unsigned i = 0; i < s->count; i++) {
		struct model_sub sub = s->subs[i];

		if (sub.state != SUBSCRIPTION_PENDING || sub.packet_id != packet_id)
			continue;
		if (code == 0x80) {
			model_remove(m, s, i);
			return;
		}
		s->subs[i].state = SUBSCRIPTION_ACTIVE;
		s->subs[i].qos = code;
		for (unsigned j = i; j-- > 0;)
			if (s->subs[j].filter == sub.filter &&
				s->subs[j].state != SUBSCRIPTION_PENDING)
				model_remove(m, s, j);
		return;
	}
}

static void step_unsubscribe(struct model *m, struct model_session *s)
{
	const char *filter = filters[random_below(&m->rng, FILTERS)];
	uint16_t packet_id = 1 + (uint16_t)random_below(&m->rng, 4);

	if (!s->exists || s->owner < 0)
		return;
	session_unsubscribe(m->f->map, s->real, packet_id, 0, mqtt_bytes(filter, strlen(filter)));
	for (unsigned i = 0; i < s->count; i++)
		if (strcmp(filters[s->subs[i].filter], filter) == 0 &&
			s->subs[i].unsubscribe_id == 0)
			s->subs[i].unsubscribe_id = packet_id;
}

static void step_unsuback(struct model *m, struct model_session *s)
{
	uint16_t packet_id = 1 + (uint16_t)random_below(&m->rng, 4);

	if (!s->exists || s->owner < 0)
		return;
	session_unsubscribed(m->f->map, s->real, packet_id, mqtt_bytes(NULL, 0), NULL, NULL);
	for (unsigned i = s->count; i-- > 0;)
		if (s->subs[i].unsubscribe_id == packet_id)
			model_remove(m, s, i);
}

static void step_time(struct model *m)
{
	m->now_us += random_below(&m->rng, 30) * US_IN_S;
	session_map_expire(m->f->map, m->now_us);
	for (unsigned i = 0; i < IDS; i++)
		if (m->sessions[i].exists && m->sessions[i].owner < 0 &&
			m->sessions[i].ends_us <= m->now_us)
			model_end(m, &m->sessions[i]);
}

static void model_compare(struct model *m)
{
	struct matches real, expected;
	uint32_t online = 0, offline = 0, unknown = 0;

	for (unsigned i = 0; i < IDS; i++) {
		online += m->sessions[i].exists && m->sessions[i].owner >= 0;
		offline += m->sessions[i].exists && m->sessions[i].owner < 0;
		unknown += m->sessions[i].exists && m->sessions[i].unknown;
	}
	assert_int_equal(m->f->map->online, online);
	assert_int_equal(m->f->map->offline, offline);
	assert_int_equal(m->f->map->unknown, unknown);
	for (unsigned t = 0; t < sizeof(topics) / sizeof(topics[0]); t++) {
		expected = (struct matches){.count = 0};
		for (unsigned i = 0; i < IDS; i++) {
			const struct model_session *s = &m->sessions[i];

			for (unsigned j = 0; j < s->count; j++) {
				const char *filter = filters[s->subs[j].filter];

				filter += strncmp(filter, "$share/g/", 9) == 0 ? 9 : 0;
				if (!mqtt_filter_matches(mqtt_bytes(filter, strlen(filter)),
					    mqtt_bytes(topics[t], strlen(topics[t]))))
					continue;
				snprintf(expected.one[expected.count++], 8, "%s%u%s ",
					s->owner < 0 ? "-" : owners[s->owner], s->subs[j].qos,
					(const char *[]){"?", "", "!"}[s->subs[j].state]);
			}
		}
		qsort(expected.one, expected.count, sizeof(expected.one[0]), compare);
		for (unsigned i = 0; i < expected.count; i++)
			strcat(expected.all, expected.one[i]);
		assert_string_equal(match(m->f, topics[t], &real), expected.all);
	}
}

static void agrees_with_the_model(void **state)
{
	static struct model m;

	m = (struct model){.f = *state};
	random_init(&m.rng, 7);
	for (unsigned step = 0; step < 8000; step++) {
		unsigned id = random_below(&m.rng, IDS);
		struct model_session *s = &m.sessions[id];
		unsigned what = random_below(&m.rng, 24);

		if (what < 3)
			step_bind(&m, s, id, random_below(&m.rng, OWNERS));
		else if (what < 4)
			step_unbind(&m, s);
		else if (what < 12)
			step_subscribe(&m, s);
		else if (what < 18)
			step_suback(&m, s);
		else if (what < 20)
			step_unsubscribe(&m, s);
		else if (what < 23)
			step_unsuback(&m, s);
		else
			step_time(&m);
		session_map_check(m.f->map);
		if (step % 8 == 0)
			model_compare(&m);
	}
}

int test_map(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pending_granted_replaced_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(made_again_with_another_no_local, setup, teardown),
		cmocka_unit_test_setup_teardown(unsubscribed_at_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(sessions_end_stay_and_move, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_not_seen_is_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(
			without_an_identifier_each_is_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(agrees_with_the_model, setup, teardown),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
