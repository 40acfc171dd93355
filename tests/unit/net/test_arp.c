// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ARP on the wire: who is answered, what is learnt, announcements and conflicts
// (RFC 826, RFC 5227).

#include "net_tests.h"

#include <rte_mbuf.h>

#include <string.h>

#define REQUEST 1
#define REPLY	2

static void test_addresses_are_announced_twice_at_the_start(void **state)
{
	struct fixture *f = *state;

	fixture_net_create(f);
	assert_true(net_next_deadline(f->net) <= f->now_us);
	net_timers(f->net, f->now_us);
	assert_int_equal(f->sent_count, 1); // nothing on the raw interface
	assert_sent_arp(f, 0, REQUEST, mac_all, US, US);
	advance(f, 10 * SECOND);
	assert_int_equal(f->sent_count, 2);
	assert_sent_arp(f, 1, REQUEST, mac_all, US, US);
	assert_true(net_next_deadline(f->net) == UINT64_MAX);
}

static void test_a_request_for_us_is_answered_and_its_sender_learnt(void **state)
{
	struct fixture *f = *state;

	receive_arp(f, REQUEST, mac_peer, PEER, US);
	assert_int_equal(f->sent_count, 1);
	assert_sent_arp(f, 0, REPLY, mac_peer, US, PEER);
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	assert_int_equal(counter(f, "arp_requests_total", "received"), 1);
	assert_int_equal(counter(f, "arp_replies_total", "sent"), 1);
}

static void test_a_probe_for_our_address_is_answered_and_teaches_nothing(void **state)
{
	struct fixture *f = *state;

	receive_arp(f, REQUEST, mac_peer, 0, US);
	assert_sent_arp(f, 0, REPLY, mac_peer, US, 0);
	assert_int_equal(counter(f, "neighbours", "reachable"), 0);
}

static void test_nothing_is_learnt_from_what_is_not_for_us(void **state)
{
	static const struct {
		unsigned opcode;
		uint32_t sender, target;
		uint64_t not_ours;
	} cases[] = {
		{REQUEST, PEER, IP(198, 18, 0, 3), 1}, {REQUEST, PEER, PEER, 1},
		{REPLY, PEER, IP(198, 18, 0, 3), 1},
		{REPLY, PEER, US, 1},		  // that we never asked for
		{REQUEST, IP(8, 8, 8, 8), US, 0}, // answered; but it is on no link of ours
		{REQUEST, PEER, RAW_US, 1},	  // ours, but not on this interface
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t before = dropped(f, "arp_not_ours");

		receive_arp(f, cases[i].opcode, mac_peer, cases[i].sender, cases[i].target);
		assert_string_equal(neighbour_state(f, cases[i].sender), "");
		if (cases[i].opcode != REPLY || cases[i].target != US)
			assert_int_equal(dropped(f, "arp_not_ours") - before, cases[i].not_ours);
	}
}

static void test_what_we_know_is_kept_up_to_date_by_what_we_overhear(void **state)
{
	struct fixture *f = *state;
	struct net_path path;
	uint8_t frame[2048];

	receive_arp(f, REQUEST, mac_peer, PEER, US);
	path = open_path(f, PEER);
	receive_arp(f, REQUEST, mac_peer, PEER, PEER); // says nothing new
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	receive_arp(f, REQUEST, mac_other, PEER, PEER); // it has moved
	assert_string_equal(neighbour_state(f, PEER), "stale");
	sent_clear(f);
	send_bytes(f, &path, 10);
	assert_int_equal(f->sent_count, 1);
	sent_frame(f, 0, frame);
	assert_memory_equal(frame, mac_other, 6); // believed …
	advance(f, 5 * SECOND + 10000);
	assert_int_equal(f->sent_count, 2);
	assert_sent_arp(f, 1, REQUEST, mac_other, US, PEER); // … and verified
	net_path_close(&path);
}

static void test_static_neighbours_cannot_be_overwritten(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	uint8_t frame[2048];

	receive_arp(f, REQUEST, mac_other, STATIC, US);
	receive_arp(f, REPLY, mac_other, STATIC, US);
	receive_arp(f, REQUEST, mac_other, STATIC, STATIC);
	sent_clear(f);
	send_bytes(f, &path, 10);
	sent_frame(f, 0, frame);
	assert_memory_equal(frame, mac_static, 6);
	net_path_close(&path);
	advance(f, 3600 * SECOND);
	assert_string_equal(neighbour_state(f, STATIC), "static");
}

