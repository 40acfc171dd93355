// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Reassembly: any order, interleaved packets, bounds, time-outs, hostile cuts.

#include "net_tests.h"

#include <rte_mbuf.h>

#include <string.h>

// Which bytes behind the IP header a fragment holds.
struct cut {
	unsigned offset, length;
};

static bool receive_cut(
	struct fixture *f, const uint8_t *packet, size_t total, uint16_t id, const struct cut *cut)
{
	bool more = IPV4_LEN + cut->offset + cut->length < total;
	const struct packet_spec spec = {
		.protocol = packet[9],
		.id = id,
		.fragment = (uint16_t)((more ? 0x2000 : 0) | cut->offset / 8),
	};
	uint8_t fragment[2048];
	size_t length = build_ipv4(fragment, &spec, packet + IPV4_LEN + cut->offset, cut->length);

	return receive_ipv4(f, fragment, length);
}

static size_t tcp_packet(uint8_t *packet, size_t data)
{
	const struct packet_spec spec = {0};
	uint8_t bytes[2000];

	for (size_t i = 0; i < data; i++)
		bytes[i] = (uint8_t)(i * 31);
	return build_tcp(packet, &spec, bytes, data);
}

static void assert_delivered_whole(struct fixture *f, const uint8_t *packet, size_t total)
{
	uint8_t whole[4096];
	const struct rte_mbuf *m = f->delivery.m;
	const void *data = rte_pktmbuf_read(m, 0, (uint32_t)total, whole);

	assert_int_equal(f->delivery.kind, NET_DELIVERY_TCP);
	assert_int_equal(m->pkt_len, total);
	assert_int_equal(get16((const uint8_t *)data + 2), total);
	assert_memory_equal((const uint8_t *)data + IPV4_LEN, packet + IPV4_LEN, total - IPV4_LEN);
	assert_false(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
	rte_pktmbuf_free(f->delivery.m);
}

static void test_fragments_in_any_order_become_the_packet(void **state)
{
	static const struct cut cuts[] = {{0, 400}, {400, 400}, {800, 400}, {1200, 320}};
	static const unsigned orders[][4] = {
		{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}, {3, 0, 1, 2}};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		for (unsigned k = 0; k < 4; k++) {
			bool whole = receive_cut(
				f, packet, total, (uint16_t)(10 + i), &cuts[orders[i][k]]);

			assert_int_equal(whole, k == 3);
		}
		assert_delivered_whole(f, packet, total);
		assert_int_equal(counter(f, "fragments_reassembled_total", NULL), i + 1);
	}
	assert_int_equal(counter(f, "ip_fragments_total", "received"), 20);
}

static void test_packets_interleave(void **state)
{
	static const struct cut cuts[] = {{0, 800}, {800, 720}};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	for (unsigned k = 0; k < 2; k++) {
		for (uint16_t id = 0; id < 10; id++) {
			bool whole = receive_cut(f, packet, total, id, &cuts[k]);

			assert_int_equal(whole, k == 1);
			if (whole)
				assert_delivered_whole(f, packet, total);
		}
	}
}

static void test_eight_fragments_are_the_most(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	for (unsigned n = 8; n <= 9; n++) {
		unsigned step = (unsigned)((total - IPV4_LEN + n - 1) / n + 7) & ~7u;
		bool whole = false;

		for (unsigned offset = 0; offset < total - IPV4_LEN; offset += step) {
			unsigned left = (unsigned)(total - IPV4_LEN) - offset;
			const struct cut cut = {offset, left < step ? left : step};

			whole |= receive_cut(f, packet, total, (uint16_t)n, &cut);
		}
		assert_int_equal(whole, n == 8);
		if (whole)
			assert_delivered_whole(f, packet, total);
	}
	assert_true(dropped(f, "fragment_refused") > 0);
	advance(f, 70 * SECOND);
}

