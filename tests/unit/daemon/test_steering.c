// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Steering: both legs of a client have one owner, owners are spread, packets and ICMP
// errors come to them in order, what does not fit is counted and freed.

#include "daemon_tests.h"

#include "attach/monitor.h"
#include "control/config.h"
#include "daemon/steering.h"
#include "net/bridge.h"

#include <rte_mbuf.h>

#include <string.h>

#define WORKERS 3
#define POOL	8191
#define LISTEN	1883
#define IPV4	20

struct bed {
	struct offload_broker_config broker;
	struct config config;
	struct steering *steering;
	struct rte_mempool *pool;
	struct net_if netif;
	struct net_address us, source, broker_host, client;
};

static struct rte_mempool *pool;

static struct net_address address(const char *text)
{
	struct net_address a;

	assert_int_equal(net_address_parse(text, &a), 0);
	return a;
}

static int setup_as(void **state, enum config_mode mode)
{
	struct bed *bed = test_calloc(1, sizeof(*bed));

	bed->us = address("198.18.0.1");
	bed->source = address("198.19.0.1");
	bed->broker_host = address("198.19.0.2");
	bed->client = address("198.18.0.2");
	bed->broker.listen = (struct net_endpoint){bed->us, LISTEN};
	bed->broker.address = (struct net_endpoint){bed->broker_host, LISTEN};
	bed->config.brokers = &bed->broker;
	bed->config.brokers_count = 1;
	bed->config.mode = mode;
	bed->config.workers = WORKERS;
	bed->pool = pool;
	bed->netif.tx_pool = pool;
	assert_int_equal(steering_create(&bed->config, 12345, &bed->steering), 0);
	*state = bed;
	return 0;
}

static int setup(void **state)
{
	return setup_as(state, CONFIG_MODE_STACK);
}

static int setup_monitor(void **state)
{
	return setup_as(state, CONFIG_MODE_MONITOR);
}

static int teardown(void **state)
{
	struct bed *bed = *state;

	steering_destroy(bed->steering);
	assert_int_equal(rte_mempool_avail_count(pool), POOL);
	test_free(bed);
	return 0;
}

static unsigned owner_down(const struct bed *bed, uint16_t port)
{
	struct net_endpoint local = {bed->us, LISTEN}, remote = {bed->client, port};

	return steering_owner(bed->steering, &local, &remote);
}

static unsigned owner_up(const struct bed *bed, uint16_t port)
{
	struct net_endpoint local = {bed->source, port}, remote = {bed->broker_host, LISTEN};

	return steering_owner(bed->steering, &local, &remote);
}

static void test_both_legs_have_one_owner(void **state)
{
	const struct bed *bed = *state;

	for (unsigned port = 1; port < 65536; port++)
		assert_int_equal(owner_down(bed, port), owner_up(bed, port));
}

static void test_any_pattern_of_ports_is_spread(void **state)
{
	const struct bed *bed = *state;

	// Linux hands out even ports first, one after the other.
	for (unsigned step = 1; step <= 64; step *= 2) {
		unsigned counts[WORKERS] = {0}, total = 0;

		for (unsigned port = 32768; port < 60999 && total < 300; port += step, total++)
			counts[owner_down(bed, port)]++;
		for (unsigned w = 0; w < WORKERS; w++)
			assert_in_range(counts[w], total / WORKERS / 2, total * 2 / WORKERS);
	}
}

// A segment between the two ends, from its IP header on.
static struct net_delivery segment(
	struct bed *bed, bool down, uint16_t client_port, uint32_t number)
{
	uint16_t source = down ? client_port : LISTEN, destination = down ? LISTEN : client_port;
	struct net_delivery delivery = {
		.kind = NET_DELIVERY_TCP,
		.m = rte_pktmbuf_alloc(bed->pool),
		.source = down ? bed->client : bed->broker_host,
		.destination = down ? bed->us : bed->source,
		.netif = &bed->netif,
	};
	uint8_t *p;

