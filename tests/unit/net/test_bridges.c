// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Several bridges between the same ports, each with frames and a clock of its own: what one
// learns the others know in time, and whatever they hear in which order, all agree on where a
// station was seen last.

#include "net_tests.h"

#include "net/bridge.h"

#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

#define BRIDGES	 3
#define PORTS	 4
#define STATIONS 10
#define SLOTS	 16
#define NOBODY	 200 // a station that is never learned

struct queue { // of one bridge to another
	struct bridge_news news[SLOTS];
	unsigned head, count, room;
};

struct group {
	struct fixture *f;
	struct net_if netifs[PORTS];
	struct net_if *list[PORTS];
	struct bridge_config config;
	struct member {
		struct group *group;
		unsigned index;
		struct bridge *bridge;
		uint64_t now_us;
	} members[BRIDGES];
	struct queue queues[BRIDGES][BRIDGES];
	unsigned told;
};

static bool tell(void *ctx, const struct bridge_news *news)
{
	const struct member *member = ctx;
	struct queue *queues = member->group->queues[member->index];

	for (unsigned to = 0; to < BRIDGES; to++)
		if (to != member->index && queues[to].count == queues[to].room)
			return false;
	for (unsigned to = 0; to < BRIDGES; to++)
		if (to != member->index)
			queues[to].news[(queues[to].head + queues[to].count++) % SLOTS] = *news;
	member->group->told++;
	return true;
}

static bool hear(void *ctx, struct bridge_news *ret_news)
{
	const struct member *member = ctx;

	for (unsigned from = 0; from < BRIDGES; from++) {
		struct queue *queue = &member->group->queues[from][member->index];

		if (queue->count == 0)
			continue;
		*ret_news = queue->news[queue->head++ % SLOTS];
		queue->count--;
		return true;
	}
	return false;
}

static int group_setup(void **state)
{
	struct group *g = calloc(1, sizeof(*g));

	fixture_setup((void **)&g->f);
	for (unsigned i = 0; i < PORTS; i++) {
		g->netifs[i] = (struct net_if){.index = i, .mtu = 1500, .tx_pool = g->f->pool};
		g->list[i] = &g->netifs[i];
	}
	bridge_config_init(&g->config);
	g->config.netifs = g->list;
	g->config.netifs_count = PORTS;
	g->config.stations_max = 32;
	for (unsigned i = 0; i < BRIDGES; i++) {
		struct member *member = &g->members[i];
		char name[16];

		for (unsigned k = 0; k < BRIDGES; k++)
			g->queues[i][k].room = SLOTS;
		*member = (struct member){g, i, NULL, 1000 * SECOND};
		g->config.sharing = (struct bridge_sharing){tell, hear, member, i > 0};
		snprintf(name, sizeof(name), "bridge%u", i);
		assert_int_equal(bridge_create(name, &g->config, &g->f->rng, &member->bridge), 0);
	}
	*state = g;
	return 0;
}

static int group_teardown(void **state)
{
	struct group *g = *state;
	void *f = g->f;

	for (unsigned i = 0; i < BRIDGES; i++) {
		bridge_check(g->members[i].bridge);
		bridge_destroy(g->members[i].bridge);
	}
	fixture_teardown(&f);
	free(g);
	return 0;
}

static uint32_t route(struct group *g, unsigned bridge, unsigned port, unsigned to, unsigned from)
{
	struct member *member = &g->members[bridge];
	uint8_t frame[64] = {2, 0, 0, 0, 1, (uint8_t)to, 2, 0, 0, 0, 1, (uint8_t)from, 0x88, 0xb5};
	struct rte_mbuf *m = frame_mbuf(g->f, frame, sizeof(frame));
	uint32_t ports = bridge_route(member->bridge, &g->netifs[port], m, member->now_us);

	rte_pktmbuf_free(m);
	bridge_check(member->bridge);
	return ports;
}

// Where `bridge` believes the station to be; PORTS: nowhere. Asked from a port and its neighbour,
// for nothing goes where it came from.
static unsigned place(struct group *g, unsigned bridge, unsigned station)
{
	uint32_t ports =
		route(g, bridge, 0, station, NOBODY) & route(g, bridge, 1, station, NOBODY);

	if (ports == 0)
		ports = route(g, bridge, 2, station, NOBODY);
	if (ports == 0)
		return 0;
	return ports & (ports - 1) ? PORTS : (unsigned)__builtin_ctz(ports);
}

static void listen(struct group *g, unsigned bridge)
{
	bridge_listen(g->members[bridge].bridge, g->members[bridge].now_us);
}

static void pass_time(struct group *g, uint64_t us)
{
	for (unsigned i = 0; i < BRIDGES; i++)
		g->members[i].now_us += us;
}

static void test_an_answer_is_never_flooded(void **state)
{
	struct group *g = *state;

	assert_int_equal(route(g, 0, 3, 2, 1), 0x7); // for nobody knows station 2
	// The others have not listened since.
	assert_int_equal(route(g, 1, 1, 1, 2), 1u << 3);
	assert_int_equal(route(g, 2, 0, 2, 3), 1u << 1);
	assert_int_equal(route(g, 0, 3, 2, 1), 1u << 1);
}

static void test_all_see_a_station_move(void **state)
{
	struct group *g = *state;

	route(g, 0, 3, NOBODY, 1);
	for (unsigned i = 0; i < BRIDGES; i++)
		listen(g, i);
	pass_time(g, 10);
	route(g, 1, 2, NOBODY, 1);
	listen(g, 0);
	listen(g, 2);
	for (unsigned i = 0; i < BRIDGES; i++)
		assert_int_equal(route(g, i, 0, 1, 2), 1u << 2);
}

