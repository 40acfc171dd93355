// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMPv6: echo, errors that belong to TCP, errors of our own and when they are held back
// (RFC 4443 2.4).

#include "frames6.h"

#include <rte_mbuf.h>

#include <string.h>

static const struct packet6_spec plain = {0};

// The peer is known, so that answers come out at once.
static int setup_with_peer(void **state)
{
	struct fixture *f;

	fixture6_setup(state);
	f = *state;
	receive_ns(f, PEER6, US6);
	sent_clear(f);
	return 0;
}

#define icmp6_test(name) cmocka_unit_test_setup_teardown(name, setup_with_peer, fixture_teardown)

static bool receive_icmp6(struct fixture *f, const struct packet6_spec *spec, uint8_t type,
	uint8_t code, uint32_t rest, const void *payload, size_t length)
{
	uint8_t packet[2048];

	return receive_ipv6(
		f, packet, build_icmp6(packet, spec, type, code, rest, payload, length));
}

static void test_an_echo_request_is_answered_with_its_data(void **state)
{
	static const size_t lengths[] = {0, 1, 56, 1452};
	static const char *const to[] = {US6, US6, "ff02::1", RAW_US6};
	struct fixture *f = *state;
	uint8_t data[1452], frame[2048], *ip = frame + ETHER_LEN, *icmp = ip + IPV6_LEN;

	memset(data, 0x5a, sizeof(data));
	for (size_t i = 0; i < 4; i++) {
		const struct packet6_spec spec = {.destination = to[i], .traffic_class = 0x2b};

		assert_false(receive_icmp6(f, &spec, 128, 0, 0x12340001, data, lengths[i]));
		assert_int_equal(f->sent_count, 1);
		assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV6_LEN + 8 + lengths[i]);
		assert_memory_equal(frame, mac_peer, 6);
		assert_good_ip6(ip, IPV6_LEN + 8 + lengths[i], i == 3 ? RAW_US6 : US6, PEER6);
		assert_int_equal(get32(ip) >> 20, 0x628); // DSCP, not ECN
		assert_int_equal(icmp[0], 129);
		assert_int_equal(get32(icmp + 4), 0x12340001);
		assert_int_equal(naive_checksum6(ip, PROTO_ICMP6, icmp, 8 + lengths[i]), 0);
		assert_memory_equal(icmp + 8, data, lengths[i]);
		sent_clear(f);
	}
	assert_int_equal(counter(f, "icmp_echo_total", NULL), 4);
}

static void test_a_large_fragmented_echo_comes_back_whole(void **state)
{
	struct fixture *f = *state;
	static uint8_t packet[8192], data[6000], back[8192];
	uint8_t part[2048], frame[2048], *header = frame + ETHER_LEN + IPV6_LEN;
	size_t total, covered = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13);
	total = build_icmp6(packet, &plain, 128, 0, 7, data, sizeof(data)) - IPV6_LEN;
	for (size_t offset = 0; offset < total; offset += 1448) {
		size_t length = total - offset < 1448 ? total - offset : 1448;

		assert_false(receive_ipv6(f, part,
			build_fragment6(part, &plain, PROTO_ICMP6, 9, (unsigned)offset,
				offset + length < total, packet + IPV6_LEN + offset, length)));
	}
	assert_int_equal(f->sent_count, 5);
	for (unsigned i = 0; i < f->sent_count; i++) {
		size_t length = sent_frame(f, i, frame) - ETHER_LEN - IPV6_LEN - 8;

		memcpy(back + (get16(header + 2) & ~7u), header + 8, length);
		covered += length;
	}
	assert_int_equal(covered, total);
	assert_int_equal(back[0], 129);
	assert_int_equal(naive_checksum6(frame + ETHER_LEN, PROTO_ICMP6, back, total), 0);
	assert_memory_equal(back + 8, data, sizeof(data));
}

static void test_what_asks_for_nothing_is_ignored(void **state)
{
	static const uint8_t types[] = {0, 5, 100, 127, 129, 131, 132, 139, 143, 200, 255};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(types); i++)
		assert_false(receive_icmp6(f, &plain, types[i], 0, 0, "12345678", 8));
	assert_int_equal(dropped(f, "icmp_ignored"), sizeof(types));
	assert_int_equal(f->sent_count, 0);
}