	assert_non_null(delivery.m);
	delivery.m->data_len = IPV4 + 20;
	delivery.m->pkt_len = IPV4 + 20;
	p = rte_pktmbuf_mtod(delivery.m, uint8_t *);
	memset(p, 0, IPV4 + 20);
	p[0] = 0x45;
	delivery.m->l3_len = IPV4;
	p[IPV4] = source >> 8;
	p[IPV4 + 1] = source & 0xff;
	p[IPV4 + 2] = destination >> 8;
	p[IPV4 + 3] = destination & 0xff;
	memcpy(p + IPV4 + 4, &number, sizeof(number));
	return delivery;
}

static uint32_t number_of(const struct net_delivery *delivery)
{
	uint32_t number;

	memcpy(&number, rte_pktmbuf_mtod_offset(delivery->m, uint8_t *, IPV4 + 4), sizeof(number));
	return number;
}

static void test_segments_come_to_their_owner_in_order(void **state)
{
	struct bed *bed = *state;
	unsigned expected = 0, got = 0;

	for (uint32_t i = 0; i < 600; i += 60) {
		struct net_delivery deliveries[60];
		unsigned left;
		uint32_t last = 0;

		for (unsigned k = 0; k < 60; k++) {
			deliveries[k] = segment(bed, k % 2 == 0, 40000 + k, i + k);
			expected += owner_down(bed, 40000 + k) == 2;
		}
		left = steering_sort(bed->steering, 0, deliveries, 60);
		for (unsigned k = 0; k < left; k++) {
			assert_int_equal(
				owner_down(bed, 40000 + number_of(&deliveries[k]) % 60), 0);
			assert_true(k == 0 || number_of(&deliveries[k]) > last);
			last = number_of(&deliveries[k]);
			rte_pktmbuf_free(deliveries[k].m);
		}
	}
	for (uint32_t last = 0;;) {
		struct net_delivery delivery;

		if (steering_take(bed->steering, 2, 0, &delivery, 1) == 0)
			break;
		assert_int_equal(owner_down(bed, 40000 + number_of(&delivery) % 60), 2);
		assert_true(got == 0 || number_of(&delivery) > last);
		last = number_of(&delivery);
		rte_pktmbuf_free(delivery.m);
		got++;
	}
	assert_int_equal(got, expected);
	assert_int_not_equal(got, 0);
}

static void test_an_icmp_error_comes_to_the_owner_of_what_it_quotes(void **state)
{
	struct bed *bed = *state;

	for (unsigned k = 0; k < 50; k++) {
		uint16_t port = 40000 + k;
		// What we sent to a client, quoted by a router.
		struct net_delivery error = segment(bed, false, port, 0);
		uint32_t us = net_address_to_ipv4(&bed->us);
		unsigned owner = owner_down(bed, port);

		error.kind = NET_DELIVERY_ICMP_ERROR;
		memcpy(rte_pktmbuf_mtod_offset(error.m, uint8_t *, 12), &us, sizeof(us));
		if (steering_sort(bed->steering, 1, &error, 1) == 1) {
			assert_int_equal(owner, 1);
		} else {
			assert_int_not_equal(owner, 1);
			assert_int_equal(steering_take(bed->steering, owner, 1, &error, 1), 1);
		}
		rte_pktmbuf_free(error.m);
	}
}

static void test_what_does_not_fit_is_counted(void **state)
{
	struct bed *bed = *state;
	struct counter_set counters = steering_counters(bed->steering, 0);
	uint16_t port = 1;

	while (owner_down(bed, port) != 1)
		port++;
	for (unsigned i = 0; i < 6000; i++) {
		struct net_delivery delivery = segment(bed, true, port, i);

		assert_int_equal(steering_sort(bed->steering, 0, &delivery, 1), 0);
	}
	assert_int_equal(counters.values[0] + counters.values[1], 6000);
	assert_int_not_equal(counters.values[1], 0);
}

static void test_frames_and_shared_ones_arrive(void **state)
{
	struct bed *bed = *state;
	struct rte_mbuf *m = rte_pktmbuf_alloc(bed->pool), *got[4];
	struct net_delivery heard;

	memcpy(rte_pktmbuf_append(m, 4), "arp!", 4);
	steering_share(bed->steering, 1, &bed->netif, m);
	assert_int_equal(steering_take(bed->steering, 1, 0, &heard, 1), 0);
	for (unsigned to = 0; to < WORKERS; to += 2) {
		assert_int_equal(steering_take(bed->steering, to, 1, &heard, 1), 1);
		assert_int_equal(heard.kind, STEERING_HEARD);
		assert_ptr_not_equal(heard.m, m);
		assert_memory_equal(rte_pktmbuf_mtod(heard.m, char *), "arp!", 4);
		rte_pktmbuf_free(heard.m);
	}
	steering_send(bed->steering, 2, 0, 5, m);
	assert_int_equal(steering_frames(bed->steering, 0, 1, got, 4), 0);
	assert_int_equal(steering_frames(bed->steering, 0, 2, got, 4), 1);
	assert_ptr_equal(got[0], m);
	assert_int_equal(m->port, 5);
	steering_send(bed->steering, 2, 0, 5, m); // freed with the rings
}

