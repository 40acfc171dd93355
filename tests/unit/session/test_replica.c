// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Replicas of three workers that tell each other their changes, late and in order,
// against a model that counts.

#include "session_tests.h"

#include <string.h>

#include "base/assert.h"
#include "base/random.h"
#include "mqtt/topic.h"
#include "session/replica.h"

#define WORKERS	 3
#define FILTERS	 8
#define HOLDINGS 64
#define QUEUE	 512

static const char *const filters[FILTERS] = {
	"a", "a/b", "a/+", "a/#", "+/b", "#", "b/c/d", "a/b/a-level-with-a-long-name-of-its-own"};
static const char *const topics[] = {"a", "a/b", "b/c/d", "x", "a/b/c"};

struct told {
	struct replica_news news;
	char filter[80];
};

struct world {
	struct session_changes changes[WORKERS], doubts[WORKERS];
	struct replica *replicas[WORKERS];
	struct told queue[WORKERS][WORKERS][QUEUE]; // from, to
	unsigned head[WORKERS][WORKERS], tail[WORKERS][WORKERS];
	struct holding {
		struct replica_filter *record; // NULL: none
		unsigned filter;
		uint16_t standing;
	} holdings[WORKERS][HOLDINGS];
	bool incomplete[WORKERS];
};

static void world_init(struct world *w, uint32_t filters_max)
{
	memset(w, 0, sizeof(*w));
	for (unsigned i = 0; i < WORKERS; i++) {
		const struct replica_config config = {
			.filters_max = filters_max,
			.workers = WORKERS,
			.self = i,
			.seed = i,
		};

		session_changes_init(&w->changes[i]);
		session_changes_init(&w->doubts[i]);
		assert_int_equal(replica_create("replica", &config, &w->changes[i], &w->doubts[i],
					 &w->replicas[i]),
			0);
	}
}

static void world_fini(struct world *w)
{
	for (unsigned i = 0; i < WORKERS; i++)
		replica_destroy(w->replicas[i]);
}

// One piece of news goes to everybody's queue.
static bool tell(struct world *w, unsigned from)
{
	struct told told = {0};

	if (!replica_peek(
		    w->replicas[from], &told.news, (uint8_t *)told.filter, sizeof(told.filter)))
		return false;
	assert_int_equal(told.news.due, replica_due(w->replicas[from]));
	replica_told(w->replicas[from]);
	for (unsigned to = 0; to < WORKERS; to++)
		if (to != from)
			w->queue[from][to][w->tail[from][to]++ % QUEUE] = told;
	return true;
}

static bool learn(struct world *w, unsigned from, unsigned to)
{
	const struct told *told;

	if (from == to || w->head[from][to] == w->tail[from][to])
		return false;
	told = &w->queue[from][to][w->head[from][to]++ % QUEUE];
	replica_learn(
		w->replicas[to], from, &told->news, mqtt_bytes(told->filter, told->news.length));
	return true;
}

static void settle(struct world *w)
{
	for (unsigned i = 0; i < WORKERS; i++)
		while (tell(w, i)) {
		}
	for (unsigned i = 0; i < WORKERS * WORKERS; i++)
		while (learn(w, i / WORKERS, i % WORKERS)) {
		}
	for (unsigned i = 0; i < WORKERS; i++)
		replica_check(w->replicas[i]);
}

static void assert_match(struct world *w, unsigned self, const char *topic)
{
	struct replica_match match, expected = {0};

	for (unsigned other = 0; other < WORKERS; other++) {
		for (unsigned i = 0; other != self && i < HOLDINGS; i++) {
			const struct holding *h = &w->holdings[other][i];

			if (h->record == NULL ||
				!mqtt_filter_matches(
					mqtt_bytes(filters[h->filter], strlen(filters[h->filter])),
					mqtt_bytes(topic, strlen(topic))))
				continue;
			expected.standings |= h->standing;
			if (h->standing & STANDING_TARGET)
				expected.workers |= 1u << other;
			if (h->standing & STANDING_JOINED)
				expected.joined |= 1u << other;
		}
	}
	replica_match(w->replicas[self], mqtt_bytes(topic, strlen(topic)), &match);
	assert_int_equal(match.workers, expected.workers);
	assert_int_equal(match.joined, expected.joined);
	assert_int_equal(match.standings, expected.standings);
}

static void assert_settled(struct world *w)
{
	settle(w);
	for (unsigned self = 0; self < WORKERS; self++) {
		bool complete = true;

		for (unsigned t = 0; t < sizeof(topics) / sizeof(topics[0]); t++)
			assert_match(w, self, topics[t]);
		for (unsigned other = 0; other < WORKERS; other++)
			complete &= other == self || !w->incomplete[other];
		assert_int_equal(replica_complete(w->replicas[self]), complete);
	}
}

