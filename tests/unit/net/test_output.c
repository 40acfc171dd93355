// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What net_path_send() makes of a packet: headers, sums in software and hardware,
// chains, fragments.

#include "net_tests.h"

#include <rte_mbuf.h>

#include <string.h>

// A TCP segment without its sum, as the engine hands it down, cut into segments of an mbuf chain.
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

static void assert_good_ip(const uint8_t *ip, size_t length, uint32_t source, uint32_t destination)
{
	assert_int_equal(ip[0], 0x45);
	assert_int_equal(get16(ip + 2), length);
	assert_int_equal(naive_checksum(ip, IPV4_LEN, 0), 0);
	assert_int_equal(get32(ip + 12), source);
	assert_int_equal(get32(ip + 16), destination);
}

static void test_a_segment_gets_its_headers_and_sums(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	uint8_t frame[2048], *ip = frame + ETHER_LEN;

	path.tos = 0x28;
	path.ttl = 17;
	net_path_send(&path, tcp_segment(f, 101, 1900), 6, 2, f->now_us);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + TCP_LEN + 101);
	assert_memory_equal(frame, mac_static, 6);
	assert_memory_equal(frame + 6, mac_us, 6);
	assert_int_equal(get16(frame + 12), 0x0800);
	assert_good_ip(ip, IPV4_LEN + TCP_LEN + 101, US, STATIC);
	assert_int_equal(ip[1], 0x2a);
	assert_int_equal(get32(ip + 4), 0x00004000); // id 0, DF
	assert_int_equal(ip[8], 17);
	assert_int_equal(ip[9], 6);
	assert_int_equal(naive_tcp_checksum(ip, get16(ip + 2)), 0);
	assert_int_equal(f->sent[0]->ol_flags, 0);
	assert_int_equal(counter(f, "ip_packets_total", "sent"), 1);
	net_path_close(&path);
}

static void test_sums_over_chains_agree_with_the_naive_one(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	uint8_t frame[2048];

	f->eth.caps.multi_segment = true;
	for (unsigned i = 0; i < 200; i++) {
		size_t data = random_below(&f->rng, 1460);
		// Odd and even cuts; the first segment holds the header.
		size_t chain = TCP_LEN + random_below(&f->rng, 300);
		size_t length;

		net_path_send(&path, tcp_segment(f, data, chain), 6, 0, f->now_us);
		length = sent_frame(f, 0, frame);
		assert_int_equal(length, ETHER_LEN + IPV4_LEN + TCP_LEN + data);
		assert_int_equal(naive_tcp_checksum(frame + ETHER_LEN, length - ETHER_LEN), 0);
		sent_clear(f);
	}
	net_path_close(&path);
}

static void test_a_chain_is_made_flat_where_the_port_needs_it(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	uint8_t frame[2048];

	net_path_send(&path, tcp_segment(f, 1001, 33), 6, 0, f->now_us);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(f->sent[0]->nb_segs, 1);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + TCP_LEN + 1001);
	assert_good_ip(frame + ETHER_LEN, IPV4_LEN + TCP_LEN + 1001, US, STATIC);
	assert_int_equal(get16(frame + ETHER_LEN + 6), 0x4000);
	assert_int_equal(naive_tcp_checksum(frame + ETHER_LEN, IPV4_LEN + TCP_LEN + 1001), 0);

	f->eth.mtu = 9000; // a frame that no mbuf holds, and that must not be cut
	path.mtu = 9000;
	net_path_send(&path, tcp_segment(f, 4000, 1000), 6, 0, f->now_us);
	assert_int_equal(dropped(f, "too_big"), 1);
	net_path_close(&path);
}

static void test_hardware_is_told_what_to_sum(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	uint8_t frame[2048], pseudo[12];
	const uint8_t *ip = frame + ETHER_LEN;
	struct rte_mbuf *m;

	f->eth.caps.tx_ip_checksum = f->eth.caps.tx_tcp_checksum = true;
	net_path_send(&path, tcp_segment(f, 100, 1900), 6, 0, f->now_us);
	m = f->sent[0];
	assert_true(m->ol_flags ==
		    (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM));
	assert_int_equal(m->l2_len, ETHER_LEN);
	assert_int_equal(m->l3_len, IPV4_LEN);
	assert_int_equal(m->l4_len, TCP_LEN);
	sent_frame(f, 0, frame);
	assert_int_equal(get16(ip + 10), 0);
	put32(pseudo, US);
	put32(pseudo + 4, STATIC);
	put16(pseudo + 8, 6);
	put16(pseudo + 10, TCP_LEN + 100);
	assert_int_equal(get16(ip + IPV4_LEN + 16), (uint16_t)~naive_checksum(pseudo, 12, 0));
	net_path_close(&path);
}

