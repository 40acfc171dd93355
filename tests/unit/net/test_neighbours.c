// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A neighbour's life in virtual time: resolution, failure, ageing, verification,
// removal, and a full cache.

#include "net_tests.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

#define REQUEST 1
#define REPLY	2

static void test_packets_wait_for_resolution_and_then_go_in_order(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, PEER);
	uint8_t frame[2048];

	assert_string_equal(neighbour_state(f, PEER), "incomplete");
	for (size_t i = 0; i < 3; i++)
		send_bytes(f, &path, 100 + i);
	assert_int_equal(f->sent_count, 1); // one request for all
	assert_sent_arp(f, 0, REQUEST, mac_all, US, PEER);
	receive_arp(f, REPLY, mac_peer, PEER, US);
	assert_int_equal(f->sent_count, 4);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
			sent_frame(f, (unsigned)i + 1, frame), ETHER_LEN + IPV4_LEN + 100 + i);
		assert_memory_equal(frame, mac_peer, 6);
	}
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	assert_int_equal(counter(f, "arp_replies_total", "received"), 1);
	net_path_close(&path);
}

static void test_the_queue_is_bounded_and_drops_the_oldest(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, PEER);
	uint8_t frame[2048];

	for (size_t i = 0; i < 11; i++)
		send_bytes(f, &path, 100 + i);
	assert_int_equal(dropped(f, "neighbour_queue"), 3);
	sent_clear(f);
	receive_arp(f, REPLY, mac_peer, PEER, US);
	assert_int_equal(f->sent_count, 8);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + 103);
	net_path_close(&path);
}

static void test_waiting_packets_leave_most_frames_to_others(void **state)
{
	struct fixture *f = *state;
	struct net_path paths[40];
	unsigned sent = 0;

	for (unsigned host = 0; host < 40; host++) {
		paths[host] = open_path(f, IP(198, 18, 1, host + 1));
		for (unsigned i = 0; i < 8; i++, sent++)
			send_bytes(f, &paths[host], 10);
		sent_clear(f);
	}
	assert_int_equal(dropped(f, "neighbour_queue"), sent - NET_POOL_SIZE / 4);
	for (unsigned host = 0; host < 40; host++)
		net_path_close(&paths[host]);
}

static void test_resolution_fails_after_its_retries_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, PEER);

	send_bytes(f, &path, 100);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(net_path_error(&path), 0);
		assert_int_equal(f->sent_count, i + 1);
		assert_sent_arp(f, i, REQUEST, mac_all, US, PEER);
		advance(f, SECOND + 2000);
	}
	assert_int_equal(f->sent_count, 3);
	assert_int_equal(net_path_error(&path), -EHOSTUNREACH);
	assert_string_equal(neighbour_state(f, PEER), "failed");
	assert_int_equal(dropped(f, "neighbour_failed"), 1);

	send_bytes(f, &path, 100); // another try
	assert_int_equal(net_path_error(&path), 0);
	assert_int_equal(f->sent_count, 4);
	receive_arp(f, REPLY, mac_peer, PEER, US);
	assert_int_equal(f->sent_count, 5);
	net_path_close(&path);
}

static void test_a_failed_neighbour_goes_with_its_last_path(void **state)
{
	struct fixture *f = *state;
	struct net_path one = open_path(f, PEER), two = open_path(f, PEER);

	send_bytes(f, &one, 100);
	advance(f, 5 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "failed");
	net_path_close(&one);
	assert_string_equal(neighbour_state(f, PEER), "failed");
	net_path_close(&two);
	assert_string_equal(neighbour_state(f, PEER), "");
	net_path_close(&two); // harmless
}

static void test_a_closed_path_still_delivers_what_waits(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, PEER);

	send_bytes(f, &path, 100);
	net_path_close(&path);
	receive_arp(f, REPLY, mac_peer, PEER, US);
	assert_int_equal(f->sent_count, 2);
}

static struct net_path open_reachable(struct fixture *f)
{
	struct net_path path = open_path(f, PEER);

	receive_arp(f, REQUEST, mac_peer, PEER, US);
	sent_clear(f);
	return path;
}