static void holding_set(struct world *w, unsigned worker, struct holding *h, uint16_t standing)
{
	if (h->standing != standing)
		replica_count(w->replicas[worker], h->record, h->standing, standing);
	h->standing = standing;
}

static void holding_drop(struct world *w, unsigned worker, struct holding *h)
{
	holding_set(w, worker, h, 0);
	replica_put(w->replicas[worker], h->record);
	h->record = NULL;
}

static bool holding_make(struct world *w, unsigned worker, struct holding *h, unsigned filter)
{
	h->record = replica_get(
		w->replicas[worker], mqtt_bytes(filters[filter], strlen(filters[filter])));
	h->filter = filter;
	h->standing = 0;
	return h->record != NULL;
}

static void test_random_changes_are_known_everywhere_in_the_end(void **state)
{
	static struct world w;
	struct random r;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		random_init(&r, seed);
		world_init(&w, FILTERS * WORKERS);
		for (unsigned step = 0; step < 1500; step++) {
			unsigned worker = random_below(&r, WORKERS);
			struct holding *h = &w.holdings[worker][random_below(&r, HOLDINGS)];

			switch (random_below(&r, 8)) {
			case 0:
				if (h->record == NULL)
					assert_true(holding_make(
						&w, worker, h, random_below(&r, FILTERS)));
				else
					holding_drop(&w, worker, h);
				break;
			case 1:
			case 2:
				if (h->record != NULL)
					holding_set(&w, worker, h,
						(uint16_t)random_below(&r, 1 << STANDING_KINDS));
				break;
			case 3:
				w.incomplete[worker] = random_below(&r, 4) == 0;
				replica_complete_set(w.replicas[worker], !w.incomplete[worker]);
				break;
			case 4:
				tell(&w, worker);
				break;
			case 5:
				if (h->record != NULL)
					replica_touch(w.replicas[worker], h->record,
						random_below(&r, 2), random_below(&r, 2));
				break;
			default:
				learn(&w, worker, random_below(&r, WORKERS));
			}
			if (step % 100 == 0)
				assert_settled(&w);
		}
		assert_settled(&w);
		for (unsigned i = 0; i < WORKERS * HOLDINGS; i++)
			if (w.holdings[i / HOLDINGS][i % HOLDINGS].record != NULL)
				holding_drop(
					&w, i / HOLDINGS, &w.holdings[i / HOLDINGS][i % HOLDINGS]);
		assert_settled(&w);
		world_fini(&w);
	}
}

static void test_what_finds_no_room_makes_the_map_incomplete(void **state)
{
	static struct world w;
	struct holding *h = w.holdings[0];

	world_init(&w, 2);
	assert_true(holding_make(&w, 1, &w.holdings[1][0], 0));
	assert_true(holding_make(&w, 1, &w.holdings[1][1], 1));
	assert_true(holding_make(&w, 0, &h[0], 2));
	assert_true(holding_make(&w, 0, &h[1], 3));
	assert_false(holding_make(&w, 0, &h[2], 4));
	holding_set(&w, 0, &h[0], STANDING_TARGET);
	holding_set(&w, 0, &h[1], STANDING_TARGET);
	settle(&w);
	assert_false(replica_complete(w.replicas[1])); // full of its own
	assert_true(replica_complete(w.replicas[2]));
	holding_set(&w, 0, &h[1], 0);
	settle(&w);
	assert_false(replica_complete(w.replicas[1]));
	holding_set(&w, 0, &h[0], 0);
	settle(&w);
	assert_true(replica_complete(w.replicas[1]));
	// There is room now.
	holding_drop(&w, 1, &w.holdings[1][0]);
	holding_set(&w, 0, &h[0], STANDING_TARGET | STANDING_HEARD);
	assert_settled(&w);
	world_fini(&w);
}

static void test_changes_that_wait_are_told_as_one(void **state)
{
	static struct world w;
	struct holding *h = &w.holdings[0][0];
	unsigned told = 0;

	world_init(&w, 8);
	assert_true(holding_make(&w, 0, h, 1));
	for (unsigned i = 0; i < 10; i++) {
		holding_set(&w, 0, h, STANDING_TARGET);
		holding_set(&w, 0, h, STANDING_OFFLINE);
	}
	while (tell(&w, 0))
		told++;
	assert_int_equal(told, 1);
	holding_set(&w, 0, h, STANDING_TARGET);
	holding_set(&w, 0, h, STANDING_OFFLINE); // nothing has changed in the end
	assert_false(tell(&w, 0));
	assert_settled(&w);
	world_fini(&w);
}

