// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is sent to addresses of ours, with and without net_config.loop.

#include "frames6.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static void join(struct fixture *f)
{
	f->config.loop = true;
	fixture_net_create(f);
	advance(f, 4 * SECOND);
	sent_clear(f);
}

static void send_segment(struct fixture *f, struct net_path *path, uint8_t protocol)
{
	uint8_t segment[32] = {[12] = 5 << 4};

	net_path_send(path, frame_mbuf(f, segment, sizeof(segment)), protocol, 2, f->now_us);
}

static void test_without_it_there_is_no_way(void **state)
{
	struct fixture *f = *state;
	struct net_address us = ip_address(US), from;
	struct net_path path;

	assert_int_equal(net_source_select(f->net, &us, &from), -EHOSTUNREACH);
	assert_int_equal(net_path_open(f->net, &us, &us, &path), -EHOSTUNREACH);
}

static void comes_back(struct fixture *f, struct net_path *path, uint32_t header)
{
	struct net_delivery delivery;

	assert_int_equal(net_looped(f->net, &delivery, 1, f->now_us), 0);
	send_segment(f, path, IPPROTO_TCP);
	assert_int_equal(net_next_deadline(f->net), f->now_us);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(net_looped(f->net, &delivery, 1, f->now_us), 1);
	assert_true(net_address_equal(&delivery.source, &path->local));
	assert_true(net_address_equal(&delivery.destination, &path->remote));
	assert_ptr_equal(delivery.netif, &f->eth);
	assert_int_equal(delivery.kind, NET_DELIVERY_TCP);
	assert_int_equal(delivery.ecn, 2);
	assert_int_equal(delivery.m->l3_len, header);
	assert_int_equal(delivery.m->pkt_len, header + 32);
	rte_pktmbuf_free(delivery.m);
	assert_int_equal(net_looped(f->net, &delivery, 1, f->now_us), 0);
	net_path_close(path);
}

static void test_it_comes_back(void **state)
{
	struct net_path path;

	join(*state);
	path = open_path(*state, US);
	comes_back(*state, &path, 20);
}

static void test_ipv6_comes_back(void **state)
{
	struct net_path path;

	join(*state);
	path = open_path6(*state, US6);
	comes_back(*state, &path, 40);
}

static void test_what_is_not_tcp_does_not(void **state)
{
	struct fixture *f = *state;
	struct net_delivery deliveries[2];
	struct net_path path;

	join(f);
	path = open_path(f, US);
	send_segment(f, &path, 253);
	send_segment(f, &path, IPPROTO_TCP);
	assert_int_equal(net_looped(f->net, deliveries, 2, f->now_us), 1);
	rte_pktmbuf_free(deliveries[0].m);
	net_path_close(&path);
}

static void test_what_waits_has_an_end(void **state)
{
	struct fixture *f = *state;
	struct net_delivery delivery;
	struct net_path path;
	unsigned count = 0;

	join(f);
	path = open_path(f, US);
	for (unsigned i = 0; i < 200; i++)
		send_segment(f, &path, IPPROTO_TCP);
	while (net_looped(f->net, &delivery, 1, f->now_us) == 1) {
		rte_pktmbuf_free(delivery.m);
		count++;
	}
	assert_int_equal(count, 200);
	send_segment(f, &path, IPPROTO_TCP); // and is freed with the net
	net_path_close(&path);
}

int test_net_loop(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_without_it_there_is_no_way),
		net_test(test_it_comes_back),
		net6_test(test_ipv6_comes_back),
		net_test(test_what_is_not_tcp_does_not),
		net_test(test_what_waits_has_an_end),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
