// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Whom a topic reaches, or why it must pass.

#include "offload_tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proof/route.h"

#define SESSIONS 3000

struct fixture {
	struct payload_pool *payloads;
	struct session_map *map;
	struct proof_routes *routes;
	char owners[SESSIONS];
};

static int setup_broker(void **state, enum proof_overlap overlap, bool amqp)
{
	static const char *const pass[] = {"op/#"};
	const struct payload_pool_config payloads = {{4095, 255, 63, 31}, -1};
	const struct session_map_config map = {.sessions_max = SESSIONS,
		.subscriptions_max = 2 * SESSIONS,
		.subscriptions_per_session = 10,
		.keep_other_qos = overlap == PROOF_OVERLAP_PASS,
		.amqp = amqp};
	const struct proof_routes_config routes = {
		.slots = 4, .overlap = overlap, .pass = pass, .pass_count = 1};
	struct fixture *f = malloc(sizeof(*f));

	assert_int_equal(payload_pool_create("routes", &payloads, &f->payloads), 0);
	assert_int_equal(session_map_create("routes", &map, f->payloads, 0, &f->map), 0);
	assert_int_equal(proof_routes_create(&routes, f->map, f->payloads, &f->routes), 0);
	*state = f;
	return 0;
}

static int setup_overlap(void **state, enum proof_overlap overlap)
{
	return setup_broker(state, overlap, false);
}

static int setup_amqp(void **state)
{
	return setup_broker(state, PROOF_OVERLAP_PASS, true);
}

static int setup(void **state)
{
	return setup_overlap(state, PROOF_OVERLAP_MOSQUITTO);
}

static int setup_one(void **state)
{
	return setup_overlap(state, PROOF_OVERLAP_ONE);
}

static int setup_each(void **state)
{
	return setup_overlap(state, PROOF_OVERLAP_EACH);
}

static int setup_pass(void **state)
{
	return setup_overlap(state, PROOF_OVERLAP_PASS);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	proof_routes_destroy(f->routes);
	session_map_destroy(f->map); // with whatever sessions there are
	payload_pool_check(f->payloads);
	payload_pool_destroy(f->payloads);
	free(f);
	return 0;
}

static struct session *connect_again(struct fixture *f, unsigned i, enum mqtt_version version,
	uint32_t expiry_s, bool bridge, bool present)
{
	char id[16];
	struct session_bind bind = {.version = version,
		.session_present = present,
		.expiry_s = expiry_s,
		.bridge = bridge,
		.owner = &f->owners[i]};
	struct session *session;
	void *previous;

	snprintf(id, sizeof(id), "c%u", i);
	bind.client_id = mqtt_bytes(id, strlen(id));
	assert_int_equal(session_bind(f->map, &bind, &session, &previous), 0);
	return session;
}

static struct session *connect(
	struct fixture *f, unsigned i, enum mqtt_version version, uint32_t expiry_s, bool bridge)
{
	return connect_again(f, i, version, expiry_s, bridge, false);
}

static struct session *resume(struct fixture *f, unsigned i, uint32_t expiry_s)
{
	return connect_again(f, i, MQTT_VERSION_5, expiry_s, false, true);
}

enum { PENDING = 1, NO_LOCAL = 2 };

static void subscribe(struct fixture *f, struct session *session, const char *filter, uint8_t qos,
	uint32_t id, unsigned flags)
{
	const struct mqtt_subscribe_filter one = {.filter = mqtt_bytes(filter, strlen(filter)),
		.qos = qos,
		.no_local = flags & NO_LOCAL};

	assert_int_equal(session_subscribe(f->map, session, 7, 0, &one, id), 0);
	if (!(flags & PENDING))
		session_granted(f->map, session, 7, mqtt_bytes(&qos, 1), NULL, NULL);
}

static struct proof_route *find(struct fixture *f, const char *topic)
{
	return proof_route_find(f->routes, mqtt_bytes(topic, strlen(topic)));
}

