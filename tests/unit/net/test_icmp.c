// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP: echo, errors that belong to TCP, errors of our own and when they are held back.

#include "net_tests.h"

#include <rte_mbuf.h>

#include <string.h>

// The peer is known, so that answers come out at once.
static int setup_with_peer(void **state)
{
	struct fixture *f;

	fixture_setup(state);
	f = *state;
	receive_arp(f, 1, mac_peer, PEER, US);
	sent_clear(f);
	return 0;
}

#define icmp_test(name) cmocka_unit_test_setup_teardown(name, setup_with_peer, fixture_teardown)

static bool receive_icmp(struct fixture *f, uint8_t type, uint8_t code, uint32_t rest,
	const void *payload, size_t length)
{
	const struct packet_spec spec = {.protocol = 1};
	uint8_t icmp[2048], packet[2048];
	size_t icmp_len = build_icmp(icmp, type, code, rest, payload, length);

	return receive_ipv4(f, packet, build_ipv4(packet, &spec, icmp, icmp_len));
}

static void test_an_echo_request_is_answered_with_its_data(void **state)
{
	static const size_t lengths[] = {0, 1, 56, 1472};
	struct fixture *f = *state;
	uint8_t data[1472], frame[2048], *ip = frame + ETHER_LEN, *icmp = ip + IPV4_LEN;

	memset(data, 0x5a, sizeof(data));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		assert_false(receive_icmp(f, 8, 0, 0x12340001, data, lengths[i]));
		assert_int_equal(f->sent_count, 1);
		assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + 8 + lengths[i]);
		assert_memory_equal(frame, mac_peer, 6);
		assert_int_equal(get32(ip + 12), US);
		assert_int_equal(get32(ip + 16), PEER);
		assert_int_equal(icmp[0], 0);
		assert_int_equal(get32(icmp + 4), 0x12340001);
		assert_int_equal(naive_checksum(icmp, 8 + lengths[i], 0), 0);
		assert_memory_equal(icmp + 8, data, lengths[i]);
		sent_clear(f);
	}
	assert_int_equal(counter(f, "icmp_echo_total", NULL), 4);
}

static void test_a_large_fragmented_echo_comes_back_whole(void **state)
{
	struct fixture *f = *state;
	uint8_t icmp[6008], data[6000], packet[2048], frame[2048], back[6008] = {0};
	size_t total, covered = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13);
	total = build_icmp(icmp, 8, 0, 7, data, sizeof(data));
	for (size_t offset = 0; offset < total; offset += 1480) {
		size_t length = total - offset < 1480 ? total - offset : 1480;
		const struct packet_spec spec = {.protocol = 1,
			.id = 5,
			.fragment =
				(uint16_t)((offset + length < total ? 0x2000 : 0) | offset / 8)};

		assert_false(
			receive_ipv4(f, packet, build_ipv4(packet, &spec, icmp + offset, length)));
	}
	assert_int_equal(f->sent_count, 5);
	for (unsigned i = 0; i < f->sent_count; i++) {
		size_t length = sent_frame(f, i, frame) - ETHER_LEN - IPV4_LEN;

		memcpy(back + (get16(frame + ETHER_LEN + 6) & 0x1fff) * 8,
			frame + ETHER_LEN + IPV4_LEN, length);
		covered += length;
	}
	assert_int_equal(covered, total);
	assert_int_equal(back[0], 0);
	assert_int_equal(naive_checksum(back, total, 0), 0);
	assert_memory_equal(back + 8, data, sizeof(data));
}

static void test_an_echo_in_a_mbuf_without_headroom_is_answered(void **state)
{
	const struct packet_spec spec = {.protocol = 1};
	struct fixture *f = *state;
	uint8_t icmp[64], frame[2048];
	size_t length = build_ether(frame, mac_us, mac_peer, 0x0800);
	struct rte_mbuf *m;

	length += build_ipv4(frame + length, &spec, icmp, build_icmp(icmp, 8, 0, 7, "ping", 4));
	m = rte_pktmbuf_alloc(f->pool);
	m->data_off = 0;
	memcpy(rte_pktmbuf_append(m, (uint16_t)length), frame, length);
	assert_false(receive_mbuf(f, &f->eth, m));
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(f->sent[0]->nb_segs, 1); // this port takes no chains
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + 8 + 4);
	assert_memory_equal(frame + ETHER_LEN + IPV4_LEN + 8, "ping", 4);
}

