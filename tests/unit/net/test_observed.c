// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Paths that go on as an end was seen on the wire: its MACs, tag, TTL, DSCP, flow label and MTU,
// whoever has the addresses, and not a word of ARP or ND.

#include "net_tests.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

#define THEM	 IP(192, 0, 2, 7)
#define OTHERS	 IP(203, 0, 113, 9)
#define VLAN_LEN 4

static struct net_observed seen_on(struct fixture *f)
{
	return (struct net_observed){
		.netif = &f->eth,
		.source = {2, 0, 0, 0, 7, 7},
		.destination = {2, 0, 0, 0, 9, 9},
		.tagged = true,
		.tag = 3 << 13 | 42,
		.mtu = 1400,
		.ttl = 61,
		.tos = 0xb8 | 3, // of which ECN is not the path's
	};
}

static struct net_path observe(
	const struct net_observed *seen, struct fixture *f, uint32_t from, uint32_t to)
{
	const struct net_address local = ip_address(from), remote = ip_address(to);
	struct net_path path;

	assert_int_equal(net_path_observe(f->net, seen, &local, &remote, &path), 0);
	net_check(f->net);
	return path;
}

static void test_frames_go_on_as_they_were_seen(void **state)
{
	struct fixture *f = *state;
	const struct net_observed seen = seen_on(f);
	struct net_path path = observe(&seen, f, THEM, OTHERS);
	uint8_t frame[2048], *ip = frame + ETHER_LEN + VLAN_LEN;

	assert_int_equal(path.mtu, 1400);
	send_bytes(f, &path, 100);
	assert_int_equal(f->sent_count, 1); // no question before it
	assert_int_equal(f->sent[0]->l2_len, ETHER_LEN + VLAN_LEN);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + VLAN_LEN + IPV4_LEN + 100);
	assert_memory_equal(frame, seen.destination, 6);
	assert_memory_equal(frame + 6, seen.source, 6);
	assert_int_equal(get16(frame + 12), 0x8100);
	assert_int_equal(get16(frame + 14), 3 << 13 | 42);
	assert_int_equal(get16(frame + 16), 0x0800);
	assert_int_equal(ip[1], 0xb8);
	assert_int_equal(get32(ip + 4), 0x00004000);
	assert_int_equal(ip[8], 61);
	assert_int_equal(naive_checksum(ip, IPV4_LEN, 0), 0);
	assert_int_equal(get32(ip + 12), THEM);
	assert_int_equal(get32(ip + 16), OTHERS);
	net_path_confirm(&path, f->now_us);
	assert_int_equal(net_path_error(&path), 0);
	net_path_close(&path);
}

static void test_without_a_tag_and_with_fragments_allowed(void **state)
{
	struct fixture *f = *state;
	struct net_observed seen = seen_on(f);
	struct net_path path;
	uint8_t frame[2048];

	seen.tagged = false;
	seen.fragments = true;
	seen.mtu = 0;
	path = observe(&seen, f, THEM, OTHERS);
	assert_int_equal(path.mtu, f->eth.mtu);
	send_bytes(f, &path, 100);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + 100);
	assert_int_equal(get16(frame + 12), 0x0800);
	assert_int_equal(get16(frame + ETHER_LEN + 6), 0); // no DF
	net_path_close(&path);
}

static void test_ipv6_keeps_flow_label_and_hop_limit(void **state)
{
	struct fixture *f = *state;
	const struct net_address local = ip6_address("2001:db8:a::1");
	const struct net_address remote = ip6_address("2001:db8:b::1");
	struct net_observed seen = seen_on(f);
	uint8_t frame[2048];
	struct net_path path;

	seen.tagged = false;
	seen.flow_label = 0xabcde;
	assert_int_equal(net_path_observe(f->net, &seen, &local, &remote, &path), 0);
	send_bytes(f, &path, 100);
	assert_int_equal(f->sent_count, 1);
	sent_frame(f, 0, frame);
	assert_int_equal(get16(frame + 12), 0x86dd);
	assert_int_equal(get32(frame + ETHER_LEN), 6u << 28 | 0xb8u << 20 | 0xabcde);
	assert_int_equal(frame[ETHER_LEN + 7], 61);
	net_path_close(&path);
}

static void test_same_headers_are_shared_and_given_back(void **state)
{
	struct fixture *f = *state;
	const uint64_t before = counter(f, "neighbours", "observed");
	struct net_observed seen = seen_on(f);
	struct net_path one = observe(&seen, f, THEM, OTHERS);
	struct net_path two = observe(&seen, f, THEM + 1, OTHERS);
	struct net_path other;

	assert_int_equal(before, 0);
	assert_int_equal(counter(f, "neighbours", "observed"), 1);
	seen.tag++;
	other = observe(&seen, f, THEM, OTHERS);
	assert_int_equal(counter(f, "neighbours", "observed"), 2);
	net_path_close(&other);
	net_path_close(&one);
	assert_int_equal(counter(f, "neighbours", "observed"), 1);
	net_path_close(&two);
	assert_int_equal(counter(f, "neighbours", "observed"), 0);
	net_check(f->net);
}

static void test_what_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct net_address local = ip_address(THEM), remote = ip6_address("2001:db8::1");
	const struct net_observed seen = seen_on(f);
	struct net_path path;

	assert_int_equal(net_path_observe(f->net, &seen, &local, &remote, &path), -EINVAL);
}

int test_net_observed(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_frames_go_on_as_they_were_seen),
		net_test(test_without_a_tag_and_with_fragments_allowed),
		net_test(test_ipv6_keeps_flow_label_and_hop_limit),
		net_test(test_same_headers_are_shared_and_given_back),
		net_test(test_what_cannot_be_is_refused),
	};

	return cmocka_run_group_tests_name("net_observed", tests, NULL, NULL);
}
