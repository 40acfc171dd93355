// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Bridges of workers on threads of their own, with the daemon's rings between them: stations
// move about all the time, and when everything has been said all agree where they are.
// Frames that are handed over meanwhile arrive in order. ThreadSanitizer finds what only goes
// well by chance.

#include "daemon_tests.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "attach/monitor.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/random.h"
#include "control/config.h"
#include "daemon/steering.h"
#include "net/bridge.h"
#include "net/net_if.h"

#define WORKERS	 3
#define PORTS	 4
#define STATIONS 40
#define STEPS	 20000u
#define POOL	 8191
#define FRAME	 60
#define NOBODY	 255 // a station that is never seen

struct worker {
	struct town *town;
	unsigned index;
	struct random rng;
	struct bridge *bridge;
	struct rte_mbuf *frame;
	uint32_t handed[WORKERS], taken[WORKERS]; // to each, from each
};

struct town {
	struct config config;
	struct steering *steering;
	struct rte_mempool *pool;
	struct net_if netifs[PORTS];
	struct net_if *list[PORTS];
	struct worker workers[WORKERS];
};

static bool tell(void *ctx, const struct bridge_news *news)
{
	const struct worker *w = ctx;

	return steering_tell(w->town->steering, w->index, news);
}

static bool hear(void *ctx, struct bridge_news *ret_news)
{
	const struct worker *w = ctx;

	return steering_hear(w->town->steering, w->index, ret_news);
}

static void worker_start(struct town *town, unsigned index)
{
	struct worker *w = &town->workers[index];
	struct bridge_config config;
	char name[16];

	*w = (struct worker){.town = town, .index = index};
	random_init(&w->rng, 7 + index);
	bridge_config_init(&config);
	config.netifs = town->list;
	config.netifs_count = PORTS;
	config.stations_max = 64;
	config.sharing = (struct bridge_sharing){tell, hear, w, index > 0};
	snprintf(name, sizeof(name), "town%u", index);
	assert_int_equal(bridge_create(name, &config, &w->rng, &w->bridge), 0);
	w->frame = rte_pktmbuf_alloc(town->pool);
	assert_non_null(w->frame);
	w->frame->data_len = w->frame->pkt_len = FRAME;
}

static uint32_t route(struct worker *w, unsigned port, unsigned to, unsigned from)
{
	const uint8_t ether[14] = {
		2, 0, 0, 0, 1, (uint8_t)to, 2, 0, 0, 0, 1, (uint8_t)from, 0x88, 0xb5};

	memcpy(rte_pktmbuf_mtod(w->frame, void *), ether, sizeof(ether));
	return bridge_route(w->bridge, &w->town->netifs[port], w->frame, clock_now_us());
}

static void hand(struct worker *w, unsigned to)
{
	struct monitor_frame frame = {rte_pktmbuf_alloc(w->town->pool), w->index, w->handed[to]};

	if (frame.m == NULL)
		return; // the other is behind
	w->handed[to]++;
	steering_hand(w->town->steering, w->index, to, &frame);
}

static void take(struct worker *w, unsigned from)
{
	struct monitor_frame frames[16];
	unsigned count = steering_handed(w->town->steering, w->index, from, frames, 16);

	for (unsigned i = 0; i < count; i++) {
		ASSERT(frames[i].from == from);
		ASSERT(frames[i].ports >= w->taken[from]);
		w->taken[from] = frames[i].ports + 1;
		rte_pktmbuf_free(frames[i].m);
	}
}

static void *live(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < STEPS; i++) {
		unsigned other = (w->index + 1 + random_below(&w->rng, WORKERS - 1)) % WORKERS;

		if (random_below(&w->rng, 4) == 0)
			bridge_listen(w->bridge, clock_now_us());
		route(w, random_below(&w->rng, PORTS), random_below(&w->rng, STATIONS),
			random_below(&w->rng, STATIONS));
		hand(w, other);
		take(w, other);
		if (i % 64 == 0)
			usleep(20); // the others' turn, where there is one core
	}
	return NULL;
}

static int town_setup(void **state)
{
	struct town *town = calloc(1, sizeof(*town));

	town->config.mode = CONFIG_MODE_MONITOR;
	town->config.workers = WORKERS;
	// Threads outnumber cores here: in a ring all would wait for who is preempted in it.
	town->pool =
		rte_pktmbuf_pool_create_by_ops("town", POOL, 0, 0, 512, SOCKET_ID_ANY, "lf_stack");
	assert_non_null(town->pool);
	for (unsigned i = 0; i < PORTS; i++) {
		town->netifs[i] = (struct net_if){.index = i, .mtu = 1500};
		town->list[i] = &town->netifs[i];
	}
	assert_int_equal(steering_create(&town->config, 1, &town->steering), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		worker_start(town, i);
	*state = town;
	return 0;
}

static int town_teardown(void **state)
{
	struct town *town = *state;

	for (unsigned i = 0; i < WORKERS; i++) {
		bridge_check(town->workers[i].bridge);
		bridge_destroy(town->workers[i].bridge);
		rte_pktmbuf_free(town->workers[i].frame);
	}
	steering_destroy(town->steering);
	assert_int_equal(rte_mempool_avail_count(town->pool), POOL);
	rte_mempool_free(town->pool);
	free(town);
	return 0;
}

static void test_all_agree_where_stations_are_when_all_has_been_said(void **state)
{
	struct town *town = *state;
	pthread_t threads[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, live, &town->workers[i]), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned turn = 0; turn < 200 * WORKERS; turn++)
		bridge_listen(town->workers[turn % WORKERS].bridge, clock_now_us());
	for (unsigned station = 0; station < STATIONS; station++)
		for (unsigned port = 0; port < 2; port++) { // nothing goes where it came from
			uint32_t ports = route(&town->workers[0], port, station, NOBODY);

			for (unsigned i = 1; i < WORKERS; i++)
				assert_int_equal(
					route(&town->workers[i], port, station, NOBODY), ports);
			assert_true(ports == 0 || (ports & (ports - 1)) == 0); // known
		}
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned from = 0; from < WORKERS; from++)
			assert_true(i == from || town->workers[i].taken[from] > 0);
}

int test_daemon_bridging(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_all_agree_where_stations_are_when_all_has_been_said, town_setup,
			town_teardown),
	};

	return cmocka_run_group_tests_name("bridging", tests, NULL, NULL);
}
