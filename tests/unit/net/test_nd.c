// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Neighbour Discovery: who is answered, what is learnt (the table of RFC 4861 appendix C),
// and a neighbour's life in virtual time.

#include "frames6.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

static void test_a_solicitation_for_us_is_answered_and_its_sender_learnt(void **state)
{
	struct fixture *f = *state;

	receive_ns(f, PEER6, US6);
	assert_int_equal(f->sent_count, 1);
	assert_sent_nd(f, 0, ND_NA, US6, PEER6, ND_SOLICITED | ND_OVERRIDE, US6, mac_us);
	assert_string_equal(neighbour6_state(f, PEER6), "stale");
	receive_ns(f, "fe80::2", LINK_US6);
	assert_sent_nd(
		f, 1, ND_NA, LINK_US6, "fe80::2", ND_SOLICITED | ND_OVERRIDE, LINK_US6, mac_us);
	assert_int_equal(counter(f, "nd_solicitations_total", "received"), 2);
	assert_int_equal(dropped(f, "nd_not_ours"), 0);
}

static void test_a_probe_for_our_address_is_answered_to_all(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];

	receive_ipv6_from(f, mac_other, packet,
		build_nd(packet, "::", solicited_node(US6), ND_NS, 0, US6, NULL));
	assert_int_equal(f->sent_count, 1);
	assert_sent_nd(f, 0, ND_NA, US6, "ff02::1", ND_OVERRIDE, US6, mac_us);
	assert_int_equal(counter(f, "nd_conflicts_total", NULL), 0);
}

static void test_a_unicast_solicitation_without_option_is_answered_to_its_frame(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];

	receive_ipv6(f, packet, build_nd(packet, PEER6, US6, ND_NS, 0, US6, NULL));
	assert_sent_nd(f, 0, ND_NA, US6, PEER6, ND_SOLICITED | ND_OVERRIDE, US6, mac_us);
	assert_string_equal(neighbour6_state(f, PEER6), "");
}

static void test_nothing_is_learnt_from_what_is_not_for_us(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];

	// To a group of ours, about another host.
	receive_ipv6(f, packet,
		build_nd(packet, PEER6, solicited_node(US6), ND_NS, 0, "2001:db8:18:0:1::1",
			mac_peer));
	assert_int_equal(dropped(f, "nd_not_ours"), 1);
	receive_ns(f, PEER6, RAW_US6); // ours, on another interface (whose group has the same MAC)
	assert_int_equal(dropped(f, "nd_not_ours"), 2);
	receive_na(f, PEER6, ND_SOLICITED | ND_OVERRIDE); // that we never asked for
	assert_int_equal(dropped(f, "nd_not_ours"), 3);
	assert_string_equal(neighbour6_state(f, PEER6), "");
	assert_int_equal(f->sent_count, 0);
	receive_ns(f, FAR6, US6); // answered; but it is on no link of ours
	assert_string_equal(neighbour6_state(f, FAR6), "");
	assert_int_equal(f->sent_count, 1);
}

static void test_malformed_nd_is_dropped(void **state)
{
	static const struct {
		unsigned at;
		uint8_t value;
	} patches[] = {
		{7, 254},   // hop limit
		{41, 1},    // code
		{48, 0xff}, // target is a group
		{65, 0},    // option without length
		{65, 2},    // option longer than the message
		{66, 0x01}, // MAC of a group
	};
	struct fixture *f = *state;
	uint8_t packet[128];
	size_t length, count = sizeof(patches) / sizeof(*patches);
	const char *group = solicited_node(US6);

	for (size_t i = 0; i < count; i++) {
		length = build_nd(packet, PEER6, US6, ND_NS, 0, US6, mac_peer);
		packet[patches[i].at] = patches[i].value;
		put16(packet + 42, 0);
		put16(packet + 42,
			naive_checksum6(packet, PROTO_ICMP6, packet + IPV6_LEN, length - IPV6_LEN));
		receive_ipv6(f, packet, length);
		assert_int_equal(dropped(f, "nd_malformed"), i + 1);
	}
	// From nobody with a MAC, from nobody to us, an answer to all, an advertisement from
	// nobody.
	receive_ipv6(f, packet, build_nd(packet, "::", group, ND_NS, 0, US6, mac_peer));
	receive_ipv6(f, packet, build_nd(packet, "::", US6, ND_NS, 0, US6, NULL));
	receive_ipv6(f, packet,
		build_nd(packet, PEER6, "ff02::1", ND_NA, ND_SOLICITED, PEER6, mac_peer));
	receive_ipv6(f, packet, build_nd(packet, "::", "ff02::1", ND_NA, 0, PEER6, mac_peer));
	assert_int_equal(dropped(f, "nd_malformed"), count + 4);
	assert_int_equal(f->sent_count, 0);
}