// --- monitor mode --------------------------------------------------------------------------------

static struct monitor_frame frame(struct bed *bed, uint32_t number)
{
	return (struct monitor_frame){rte_pktmbuf_alloc(bed->pool), number % 2, number};
}

static void test_frames_come_to_their_owner_in_order(void **state)
{
	struct bed *bed = *state;
	struct monitor_frame got[8];
	uint32_t next[WORKERS] = {0};

	for (uint32_t i = 0; i < 600; i++) {
		struct monitor_frame handed = frame(bed, i);

		steering_hand(bed->steering, 0, 1 + i % 2, &handed);
	}
	for (unsigned to = 1; to < WORKERS; to++) {
		unsigned count;

		assert_int_equal(steering_handed(bed->steering, to, to == 1 ? 2 : 1, got, 8), 0);
		while ((count = steering_handed(bed->steering, to, 0, got, 8)) > 0)
			for (unsigned i = 0; i < count; i++) {
				assert_int_equal(got[i].ports, 2 * next[to]++ + to - 1);
				assert_int_equal(got[i].from, got[i].ports % 2);
				rte_pktmbuf_free(got[i].m);
			}
		assert_int_equal(next[to], 300);
	}
}

static void test_frames_that_do_not_fit_are_counted(void **state)
{
	struct bed *bed = *state;
	struct counter_set counters = steering_counters(bed->steering, 0);

	for (unsigned i = 0; i < 6000; i++) {
		struct monitor_frame handed = frame(bed, i);

		steering_hand(bed->steering, 0, 2, &handed);
	}
	assert_int_equal(counters.values[0] + counters.values[1], 6000);
	assert_int_not_equal(counters.values[1], 0);
}

static void test_all_others_are_told_or_none(void **state)
{
	struct bed *bed = *state;
	struct bridge_news news = {.vlan = 7}, heard;
	unsigned told = 0, more = 0;

	while (steering_tell(bed->steering, 0, &news))
		news.port = ++told;
	assert_int_not_equal(told, 0);
	// One of them listens, the other does not yet.
	while (steering_hear(bed->steering, 1, &heard))
		assert_int_equal(heard.port, more++);
	assert_int_equal(more, told);
	assert_false(steering_tell(bed->steering, 0, &news));
	assert_false(steering_hear(bed->steering, 1, &heard));
	assert_true(steering_hear(bed->steering, 2, &heard));
	assert_int_equal(heard.vlan, 7);
	assert_true(steering_tell(bed->steering, 0, &news));
	assert_true(steering_hear(bed->steering, 1, &heard));
	assert_int_equal(heard.port, told);
	assert_false(steering_hear(bed->steering, 0, &heard));
}

static int group_setup(void **state)
{
	pool = rte_pktmbuf_pool_create("steering", POOL, 0, 0, 512, SOCKET_ID_ANY);
	return pool == NULL;
}

static int group_teardown(void **state)
{
	rte_mempool_free(pool);
	return 0;
}

int test_daemon_steering(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_legs_have_one_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_any_pattern_of_ports_is_spread, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_segments_come_to_their_owner_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_icmp_error_comes_to_the_owner_of_what_it_quotes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_does_not_fit_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_frames_and_shared_ones_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_frames_come_to_their_owner_in_order, setup_monitor, teardown),
		cmocka_unit_test_setup_teardown(
			test_frames_that_do_not_fit_are_counted, setup_monitor, teardown),
		cmocka_unit_test_setup_teardown(
			test_all_others_are_told_or_none, setup_monitor, teardown),
	};

	return cmocka_run_group_tests_name("steering", tests, group_setup, group_teardown);
}