static void test_a_tso_frame_may_exceed_the_mtu(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	uint8_t frame[9000], pseudo[12];
	struct rte_mbuf *m = tcp_segment(f, 6000, 1900);

	// It sums the IP headers of no other frames, as virtio.
	f->eth.caps =
		(struct net_if_caps){.tx_tcp_checksum = true, .tso = true, .multi_segment = true};
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	m->tso_segsz = 1460;
	net_path_send(&path, m, 6, 0, f->now_us);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + TCP_LEN + 6000);
	assert_true(f->sent[0]->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
	assert_int_equal(get16(frame + ETHER_LEN + 10), 0);
	put32(pseudo, US);
	put32(pseudo + 4, STATIC);
	put32(pseudo + 8, 6 << 16); // without the length
	assert_int_equal(
		get16(frame + ETHER_LEN + IPV4_LEN + 16), (uint16_t)~naive_checksum(pseudo, 12, 0));
	net_path_close(&path);
}

static void test_df_forbids_fragments(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);

	send_bytes(f, &path, 1480);
	assert_int_equal(f->sent_count, 1);
	send_bytes(f, &path, 1481);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(dropped(f, "too_big"), 1);
	net_path_close(&path);
}

static void test_fragments_cover_the_packet_and_share_an_id(void **state)
{
	static const uint16_t mtus[] = {68, 576, 1006, 1500};
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	unsigned last_id = UINT32_MAX;

	path.df = false;
	for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
		uint8_t frame[2048], whole[4096] = {0}, *ip = frame + ETHER_LEN;
		size_t covered = 0;

		path.mtu = mtus[i];
		send_bytes(f, &path, 3003);
		for (unsigned k = 0; k < f->sent_count; k++) {
			size_t length = sent_frame(f, k, frame) - ETHER_LEN;
			unsigned field = get16(ip + 6), offset = (field & 0x1fff) * 8;

			assert_true(length <= mtus[i]);
			assert_good_ip(ip, length, US, STATIC);
			assert_int_equal(offset, covered);
			assert_int_equal((field & 0x2000) != 0, k + 1 < f->sent_count);
			assert_true(k == 0 ? get16(ip + 4) != last_id : get16(ip + 4) == last_id);
			last_id = get16(ip + 4);
			memcpy(whole + offset, ip + IPV4_LEN, length - IPV4_LEN);
			covered += length - IPV4_LEN;
		}
		assert_int_equal(covered, 3003);
		for (size_t b = 0; b < covered; b++)
			assert_int_equal(whole[b], (uint8_t)(b * 7));
		sent_clear(f);
	}
	net_path_close(&path);
}

static void test_a_packet_beyond_65535_bytes_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	static uint8_t data[65536];

	path.df = false;
	f->eth.caps.multi_segment = true;
	net_path_send(&path, frame_mbuf(f, data, 65516), 253, 0, f->now_us);
	assert_int_equal(dropped(f, "too_big"), 1);
	net_path_send(&path, frame_mbuf(f, data, 65515), 253, 0, f->now_us);
	assert_int_equal(f->sent_count, 45);
	assert_int_equal(counter(f, "ip_fragments_total", "sent"), 45);
	net_path_close(&path);
}

static void test_fragmentation_without_frames_drops_the_packet(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, STATIC);
	struct rte_mbuf *all[NET_POOL_SIZE];
	static uint8_t data[3000];
	struct rte_mbuf *m = frame_mbuf(f, data, 3000);
	unsigned rest = rte_mempool_avail_count(f->pool);

	path.df = false;
	assert_int_equal(rte_pktmbuf_alloc_bulk(f->pool, all, rest), 0);
	net_path_send(&path, m, 253, 0, f->now_us);
	assert_int_equal(dropped(f, "no_mbuf"), 1);
	rte_pktmbuf_free_bulk(all, rest);
	net_path_close(&path);
}

static void test_a_raw_interface_gets_bare_packets(void **state)
{
	struct fixture *f = *state;
	struct net_path path = open_path(f, IP(10, 0, 0, 2));
	uint8_t packet[2048];

	net_path_send(&path, tcp_segment(f, 7, 1900), 6, 0, f->now_us);
	net_path_confirm(&path, f->now_us);
	assert_int_equal(net_path_error(&path), 0);
	assert_int_equal(sent_frame(f, 0, packet), IPV4_LEN + TCP_LEN + 7);
	assert_good_ip(packet, IPV4_LEN + TCP_LEN + 7, RAW_US, IP(10, 0, 0, 2));
	assert_int_equal(f->sent[0]->l2_len, 0);
	net_path_close(&path);
}

int test_net_output(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_a_segment_gets_its_headers_and_sums),
		net_test(test_sums_over_chains_agree_with_the_naive_one),
		net_test(test_a_chain_is_made_flat_where_the_port_needs_it),
		net_test(test_hardware_is_told_what_to_sum),
		net_test(test_a_tso_frame_may_exceed_the_mtu),
		net_test(test_df_forbids_fragments),
		net_test(test_fragments_cover_the_packet_and_share_an_id),
		net_test(test_a_packet_beyond_65535_bytes_is_dropped),
		net_test(test_fragmentation_without_frames_drops_the_packet),
		net_test(test_a_raw_interface_gets_bare_packets),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