static const struct proof_target *target_of(
	const struct fixture *f, const struct proof_route *route, unsigned i, unsigned nth)
{
	for (uint32_t t = 0; t < route->targets; t++)
		if (proof_route_target(route, t)->owner == &f->owners[i] && nth-- == 0)
			return proof_route_target(route, t);
	return NULL;
}

static void one_copy_in_v3_one_a_subscription_in_v5(void **state)
{
	struct fixture *f = *state;
	struct session *a = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);
	struct session *b = connect(f, 1, MQTT_VERSION_5, 0, false);
	struct proof_route *route;

	subscribe(f, a, "t", 0, 0, 0);
	subscribe(f, a, "#", 2, 0, 0);
	subscribe(f, b, "t", 0, 5, 0);
	subscribe(f, b, "+", 1, 0, NO_LOCAL);
	route = find(f, "t");
	assert_int_equal(route->reason, PROOF_CAPTURE);
	assert_int_equal(route->targets, 3);
	assert_int_equal(target_of(f, route, 0, 0)->qos, 0); // the name before '#'
	for (unsigned nth = 0; nth < 2; nth++) {
		const struct proof_target *target = target_of(f, route, 1, nth);

		assert_int_equal(target->qos, target->id == 5 ? 0 : 1);
		assert_int_equal(target->flags, target->id == 5 ? 0 : ROUTE_NO_LOCAL);
	}
	assert_int_equal(find(f, "nobody/here")->targets, 1); // "#"
}

static void one_copy_always(void **state)
{
	struct fixture *f = *state;
	struct session *b = connect(f, 1, MQTT_VERSION_5, 0, false);

	subscribe(f, b, "t", 0, 0, 0);
	subscribe(f, b, "+", 1, 0, 0);
	assert_int_equal(find(f, "t")->targets, 1);
	assert_int_equal(target_of(f, find(f, "t"), 1, 0)->qos, 1);
	// One copy would need both identifiers.
	subscribe(f, b, "#", 0, 5, 0);
	assert_int_equal(find(f, "t")->reason, PROOF_OVERLAP);
	assert_int_equal(find(f, "u/v")->targets, 1);
	assert_int_equal(target_of(f, find(f, "u/v"), 1, 0)->id, 5);
}

// Its own message matches one subscription, others' match two: no single target says that.
static void one_copy_with_mixed_no_local_passes(void **state)
{
	struct fixture *f = *state;
	struct session *b = connect(f, 1, MQTT_VERSION_5, 0, false);

	subscribe(f, b, "t", 1, 0, NO_LOCAL);
	assert_int_equal(find(f, "t")->reason, PROOF_CAPTURE);
	assert_int_equal(target_of(f, find(f, "t"), 1, 0)->flags, ROUTE_NO_LOCAL);
	subscribe(f, b, "+", 0, 0, 0);
	assert_int_equal(find(f, "t")->reason, PROOF_OVERLAP);
	assert_int_equal(find(f, "u")->reason, PROOF_CAPTURE);
}

static void each_subscription_always(void **state)
{
	struct fixture *f = *state;
	struct session *a = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);

	subscribe(f, a, "t", 0, 0, 0);
	subscribe(f, a, "#", 1, 0, 0);
	assert_int_equal(find(f, "t")->targets, 2);
}

// Two subscriptions of one client pass, two clients with one each do not.
static void overlaps_of_one_client_pass(void **state)
{
	struct fixture *f = *state;
	struct session *a = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);
	struct session *b = connect(f, 1, MQTT_VERSION_3_1_1, 0, false);

	subscribe(f, a, "t/1", 1, 0, 0);
	subscribe(f, b, "t/+", 1, 0, 0);
	assert_int_equal(find(f, "t/1")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "t/1")->targets, 2);
	subscribe(f, a, "t/#", 1, 0, PENDING);
	assert_int_equal(find(f, "t/1")->reason, PROOF_OVERLAP);
	assert_int_equal(find(f, "t/2")->reason, PROOF_CAPTURE);
}

