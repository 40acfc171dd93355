// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The Ethernet filter and received IPv4: what is delivered, and every reason why
// something is not.

#include "net_tests.h"

#include <rte_mbuf.h>

#include <string.h>

// A good TCP frame, then bytes replaced, then sums made good again where that is not the point.
struct patch {
	unsigned offset, bytes;
	uint32_t value;
};

#define FRAME_LEN  60
#define FRAME_ROOM 128 // a header length that lies is summed too
enum {
	AT_TYPE = 12,
	AT_IP = ETHER_LEN,
	AT_LENGTH = AT_IP + 2,
	AT_TTL = AT_IP + 8,
	AT_PROTOCOL = AT_IP + 9,
	AT_SOURCE = AT_IP + 12,
	AT_DESTINATION = AT_IP + 16,
	AT_TCP = AT_IP + IPV4_LEN,
	AT_TCP_OFFSET = AT_TCP + 12,
	AT_DATA = AT_TCP + TCP_LEN,
};

struct drop_case {
	const char *reason;
	unsigned length; // of the frame; 0: all of it
	struct patch patches[2];
	bool resum; // make the IP header's sum good again
	uint64_t ol_flags;
};

static const struct drop_case drop_cases[] = {
	{"frame_short", 1},
	{"frame_short", 13},
	{"frame_short", 33},
	{"mac_destination", 0, {{5, 1, 0x77}}},
	{"mac_destination", 0, {{0, 1, 0x03}}},
	{"mac_source", 0, {{6, 1, 0x03}}},
	{"vlan", 0, {{AT_TYPE, 2, 0x8100}}},
	{"vlan", 0, {{AT_TYPE, 2, 0x88a8}}},
	{"vlan", 0, {{0}}, false, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED},
	{"ethertype", 0, {{AT_TYPE, 2, 0x88cc}}},
	{"ethertype", 0, {{AT_TYPE, 2, 46}}},
	{"ip_header", 0, {{AT_TYPE, 2, 0x86dd}}},
	{"ip_header", 0, {{AT_IP, 1, 0x55}}, true},
	{"ip_header", 0, {{AT_IP, 1, 0x65}}, true},
	{"ip_header", 0, {{AT_IP, 1, 0x44}}, true},
	{"ip_header", 0, {{AT_IP, 1, 0x4f}}, true},
	{"ip_checksum", 0, {{AT_TTL, 1, 63}}},
	{"ip_length", 0, {{AT_LENGTH, 2, 19}}, true},
	{"ip_length", 0, {{AT_LENGTH, 2, 47}}, true},
	{"ip_length", 0, {{AT_LENGTH, 2, 0xffff}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(0, 0, 0, 0)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(0, 1, 2, 3)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(127, 0, 0, 1)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(224, 0, 0, 1)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(240, 0, 0, 1)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(255, 255, 255, 255)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, IP(198, 18, 255, 255)}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, US}}, true},
	{"ip_source", 0, {{AT_SOURCE, 4, RAW_US}}, true},
	{"link_broadcast", 0, {{0, 4, 0xffffffff}, {4, 2, 0xffff}}},
	{"broadcast", 0, {{AT_DESTINATION, 4, IP(255, 255, 255, 255)}}, true},
	{"broadcast", 0, {{AT_DESTINATION, 4, IP(198, 18, 255, 255)}}, true},
	{"multicast", 0, {{AT_DESTINATION, 4, IP(224, 0, 0, 251)}}, true},
	{"not_ours", 0, {{AT_DESTINATION, 4, IP(198, 18, 0, 3)}}, true},
	{"not_ours", 0, {{AT_DESTINATION, 4, IP(127, 0, 0, 1)}}, true},
	{"fragment_invalid", 0, {{AT_IP + 6, 2, 0x2000 | 1}}, true},
	{"tcp_header", 0, {{AT_LENGTH, 2, 39}}, true},
	{"tcp_header", 0, {{AT_TCP_OFFSET, 1, 4 << 4}}},
	{"tcp_header", 0, {{AT_TCP_OFFSET, 1, 15 << 4}}},
	{"tcp_checksum", 0, {{AT_DATA, 1, 'x'}}},
	{"tcp_checksum", 0, {{AT_TCP + 16, 2, 0}}},
	{"tcp_checksum", 0, {{AT_SOURCE, 4, IP(198, 18, 0, 3)}}, true},
	{"udp", 0, {{AT_PROTOCOL, 1, 17}}, true},
	{"ip_protocol", 0, {{AT_PROTOCOL, 1, 50}}, true},
	{"icmp_short", 0, {{AT_PROTOCOL, 1, 1}, {AT_LENGTH, 2, 27}}, true},
	{"icmp_checksum", 0, {{AT_PROTOCOL, 1, 1}}, true},
};