static void test_who_is_heard_by_one_is_forgotten_by_none(void **state)
{
	struct group *g = *state;

	for (unsigned i = 0; i < 50; i++) {
		route(g, 0, 3, NOBODY, 1);
		pass_time(g, g->config.age_us / 10);
		listen(g, 2);
		assert_int_equal(route(g, 2, 0, 1, 2), 1u << 3);
	}
	// And not with each of 100 frames: four times while a station would age.
	assert_in_range(g->told, 10, 50);
	pass_time(g, g->config.age_us + 1);
	assert_int_equal(route(g, 2, 0, 1, 2), 0xe);
}

static void test_the_later_of_two_that_saw_it_is_believed(void **state)
{
	struct group *g = *state;

	// The clock of a bridge that is in the middle of a turn is a little behind.
	g->members[1].now_us += 20;
	route(g, 1, 2, NOBODY, 1);
	route(g, 0, 3, NOBODY, 1);
	for (unsigned turn = 0; turn < 3; turn++)
		for (unsigned i = 0; i < BRIDGES; i++)
			listen(g, i);
	for (unsigned i = 0; i < BRIDGES; i++)
		assert_int_equal(route(g, i, 0, 1, 2), 1u << 2);
	// A bridge that knows something newer than what it hears says so.
	pass_time(g, 100);
	g->members[0].now_us += 30;
	route(g, 0, 2, NOBODY, 1); // no news to anybody
	listen(g, 1);
	route(g, 1, 3, NOBODY, 1); // what waited in a queue until now
	for (unsigned turn = 0; turn < 3; turn++)
		for (unsigned i = 0; i < BRIDGES; i++)
			listen(g, i);
	for (unsigned i = 0; i < BRIDGES; i++)
		assert_int_equal(route(g, i, 0, 1, 2), 1u << 2);
}

static void test_what_nobody_has_room_for_is_told_later(void **state)
{
	struct group *g = *state;

	g->queues[0][2].room = 1;
	for (unsigned station = 1; station <= 5; station++)
		route(g, 0, 3, NOBODY, station);
	assert_int_equal(g->queues[0][1].count, 1); // all or nobody
	for (unsigned turn = 0; turn < 4; turn++) {
		listen(g, 1);
		listen(g, 2);
		listen(g, 0);
	}
	assert_int_equal(g->queues[0][1].count, 1);
	for (unsigned station = 1; station <= 5; station++)
		for (unsigned i = 0; i < BRIDGES; i++)
			assert_int_equal(place(g, i, station), 3);
}

static void test_one_of_them_counts_the_stations(void **state)
{
	struct group *g = *state;

	for (unsigned i = 0; i < BRIDGES; i++)
		route(g, i, i, NOBODY, i);
	for (unsigned i = 0; i < BRIDGES; i++)
		listen(g, i);
	for (unsigned i = 0; i < BRIDGES; i++) {
		struct counter_set set = bridge_counters(g->members[i].bridge);

		assert_string_equal(set.families[2].name, "bridge_stations");
		assert_int_equal(set.values[2 + 1], i == 0 ? BRIDGES : 0);
	}
}

static void test_whatever_they_hear_in_which_order_all_agree(void **state)
{
	struct group *g = *state;
	struct {
		uint64_t us;
		unsigned port;
	} last[STATIONS] = {0};

	for (unsigned k = 0; k < BRIDGES; k++)
		for (unsigned i = 0; i < BRIDGES; i++)
			g->queues[k][i].room = 3;
	for (unsigned i = 0; i < 30000; i++) {
		unsigned bridge = random_below(&g->f->rng, BRIDGES);
		unsigned station = random_below(&g->f->rng, STATIONS);
		unsigned port = random_below(&g->f->rng, PORTS);
		struct member *member = &g->members[bridge];

		// No two see something at the same time.
		member->now_us += BRIDGES * random_below(&g->f->rng, 5) + BRIDGES;
		member->now_us -= member->now_us % BRIDGES - bridge;
		if (random_below(&g->f->rng, 3) == 0)
			listen(g, bridge);
		route(g, bridge, port, random_below(&g->f->rng, STATIONS), station);
		if (member->now_us > last[station].us) {
			last[station].us = member->now_us;
			last[station].port = port;
		}
		if (i % 100 != 99)
			continue;
		for (unsigned turn = 0; turn < 60; turn++)
			listen(g, turn % BRIDGES);
		for (unsigned s = 0; s < STATIONS; s++)
			for (unsigned k = 0; k < BRIDGES; k++)
				if (last[s].us != 0)
					assert_int_equal(place(g, k, s), last[s].port);
	}
}

int test_net_bridges(void)
{
#define group_test(name) cmocka_unit_test_setup_teardown(name, group_setup, group_teardown)
	const struct CMUnitTest tests[] = {
		group_test(test_an_answer_is_never_flooded),
		group_test(test_all_see_a_station_move),
		group_test(test_who_is_heard_by_one_is_forgotten_by_none),
		group_test(test_the_later_of_two_that_saw_it_is_believed),
		group_test(test_what_nobody_has_room_for_is_told_later),
		group_test(test_one_of_them_counts_the_stations),
		group_test(test_whatever_they_hear_in_which_order_all_agree),
	};

	return cmocka_run_group_tests_name("bridges", tests, NULL, NULL);
}