// Made again with the same QoS it is one; with another there are two, until it is unsubscribed.
static void a_subscription_with_another_qos_is_an_overlap(void **state)
{
	struct fixture *f = *state;
	struct session *a = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);

	subscribe(f, a, "t", 0, 0, 0);
	subscribe(f, a, "t", 0, 0, 0);
	assert_int_equal(find(f, "t")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "t")->targets, 1);
	subscribe(f, a, "t", 1, 0, 0);
	assert_int_equal(find(f, "t")->reason, PROOF_OVERLAP);
	for (unsigned i = 0; i < 20; i++) // far above subscriptions_per_session
		subscribe(f, a, "t", i % 2, 0, 0);
	assert_int_equal(find(f, "t")->reason, PROOF_OVERLAP);
	session_unsubscribe(f->map, a, 9, 0, mqtt_bytes("t", 1));
	session_unsubscribed(f->map, a, 9, mqtt_bytes(NULL, 0), NULL, NULL);
	assert_int_equal(find(f, "t")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "t")->targets, 0);
	subscribe(f, a, "t", 1, 0, 0);
	assert_int_equal(find(f, "t")->targets, 1);
}

// The operator's filters change while routes are remembered.
static void the_operators_filters_take_effect_at_once(void **state)
{
	static const char *const other[] = {"t/+", "#"};
	struct fixture *f = *state;

	subscribe(f, connect(f, 0, MQTT_VERSION_3_1_1, 0, false), "#", 0, 0, 0);
	assert_int_equal(find(f, "op/1")->reason, PROOF_OPERATOR);
	assert_int_equal(find(f, "t/1")->targets, 1);
	proof_routes_set_pass(f->routes, other, 1);
	assert_int_equal(find(f, "t/1")->reason, PROOF_OPERATOR);
	assert_int_equal(find(f, "t/1")->targets, 0);
	assert_int_equal(find(f, "op/1")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "op/1")->targets, 1);
	proof_routes_set_pass(f->routes, other, 2);
	assert_int_equal(find(f, "op/1")->reason, PROOF_OPERATOR);
	proof_routes_set_pass(f->routes, NULL, 0);
	assert_int_equal(find(f, "op/1")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "t/1")->reason, PROOF_CAPTURE);
}

static enum proof_reason reason_of(struct fixture *f, const char *topic)
{
	return find(f, topic)->reason;
}

// What is written in AMQP's way passes, and so does all that the broker takes for the same.
static void topics_of_amqp_pass(void **state)
{
	struct fixture *f = *state;
	struct session *plain = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);
	struct session *amqp = connect(f, 1, MQTT_VERSION_3_1_1, 0, false);

	subscribe(f, plain, "#", 1, 0, 0);
	assert_int_equal(reason_of(f, "a/b"), PROOF_CAPTURE);
	assert_int_equal(reason_of(f, "a.b"), PROOF_AMQP);
	assert_int_equal(reason_of(f, "a/*"), PROOF_AMQP);
	assert_int_equal(reason_of(f, "a/*b"), PROOF_AMQP);
	subscribe(f, amqp, "a.b", 1, 0, PENDING);
	assert_int_equal(reason_of(f, "a/b"), PROOF_AMQP);
	assert_int_equal(reason_of(f, "a/c"), PROOF_CAPTURE);
	subscribe(f, amqp, "d.*/e.#", 1, 0, 0);
	assert_int_equal(reason_of(f, "d/x/e"), PROOF_AMQP);
	assert_int_equal(reason_of(f, "d/x/e/f/g"), PROOF_AMQP);
	assert_int_equal(reason_of(f, "d/e"), PROOF_CAPTURE);
	// One that orders another's messages is behind what it has sent there.
	assert_int_equal(find(f, "a.b")->hash, find(f, "a/b")->hash);
	assert_int_not_equal(find(f, "a/b")->hash, find(f, "a/c")->hash);
}

