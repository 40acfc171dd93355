// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What net_path_send() makes of a packet on an IPv6 path: headers, sums in software and
// hardware, fragments, and the way it takes.

#include "frames6.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

// A TCP segment without its sum, as the engine hands it down.
static struct rte_mbuf *tcp_segment(struct fixture *f, size_t data, size_t chain)
{
	uint8_t segment[9000] = {0};
	struct rte_mbuf *m;

	segment[12] = 5 << 4;
	for (size_t i = 0; i < data; i++)
		segment[TCP_LEN + i] = (uint8_t)(random_next(&f->rng) >> 56);
	m = frame_chain(f, segment, TCP_LEN + data, chain);
	m->l4_len = TCP_LEN;
	return m;
}

static void test_a_segment_gets_its_header_and_sum(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, STATIC6), other = open_path6(f, STATIC6);
	uint8_t frame[2048], *ip = frame + ETHER_LEN;

	assert_true(path.ipv6);
	assert_int_equal(path.mtu, 1500);
	assert_int_not_equal(path.flow_label, other.flow_label);
	path.tos = 0x28;
	path.ttl = 17;
	net_path_send(&path, tcp_segment(f, 101, 1900), PROTO_TCP, 2, f->now_us);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV6_LEN + TCP_LEN + 101);
	assert_memory_equal(frame, mac_static, 6);
	assert_memory_equal(frame + 6, mac_us, 6);
	assert_int_equal(get16(frame + 12), 0x86dd);
	assert_good_ip6(ip, IPV6_LEN + TCP_LEN + 101, US6, STATIC6);
	assert_int_equal(get32(ip), 0x62a00000u | path.flow_label);
	assert_int_equal(ip[6], PROTO_TCP);
	assert_int_equal(ip[7], 17);
	assert_int_equal(naive_checksum6(ip, PROTO_TCP, ip + IPV6_LEN, TCP_LEN + 101), 0);
	assert_int_equal(f->sent[0]->ol_flags, 0);
	assert_int_equal(f->sent[0]->l3_len, IPV6_LEN);
	net_path_close(&path);
	net_path_close(&other);
}

static void test_sums_over_chains_agree_with_the_naive_one(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, STATIC6);
	uint8_t frame[2048], *ip = frame + ETHER_LEN;

	for (unsigned i = 0; i < 200; i++) {
		size_t data = random_below(&f->rng, 1440);
		size_t chain = TCP_LEN + random_below(&f->rng, 300);

		f->eth.caps.multi_segment = i % 2 == 0; // else it is made flat
		net_path_send(&path, tcp_segment(f, data, chain), PROTO_TCP, 0, f->now_us);
		assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV6_LEN + TCP_LEN + data);
		assert_int_equal(naive_checksum6(ip, PROTO_TCP, ip + IPV6_LEN, TCP_LEN + data), 0);
		sent_clear(f);
	}
	net_path_close(&path);
}

static void test_hardware_is_told_what_to_sum(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, STATIC6);
	uint8_t frame[9000], *tcp = frame + ETHER_LEN + IPV6_LEN;

	for (unsigned tso = 0; tso < 2; tso++) {
		size_t data = tso ? 6000 : 100;
		struct rte_mbuf *m = tcp_segment(f, data, 1900);
		uint32_t length = tso ? 0 : (uint32_t)(TCP_LEN + data);

		f->eth.caps = (struct net_if_caps){.tx_ip_checksum = true,
			.tx_tcp_checksum = true,
			.tso_ipv6 = true,
			.multi_segment = true};
		if (tso) {
			m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
			m->tso_segsz = 1440;
		}
		net_path_send(&path, m, PROTO_TCP, 0, f->now_us);
		m = f->sent[0];
		assert_true((m->ol_flags & ~RTE_MBUF_F_TX_TCP_SEG) ==
			    (RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_CKSUM));
		assert_int_equal(m->l2_len, ETHER_LEN);
		assert_int_equal(m->l3_len, IPV6_LEN);
		assert_int_equal(m->l4_len, TCP_LEN);
		sent_frame(f, 0, frame);
		// The pseudo header's sum alone: its addresses, the protocol, the length.
		assert_int_equal(get16(tcp + 16),
			(uint16_t)~naive_checksum(frame + ETHER_LEN + 8, 32, PROTO_TCP + length));
		sent_clear(f);
	}
	net_path_close(&path);
}