static void test_errors_about_our_tcp_are_delivered(void **state)
{
	static const struct {
		uint8_t type, code;
		uint32_t rest;
		uint16_t mtu;
	} cases[] = {
		{1, 0, 0, 0},
		{1, 4, 0, 0},
		{2, 0, 1280, 1280},
		{2, 0, 1400, 1400},
		{2, 0, 0x10000, 0xffff},
		{3, 0, 0, 0},
		{4, 1, 6, 0},
	};
	const struct packet6_spec embedded = {.source = US6, .destination = FAR6};
	struct fixture *f = *state;
	struct net_address peer = ip6_address(PEER6);
	uint8_t packet[256];

	build_tcp6(packet, &embedded, NULL, 0, "x", 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_true(receive_icmp6(f, &plain, cases[i].type, cases[i].code, cases[i].rest,
			packet, IPV6_LEN + 8));
		assert_int_equal(f->delivery.kind, NET_DELIVERY_ICMP_ERROR);
		assert_int_equal(f->delivery.icmp_type, cases[i].type);
		assert_int_equal(f->delivery.icmp_code, cases[i].code);
		assert_int_equal(f->delivery.icmp_mtu, cases[i].mtu);
		assert_true(net_address_equal(&f->delivery.source, &peer)); // the router's
		assert_int_equal(f->delivery.m->l3_len, IPV6_LEN);
		assert_int_equal(f->delivery.m->pkt_len, IPV6_LEN + 8);
		assert_memory_equal(rte_pktmbuf_mtod(f->delivery.m, void *), packet, IPV6_LEN + 8);
		rte_pktmbuf_free(f->delivery.m);
	}
	assert_int_equal(counter(f, "icmp_errors_total", "received"), 7);
	// RFC 8201 4: less than every link must carry.
	assert_false(receive_icmp6(f, &plain, 2, 0, 1279, packet, IPV6_LEN + 8));
	assert_int_equal(dropped(f, "icmp_ignored"), 1);
}

static void test_errors_about_anything_else_are_dropped(void **state)
{
	static const struct {
		struct packet6_spec embedded;
		size_t quoted;
		uint8_t version;
	} cases[] = {
		{{.source = US6, .destination = FAR6, .protocol = PROTO_TCP}, 47, 6},
		{{.source = US6, .destination = FAR6, .protocol = PROTO_TCP}, 0, 6},
		{{.source = US6, .destination = FAR6, .protocol = PROTO_UDP}, 48, 6},
		{{.source = US6, .destination = FAR6, .protocol = PROTO_FRAGMENT}, 48, 6},
		{{.source = STATIC6, .destination = FAR6, .protocol = PROTO_TCP}, 48, 6},
		{{.source = US6, .destination = RAW_US6, .protocol = PROTO_TCP}, 48, 6},
		{{.source = US6, .destination = FAR6, .protocol = PROTO_TCP}, 48, 4},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t packet[256];

		build_ipv6(packet, &cases[i].embedded, "12345678", 8);
		packet[0] = (uint8_t)(cases[i].version << 4);
		assert_false(receive_icmp6(f, &plain, 1, 3, 0, packet, cases[i].quoted));
		assert_int_equal(dropped(f, "icmp_embedded"), i + 1);
	}
	assert_int_equal(f->sent_count, 0); // no error about an error
}

static void test_udp_and_unknown_protocols_are_refused(void **state)
{
	static const struct {
		uint8_t protocol, type, code;
		uint32_t pointer;
		size_t length;
	} cases[] = {{PROTO_UDP, 1, 4, 0, 8}, {132, 4, 1, 6, 1400}};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		const struct packet6_spec spec = {.protocol = cases[i].protocol};
		uint8_t data[1400] = {0}, packet[2048], frame[2048];
		uint8_t *icmp = frame + ETHER_LEN + IPV6_LEN;
		size_t length = build_ipv6(packet, &spec, data, cases[i].length);

		assert_false(receive_ipv6(f, packet, length));
		assert_int_equal(f->sent_count, 1);
		length = length < 1232 ? length : 1232; // what is quoted
		assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV6_LEN + 8 + length);
		assert_int_equal(icmp[0], cases[i].type);
		assert_int_equal(icmp[1], cases[i].code);
		assert_int_equal(get32(icmp + 4), cases[i].pointer);
		assert_int_equal(
			naive_checksum6(frame + ETHER_LEN, PROTO_ICMP6, icmp, 8 + length), 0);
		assert_memory_equal(icmp + 8, packet, length);
		sent_clear(f);
	}
}