// A broker of MQTT's own kind tells them apart.
static void topics_of_mqtt_hold_any_character(void **state)
{
	struct fixture *f = *state;
	struct session *a = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);

	subscribe(f, a, "a.b", 1, 0, 0);
	subscribe(f, a, "*", 1, 0, 0);
	assert_int_equal(find(f, "a.b")->targets, 1);
	assert_int_equal(find(f, "a/b")->targets, 0);
	assert_int_equal(find(f, "*")->targets, 1);
	assert_int_equal(find(f, "x")->targets, 0);
	assert_int_equal(reason_of(f, "*"), PROOF_CAPTURE);
}

// To the broker they are one subscription: the later replaces the earlier, either name ends it.
static void subscriptions_read_alike_are_one(void **state)
{
	struct fixture *f = *state;
	struct session *a = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);

	subscribe(f, a, "a/+", 1, 0, 0);
	subscribe(f, a, "a.*", 1, 0, 0);
	assert_int_equal(reason_of(f, "a/b"), PROOF_AMQP);
	assert_int_equal(a->subscriptions_count, 1);
	subscribe(f, a, "a/+", 1, 0, 0);
	assert_int_equal(reason_of(f, "a/b"), PROOF_CAPTURE);
	assert_int_equal(find(f, "a/b")->targets, 1);
	session_unsubscribe(f->map, a, 9, 0, mqtt_bytes("a.*", 3));
	session_unsubscribed(f->map, a, 9, mqtt_bytes(NULL, 0), NULL, NULL);
	assert_int_equal(find(f, "a/b")->targets, 0);
}

// The worker that a session moves to knows it as this one did.
static void subscriptions_of_amqp_move(void **state)
{
	struct fixture *f = *state;
	struct session *from = connect(f, 0, MQTT_VERSION_3_1_1, 0, false);
	struct session *to = connect(f, 1, MQTT_VERSION_3_1_1, 0, false);
	uint32_t cursor = 0, length;
	uint8_t written[256];
	bool more;

	subscribe(f, from, "a.b", 1, 0, 0);
	length = session_write(from, &cursor, written, sizeof(written), &more);
	session_unbind(f->map, from, 0);
	assert_int_equal(reason_of(f, "a/b"), PROOF_CAPTURE);
	assert_true(session_read(f->map, to, written, length));
	assert_int_equal(reason_of(f, "a/b"), PROOF_AMQP);
}

static void reasons_to_pass(void **state)
{
	struct fixture *f = *state;
	struct session *kept = connect(f, 0, MQTT_VERSION_5, 100, false);
	struct session *bridge = connect(f, 1, MQTT_VERSION_3_1_1, 0, true);
	struct session *sharer = connect(f, 2, MQTT_VERSION_5, 0, false);
	char deep[400];

	subscribe(f, kept, "k/0", 0, 0, 0);
	subscribe(f, kept, "k/1", 1, 0, 0);
	subscribe(f, bridge, "b", 0, 0, 0);
	subscribe(f, sharer, "$share/g/s", 0, 0, 0);
	assert_int_equal(find(f, "op/1")->reason, PROOF_OPERATOR);
	assert_int_equal(find(f, "b")->reason, PROOF_BRIDGE);
	assert_int_equal(find(f, "s")->reason, PROOF_SHARE);
	assert_int_equal(find(f, "s")->targets, 0);
	assert_int_equal(find(f, "k/0")->reason_qos1, PROOF_CAPTURE);
	assert_int_equal(find(f, "k/1")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "k/1")->reason_qos1, PROOF_CAPTURE);
	assert_int_equal(find(f, "k/1")->reason_qos2, PROOF_CAPTURE);
	assert_true(find(f, "k/1")->kept && !find(f, "k/0")->kept);
	assert_int_equal(find(f, "k/1")->targets, 1);
	session_unbind(f->map, kept, 0);
	assert_int_equal(find(f, "k/1")->reason_qos1, PROOF_OFFLINE);
	assert_int_equal(find(f, "k/1")->targets, 0);
	assert_int_equal(find(f, "k/0")->reason, PROOF_CAPTURE);
	// Back, but the broker may have something for it; then not any more.
	kept = resume(f, 0, 100);
	assert_int_equal(find(f, "k/1")->reason_qos1, PROOF_OFFLINE);
	assert_int_equal(find(f, "k/0")->reason_qos1, PROOF_CAPTURE);
	session_caught_up(f->map, kept);
	assert_int_equal(find(f, "k/1")->reason_qos1, PROOF_CAPTURE);
	subscribe(f, kept, "k/2", 2, 0, 0);
	assert_int_equal(find(f, "k/2")->reason_qos1, PROOF_CAPTURE);
	assert_int_equal(find(f, "k/2")->reason_qos2, PROOF_PERSISTENT);
	subscribe(f, kept, "k/3", 1, 0, PENDING);
	assert_int_equal(find(f, "k/3")->reason_qos1, PROOF_PERSISTENT);
	memset(deep, '/', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(find(f, deep)->reason, PROOF_LEVELS);
}

