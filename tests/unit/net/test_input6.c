// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Received IPv6: what is delivered, every reason why something is not, and what the
// source is told.

#include "frames6.h"

#include <rte_mbuf.h>

#include <string.h>

struct drop_case {
	const char *reason;
	struct packet6_spec spec;
	unsigned at, bytes; // replaced in the packet
	uint32_t value;
	unsigned length; // of the packet; 0: all of it
};

static const struct drop_case drop_cases[] = {
	{"frame_short", {0}, 0, 0, 0, 39},
	{"ip_header", {0}, 0, 1, 0x50},
	{"ip_header", {0}, 0, 1, 0x45},
	{"ip_length", {0}, 4, 2, 25},
	{"ip_length", {0}, 4, 2, 0xffff},
	{"ip_source", {.source = "ff02::1"}},
	{"ip_source", {.source = "::1"}},
	{"ip_source", {.source = "::"}},
	{"ip_source", {.source = "::ffff:198.18.0.2"}},
	{"ip_source", {.source = US6}},
	{"ip_source", {.source = RAW_US6}},
	{"not_ours", {.destination = PEER6}},
	{"not_ours", {.destination = "fe80::2"}},
	{"not_ours", {.destination = "::1"}},
	{"not_ours", {.destination = "::"}},
	{"not_ours", {.destination = "::ffff:198.18.0.1"}},
	{"multicast", {.destination = "ff02::1"}},
	{"multicast", {.destination = "ff02::1:ff00:1"}},
	{"mac_destination", {.destination = "ff02::fb"}},
	{"mac_destination", {.destination = "ff02::1:ff00:2"}},
	{"multicast", {.destination = "ff0e::1"}}, // the MAC of all nodes, another group
	{"tcp_header", {0}, 4, 2, 19},
	{"tcp_header", {0}, 52, 1, 4 << 4},
	{"tcp_header", {0}, 52, 1, 15 << 4},
	{"tcp_checksum", {0}, 60, 1, 'x'},
	{"tcp_checksum", {0}, 23, 1, 3}, // the source counts too
	{"udp", {0}, 6, 1, PROTO_UDP},
	{"ip_protocol", {0}, 6, 1, 132},
	{"ip_protocol", {0}, 6, 1, 50},
	{"ip_protocol", {0}, 6, 1, 51},
	{"ipv6_empty", {0}, 6, 1, PROTO_NONE},
	{"icmp_short", {0}, 4, 3, 7 << 8 | PROTO_ICMP6},
	{"icmp_checksum", {0}, 6, 1, PROTO_ICMP6},
};

static uint64_t dropped_in_all(const struct fixture *f)
{
	struct counter_set set = net_counters(f->net);
	uint64_t sum = 0;

	for (unsigned i = 0; i < set.families[0].slots; i++)
		sum += counter_read(&set.values[i]);
	return sum;
}

static void test_each_reason_to_drop_is_counted_once(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(drop_cases) / sizeof(*drop_cases); i++) {
		const struct drop_case *c = &drop_cases[i];
		uint64_t before = dropped(f, c->reason), all = dropped_in_all(f);
		uint8_t packet[256] = {0};
		size_t length = build_tcp6(packet, &c->spec, NULL, 0, "data", 4);

		for (unsigned b = 0; b < c->bytes; b++)
			packet[c->at + b] = (uint8_t)(c->value >> 8 * (c->bytes - 1 - b));
		if (receive_ipv6(f, packet, c->length != 0 ? c->length : length) ||
			dropped(f, c->reason) != before + 1 || dropped_in_all(f) != all + 1)
			fail_msg("case %zu: %s was not counted", i, c->reason);
	}
}

static void test_a_packet_to_us_in_a_frame_to_many_is_dropped(void **state)
{
	const struct packet6_spec spec = {0};
	struct fixture *f = *state;
	uint8_t frame[256];
	size_t length = build_ether(frame, mac_all, mac_peer, 0x86dd);

	length += build_tcp6(frame + length, &spec, NULL, 0, "x", 1);
	assert_false(receive(f, &f->eth, frame, length));
	assert_int_equal(dropped(f, "link_broadcast"), 1);
}

