// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Several nets with the same addresses: what one receives of ARP and ND the others
// hear, and only the one answers.

#include "frames6.h"

#include <rte_mbuf.h>

#include <string.h>

#define REQUEST 1
#define REPLY	2

struct shared {
	struct fixture *fixture;
	unsigned count;
	uint8_t frame[2048]; // the latest
	size_t length;
};

static struct shared shared;

static void share(void *ctx, struct net_if *netif, const struct rte_mbuf *frame)
{
	struct shared *s = ctx;

	assert_ptr_equal(netif, &s->fixture->eth);
	s->count++;
	s->length = frame->pkt_len;
	memcpy(s->frame, rte_pktmbuf_mtod(frame, const uint8_t *), frame->pkt_len);
}

// The fixture's net becomes one of several.
static void join(struct fixture *f, bool quiet)
{
	shared = (struct shared){.fixture = f};
	f->config.share = share;
	f->config.share_ctx = &shared;
	f->config.quiet = quiet;
	fixture_net_create(f);
}

static void hear(struct fixture *f, const void *frame, size_t length)
{
	net_hear(f->net, &f->eth, frame_mbuf(f, frame, length), f->now_us);
	net_check(f->net);
}

static void test_a_quiet_net_announces_nothing(void **state)
{
	struct fixture *f = *state;

	join(f, true);
	advance(f, 10 * SECOND);
	assert_int_equal(f->sent_count, 0);
}

static void test_a_quiet_net_uses_its_addresses_as_soon_as_the_others(void **state)
{
	struct fixture *f = *state;
	struct net_address from = ip6_address(US6), to = ip6_address(PEER6);
	struct net_path path;

	join(f, true);
	net_timers(f->net, f->now_us);
	assert_int_not_equal(net_path_open(f->net, &from, &to, &path), 0);
	advance(f, 2 * SECOND);
	assert_int_equal(net_path_open(f->net, &from, &to, &path), 0);
	net_path_close(&path);
	assert_int_equal(f->sent_count, 0);
}

static void test_arp_is_answered_by_whoever_receives_it_and_shared(void **state)
{
	struct fixture *f = *state;

	join(f, true);
	receive_arp(f, REQUEST, mac_peer, PEER, US);
	assert_int_equal(f->sent_count, 1);
	assert_sent_arp(f, 0, REPLY, mac_peer, US, PEER);
	assert_int_equal(shared.count, 1);
	assert_int_equal(get16(shared.frame + 12), 0x806);
	assert_memory_equal(shared.frame + 6, mac_peer, 6);
}

static void test_what_is_heard_teaches_and_is_not_answered(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[64];
	size_t length = build_arp(frame, REQUEST, mac_peer, PEER, US);

	join(f, true);
	hear(f, frame, length);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(shared.count, 0); // not passed around for ever
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	assert_int_equal(counter(f, "arp_requests_total", "received"), 0);
}

static void test_an_answer_that_is_heard_lets_go_what_waits(void **state)
{
	struct fixture *f = *state;
	struct net_path path;
	uint8_t frame[64];
	size_t length = build_arp(frame, REPLY, mac_peer, PEER, US);

	join(f, true);
	path = open_path(f, PEER);
	send_bytes(f, &path, 10);
	assert_int_equal(f->sent_count, 1); // its own request
	hear(f, frame, length);
	assert_int_equal(f->sent_count, 2);
	net_path_close(&path);
}

static void test_a_conflict_that_is_heard_is_not_defended(void **state)
{
	struct fixture *f = *state;
	struct net_conflict conflict;
	uint8_t frame[64];
	size_t length = build_arp(frame, REQUEST, mac_other, US, PEER);

	join(f, true);
	hear(f, frame, length);
	assert_int_equal(f->sent_count, 0);
	assert_true(net_conflict_take(f->net, &conflict));
}

static void test_ip_is_not_shared(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];
	size_t length = build_tcp(packet, &(struct packet_spec){0}, "x", 1);

	join(f, false);
	assert_true(receive_ipv4(f, packet, length));
	rte_pktmbuf_free(f->delivery.m);
	assert_int_equal(shared.count, 0);
}

int test_net_share(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_a_quiet_net_announces_nothing),
		net6_test(test_a_quiet_net_uses_its_addresses_as_soon_as_the_others),
		net_test(test_arp_is_answered_by_whoever_receives_it_and_shared),
		net_test(test_what_is_heard_teaches_and_is_not_answered),
		net_test(test_an_answer_that_is_heard_lets_go_what_waits),
		net_test(test_a_conflict_that_is_heard_is_not_defended),
		net_test(test_ip_is_not_shared),
	};

	return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