static void pending_counts_for_the_whole_client(void **state)
{
	struct fixture *f = *state;
	struct session *b = connect(f, 1, MQTT_VERSION_5, 0, false);
	struct proof_route *route;

	subscribe(f, b, "t", 0, 0, 0);
	subscribe(f, b, "+", 0, 0, PENDING);
	subscribe(f, connect(f, 2, MQTT_VERSION_5, 0, false), "t", 0, 0, 0);
	route = find(f, "t");
	assert_int_equal(route->targets, 2);
	assert_int_equal(route->pending, 1);
	assert_int_equal(target_of(f, route, 1, 0)->flags, ROUTE_PENDING);
	assert_int_equal(target_of(f, route, 2, 0)->flags, 0);
}

// Every change of the map shows, also in a slot that topics share.
static void routes_follow_the_map(void **state)
{
	struct fixture *f = *state;
	struct random rng;
	struct session *sessions[8];
	bool subscribed[8][8] = {{false}};

	random_init(&rng, 3);
	for (unsigned i = 0; i < 8; i++)
		sessions[i] = connect(f, i, MQTT_VERSION_3_1_1, 0, false);
	for (unsigned step = 0; step < 5000; step++) {
		unsigned i = random_below(&rng, 8), t = random_below(&rng, 8), expected = 0;
		char topic[] = {'t', '0' + (char)t, 0};

		if (random_below(&rng, 3) == 0 && !subscribed[i][t]) {
			subscribe(f, sessions[i], topic, 0, 0, 0);
			subscribed[i][t] = true;
		} else if (subscribed[i][t]) {
			session_unsubscribe(f->map, sessions[i], 9, 0, mqtt_bytes(topic, 2));
			session_unsubscribed(
				f->map, sessions[i], 9, mqtt_bytes(NULL, 0), NULL, NULL);
			subscribed[i][t] = false;
		}
		topic[1] = '0' + (char)random_below(&rng, 8);
		for (unsigned n = 0; n < 8; n++)
			expected += subscribed[n][topic[1] - '0'];
		assert_int_equal(find(f, topic)->targets, expected);
	}
}

// What can be seen of a route.
struct seen {
	enum proof_reason reason, reason_qos1, reason_qos2;
	bool kept;
	uint32_t count, pending;
	struct proof_target targets[64];
};

static void look(const struct proof_route *route, struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));
	seen->reason = route->reason;
	seen->reason_qos1 = route->reason_qos1;
	seen->reason_qos2 = route->reason_qos2;
	seen->kept = route->kept;
	seen->count = route->targets;
	seen->pending = route->pending;
	assert_in_range(route->targets, 0, 64);
	for (uint32_t t = 0; t < route->targets; t++) {
		const struct proof_target *target = proof_route_target(route, t);

		seen->targets[t].owner = target->owner;
		seen->targets[t].id = target->id;
		seen->targets[t].qos = target->qos;
		seen->targets[t].flags = target->flags;
	}
}

