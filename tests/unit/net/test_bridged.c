// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Offramp's ports as hosts on its own bridge: what is theirs reaches them from either wire, the
// rest crosses, and what they send leaves where its station is.
//
//   wire 0   198.18.0.1/16  02:00:00:00:00:01
//   wire 1   198.19.0.1/16  02:00:00:00:00:11

#include "frames6.h"
#include "net_tests.h"

#include "net/bridge.h"
#include "net/bridged.h"

#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

#define WIRES	2
#define KEPT	16
#define US1	IP(198, 19, 0, 1)
#define REQUEST 1

static const uint8_t mac_us1[6] = {2, 0, 0, 0, 0, 0x11};

struct bench {
	struct fixture *f; // pools and randomness
	struct net_if netifs[WIRES], *list[WIRES];
	struct bridged *bridged;
	struct bridge *bridge;
	struct net *net;
	struct wire {
		struct bench *bench;
		struct rte_mbuf *sent[KEPT];
		unsigned count;
	} wires[WIRES];
	uint64_t now_us;
};

static void capture(void *ctx, struct rte_mbuf *m)
{
	struct wire *wire = ctx;

	assert_true(wire->count < KEPT);
	wire->sent[wire->count++] = m;
}

static void forget_sent(struct bench *b)
{
	for (unsigned i = 0; i < WIRES; i++)
		while (b->wires[i].count > 0)
			rte_pktmbuf_free(b->wires[i].sent[--b->wires[i].count]);
}

static void net_make(struct bench *b)
{
	const struct net_interface_address addresses[WIRES] = {
		{ip_address(US), 16}, {ip_address(US1), 16}};
	const struct net_interface_config interfaces[WIRES] = {
		{b->list[0], &addresses[0], 1}, {b->list[1], &addresses[1], 1}};
	struct net_config config;
	const char *error;

	net_config_init(&config);
	config.interfaces = interfaces;
	config.interfaces_count = WIRES;
	assert_int_equal(net_create(&config, &b->f->rng, b->now_us, &b->net, &error), 0);
}

static void make(struct bench *b, enum bridge_mode mode)
{
	struct bridge_config config;

	for (unsigned i = 0; i < WIRES; i++) {
		b->wires[i].bench = b;
		b->netifs[i] = (struct net_if){.index = i,
			.mtu = (uint16_t)(1500 - 100 * i),
			.caps = {.multi_segment = true, .rx_checksum = i == 0},
			.tx_pool = b->f->pool,
			.tx = capture,
			.ctx = &b->wires[i]};
		memcpy(b->netifs[i].mac, i == 0 ? mac_us : mac_us1, 6);
		b->list[i] = &b->netifs[i];
	}
	assert_int_equal(bridged_create(b->list, WIRES, &b->bridged), 0);
	net_make(b);
	bridge_config_init(&config);
	config.mode = mode;
	config.netifs = bridged_wires(b->bridged);
	config.netifs_count = WIRES;
	assert_int_equal(bridge_create("bridge", &config, &b->f->rng, &b->bridge), 0);
	bridged_join(b->bridged, b->net, b->bridge);
	bridge_listen(b->bridge, b->now_us);
}

static void unmake(struct bench *b)
{
	net_check(b->net);
	bridge_check(b->bridge);
	net_destroy(b->net);
	bridge_destroy(b->bridge);
	bridged_destroy(b->bridged);
	forget_sent(b);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	fixture_setup((void **)&b->f);
	b->now_us = 1000 * SECOND;
	make(b, BRIDGE_LEARNING);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	void *f = b->f;

	unmake(b);
	fixture_teardown(&f);
	free(b);
	return 0;
}

// True when TCP was delivered.
static bool come(struct bench *b, unsigned wire, const uint8_t *frame, size_t length)
{
	struct rte_mbuf *m = frame_mbuf(b->f, frame, length);
	struct net_delivery delivery;

	if (bridged_input(b->bridged, wire, &m, 1, b->now_us, &delivery) == 0)
		return false;
	rte_pktmbuf_free(delivery.m);
	return true;
}

static bool come_tcp(struct bench *b, unsigned wire, const uint8_t to[6], uint32_t destination)
{
	const struct packet_spec spec = {.source = PEER, .destination = destination};
	uint8_t frame[256];
	size_t length = build_ether(frame, to, mac_peer, 0x0800);

	length += build_tcp(frame + length, &spec, "x", 1);
	return come(b, wire, frame, length);
}

// A question for an address of ours.
static void come_arp(struct bench *b, unsigned wire, uint32_t target)
{
	uint8_t frame[64];
	size_t length = build_arp(frame, REQUEST, mac_peer, PEER, target);

	assert_false(come(b, wire, frame, length));
}

static void assert_from(const struct bench *b, unsigned wire, unsigned i, const uint8_t from[6])
{
	assert_true(i < b->wires[wire].count);
	assert_memory_equal(rte_pktmbuf_mtod_offset(b->wires[wire].sent[i], uint8_t *, 6), from, 6);
}