static void test_an_idle_neighbour_ages_silently(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_reachable(f);

	advance(f, 29 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	advance(f, 2 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "stale");
	advance(f, 3600 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "stale"); // a path refers to it
	assert_int_equal(f->sent_count, 0);
	net_path_close(&path);
	advance(f, 31 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "");
}

static void test_a_stale_neighbour_is_verified_while_traffic_goes_on(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_reachable(f);
	uint8_t frame[2048];

	advance(f, 31 * SECOND);
	send_bytes(f, &path, 100);
	send_bytes(f, &path, 101);
	assert_int_equal(f->sent_count, 2); // something above may confirm it
	advance(f, 5 * SECOND + 10000);
	assert_int_equal(f->sent_count, 3);
	assert_sent_arp(f, 2, REQUEST, mac_peer, US, PEER); // unicast
	sent_frame(f, 1, frame);
	assert_memory_equal(frame, mac_peer, 6);
	receive_arp(f, REPLY, mac_peer, PEER, US);
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	advance(f, 10 * SECOND);
	assert_int_equal(f->sent_count, 3);
	net_path_close(&path);
}

static void test_a_neighbour_that_moved_is_found_again_by_broadcast(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_reachable(f);
	uint8_t frame[2048];

	advance(f, 31 * SECOND);
	send_bytes(f, &path, 100);
	advance(f, 8 * SECOND + 20000);
	assert_int_equal(f->sent_count, 1 + 3 + 1); // data, unicast, then to all
	assert_sent_arp(f, 3, REQUEST, mac_peer, US, PEER);
	assert_sent_arp(f, 4, REQUEST, mac_all, US, PEER);
	send_bytes(f, &path, 100); // waits now
	receive_arp(f, REPLY, mac_other, PEER, US);
	sent_frame(f, 5, frame);
	assert_memory_equal(frame, mac_other, 6);

	advance(f, 31 * SECOND);
	send_bytes(f, &path, 100);
	advance(f, 12 * SECOND);
	assert_int_equal(net_path_error(&path), -EHOSTUNREACH);
	net_path_close(&path);
}

static void test_progress_above_keeps_a_neighbour_fresh(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_reachable(f);

	for (unsigned i = 0; i < 20; i++) {
		advance(f, 10 * SECOND);
		net_path_confirm(&path, f->now_us);
		send_bytes(f, &path, 10);
	}
	assert_int_equal(f->sent_count, 20); // not one request
	advance(f, 31 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "stale");
	net_path_confirm(&path, f->now_us);
	assert_string_equal(neighbour_state(f, PEER), "reachable");

	sent_clear(f);
	advance(f, 31 * SECOND);
	send_bytes(f, &path, 10);
	advance(f, 4 * SECOND);
	net_path_confirm(&path, f->now_us); // just in time
	advance(f, 20 * SECOND);
	assert_int_equal(f->sent_count, 1);
	net_path_close(&path);
}

static void test_an_unused_neighbour_is_forgotten(void **state)
{
	struct fixture *f = *state;

	receive_arp(f, REQUEST, mac_peer, PEER, US);
	advance(f, 31 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "stale");
	advance(f, 31 * SECOND);
	assert_string_equal(neighbour_state(f, PEER), "");
	assert_true(net_next_deadline(f->net) == UINT64_MAX);
}

static void test_a_flood_cannot_push_out_what_is_in_use(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_reachable(f);
	uint8_t frame[2048];

	for (unsigned i = 0; i < 1000; i++) {
		struct net_path victim;

		receive_arp(f, REQUEST, mac_other, IP(198, 18, 1 + i / 250, 1 + i % 250), US);
		victim = open_path(f, IP(198, 18, 77 + i / 250, 1 + i % 250));
		send_bytes(f, &victim, 10);
		net_path_close(&victim);
		sent_clear(f);
	}
	assert_true(dropped(f, "neighbour_full") > 0);
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	assert_string_equal(neighbour_state(f, STATIC), "static");
	send_bytes(f, &path, 10);
	sent_frame(f, 0, frame);
	assert_memory_equal(frame, mac_peer, 6);
	net_path_close(&path);
}

// RFC 6583: forged sources on our link make us ask for many who do not exist.
static void test_strangers_do_not_cost_us_acquaintances(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 20; i++)
		receive_arp(f, REQUEST, mac_peer, IP(198, 18, 1, 1 + i), US);
	for (unsigned i = 0; i < 1000; i++) {
		struct net_path victim = open_path(f, IP(198, 18, 77 + i / 250, 1 + i % 250));

		send_bytes(f, &victim, 10);
		net_path_close(&victim);
		sent_clear(f);
		net_check(f->net);
	}
	assert_int_equal(counter(f, "neighbours", "reachable"), 20);
	assert_int_equal(counter(f, "neighbours", "incomplete"), 64 / 2);
	assert_string_equal(neighbour_state(f, IP(198, 18, 1, 1)), "reachable");
	assert_string_equal(neighbour_state(f, IP(198, 18, 1, 20)), "reachable");
}

static void test_who_only_speaks_to_us_gets_half_of_the_cache(void **state)
{
	struct fixture *f = *state;
	struct net_path paths[32];

	for (unsigned i = 0; i < 250; i++)
		receive_arp(f, REQUEST, mac_other, IP(198, 18, 1, 1 + i), US);
	assert_int_equal(counter(f, "neighbours", "reachable"), 64 / 2 - 1); // and the static one
	for (unsigned i = 0; i < 32; i++) // the other half is for whom we speak to
		paths[i] = open_path(f, IP(198, 18, 2, 1 + i));
	for (unsigned i = 0; i < 32; i++)
		net_path_close(&paths[i]);
}