static const char *const some_topics[] = {"a", "b", "a/b", "a/b/c", "x/y", "x/z", "long/way/home",
	"a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/b"};
static const char *const some_filters[] = {"a", "b", "a/b", "a/b/c", "x/y", "x/z", "#", "+", "a/#",
	"+/b", "x/+", "$share/g/x/y",
	"a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/b",
	"a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/+",
	"a_name_of_a_level_that_is_so_long_that_it_cannot_be_kept_in_any_ring"};

#define ANY(rng, array) ((array)[random_below(rng, sizeof(array) / sizeof((array)[0]))])

// One random thing that happens to one of the clients.
static void change(struct fixture *f, struct random *rng, struct session **sessions, unsigned i)
{
	const char *filter = ANY(rng, some_filters);
	uint8_t code = random_below(rng, 4) == 0 ? 0x80 : (uint8_t)random_below(rng, 3);
	enum mqtt_version version = random_below(rng, 2) == 0 ? MQTT_VERSION_3_1_1 : MQTT_VERSION_5;

	if (sessions[i] == NULL || random_below(rng, 40) == 0) { // comes, takes over, comes back
		char id[16];
		struct session_bind bind = {.version = version,
			.session_present = random_below(rng, 2) == 0,
			.expiry_s = random_below(rng, 2) == 0 ? 0 : 1000,
			.bridge = random_below(rng, 30) == 0,
			.owner = &f->owners[random_below(rng, SESSIONS)]};
		void *previous;

		snprintf(id, sizeof(id), "c%u", i);
		bind.client_id = mqtt_bytes(id, strlen(id));
		assert_int_equal(session_bind(f->map, &bind, &sessions[i], &previous), 0);
		return;
	}
	switch (random_below(rng, 7)) {
	case 3:
		session_caught_up(f->map, sessions[i]);
		break;
	case 0:
		session_unbind(f->map, sessions[i], 0);
		sessions[i] = NULL;
		break;
	case 1:
		session_unsubscribe(f->map, sessions[i], 9, 0, mqtt_bytes(filter, strlen(filter)));
		session_unsubscribed(f->map, sessions[i], 9, mqtt_bytes(NULL, 0), NULL, NULL);
		break;
	case 2:
		session_granted(f->map, sessions[i], 7, mqtt_bytes(&code, 1), NULL, NULL);
		break;
	default:
		if (sessions[i]->subscriptions_count < 10)
			subscribe(f, sessions[i], filter, (uint8_t)random_below(rng, 3),
				random_below(rng, 3), random_below(rng, 4) == 0 ? PENDING : 0);
	}
}

// Whatever happens between two looks: what is remembered is what would be found out.
static void a_route_kept_is_a_route_made(void **state)
{
	struct fixture *f = *state;
	struct session *sessions[6] = {NULL};
	struct proof_routes_usage usage;
	struct random rng;

	random_init(&rng, 11);
	for (unsigned step = 0; step < 30000; step++) {
		const char *topic = ANY(&rng, some_topics);
		unsigned changes = random_below(&rng, 50) == 0 ? random_below(&rng, 600)
							       : random_below(&rng, 3);
		struct proof_route *route;
		struct seen kept, made;

		while (changes-- > 0)
			change(f, &rng, sessions, random_below(&rng, 6));
		if (random_below(&rng, 100) == 0)
			proof_routes_sweep(f->routes);
		route = find(f, topic);
		if (random_below(&rng, 3) != 0)
			continue;
		look(route, &kept);
		route->version = 0;
		look(find(f, topic), &made);
		assert_memory_equal(&kept, &made, sizeof(kept));
	}
	proof_routes_usage(f->routes, &usage);
	assert_true(usage.confirmed > 1000);
}