static void test_hostile_cuts_never_become_a_packet(void **state)
{
	static const struct {
		const char *name, *reason;
		struct cut cuts[3];
	} cases[] = {
		{"overlap", "fragment_refused", {{0, 800}, {792, 728}}},
		{"overlap that adds up", "fragment_refused", {{0, 800}, {400, 400}, {1200, 320}}},
		{"duplicate last", "fragment_refused", {{800, 720}, {800, 720}}},
		{"duplicate first", "fragment_refused", {{0, 800}, {0, 800}}},
		{"not in units of 8", "fragment_invalid", {{0, 801}}},
		{"tiny first", "fragment_invalid", {{0, 16}}},
		{"into the header", "fragment_invalid", {{8, 64}}},
		{"empty", "fragment_invalid", {{800, 0}}},
		{"gap", "fragment_timeout", {{0, 400}, {800, 720}}},
	};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t before = dropped(f, cases[i].reason);

		for (unsigned k = 0; k < 3; k++) {
			if (k > 0 && cases[i].cuts[k].length == 0)
				break;
			assert_false(receive_cut(f, packet, total, (uint16_t)i, &cases[i].cuts[k]));
		}
		advance(f, 70 * SECOND);
		if (dropped(f, cases[i].reason) == before)
			fail_msg("%s: no %s", cases[i].name, cases[i].reason);
		assert_int_equal(rte_mempool_avail_count(f->pool) + f->sent_count, NET_POOL_SIZE);
		sent_clear(f);
	}
}

static void test_the_end_beyond_65535_is_refused(void **state)
{
	const struct packet_spec spec = {.protocol = 6, .fragment = 0x1fff};
	struct fixture *f = *state;
	uint8_t packet[256], data[100] = {0};

	assert_false(receive_ipv4(f, packet, build_ipv4(packet, &spec, data, 100)));
	assert_int_equal(dropped(f, "fragment_invalid"), 1);
}

static void test_what_waits_too_long_is_dropped_and_its_source_told(void **state)
{
	static const struct cut first = {0, 800}, last = {800, 720};
	struct fixture *f = *state;
	uint8_t packet[2048], frame[2048];
	size_t total = tcp_packet(packet, 1500);

	receive_arp(f, 1, mac_peer, PEER, US);
	sent_clear(f);
	assert_false(receive_cut(f, packet, total, 1, &first));
	assert_false(receive_cut(f, packet, total, 2, &last));
	advance(f, 59 * SECOND);
	assert_int_equal(dropped(f, "fragment_timeout"), 0);
	receive_arp(f, 1, mac_peer, PEER, US); // still there
	advance(f, 3 * SECOND);
	assert_int_equal(dropped(f, "fragment_timeout"), 2);
	// Only for the packet whose first fragment had come.
	for (unsigned i = f->sent_count; i-- > 0;) {
		sent_frame(f, i, frame);
		if (get16(frame + 12) == 0x0800)
			break;
	}
	assert_int_equal(frame[ETHER_LEN + IPV4_LEN], 11);
	assert_int_equal(frame[ETHER_LEN + IPV4_LEN + 1], 1);
	assert_int_equal(counter(f, "icmp_errors_total", "sent"), 1);
	assert_false(receive_cut(f, packet, total, 1, &last)); // too late
	advance(f, 3600 * SECOND);
	assert_true(net_next_deadline(f->net) == UINT64_MAX);
}

static void test_a_flood_of_fragments_is_bounded(void **state)
{
	static const struct cut first = {0, 800}, last = {800, 720};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	for (uint16_t id = 0; id < 500; id++)
		assert_false(receive_cut(f, packet, total, id, &first));
	assert_true(rte_mempool_avail_count(f->pool) >= NET_POOL_SIZE - f->config.fragments_max);
	assert_true(dropped(f, "fragment_refused") >= 500 - f->config.fragments_max);
	advance(f, 70 * SECOND); // and passes
	sent_clear(f);
	assert_false(receive_cut(f, packet, total, 1, &first));
	assert_true(receive_cut(f, packet, total, 1, &last));
	assert_delivered_whole(f, packet, total);
}

static void test_a_reassembled_segment_is_summed_in_software(void **state)
{
	static const struct cut cuts[] = {{0, 800}, {800, 720}};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	packet[total - 1] ^= 1;
	f->eth.caps.rx_checksum = true;
	assert_false(receive_cut(f, packet, total, 1, &cuts[0]));
	assert_false(receive_cut(f, packet, total, 1, &cuts[1]));
	assert_int_equal(dropped(f, "tcp_checksum"), 1);
}

int test_net_fragments(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_fragments_in_any_order_become_the_packet),
		net_test(test_packets_interleave),
		net_test(test_eight_fragments_are_the_most),
		net_test(test_hostile_cuts_never_become_a_packet),
		net_test(test_the_end_beyond_65535_is_refused),
		net_test(test_what_waits_too_long_is_dropped_and_its_source_told),
		net_test(test_a_flood_of_fragments_is_bounded),
		net_test(test_a_reassembled_segment_is_summed_in_software),
	};

	return cmocka_run_group_tests_name("fragments", tests, NULL, NULL);
}