static void test_a_segment_to_us_is_delivered_without_its_padding(void **state)
{
	const struct packet6_spec spec = {.traffic_class = 0xab, .hop_limit = 3};
	struct fixture *f = *state;
	struct net_address us = ip6_address(US6), peer = ip6_address(PEER6);
	uint8_t packet[256];
	size_t length = build_tcp6(packet, &spec, NULL, 0, "data", 4);

	memset(packet + length, 0xee, 9);
	assert_true(receive_ipv6(f, packet, length + 9));
	assert_int_equal(f->delivery.kind, NET_DELIVERY_TCP);
	assert_int_equal(f->delivery.m->pkt_len, length);
	assert_int_equal(f->delivery.m->l3_len, IPV6_LEN);
	assert_int_equal(f->delivery.ttl, 3);
	assert_int_equal(f->delivery.ecn, 3);
	assert_ptr_equal(f->delivery.netif, &f->eth);
	assert_true(net_address_equal(&f->delivery.source, &peer));
	assert_true(net_address_equal(&f->delivery.destination, &us));
	assert_memory_equal(rte_pktmbuf_mtod(f->delivery.m, void *), packet, length);
	rte_pktmbuf_free(f->delivery.m);
	assert_int_equal(dropped_in_all(f), 0);
}

static void test_addresses_of_other_interfaces_are_ours_but_for_link_local_ones(void **state)
{
	static const struct packet6_spec other = {.destination = RAW_US6};
	static const struct packet6_spec link = {.source = "fe80::2", .destination = LINK_US6};
	struct fixture *f = *state;
	uint8_t packet[256];
	size_t length;

	assert_true(receive_ipv6(f, packet, build_tcp6(packet, &other, NULL, 0, "x", 1)));
	rte_pktmbuf_free(f->delivery.m);
	length = build_tcp6(packet, &link, NULL, 0, "x", 1);
	assert_true(receive_ipv6(f, packet, length));
	rte_pktmbuf_free(f->delivery.m);
	assert_false(receive(f, &f->raw, packet, length));
	assert_int_equal(dropped(f, "not_ours"), 1);
}

static void test_a_raw_interface_has_no_ethernet(void **state)
{
	static const struct packet6_spec spec = {
		.source = "2001:db8:10::2", .destination = RAW_US6};
	struct fixture *f = *state;
	uint8_t packet[256];

	assert_true(receive(f, &f->raw, packet, build_tcp6(packet, &spec, NULL, 0, "x", 1)));
	rte_pktmbuf_free(f->delivery.m);
	assert_false(receive(f, &f->raw, packet,
		build_nd(packet, "2001:db8:10::2", RAW_US6, ND_NS, 0, RAW_US6, NULL)));
	assert_int_equal(dropped(f, "icmp_ignored"), 1);
	assert_int_equal(f->sent_count, 0);
}

static void test_without_an_address_there_is_no_ipv6(void **state)
{
	static const struct packet6_spec spec = {0};
	struct fixture *f = *state;
	uint8_t packet[256];

	f->ipv6 = false;
	fixture_net_create(f);
	advance(f, 5 * SECOND);
	sent_clear(f);
	assert_false(receive_ipv6(f, packet, build_tcp6(packet, &spec, NULL, 0, "x", 1)));
	assert_int_equal(dropped(f, "not_ours"), 1);
	assert_false(receive_ipv6(
		f, packet, build_nd(packet, PEER6, "ff02::1", ND_NA, 0, PEER6, mac_peer)));
	assert_int_equal(dropped(f, "mac_destination"), 1);
	assert_int_equal(f->sent_count, 0);
}

// --- extension headers ---------------------------------------------------------------------------

struct extension_case {
	const char *name;
	uint8_t first;
	uint8_t bytes[24];
	unsigned length;
	const char *reason; // NULL: delivered
	int code;	    // of the parameter problem, -1: none
	unsigned pointer;
};

static const struct extension_case extension_cases[] = {
	{"hop-by-hop of padding", PROTO_HOPOPTS, {PROTO_TCP, 0, 1, 4}, 8, NULL, -1, 0},
	{"router alert and Pad1", PROTO_HOPOPTS, {PROTO_TCP, 0, 5, 2, 0, 0}, 8, NULL, -1, 0},
	{"destination options", PROTO_DSTOPTS, {PROTO_TCP, 0, 1, 4}, 8, NULL, -1, 0},
	{"both", PROTO_HOPOPTS, {PROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, PROTO_TCP, 1, 1, 12}, 24, NULL,
		-1, 0},
	{"a route that has ended", PROTO_ROUTING, {PROTO_TCP, 0, 0, 0}, 8, NULL, -1, 0},
	{"a route", PROTO_ROUTING, {PROTO_TCP, 0, 0, 1}, 8, "ipv6_routing", 0, 42},
	{"a route of another type", PROTO_ROUTING, {PROTO_TCP, 0, 4, 1}, 8, "ipv6_routing", 0, 42},
	{"skip if unknown", PROTO_DSTOPTS, {PROTO_TCP, 0, 0x1e, 4}, 8, NULL, -1, 0},
	{"drop if unknown", PROTO_DSTOPTS, {PROTO_TCP, 0, 0x5e, 4}, 8, "ipv6_option", -1, 0},
	{"tell if unknown", PROTO_DSTOPTS, {PROTO_TCP, 0, 0x9e, 4}, 8, "ipv6_option", 2, 42},
	{"tell unless to many", PROTO_DSTOPTS, {PROTO_TCP, 0, 0, 0xde, 3}, 8, "ipv6_option", 2, 43},
	{"jumbo", PROTO_HOPOPTS, {PROTO_TCP, 0, 0xc2, 4}, 8, "ipv6_option", 2, 42},
	{"an option beyond its header", PROTO_DSTOPTS, {PROTO_TCP, 0, 1, 5}, 8, "ipv6_extension",
		-1, 0},
	{"an option without length", PROTO_DSTOPTS, {PROTO_TCP, 0, 1, 3, 0, 0, 0, 1}, 8,
		"ipv6_extension", -1, 0},
	{"a header beyond the packet", PROTO_DSTOPTS, {PROTO_TCP, 9, 1, 4}, 8, "ipv6_extension", -1,
		0},
	{"hop-by-hop second", PROTO_DSTOPTS,
		{PROTO_HOPOPTS, 0, 1, 4, 0, 0, 0, 0, PROTO_TCP, 0, 1, 4}, 16, "ipv6_extension", 1,
		40},
	{"something unknown behind", PROTO_DSTOPTS, {254, 0, 1, 4}, 8, "ip_protocol", 1, 40},
	{"nothing behind", PROTO_DSTOPTS, {PROTO_NONE, 0, 1, 4}, 8, "ipv6_empty", -1, 0},
};