static void changes_elsewhere_make_nothing_anew(void **state)
{
	struct fixture *f = *state;
	struct session *s = connect(f, 0, MQTT_VERSION_5, 0, false);
	struct proof_routes_usage before, after;

	subscribe(f, s, "t/+", 0, 0, 0);
	find(f, "t/1");
	proof_routes_usage(f->routes, &before);
	for (unsigned i = 1; i <= 100; i++) {
		char filter[16];

		snprintf(filter, sizeof(filter), "u/%u/#", i);
		subscribe(f, connect(f, i, MQTT_VERSION_5, 0, false), filter, 0, 0, 0);
		session_map_unknown(f->map);
		session_map_known_again(f->map);
		assert_int_equal(find(f, "t/1")->targets, 1);
	}
	proof_routes_sweep(f->routes);
	proof_routes_usage(f->routes, &after);
	assert_int_equal(after.made, before.made);
	assert_int_equal(after.confirmed, before.confirmed + 100);
	subscribe(f, connect(f, 101, MQTT_VERSION_5, 0, false), "#", 0, 0, 0);
	assert_int_equal(find(f, "t/1")->targets, 2);
	proof_routes_usage(f->routes, &after);
	assert_int_equal(after.made, before.made + 1);
}

static void known_now(struct fixture *f, const char *topic)
{
	struct proof_standing *standing = &find(f, topic)->standing;

	*standing = (struct proof_standing){
		.epoch = 1, .known = true, .here = true, .agreed = f->map->doubts.version};
}

// What is known of a topic's readers outlives changes that the broker has confirmed, sweeps, and
// more changes than are remembered; not what puts it in doubt, nor disuse.
static void what_is_known_of_the_readers(void **state)
{
	struct fixture *f = *state;
	struct session *s = connect(f, 0, MQTT_VERSION_5, 0, false);
	struct session *old = connect(f, 1, MQTT_VERSION_3_1_1, 0, false);
	struct session *older = connect(f, 2, MQTT_VERSION_3_1, 0, false);
	static const uint8_t done[] = {0}, none[] = {0x11};

	known_now(f, "t/1");
	for (unsigned i = 0; i < 2 * SESSION_CHANGES; i++) {
		subscribe(f, s, "t/+", 1, 0, 0);
		session_unsubscribe(f->map, s, 9, 0, mqtt_bytes("t/+", 3));
		session_unsubscribed(f->map, s, 9, mqtt_bytes(done, 1), NULL, NULL);
		if (i % 16 == 0)
			proof_routes_sweep(f->routes);
	}
	assert_true(find(f, "t/1")->standing.known);
	assert_int_equal(find(f, "t/1")->targets, 0);
	subscribe(f, old, "t/+", 1, 0, 0);
	assert_true(find(f, "t/1")->standing.known);
	assert_int_equal(find(f, "t/1")->targets, 1);
	// An answer that may mean anything; elsewhere, and here.
	subscribe(f, old, "u", 1, 0, 0);
	session_unsubscribe(f->map, old, 9, 0, mqtt_bytes("u", 1));
	session_unsubscribed(f->map, old, 9, mqtt_bytes(NULL, 0), NULL, NULL);
	assert_true(find(f, "t/1")->standing.known);
	session_unsubscribe(f->map, old, 9, 0, mqtt_bytes("t/+", 3));
	session_unsubscribed(f->map, old, 9, mqtt_bytes(NULL, 0), NULL, NULL);
	assert_false(find(f, "t/1")->standing.known);
	known_now(f, "t/1");
	subscribe(f, older, "t/+", 1, 0, 0);
	assert_false(find(f, "t/1")->standing.known);
	subscribe(f, s, "t/+", 1, 0, 0);
	known_now(f, "t/1");
	session_unsubscribe(f->map, s, 9, 0, mqtt_bytes("t/+", 3));
	session_unsubscribed(f->map, s, 9, mqtt_bytes(none, 1), NULL, NULL);
	assert_false(find(f, "t/1")->standing.known);
	// One who goes for good, one whose session stays.
	subscribe(f, s, "t/+", 1, 0, 0);
	known_now(f, "t/1");
	session_unbind(f->map, s, 0);
	assert_true(find(f, "t/1")->standing.known);
	s = connect(f, 3, MQTT_VERSION_5, 100, false);
	subscribe(f, s, "t/+", 1, 0, 0);
	known_now(f, "t/1");
	session_unbind(f->map, s, 0);
	assert_false(find(f, "t/1")->standing.known);
	known_now(f, "t/1");
	for (unsigned i = 0; i < 100; i++) {
		subscribe(f, old, "t/#", 1, 0, 0);
		proof_routes_sweep(f->routes);
	}
	assert_false(find(f, "t/1")->standing.known);
}