static void test_packets_wait_for_resolution_and_then_go_in_order(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, PEER6);
	uint8_t frame[2048];

	assert_string_equal(neighbour6_state(f, PEER6), "incomplete");
	for (size_t i = 0; i < 3; i++)
		send_bytes(f, &path, 100 + i);
	assert_int_equal(f->sent_count, 1); // one request for all
	assert_sent_nd(f, 0, ND_NS, US6, solicited_node(PEER6), 0, PEER6, mac_us);
	receive_na(f, PEER6, ND_SOLICITED);
	assert_int_equal(f->sent_count, 4);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
			sent_frame(f, (unsigned)i + 1, frame), ETHER_LEN + IPV6_LEN + 100 + i);
		assert_memory_equal(frame, mac_peer, 6);
	}
	assert_string_equal(neighbour6_state(f, PEER6), "reachable");
	net_path_close(&path);
}

static void test_resolution_fails_after_three_requests(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, PEER6);

	send_bytes(f, &path, 100);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(net_path_error(&path), 0);
		assert_int_equal(f->sent_count, i + 1);
		assert_sent_nd(f, i, ND_NS, US6, solicited_node(PEER6), 0, PEER6, mac_us);
		advance(f, SECOND + 2000);
	}
	assert_int_equal(net_path_error(&path), -EHOSTUNREACH);
	assert_string_equal(neighbour6_state(f, PEER6), "failed");
	send_bytes(f, &path, 100); // another try
	receive_na(f, PEER6, ND_SOLICITED);
	assert_int_equal(f->sent_count, 5);
	net_path_close(&path);
}

static void test_the_gateway_is_asked_for_what_is_far(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, FAR6);

	send_bytes(f, &path, 10);
	assert_sent_nd(f, 0, ND_NS, US6, solicited_node(GATEWAY6), 0, GATEWAY6, mac_us);
	net_path_close(&path);
}

static void test_a_neighbour_that_is_used_is_verified_when_nothing_confirms_it(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, PEER6);

	send_bytes(f, &path, 10);
	receive_na(f, PEER6, ND_SOLICITED);
	sent_clear(f);
	advance(f, 31 * SECOND);
	assert_string_equal(neighbour6_state(f, PEER6), "stale");
	send_bytes(f, &path, 10); // DELAY
	advance(f, 4 * SECOND);
	assert_int_equal(f->sent_count, 1);
	net_path_confirm(&path, f->now_us);
	assert_string_equal(neighbour6_state(f, PEER6), "reachable");
	advance(f, 31 * SECOND);
	send_bytes(f, &path, 10); // DELAY again
	advance(f, 5 * SECOND + 10000);
	assert_int_equal(f->sent_count, 3);
	assert_sent_nd(f, 2, ND_NS, US6, PEER6, 0, PEER6, mac_us); // PROBE, to it alone
	receive_na(f, PEER6, ND_SOLICITED);
	assert_string_equal(neighbour6_state(f, PEER6), "reachable");
	net_path_close(&path);
}

static void test_a_neighbour_that_is_gone_is_asked_for_by_group_and_fails(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, PEER6);

	receive_ns(f, PEER6, US6); // STALE
	sent_clear(f);
	send_bytes(f, &path, 10);
	advance(f, 12 * SECOND);
	assert_int_equal(f->sent_count, 1 + 3 + 3);
	assert_sent_nd(f, 3, ND_NS, US6, PEER6, 0, PEER6, mac_us);
	assert_sent_nd(f, 4, ND_NS, US6, solicited_node(PEER6), 0, PEER6, mac_us);
	assert_int_equal(net_path_error(&path), -EHOSTUNREACH);
	net_path_close(&path);
}

// RFC 4861 7.2.5 and appendix C: an advertisement meets an entry.
static const struct {
	const char *before; // state
	bool other_mac;	    // the option tells another MAC than is known
	bool option;
	uint32_t flags;
	const char *after;
	bool mac_taken;
} updates[] = {
	{"incomplete", false, false, ND_SOLICITED, "incomplete", false},
	{"incomplete", false, true, ND_SOLICITED, "reachable", true},
	{"incomplete", false, true, 0, "stale", true},
	{"incomplete", false, true, ND_OVERRIDE, "stale", true},
	{"reachable", true, true, 0, "stale", false},
	{"reachable", true, true, ND_SOLICITED, "stale", false},
	{"reachable", true, true, ND_OVERRIDE, "stale", true},
	{"reachable", true, true, ND_OVERRIDE | ND_SOLICITED, "reachable", true},
	{"reachable", false, true, 0, "reachable", true},
	{"reachable", false, true, ND_OVERRIDE, "reachable", true},
	{"stale", true, true, 0, "stale", false},
	{"stale", true, true, ND_SOLICITED, "stale", false},
	{"stale", true, true, ND_OVERRIDE | ND_SOLICITED, "reachable", true},
	{"stale", false, true, ND_SOLICITED, "reachable", true},
	{"stale", false, false, ND_SOLICITED, "reachable", true},
	{"stale", false, true, ND_OVERRIDE, "stale", true},
};