static void test_tcp_can_have_a_packet_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[256], frame[2048];

	assert_true(receive_ipv6(f, packet, build_tcp6(packet, &plain, NULL, 0, "x", 1)));
	net_unreachable(f->net, f->delivery.m, &f->eth, 1, f->now_us);
	sent_frame(f, 0, frame);
	assert_int_equal(frame[ETHER_LEN + IPV6_LEN], 1);
	assert_int_equal(frame[ETHER_LEN + IPV6_LEN + 1], 1);
}

static void test_errors_are_rate_limited_together_with_those_of_ipv4(void **state)
{
	const struct packet6_spec spec = {.protocol = PROTO_UDP};
	const struct packet_spec spec4 = {.protocol = 17};
	struct fixture *f = *state;
	uint8_t packet[256], packet4[256];
	size_t length = build_ipv6(packet, &spec, "12345678", 8);
	size_t length4 = build_ipv4(packet4, &spec4, "12345678", 8);

	for (unsigned i = 0; i < 75; i++) {
		receive_ipv6(f, packet, length);
		receive_ipv4(f, packet4, length4);
	}
	assert_int_equal(counter(f, "icmp_errors_total", "sent"), 100);
	assert_int_equal(dropped(f, "icmp_rate"), 50);
}

// Case by case of RFC 4443 2.4 (e); the packet would have drawn an error otherwise.
static void test_some_packets_draw_no_error(void **state)
{
	static const uint8_t to_many[] = {PROTO_TCP, 0, 0xde, 4, 0, 0, 0, 0};
	static const uint8_t to_many_too[] = {PROTO_TCP, 0, 0x9e, 4, 0, 0, 0, 0};
	static const uint8_t before_error[] = {PROTO_ICMP6, 0, 0x9e, 4, 0, 0, 0, 0, 1, 0, 0, 0};
	static const uint8_t before_redirect[] = {
		PROTO_ICMP6, 0, 0x9e, 4, 0, 0, 0, 0, 137, 0, 0, 0};
	static const uint8_t before_query[] = {PROTO_ICMP6, 0, 0x9e, 4, 0, 0, 0, 0, 128, 0, 0, 0};
	static const struct {
		const char *source, *destination;
		const uint8_t *bytes;
		size_t length;
		bool told;
	} cases[] = {
		{PEER6, "ff02::1", to_many, 8, false},
		{PEER6, "ff02::1", to_many_too, 8, true}, // the exception
		{"::", US6, to_many_too, 8, false},
		{PEER6, US6, before_error, 12, false},
		{PEER6, US6, before_redirect, 12, false},
		{PEER6, US6, before_query, 12, true},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct packet6_spec spec = {
			cases[i].source, cases[i].destination, PROTO_DSTOPTS, 0, 0};
		uint64_t forbidden = dropped(f, "icmp_forbidden");
		uint8_t packet[256];

		assert_false(receive_ipv6(
			f, packet, build_ipv6(packet, &spec, cases[i].bytes, cases[i].length)));
		assert_int_equal(dropped(f, "ipv6_option"), i + 1);
		assert_int_equal(f->sent_count, cases[i].told);
		assert_int_equal(dropped(f, "icmp_forbidden"), forbidden + !cases[i].told);
		sent_clear(f);
	}
}

int test_net_icmp6(void)
{
	const struct CMUnitTest tests[] = {
		icmp6_test(test_an_echo_request_is_answered_with_its_data),
		icmp6_test(test_a_large_fragmented_echo_comes_back_whole),
		icmp6_test(test_what_asks_for_nothing_is_ignored),
		icmp6_test(test_errors_about_our_tcp_are_delivered),
		icmp6_test(test_errors_about_anything_else_are_dropped),
		icmp6_test(test_udp_and_unknown_protocols_are_refused),
		icmp6_test(test_tcp_can_have_a_packet_refused),
		icmp6_test(test_errors_are_rate_limited_together_with_those_of_ipv4),
		icmp6_test(test_some_packets_draw_no_error),
	};

	return cmocka_run_group_tests_name("icmp6", tests, NULL, NULL);
}
