// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// MLD: which groups are reported, when, to whom, in whose version (RFC 3810, RFC 2710).

#include "frames6.h"

#include <rte_mbuf.h>

#include <string.h>

#define ROUTER "fe80::fe"

// Frame i is a report with a router alert and a good sum; returns the ICMPv6 message.
static const uint8_t *sent_report(
	const struct fixture *f, unsigned i, uint8_t frame[2048], const char *source, size_t length)
{
	static const uint8_t alert[] = {PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0};
	uint8_t *ip = frame + ETHER_LEN, *icmp = ip + IPV6_LEN + 8;
	struct net_address from = ip6_address(source);

	assert_int_equal(sent_frame(f, i, frame), ETHER_LEN + IPV6_LEN + 8 + length);
	assert_int_equal(get16(frame), 0x3333);
	assert_memory_equal(frame + 2, ip + 36, 4);
	assert_int_equal(ip[6], PROTO_HOPOPTS);
	assert_int_equal(ip[7], 1);
	assert_memory_equal(ip + 8, from.bytes, 16);
	assert_memory_equal(ip + IPV6_LEN, alert, 8);
	assert_int_equal(naive_checksum6(ip, PROTO_ICMP6, icmp, length), 0);
	return icmp;
}

static void assert_report_v2(const struct fixture *f, unsigned i, const char *source, uint8_t mode)
{
	struct net_address all = ip6_address("ff02::16");
	struct net_address group = ip6_address(solicited_node(US6));
	uint8_t frame[2048];
	const uint8_t *icmp = sent_report(f, i, frame, source, 8 + 20);

	assert_memory_equal(frame + ETHER_LEN + 24, all.bytes, 16);
	assert_int_equal(icmp[0], 143);
	assert_int_equal(get16(icmp + 6), 1); // both our addresses have the same group
	assert_int_equal(icmp[8], mode);
	assert_int_equal(get16(icmp + 10), 0);
	assert_memory_equal(icmp + 12, group.bytes, 16);
}

// A query to all nodes, or of one group; longer ones are version 2's.
static void receive_query(
	struct fixture *f, const char *source, unsigned delay, size_t length, uint8_t hop_limit)
{
	const struct packet6_spec spec = {source, "ff02::1", PROTO_ICMP6, 0, hop_limit};
	uint8_t packet[256], rest[32] = {0};

	assert_false(receive_ipv6(
		f, packet, build_icmp6(packet, &spec, 130, 0, delay << 16, rest, length - 8)));
}

static void test_groups_are_reported_at_the_start(void **state)
{
	struct fixture *f = *state;

	fixture_net_create(f);
	net_timers(f->net, f->now_us);
	assert_report_v2(f, 1, "::", 4);
	sent_clear(f);
	advance(f, SECOND + 10000); // again, now that there is an address
	assert_report_v2(f, f->sent_count - 1, LINK_US6, 4);
	advance(f, 10 * SECOND);
	assert_int_equal(counter(f, "mld_reports_total", NULL), 2);
}

static void test_a_query_is_answered_within_its_delay(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 20; i++) {
		receive_query(f, ROUTER, 1000, 28, 1);
		receive_query(f, ROUTER, 1000, 28, 1); // one answer does for both
		assert_int_equal(f->sent_count, 0);
		advance(f, SECOND + 10000);
		assert_int_equal(f->sent_count, 1);
		assert_report_v2(f, 0, LINK_US6, 2);
		sent_clear(f);
	}
}

static void test_an_old_querier_gets_old_reports(void **state)
{
	struct fixture *f = *state;
	struct net_address group = ip6_address(solicited_node(US6));
	uint8_t frame[2048];
	const uint8_t *icmp;

	receive_query(f, ROUTER, 0, 24, 1);
	advance(f, 10000);
	assert_int_equal(f->sent_count, 1);
	icmp = sent_report(f, 0, frame, LINK_US6, 24);
	assert_int_equal(icmp[0], 131);
	assert_memory_equal(icmp + 8, group.bytes, 16);
	assert_memory_equal(frame + ETHER_LEN + 24, group.bytes, 16);
}

static void test_a_long_delay_is_a_mantissa_and_an_exponent(void **state)
{
	struct fixture *f = *state;

	receive_query(f, ROUTER, 0x8fff, 28, 1); // 0x1fff << 3 ms
	advance(f, 65 * SECOND + 528000 + 10000);
	assert_int_equal(f->sent_count, 1);
}

static void test_queries_from_beyond_the_link_are_ignored(void **state)
{
	struct fixture *f = *state;

	receive_query(f, ROUTER, 0, 28, 64);
	receive_query(f, PEER6, 0, 28, 1);
	receive_query(f, "::", 0, 28, 1);
	receive_query(f, ROUTER, 0, 16, 1);
	advance(f, 20 * SECOND);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(dropped(f, "icmp_ignored"), 4);
}

int test_net_mld(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_groups_are_reported_at_the_start),
		net6_test(test_a_query_is_answered_within_its_delay),
		net6_test(test_an_old_querier_gets_old_reports),
		net6_test(test_a_long_delay_is_a_mantissa_and_an_exponent),
		net6_test(test_queries_from_beyond_the_link_are_ignored),
	};

	return cmocka_run_group_tests_name("mld", tests, NULL, NULL);
}