static void more_targets_than_a_chunk_holds(void **state)
{
	struct fixture *f = *state;
	struct proof_route *route;
	struct payload_pool_usage usage;
	static unsigned seen[SESSIONS];

	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct session *s = connect(f, i, MQTT_VERSION_3_1_1, 0, false);

		subscribe(f, s, "t", 0, 0, 0);
		subscribe(f, s, "+", 1, 0, 0);
	}
	route = find(f, "t");
	assert_int_equal(route->targets, SESSIONS);
	assert_int_equal(route->chunks_count, (SESSIONS + ROUTE_CHUNK - 1) / ROUTE_CHUNK);
	for (uint32_t t = 0; t < route->targets; t++) {
		const struct proof_target *target = proof_route_target(route, t);

		assert_int_equal(target->qos, 0);
		seen[(char *)target->owner - f->owners]++;
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_int_equal(seen[i], 1);
	// What was needed only while it was made is back.
	payload_pool_usage(f->payloads, &usage);
	assert_int_equal(usage.in_use[3], route->chunks_count);
}

static void without_memory_it_passes_and_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct payload *taken[4096];
	unsigned count = 0;

	subscribe(f, connect(f, 0, MQTT_VERSION_5, 0, false), "t", 0, 0, 0);
	find(f, "u");
	while ((taken[count] = payload_alloc(f->payloads, PAYLOAD_LARGEST)) != NULL)
		count++;
	assert_int_equal(find(f, "t")->reason, PROOF_NO_MEMORY);
	assert_int_equal(find(f, "t")->targets, 0);
	while (count > 0)
		payload_put(taken[--count]);
	assert_int_equal(find(f, "t")->reason, PROOF_CAPTURE);
	assert_int_equal(find(f, "t")->targets, 1);
}

#define ROUTES_TEST(name, before) cmocka_unit_test_setup_teardown(name, before, teardown)

int test_routes(void)
{
	const struct CMUnitTest tests[] = {
		ROUTES_TEST(one_copy_in_v3_one_a_subscription_in_v5, setup),
		ROUTES_TEST(one_copy_always, setup_one),
		ROUTES_TEST(one_copy_with_mixed_no_local_passes, setup_one),
		ROUTES_TEST(each_subscription_always, setup_each),
		ROUTES_TEST(overlaps_of_one_client_pass, setup_pass),
		ROUTES_TEST(a_subscription_with_another_qos_is_an_overlap, setup_pass),
		ROUTES_TEST(the_operators_filters_take_effect_at_once, setup),
		ROUTES_TEST(topics_of_amqp_pass, setup_amqp),
		ROUTES_TEST(topics_of_mqtt_hold_any_character, setup),
		ROUTES_TEST(subscriptions_read_alike_are_one, setup_amqp),
		ROUTES_TEST(subscriptions_of_amqp_move, setup_amqp),
		ROUTES_TEST(reasons_to_pass, setup),
		ROUTES_TEST(pending_counts_for_the_whole_client, setup),
		ROUTES_TEST(routes_follow_the_map, setup),
		ROUTES_TEST(a_route_kept_is_a_route_made, setup),
		ROUTES_TEST(a_route_kept_is_a_route_made, setup_one),
		ROUTES_TEST(changes_elsewhere_make_nothing_anew, setup),
		ROUTES_TEST(what_is_known_of_the_readers, setup),
		ROUTES_TEST(more_targets_than_a_chunk_holds, setup),
		ROUTES_TEST(without_memory_it_passes_and_is_tried_again, setup),
	};

	return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