static size_t good_frame(uint8_t *frame)
{
	const struct packet_spec spec = {0};

	memset(frame, 0xee, FRAME_LEN); // what pads must not count
	build_ether(frame, mac_us, mac_peer, 0x0800);
	build_tcp(frame + AT_IP, &spec, "data", 4);
	return FRAME_LEN;
}

static void patch_apply(uint8_t *frame, const struct patch *patch)
{
	for (unsigned i = 0; i < patch->bytes; i++)
		frame[patch->offset + i] = (uint8_t)(patch->value >> 8 * (patch->bytes - 1 - i));
}

static void ip_resum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, naive_checksum(ip, (ip[0] & 15u) * 4, 0));
}

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
		uint8_t frame[FRAME_ROOM] = {0};
		size_t length = good_frame(frame);
		struct rte_mbuf *m;

		patch_apply(frame, &c->patches[0]);
		patch_apply(frame, &c->patches[1]);
		if (c->resum)
			ip_resum(frame + AT_IP);
		m = frame_mbuf(f, frame, c->length != 0 ? c->length : length);
		m->ol_flags |= c->ol_flags;
		if (receive_mbuf(f, &f->eth, m) || dropped(f, c->reason) != before + 1 ||
			dropped_in_all(f) != all + 1)
			fail_msg("case %zu: %s was not counted", i, c->reason);
	}
}

static void test_a_segment_to_us_is_delivered_without_its_padding(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FRAME_LEN];
	size_t length = good_frame(frame);
	const uint8_t *ip;

	assert_true(receive(f, &f->eth, frame, length));
	assert_int_equal(f->delivery.kind, NET_DELIVERY_TCP);
	assert_int_equal(f->delivery.m->pkt_len, IPV4_LEN + TCP_LEN + 4);
	assert_int_equal(f->delivery.m->l3_len, IPV4_LEN);
	assert_int_equal(f->delivery.ttl, 64);
	assert_int_equal(f->delivery.ecn, 0);
	assert_ptr_equal(f->delivery.netif, &f->eth);
	assert_int_equal(net_address_to_ipv4(&f->delivery.source), rte_cpu_to_be_32(PEER));
	assert_int_equal(net_address_to_ipv4(&f->delivery.destination), rte_cpu_to_be_32(US));
	ip = rte_pktmbuf_mtod(f->delivery.m, const uint8_t *);
	assert_memory_equal(ip, frame + AT_IP, IPV4_LEN + TCP_LEN + 4);
	rte_pktmbuf_free(f->delivery.m);
	assert_int_equal(dropped_in_all(f), 0);
	assert_int_equal(counter(f, "ip_packets_total", "received"), 1);
}

static void test_options_are_skipped_and_ecn_and_ttl_reported(void **state)
{
	const struct packet_spec spec = {.options = 12, .tos = 0xab, .ttl = 1};
	struct fixture *f = *state;
	uint8_t packet[256];

	assert_true(receive_ipv4(f, packet, build_tcp(packet, &spec, "x", 1)));
	assert_int_equal(f->delivery.m->l3_len, IPV4_LEN + 12);
	assert_int_equal(f->delivery.ecn, 3);
	assert_int_equal(f->delivery.ttl, 1);
	rte_pktmbuf_free(f->delivery.m);
}