static void send_own(struct bench *b, uint32_t remote)
{
	const struct net_address to = ip_address(remote), from = ip_address(US);
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->f->pool);
	struct net_path path;

	assert_int_equal(net_path_open(b->net, &from, &to, &path), 0);
	memset(rte_pktmbuf_append(m, 30), 0, 30);
	m->l4_len = 20;
	net_path_send(&path, m, 17, 0, b->now_us);
	net_path_close(&path);
}

static void test_hosts_can_what_every_wire_can(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < WIRES; i++) {
		assert_int_equal(b->netifs[i].mtu, 1400);
		assert_false(b->netifs[i].caps.rx_checksum);
		assert_true(b->netifs[i].caps.multi_segment);
		assert_int_equal(bridged_wires(b->bridged)[i]->mtu, 1500 - 100 * i);
	}
}

static void test_what_is_ours_comes_from_either_wire_and_goes_no_further(void **state)
{
	struct bench *b = *state;

	for (unsigned wire = 0; wire < WIRES; wire++) {
		assert_true(come_tcp(b, wire, mac_us, US));
		assert_true(come_tcp(b, wire, mac_us1, US1));
	}
	assert_int_equal(b->wires[0].count + b->wires[1].count, 0);
}

static void test_what_is_not_ours_crosses(void **state)
{
	struct bench *b = *state;

	// Also what is for an address of ours, at a MAC that is not.
	assert_false(come_tcp(b, 0, mac_other, US));
	assert_false(come_tcp(b, 0, mac_other, PEER));
	assert_int_equal(b->wires[1].count, 2);
	assert_int_equal(b->wires[0].count, 0);
	assert_from(b, 1, 0, mac_peer);
}

static void test_a_question_is_answered_where_it_was_asked_and_crosses(void **state)
{
	struct bench *b = *state;

	// By the host that has the address, whose wire is another one.
	come_arp(b, 1, US);
	assert_int_equal(b->wires[1].count, 1);
	assert_from(b, 1, 0, mac_us);
	assert_int_equal(b->wires[0].count, 1);
	assert_from(b, 0, 0, mac_peer);
}

static void test_own_frames_leave_where_their_station_is(void **state)
{
	struct bench *b = *state;

	come_arp(b, 1, US);
	forget_sent(b);
	send_own(b, PEER);
	assert_int_equal(b->wires[0].count, 0);
	assert_int_equal(b->wires[1].count, 1);
	// It moves, and says so to us.
	forget_sent(b);
	assert_true(come_tcp(b, 0, mac_us, US));
	send_own(b, PEER);
	assert_int_equal(b->wires[0].count, 1);
	assert_int_equal(b->wires[1].count, 0);
	// After a long silence it may be anywhere.
	forget_sent(b);
	b->now_us += 301 * SECOND;
	bridge_listen(b->bridge, b->now_us);
	send_own(b, PEER);
	assert_int_equal(b->wires[0].count, 1);
	assert_int_equal(b->wires[1].count, 1);
}

static void test_own_questions_go_everywhere(void **state)
{
	struct bench *b = *state;

	send_own(b, PEER); // nobody knows it: it is asked for
	assert_int_equal(b->wires[0].count, 1);
	assert_int_equal(b->wires[1].count, 1);
	assert_from(b, 0, 0, mac_us);
	assert_from(b, 1, 0, mac_us);
}

static void test_own_frames_for_strangers_leave_by_their_own_wire_when_nothing_is_learned(
	void **state)
{
	struct bench *b = *state;

	unmake(b);
	make(b, BRIDGE_STATIC);
	come_arp(b, 0, US);
	assert_int_equal(b->wires[0].count, 1);
	assert_from(b, 0, 0, mac_us);
}

static void test_what_a_device_cuts_may_be_longer_than_the_mtu(void **state)
{
	struct bench *b = *state;
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->f->pool);

	memset(rte_pktmbuf_append(m, 1900), 0, 1900);
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	bridge_send_own(b->bridge, bridged_wires(b->bridged)[0], m);
	assert_int_equal(b->wires[0].count, 1);
}

static void test_what_is_cut_short_or_from_many_is_dropped(void **state)
{
	struct bench *b = *state;
	uint8_t frame[64] = {0};

	assert_false(come(b, 0, frame, 10));
	build_arp(frame, REQUEST, mac_all, PEER, US);
	assert_false(come(b, 0, frame, 60));
	assert_int_equal(b->wires[0].count + b->wires[1].count, 0);
}

int test_net_bridged(void)
{
#define bench_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		bench_test(test_hosts_can_what_every_wire_can),
		bench_test(test_what_is_ours_comes_from_either_wire_and_goes_no_further),
		bench_test(test_what_is_not_ours_crosses),
		bench_test(test_a_question_is_answered_where_it_was_asked_and_crosses),
		bench_test(test_own_frames_leave_where_their_station_is),
		bench_test(test_own_questions_go_everywhere),
		bench_test(
			test_own_frames_for_strangers_leave_by_their_own_wire_when_nothing_is_learned),
		bench_test(test_what_a_device_cuts_may_be_longer_than_the_mtu),
		bench_test(test_what_is_cut_short_or_from_many_is_dropped),
	};

	return cmocka_run_group_tests_name("bridged", tests, NULL, NULL);
}