static void test_requests_for_strangers_are_limited(void **state)
{
	struct fixture *f = *state;
	struct net_path paths[20], known;

	f->config.neighbour_requests_per_s = 10;
	fixture_net_create(f);
	advance(f, 10 * SECOND); // announcements
	sent_clear(f);
	receive_arp(f, REQUEST, mac_peer, PEER, US);
	known = open_path(f, PEER);
	sent_clear(f);
	for (unsigned i = 0; i < 20; i++) {
		paths[i] = open_path(f, IP(198, 18, 1, 1 + i));
		send_bytes(f, &paths[i], 10);
	}
	assert_int_equal(f->sent_count, 10);
	assert_int_equal(counter(f, "neighbour_requests_suppressed_total", NULL), 10);
	for (unsigned i = 0; i < 20; i++)
		net_path_close(&paths[i]);
	advance(f, 31 * SECOND);
	sent_clear(f);
	send_bytes(f, &known, 10); // stale
	for (unsigned i = 0; i < 20; i++) {
		paths[i] = open_path(f, IP(198, 18, 2, 1 + i));
		send_bytes(f, &paths[i], 10);
	}
	assert_int_equal(f->sent_count, 1 + 10);
	for (unsigned i = 0; i < 20; i++)
		net_path_close(&paths[i]);
	sent_clear(f);
	f->now_us += 5 * SECOND;
	net_timers(f->net, f->now_us); // an acquaintance is asked whatever strangers cost
	assert_true(f->sent_count > 0);
	assert_string_equal(neighbour_state(f, PEER), "stale");
	receive_arp(f, REPLY, mac_peer, PEER, US);
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	net_path_close(&known);
}

static void test_a_cache_full_of_used_entries_refuses(void **state)
{
	struct fixture *f = *state;
	struct net_path paths[63]; // and the static one
	struct net_address us = ip_address(US), one_more = ip_address(PEER);
	struct net_path path;

	for (unsigned i = 0; i < 63; i++)
		paths[i] = open_path(f, IP(198, 18, 1, 1 + i));
	assert_int_equal(net_path_open(f->net, &us, &one_more, &path), -ENOMEM);
	receive_arp(f, REQUEST, mac_peer, PEER, US); // answered, not learnt
	assert_int_equal(f->sent_count, 1);
	assert_string_equal(neighbour_state(f, PEER), "");
	for (unsigned i = 0; i < 63; i++)
		net_path_close(&paths[i]);
	assert_int_equal(net_path_open(f->net, &us, &one_more, &path), 0);
	net_path_close(&path);
}

static void test_neighbours_are_listed_in_portions(void **state)
{
	struct fixture *f = *state;
	struct net_neighbour_info infos[4];
	unsigned cursor = 0, all = 0, n;

	for (unsigned i = 0; i < 10; i++)
		receive_arp(f, REQUEST, mac_peer, IP(198, 18, 1, 1 + i), US);
	while ((n = net_neighbours_list(f->net, &cursor, infos, 4)) > 0) {
		assert_string_equal(infos[0].interface, "eth0");
		all += n;
	}
	assert_int_equal(all, 11);
}

int test_net_neighbours(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_packets_wait_for_resolution_and_then_go_in_order),
		net_test(test_the_queue_is_bounded_and_drops_the_oldest),
		net_test(test_waiting_packets_leave_most_frames_to_others),
		net_test(test_resolution_fails_after_its_retries_and_says_so),
		net_test(test_a_failed_neighbour_goes_with_its_last_path),
		net_test(test_a_closed_path_still_delivers_what_waits),
		net_test(test_an_idle_neighbour_ages_silently),
		net_test(test_a_stale_neighbour_is_verified_while_traffic_goes_on),
		net_test(test_a_neighbour_that_moved_is_found_again_by_broadcast),
		net_test(test_progress_above_keeps_a_neighbour_fresh),
		net_test(test_an_unused_neighbour_is_forgotten),
		net_test(test_a_flood_cannot_push_out_what_is_in_use),
		net_test(test_strangers_do_not_cost_us_acquaintances),
		net_test(test_who_only_speaks_to_us_gets_half_of_the_cache),
		net_test(test_requests_for_strangers_are_limited),
		net_test(test_a_cache_full_of_used_entries_refuses),
		net_test(test_neighbours_are_listed_in_portions),
	};

	return cmocka_run_group_tests_name("neighbours", tests, NULL, NULL);
}