static void test_an_address_of_another_interface_is_ours_too(void **state)
{
	const struct packet_spec spec = {.destination = RAW_US};
	struct fixture *f = *state;
	uint8_t packet[256];

	assert_true(receive_ipv4(f, packet, build_tcp(packet, &spec, "x", 1)));
	rte_pktmbuf_free(f->delivery.m);
}

static void test_hardware_that_has_summed_is_believed(void **state)
{
	static const struct {
		bool capable;
		uint64_t ol_flags;
		bool break_sums;
		const char *reason; // NULL: delivered
	} cases[] = {
		{true, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, NULL},
		{true, RTE_MBUF_F_RX_IP_CKSUM_NONE | RTE_MBUF_F_RX_L4_CKSUM_NONE, true, NULL},
		{true, RTE_MBUF_F_RX_IP_CKSUM_BAD, false, "ip_checksum"},
		{true, RTE_MBUF_F_RX_L4_CKSUM_BAD, false, "tcp_checksum"},
		{true, 0, true, "ip_checksum"},
		{true, 0, false, NULL},
		{false, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD, true,
			"ip_checksum"},
		{false, RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD, false, NULL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t frame[FRAME_LEN];
		size_t length = good_frame(frame);
		struct rte_mbuf *m;
		bool delivered;

		if (cases[i].break_sums) {
			frame[AT_IP + 10] ^= 1;
			frame[AT_TCP + 16] ^= 1;
		}
		f->eth.caps.rx_checksum = cases[i].capable;
		m = frame_mbuf(f, frame, length);
		m->ol_flags |= cases[i].ol_flags;
		delivered = receive_mbuf(f, &f->eth, m);
		assert_int_equal(delivered, cases[i].reason == NULL);
		if (delivered)
			rte_pktmbuf_free(f->delivery.m);
	}
	assert_int_equal(dropped(f, "ip_checksum"), 3);
	assert_int_equal(dropped(f, "tcp_checksum"), 1);
}

static void test_a_raw_interface_has_no_ethernet(void **state)
{
	const struct packet_spec spec = {.source = IP(10, 0, 0, 2), .destination = RAW_US};
	struct fixture *f = *state;
	uint8_t packet[256];

	assert_true(receive(f, &f->raw, packet, build_tcp(packet, &spec, "x", 1)));
	rte_pktmbuf_free(f->delivery.m);
	assert_false(receive(f, &f->raw, "\x60", 1));
	assert_int_equal(dropped(f, "frame_short"), 1);
	assert_false(receive(f, &f->raw, "", 0));
	assert_int_equal(dropped(f, "frame_short"), 2);
}

static void test_a_burst_delivers_in_order_and_without_gaps(void **state)
{
	struct fixture *f = *state;
	struct net_delivery deliveries[8];
	struct rte_mbuf *frames[8];

	for (unsigned i = 0; i < 8; i++) {
		const struct packet_spec spec = {
			.ttl = (uint8_t)(i + 1), .destination = i % 3 == 1 ? STATIC : US};
		uint8_t frame[256];
		size_t length = build_ether(frame, mac_us, mac_peer, 0x0800);

		length += build_tcp(frame + length, &spec, "x", 1);
		frames[i] = frame_mbuf(f, frame, length);
	}
	assert_int_equal(net_input(f->net, &f->eth, frames, 8, f->now_us, deliveries), 5);
	for (unsigned i = 0; i < 5; i++) {
		static const uint8_t ttls[] = {1, 3, 4, 6, 7};

		assert_int_equal(deliveries[i].ttl, ttls[i]);
		rte_pktmbuf_free(deliveries[i].m);
	}
	assert_int_equal(dropped(f, "not_ours"), 3);
}

int test_net_input(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_each_reason_to_drop_is_counted_once),
		net_test(test_a_segment_to_us_is_delivered_without_its_padding),
		net_test(test_options_are_skipped_and_ecn_and_ttl_reported),
		net_test(test_an_address_of_another_interface_is_ours_too),
		net_test(test_hardware_that_has_summed_is_believed),
		net_test(test_a_raw_interface_has_no_ethernet),
		net_test(test_a_burst_delivers_in_order_and_without_gaps),
	};

	return cmocka_run_group_tests_name("input", tests, NULL, NULL);
}