static void extension_case_run(struct fixture *f, const struct extension_case *c)
{
	const struct packet6_spec spec = {.protocol = c->first};
	uint8_t packet[256], frame[2048], *icmp = frame + ETHER_LEN + IPV6_LEN;
	size_t length = build_tcp6(packet, &spec, c->bytes, c->length, "data", 4);
	bool delivered = receive_ipv6(f, packet, length);

	if (delivered != (c->reason == NULL))
		fail_msg("%s: %s", c->name, delivered ? "delivered" : "dropped");
	if (delivered) {
		assert_int_equal(f->delivery.m->l3_len, IPV6_LEN + c->length);
		rte_pktmbuf_free(f->delivery.m);
	} else if (dropped(f, c->reason) == 0) {
		fail_msg("%s: no %s", c->name, c->reason);
	}
	assert_int_equal(f->sent_count, c->code >= 0);
	if (c->code < 0)
		return;
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV6_LEN + 8 + length);
	assert_int_equal(icmp[0], 4);
	assert_int_equal(icmp[1], c->code);
	assert_int_equal(get32(icmp + 4), c->pointer);
	assert_int_equal(naive_checksum6(frame + ETHER_LEN, PROTO_ICMP6, icmp, 8 + length), 0);
	assert_memory_equal(icmp + 8, packet, length);
}

static void test_extension_headers_are_skipped_or_drop_the_packet(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(extension_cases) / sizeof(*extension_cases); i++) {
		fixture_net_create(f); // counters from 0
		advance(f, 4 * SECOND);
		receive_ns(f, PEER6, US6); // errors come out at once
		sent_clear(f);
		extension_case_run(f, &extension_cases[i]);
		sent_clear(f);
	}
}

static void test_an_endless_chain_of_headers_is_not_followed(void **state)
{
	const struct packet6_spec spec = {.protocol = PROTO_DSTOPTS};
	struct fixture *f = *state;
	uint8_t packet[1024], chain[264] = {0};

	for (unsigned i = 0; i < sizeof(chain); i += 8)
		memcpy(chain + i, (uint8_t[]){PROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}, 8);
	chain[248] = PROTO_TCP; // 256 bytes are taken …
	assert_true(receive_ipv6(f, packet, build_tcp6(packet, &spec, chain, 256, "x", 1)));
	rte_pktmbuf_free(f->delivery.m);
	chain[248] = PROTO_DSTOPTS; // … and no more
	chain[256] = PROTO_TCP;
	assert_false(receive_ipv6(f, packet, build_tcp6(packet, &spec, chain, 264, "x", 1)));
	assert_int_equal(dropped(f, "ipv6_extension"), 1);
}

int test_net_input6(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_each_reason_to_drop_is_counted_once),
		net6_test(test_a_packet_to_us_in_a_frame_to_many_is_dropped),
		net6_test(test_a_segment_to_us_is_delivered_without_its_padding),
		net6_test(test_addresses_of_other_interfaces_are_ours_but_for_link_local_ones),
		net6_test(test_a_raw_interface_has_no_ethernet),
		net6_test(test_without_an_address_there_is_no_ipv6),
		net6_test(test_extension_headers_are_skipped_or_drop_the_packet),
		net6_test(test_an_endless_chain_of_headers_is_not_followed),
	};

	return cmocka_run_group_tests_name("input6", tests, NULL, NULL);
}