static void test_malformed_arp_is_dropped(void **state)
{
	static const struct {
		unsigned offset;
		uint8_t value;
	} patches[] = {
		{15, 2},    // hardware
		{16, 0x86}, // protocol
		{18, 5},    // hardware address length
		{19, 16},   // protocol address length
		{21, 3},    // opcode
		{22, 0x01}, // sender's MAC is a group
		{28, 224},  // sender's address is multicast
		{28, 127},  // … loopback
	};
	struct fixture *f = *state;
	uint8_t frame[64];
	size_t length, count = sizeof(patches) / sizeof(*patches);

	for (size_t i = 0; i < count; i++) {
		length = build_arp(frame, REQUEST, mac_peer, PEER, US);
		frame[patches[i].offset] = patches[i].value;
		assert_false(receive(f, &f->eth, frame, length));
		assert_int_equal(dropped(f, "arp_malformed"), i + 1);
	}
	build_arp(frame, REQUEST, mac_peer, PEER, US);
	assert_false(receive(f, &f->eth, frame, 41));
	assert_int_equal(dropped(f, "arp_malformed"), count + 1);
	assert_int_equal(f->sent_count, 0);
}

static void test_a_conflict_is_noted_and_defended_at_a_limited_rate(void **state)
{
	struct fixture *f = *state;
	struct net_address us = ip_address(US);
	struct net_conflict conflict;

	assert_false(net_conflict_take(f->net, &conflict));
	for (unsigned i = 0; i < 5; i++) {
		receive_arp(f, i % 2 == 0 ? REQUEST : REPLY, mac_other, US, PEER);
		f->now_us += SECOND;
	}
	assert_int_equal(f->sent_count, 1);
	assert_sent_arp(f, 0, REQUEST, mac_all, US, US);
	assert_true(net_conflict_take(f->net, &conflict));
	assert_true(net_address_equal(&conflict.address, &us));
	assert_memory_equal(conflict.mac, mac_other, 6);
	assert_false(net_conflict_take(f->net, &conflict));
	assert_int_equal(counter(f, "arp_conflicts_total", NULL), 5);
	assert_int_equal(dropped(f, "arp_conflict"), 5);

	f->now_us += 6 * SECOND;
	receive_arp(f, REQUEST, mac_other, US, US);
	assert_int_equal(f->sent_count, 2);
}

static void test_our_own_words_are_no_conflict(void **state)
{
	struct fixture *f = *state;
	struct net_conflict conflict;

	receive_arp(f, REQUEST, mac_us, US, US);
	assert_false(net_conflict_take(f->net, &conflict));
	assert_int_equal(f->sent_count, 0);
}

static void test_arp_lives_on_the_reserve_when_frames_run_out(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *all[NET_POOL_SIZE];
	struct rte_mbuf *m;
	uint8_t frame[64];
	size_t length = build_arp(frame, REQUEST, mac_peer, PEER, US);

	m = frame_mbuf(f, frame, length);
	assert_int_equal(rte_pktmbuf_alloc_bulk(f->pool, all, NET_POOL_SIZE - 1), 0);
	receive_mbuf(f, &f->eth, m);
	assert_int_equal(f->sent_count, 1);
	assert_ptr_equal(f->sent[0]->pool, f->reserve);

	f->eth.tx_reserve = NULL;
	m = rte_pktmbuf_alloc(f->pool);
	memcpy(rte_pktmbuf_append(m, (uint16_t)length), frame, length);
	receive_mbuf(f, &f->eth, m);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(dropped(f, "no_mbuf"), 1);
	rte_pktmbuf_free_bulk(all, NET_POOL_SIZE - 1);
}

int test_net_arp(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_addresses_are_announced_twice_at_the_start),
		net_test(test_a_request_for_us_is_answered_and_its_sender_learnt),
		net_test(test_a_probe_for_our_address_is_answered_and_teaches_nothing),
		net_test(test_nothing_is_learnt_from_what_is_not_for_us),
		net_test(test_what_we_know_is_kept_up_to_date_by_what_we_overhear),
		net_test(test_static_neighbours_cannot_be_overwritten),
		net_test(test_malformed_arp_is_dropped),
		net_test(test_a_conflict_is_noted_and_defended_at_a_limited_rate),
		net_test(test_our_own_words_are_no_conflict),
		net_test(test_arp_lives_on_the_reserve_when_frames_run_out),
	};

	return cmocka_run_group_tests_name("arp", tests, NULL, NULL);
}