static void test_df_forbids_fragments(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path6(f, STATIC6);

	send_bytes(f, &path, 1460);
	assert_int_equal(f->sent_count, 1);
	send_bytes(f, &path, 1461);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(dropped(f, "too_big"), 1);
	net_path_close(&path);
}

static void test_fragments_cover_the_packet_and_share_an_id(void **state)
{
	static const uint16_t mtus[] = {1280, 1500};
	struct fixture *f = *state;
	struct net_path path = open_path6(f, STATIC6);
	uint32_t last_id = 0;

	path.df = false;
	for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
		uint8_t frame[2048], whole[4096] = {0}, *ip = frame + ETHER_LEN;
		uint8_t *header = ip + IPV6_LEN;
		size_t covered = 0;

		path.mtu = mtus[i];
		send_bytes(f, &path, 3003);
		assert_true(f->sent_count > 1);
		for (unsigned k = 0; k < f->sent_count; k++) {
			size_t length = sent_frame(f, k, frame) - ETHER_LEN;
			unsigned offset = get16(header + 2) & ~7u;

			assert_true(length <= mtus[i]);
			assert_good_ip6(ip, length, US6, STATIC6);
			assert_int_equal(ip[6], PROTO_FRAGMENT);
			assert_int_equal(header[0], 253);
			assert_int_equal(offset, covered);
			assert_int_equal(get16(header + 2) & 7, k + 1 < f->sent_count);
			assert_true((get32(header + 4) == last_id) == (k > 0));
			last_id = get32(header + 4);
			memcpy(whole + offset, header + 8, length - IPV6_LEN - 8);
			covered += length - IPV6_LEN - 8;
		}
		assert_int_equal(covered, 3003);
		for (size_t b = 0; b < covered; b++)
			assert_int_equal(whole[b], (uint8_t)(b * 7));
		sent_clear(f);
	}
	send_bytes(f, &path, 1460); // what fits has no fragment header
	assert_int_equal(f->sent_count, 1);
	net_path_close(&path);
}

static void test_the_longest_prefix_decides_the_way(void **state)
{
	static const struct {
		const char *remote, *next_hop; // NULL: the raw interface
	} cases[] = {
		{PEER6, PEER6},
		{"2001:db8:18::ffff:1", "2001:db8:18::ffff:1"},
		{FAR6, GATEWAY6},
		{"2001:db8:11::1", GATEWAY6},
		{"2001:db8:10::77", NULL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct net_path path = open_path6(f, cases[i].remote);

		send_bytes(f, &path, 10);
		if (cases[i].next_hop != NULL && i < 3) // the gateway is asked for once
			assert_sent_nd(f, 0, ND_NS, US6, solicited_node(cases[i].next_hop), 0,
				cases[i].next_hop, mac_us);
		assert_ptr_equal(path.netif, cases[i].next_hop != NULL ? &f->eth : &f->raw);
		net_path_close(&path);
		sent_clear(f);
	}
}

static void test_paths_to_nowhere_do_not_open(void **state)
{
	static const struct {
		const char *local, *remote;
		int error;
	} cases[] = {
		{US6, "ff02::1", -EHOSTUNREACH},
		{US6, "::", -EHOSTUNREACH},
		{US6, "::1", -EHOSTUNREACH},
		{US6, RAW_US6, -EHOSTUNREACH},
		{US6, "198.18.0.2", -EHOSTUNREACH},
		{"198.18.0.1", PEER6, -EHOSTUNREACH},
		{PEER6, STATIC6, -EADDRNOTAVAIL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct net_address local = ip6_address(cases[i].local);
		struct net_address remote = ip6_address(cases[i].remote);
		struct net_path path;

		assert_int_equal(net_path_open(f->net, &local, &remote, &path), cases[i].error);
	}
}

int test_net_output6(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_a_segment_gets_its_header_and_sum),
		net6_test(test_sums_over_chains_agree_with_the_naive_one),
		net6_test(test_hardware_is_told_what_to_sum),
		net6_test(test_df_forbids_fragments),
		net6_test(test_fragments_cover_the_packet_and_share_an_id),
		net6_test(test_the_longest_prefix_decides_the_way),
		net6_test(test_paths_to_nowhere_do_not_open),
	};

	return cmocka_run_group_tests_name("output6", tests, NULL, NULL);
}