static void test_what_asks_for_nothing_is_ignored(void **state)
{
	static const uint8_t types[] = {0, 4, 5, 9, 10, 13, 15, 17, 40, 255};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(types); i++)
		assert_false(receive_icmp(f, types[i], 0, 0, "12345678", 8));
	assert_int_equal(dropped(f, "icmp_ignored"), sizeof(types));
	assert_int_equal(f->sent_count, 0);
}

static void test_errors_about_our_tcp_are_delivered(void **state)
{
	static const struct {
		uint8_t type, code;
		uint32_t rest;
		uint16_t mtu;
		unsigned options;
	} cases[] = {
		{3, 1, 0, 0, 0},
		{3, 3, 0, 0, 0},
		{3, 4, 1400, 1400, 0},
		{3, 4, 0, 0, 8},
		{3, 1, 1400, 0, 0},
		{11, 0, 0, 0, 0},
		{12, 0, 0x05000000, 0, 0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct packet_spec embedded = {
			.source = US, .destination = IP(192, 0, 2, 1), .options = cases[i].options};
		uint8_t packet[256];
		size_t quoted = IPV4_LEN + cases[i].options + 8;

		build_tcp(packet, &embedded, "x", 1);
		assert_true(receive_icmp(
			f, cases[i].type, cases[i].code, cases[i].rest, packet, quoted));
		assert_int_equal(f->delivery.kind, NET_DELIVERY_ICMP_ERROR);
		assert_int_equal(f->delivery.icmp_type, cases[i].type);
		assert_int_equal(f->delivery.icmp_code, cases[i].code);
		assert_int_equal(f->delivery.icmp_mtu, cases[i].mtu);
		assert_int_equal(net_address_to_ipv4(&f->delivery.source),
			rte_cpu_to_be_32(PEER)); // the router's, not the embedded one
		assert_int_equal(f->delivery.m->l3_len, IPV4_LEN + cases[i].options);
		assert_int_equal(f->delivery.m->pkt_len, quoted);
		assert_memory_equal(rte_pktmbuf_mtod(f->delivery.m, void *), packet, quoted);
		rte_pktmbuf_free(f->delivery.m);
	}
	assert_int_equal(counter(f, "icmp_errors_total", "received"), 7);
}

static void test_errors_about_anything_else_are_dropped(void **state)
{
	static const struct {
		struct packet_spec embedded;
		size_t quoted;
		int version;
	} cases[] = {
		{{.source = US, .destination = PEER, .protocol = 6}, 27, 4},
		{{.source = US, .destination = PEER, .protocol = 6}, 0, 4},
		{{.source = US, .destination = PEER, .protocol = 17}, 28, 4},
		{{.source = STATIC, .destination = PEER, .protocol = 6}, 28, 4},
		{{.source = US, .destination = RAW_US, .protocol = 6}, 28, 4},
		{{.source = US, .destination = PEER, .protocol = 6, .fragment = 1}, 28, 4},
		{{.source = US, .destination = PEER, .protocol = 6}, 28, 6},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t packet[256];

		build_ipv4(packet, &cases[i].embedded, "12345678", 8);
		packet[0] = (uint8_t)(cases[i].version << 4 | 5);
		assert_false(receive_icmp(f, 3, 3, 0, packet, cases[i].quoted));
		assert_int_equal(dropped(f, "icmp_embedded"), i + 1);
	}
	assert_int_equal(f->sent_count, 0); // no error about an error
}

static void test_udp_and_unknown_protocols_are_refused(void **state)
{
	static const struct {
		uint8_t protocol, code;
	} cases[] = {{17, 3}, {50, 2}};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		const struct packet_spec spec = {.protocol = cases[i].protocol};
		uint8_t data[1000] = {0}, packet[2048], frame[2048];
		uint8_t *icmp = frame + ETHER_LEN + IPV4_LEN;
		size_t length = build_ipv4(packet, &spec, data, i == 0 ? 8 : 1000);

		assert_false(receive_ipv4(f, packet, length));
		assert_int_equal(f->sent_count, 1);
		length = length < 548 ? length : 548; // what is quoted
		assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + 8 + length);
		assert_int_equal(icmp[0], 3);
		assert_int_equal(icmp[1], cases[i].code);
		assert_int_equal(naive_checksum(icmp, 8 + length, 0), 0);
		assert_memory_equal(icmp + 8, packet, length);
		sent_clear(f);
	}
}