// Somebody has come to `topic` at another worker since *learned.
static bool joined_since(const struct world *w, unsigned self, const char *topic, uint64_t *learned)
{
	struct replica_match match;
	uint64_t before = *learned;

	*learned = replica_learned(w->replicas[self]);
	replica_match(w->replicas[self], mqtt_bytes(topic, strlen(topic)), &match);
	return match.joined_at > before;
}

static bool doubted_since(
	const struct world *w, unsigned self, const char *topic, uint64_t *version)
{
	uint64_t before = *version;

	*version = w->doubts[self].version;
	return session_changes_touch(&w->doubts[self], before, mqtt_bytes(topic, strlen(topic)));
}

// One who comes to a filter that somebody has already, one who goes: what is told is the same.
static void test_who_may_have_come_and_what_is_in_doubt(void **state)
{
	static struct world w;
	struct holding *h = w.holdings[0];
	uint64_t learned = 0, version = 1;

	world_init(&w, 8);
	assert_true(holding_make(&w, 0, &h[0], 1));
	replica_touch(w.replicas[0], h[0].record, true, true);
	holding_set(&w, 0, &h[0], STANDING_TARGET);
	settle(&w);
	assert_true(joined_since(&w, 1, "a/b", &learned));
	assert_false(joined_since(&w, 1, "a/b", &learned));
	assert_true(holding_make(&w, 0, &h[1], 1));
	replica_touch(w.replicas[0], h[1].record, true, true);
	holding_set(&w, 0, &h[1], STANDING_TARGET);
	settle(&w);
	assert_false(joined_since(&w, 1, "b", &learned));
	replica_touch(w.replicas[0], h[1].record, true, true);
	settle(&w);
	assert_true(joined_since(&w, 1, "a/b", &learned));
	// One goes, for certain, and then another, perhaps.
	replica_touch(w.replicas[0], h[1].record, true, false);
	holding_drop(&w, 0, &h[1]);
	settle(&w);
	assert_false(joined_since(&w, 1, "a/b", &learned));
	assert_false(doubted_since(&w, 1, "a/b", &version));
	replica_touch(w.replicas[0], h[0].record, false, false);
	holding_drop(&w, 0, &h[0]);
	settle(&w);
	assert_false(joined_since(&w, 1, "a/b", &learned));
	assert_false(doubted_since(&w, 1, "b", &(uint64_t){version}));
	assert_true(doubted_since(&w, 1, "a/b", &version));
	world_fini(&w);
}

// Nobody has been told of who came and went, and still the broker may have him.
static void test_doubts_are_told_of_what_nobody_knew(void **state)
{
	static struct world w;
	struct holding *h = w.holdings[0];
	uint64_t version = 1;

	world_init(&w, 4);
	for (unsigned sure = 0; sure < 2; sure++) {
		assert_true(holding_make(&w, 0, h, 1));
		replica_touch(w.replicas[0], h->record, true, true);
		holding_set(&w, 0, h, STANDING_TARGET);
		replica_touch(w.replicas[0], h->record, sure, false);
		holding_drop(&w, 0, h);
		settle(&w);
		assert_int_equal(doubted_since(&w, 2, "a/b", &version), !sure);
	}
	replica_doubt(w.replicas[0], mqtt_bytes("a/+", 3));
	replica_doubt(w.replicas[0], mqtt_bytes("a/+", 3));
	settle(&w);
	assert_false(doubted_since(&w, 1, "b/c/d", &(uint64_t){version}));
	assert_true(doubted_since(&w, 1, "a/b", &version));
	assert_int_equal(w.tail[0][1], 2);
	// Without room everything is in doubt.
	for (unsigned i = 0; i < 4; i++)
		assert_true(holding_make(&w, 0, &h[i], i));
	replica_doubt(w.replicas[0], mqtt_bytes("#", 1));
	settle(&w);
	assert_true(doubted_since(&w, 1, "x", &version));
	world_fini(&w);
}

int test_replica(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes_are_known_everywhere_in_the_end),
		cmocka_unit_test(test_what_finds_no_room_makes_the_map_incomplete),
		cmocka_unit_test(test_changes_that_wait_are_told_as_one),
		cmocka_unit_test(test_who_may_have_come_and_what_is_in_doubt),
		cmocka_unit_test(test_doubts_are_told_of_what_nobody_knew),
	};

	return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}