static void test_advertisements_change_an_entry_as_the_rfc_says(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(updates) / sizeof(*updates); i++) {
		const uint8_t *mac = updates[i].other_mac ? mac_other : mac_peer;
		struct net_path path;
		uint8_t packet[128], frame[2048];

		fixture_net_create(f);
		advance(f, 4 * SECOND);
		path = open_path6(f, PEER6);
		if (strcmp(updates[i].before, "incomplete") == 0) {
			send_bytes(f, &path, 10);
		} else {
			receive_ns(f, PEER6, US6);
			if (strcmp(updates[i].before, "reachable") == 0)
				net_path_confirm(&path, f->now_us);
		}
		assert_string_equal(neighbour6_state(f, PEER6), updates[i].before);
		receive_ipv6(f, packet,
			build_nd(packet, PEER6, US6, ND_NA, updates[i].flags, PEER6,
				updates[i].option ? mac : NULL));
		if (strcmp(neighbour6_state(f, PEER6), updates[i].after) != 0)
			fail_msg("case %zu: %s", i, neighbour6_state(f, PEER6));
		sent_clear(f);
		send_bytes(f, &path, 10);
		if (strcmp(updates[i].after, "incomplete") != 0) {
			sent_frame(f, 0, frame);
			assert_memory_equal(frame, updates[i].mac_taken ? mac : mac_peer, 6);
		}
		net_path_close(&path);
		sent_clear(f);
	}
}

static void test_static_neighbours_cannot_be_overwritten(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, STATIC6);
	uint8_t frame[2048];

	receive_ns(f, STATIC6, US6);
	receive_na(f, STATIC6, ND_OVERRIDE);
	sent_clear(f);
	send_bytes(f, &path, 10);
	sent_frame(f, 0, frame);
	assert_memory_equal(frame, mac_static, 6);
	net_path_close(&path);
}

static void test_link_local_neighbours_are_spoken_to_from_the_link_local_address(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, "fe80::2");

	send_bytes(f, &path, 10);
	assert_sent_nd(f, 0, ND_NS, LINK_US6, solicited_node("fe80::2"), 0, "fe80::2", mac_us);
	net_path_close(&path);
}

static void test_both_families_share_one_cache(void **state)
{
	struct fixture *f = *state;
	struct net_path one = open_path(f, PEER), two = open_path6(f, PEER6);

	receive_arp(f, 1, mac_peer, PEER, US);
	receive_ns(f, PEER6, US6);
	assert_string_equal(neighbour_state(f, PEER), "reachable");
	assert_string_equal(neighbour6_state(f, PEER6), "stale");
	assert_int_equal(counter(f, "neighbours", "static"), 2);
	net_path_close(&one);
	net_path_close(&two);
}

static void test_routers_do_not_configure_us(void **state)
{
	static const uint8_t types[] = {133, 134, 137};
	const struct packet6_spec spec = {
		.source = "fe80::2", .destination = LINK_US6, .hop_limit = 255};
	struct fixture *f = *state;
	uint8_t packet[256], body[32] = {0};

	for (size_t i = 0; i < sizeof(types); i++)
		receive_ipv6(f, packet, build_icmp6(packet, &spec, types[i], 0, 0, body, 32));
	assert_int_equal(dropped(f, "icmp_ignored"), sizeof(types));
	assert_int_equal(f->sent_count, 0);
}

int test_net_nd(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_a_solicitation_for_us_is_answered_and_its_sender_learnt),
		net6_test(test_a_probe_for_our_address_is_answered_to_all),
		net6_test(test_a_unicast_solicitation_without_option_is_answered_to_its_frame),
		net6_test(test_nothing_is_learnt_from_what_is_not_for_us),
		net6_test(test_malformed_nd_is_dropped),
		net6_test(test_packets_wait_for_resolution_and_then_go_in_order),
		net6_test(test_resolution_fails_after_three_requests),
		net6_test(test_the_gateway_is_asked_for_what_is_far),
		net6_test(test_a_neighbour_that_is_used_is_verified_when_nothing_confirms_it),
		net6_test(test_a_neighbour_that_is_gone_is_asked_for_by_group_and_fails),
		net6_test(test_advertisements_change_an_entry_as_the_rfc_says),
		net6_test(test_static_neighbours_cannot_be_overwritten),
		net6_test(test_link_local_neighbours_are_spoken_to_from_the_link_local_address),
		net6_test(test_both_families_share_one_cache),
		net6_test(test_routers_do_not_configure_us),
	};

	return cmocka_run_group_tests_name("nd", tests, NULL, NULL);
}