static void test_tcp_can_have_a_packet_refused(void **state)
{
	const struct packet_spec spec = {0};
	struct fixture *f = *state;
	uint8_t packet[256], frame[2048];

	assert_true(receive_ipv4(f, packet, build_tcp(packet, &spec, "x", 1)));
	net_unreachable(f->net, f->delivery.m, &f->eth, 13, f->now_us);
	sent_frame(f, 0, frame);
	assert_int_equal(frame[ETHER_LEN + IPV4_LEN + 1], 13);
}

static void test_errors_are_rate_limited_and_the_rate_recovers(void **state)
{
	const struct packet_spec spec = {.protocol = 17};
	struct fixture *f = *state;
	uint8_t packet[256];
	size_t length = build_ipv4(packet, &spec, "12345678", 8);

	for (unsigned i = 0; i < 150; i++)
		receive_ipv4(f, packet, length);
	assert_int_equal(f->sent_count, 100);
	assert_int_equal(dropped(f, "icmp_rate"), 50);
	f->now_us += SECOND / 10;
	for (unsigned i = 0; i < 50; i++)
		receive_ipv4(f, packet, length);
	assert_int_equal(f->sent_count, 110);
}

static void test_no_error_is_sent_about_an_error_or_a_later_fragment(void **state)
{
	struct fixture *f = *state;
	const struct packet_spec icmp_spec = {.protocol = 1};
	const struct packet_spec fragment_spec = {.protocol = 17, .fragment = 3};
	uint8_t icmp[64], packet[256];
	struct rte_mbuf *m;
	size_t length;

	length = build_ipv4(packet, &icmp_spec, icmp, build_icmp(icmp, 3, 3, 0, "12345678", 8));
	m = frame_mbuf(f, packet, length);
	m->l3_len = IPV4_LEN;
	net_unreachable(f->net, m, &f->eth, 3, f->now_us);
	length = build_ipv4(packet, &fragment_spec, "12345678", 8);
	m = frame_mbuf(f, packet, length);
	m->l3_len = IPV4_LEN;
	net_unreachable(f->net, m, &f->eth, 3, f->now_us);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(dropped(f, "icmp_forbidden"), 2);
}

static void test_an_answer_without_a_route_is_dropped(void **state)
{
	const struct packet_spec spec = {.source = IP(192, 0, 2, 1), .protocol = 1};
	struct fixture *f = *state;
	const struct net_interface_address address = {ip_address(US), 16};
	const struct net_interface_config interface = {&f->eth, &address, 1};
	struct net_config config;
	uint8_t icmp[64], packet[256];
	const char *error;

	net_destroy(f->net);
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	assert_int_equal(net_create(&config, &f->rng, f->now_us, &f->net, &error), 0);
	receive_ipv4(
		f, packet, build_ipv4(packet, &spec, icmp, build_icmp(icmp, 8, 0, 0, "ping", 4)));
	assert_int_equal(dropped(f, "no_route"), 1);
}

int test_net_icmp(void)
{
	const struct CMUnitTest tests[] = {
		icmp_test(test_an_echo_request_is_answered_with_its_data),
		icmp_test(test_a_large_fragmented_echo_comes_back_whole),
		icmp_test(test_an_echo_in_a_mbuf_without_headroom_is_answered),
		icmp_test(test_what_asks_for_nothing_is_ignored),
		icmp_test(test_errors_about_our_tcp_are_delivered),
		icmp_test(test_errors_about_anything_else_are_dropped),
		icmp_test(test_udp_and_unknown_protocols_are_refused),
		icmp_test(test_tcp_can_have_a_packet_refused),
		icmp_test(test_errors_are_rate_limited_and_the_rate_recovers),
		icmp_test(test_no_error_is_sent_about_an_error_or_a_later_fragment),
		icmp_test(test_an_answer_without_a_route_is_dropped),
	};

	return cmocka_run_group_tests_name("icmp", tests, NULL, NULL);
}
