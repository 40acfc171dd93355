// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// IPv6 reassembly: any order, atomic fragments (RFC 6946), overlaps (RFC 5722), what
// the source is told (RFC 8200 4.5).

#include "frames6.h"

#include <rte_mbuf.h>

#include <string.h>

struct cut {
	unsigned offset, length;
};

static const struct packet6_spec plain = {0};

static size_t tcp_packet(uint8_t *packet, size_t data)
{
	uint8_t bytes[2000];

	for (size_t i = 0; i < data; i++)
		bytes[i] = (uint8_t)(i * 31);
	return build_tcp6(packet, &plain, NULL, 0, bytes, data);
}

static bool receive_cut(
	struct fixture *f, const uint8_t *packet, size_t total, uint32_t id, const struct cut *cut)
{
	bool more = IPV6_LEN + cut->offset + cut->length < total;
	uint8_t fragment[2048];

	return receive_ipv6(f, fragment,
		build_fragment6(fragment, &plain, PROTO_TCP, id, cut->offset, more,
			packet + IPV6_LEN + cut->offset, cut->length));
}

static void assert_delivered_whole(struct fixture *f, const uint8_t *packet, size_t total)
{
	uint8_t whole[4096];
	const struct rte_mbuf *m = f->delivery.m;
	const uint8_t *data = rte_pktmbuf_read(m, 0, (uint32_t)total, whole);

	assert_int_equal(f->delivery.kind, NET_DELIVERY_TCP);
	assert_int_equal(m->pkt_len, total);
	assert_int_equal(m->l3_len, IPV6_LEN);
	assert_memory_equal(data, packet, total);
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
				f, packet, total, (uint32_t)(10 + i), &cuts[orders[i][k]]);

			assert_int_equal(whole, k == 3);
		}
		assert_delivered_whole(f, packet, total);
		assert_int_equal(counter(f, "fragments_reassembled_total", NULL), i + 1);
	}
}

static void test_eight_fragments_are_the_most(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	for (unsigned n = 8; n <= 9; n++) {
		unsigned step = (unsigned)((total - IPV6_LEN + n - 1) / n + 7) & ~7u;
		bool whole = false;

		for (unsigned offset = 0; offset < total - IPV6_LEN; offset += step) {
			unsigned left = (unsigned)(total - IPV6_LEN) - offset;
			const struct cut cut = {offset, left < step ? left : step};

			whole |= receive_cut(f, packet, total, n, &cut);
		}
		assert_int_equal(whole, n == 8);
		if (whole)
			assert_delivered_whole(f, packet, total);
	}
	assert_true(dropped(f, "fragment_refused") > 0);
	advance(f, 70 * SECOND);
}

static void test_headers_before_the_fragment_header_are_dealt_with(void **state)
{
	static const struct cut cuts[] = {{0, 800}, {800, 720}};
	static const uint8_t options[] = {PROTO_FRAGMENT, 0, 1, 4, 0, 0, 0, 0};
	const struct packet6_spec spec = {.protocol = PROTO_DSTOPTS};
	struct fixture *f = *state;
	uint8_t packet[2048], part[1024], fragment[2048];
	size_t total = tcp_packet(packet, 1500);

	for (unsigned k = 0; k < 2; k++) {
		memcpy(part, options, 8);
		memcpy(part + 8, (uint8_t[]){PROTO_TCP, 0}, 2);
		put16(part + 10, cuts[k].offset | (k == 0));
		put32(part + 12, 7);
		memcpy(part + 16, packet + IPV6_LEN + cuts[k].offset, cuts[k].length);
		assert_int_equal(receive_ipv6(f, fragment,
					 build_ipv6(fragment, &spec, part, 16 + cuts[k].length)),
			k == 1);
	}
	assert_delivered_whole(f, packet, total);
}

static void test_headers_behind_the_fragment_header_are_skipped(void **state)
{
	static const uint8_t options[] = {PROTO_TCP, 0, 1, 4, 0, 0, 0, 0};
	const struct packet6_spec spec = {.protocol = PROTO_DSTOPTS};
	struct fixture *f = *state;
	uint8_t packet[2048], fragment[2048], data[1000] = {1, 2, 3};
	size_t length = build_tcp6(packet, &spec, options, 8, data, 1000) - IPV6_LEN;

	assert_false(receive_ipv6(f, fragment,
		build_fragment6(
			fragment, &plain, PROTO_DSTOPTS, 1, 0, true, packet + IPV6_LEN, 800)));
	assert_true(receive_ipv6(f, fragment,
		build_fragment6(fragment, &plain, PROTO_DSTOPTS, 1, 800, false,
			packet + IPV6_LEN + 800, length - 800)));
	assert_int_equal(f->delivery.m->l3_len, IPV6_LEN + 8);
	rte_pktmbuf_free(f->delivery.m);
}

static void test_an_atomic_fragment_is_a_packet_of_its_own(void **state)
{
	static const struct cut part = {0, 800}, all = {0, 1520};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	assert_false(receive_cut(f, packet, total, 5, &part));
	// The same id, and yet it neither completes nor spoils the one that waits.
	f->eth.caps.rx_checksum = true;
	assert_true(receive_cut(f, packet, total, 5, &all));
	assert_delivered_whole(f, packet, total);
	assert_int_equal(dropped(f, "fragment_refused"), 0);
	assert_true(receive_cut(f, packet, total, 5, &(struct cut){800, 720}));
	assert_delivered_whole(f, packet, total);
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
			assert_false(receive_cut(f, packet, total, (uint32_t)i, &cases[i].cuts[k]));
		}
		advance(f, 70 * SECOND);
		if (dropped(f, cases[i].reason) == before)
			fail_msg("%s: no %s", cases[i].name, cases[i].reason);
		sent_clear(f);
		assert_int_equal(rte_mempool_avail_count(f->pool), NET_POOL_SIZE);
	}
}

static void test_a_fragment_inside_a_fragment_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t inner[256], packet[256];
	size_t length = build_fragment6(inner, &plain, PROTO_TCP, 1, 0, false, "x", 1) - IPV6_LEN;

	assert_false(receive_ipv6(f, packet,
		build_fragment6(
			packet, &plain, PROTO_FRAGMENT, 1, 0, false, inner + IPV6_LEN, length)));
	assert_int_equal(dropped(f, "fragment_invalid"), 1);
}

static void assert_told(struct fixture *f, unsigned i, uint8_t type, uint8_t code, uint32_t pointer)
{
	uint8_t frame[2048];
	const uint8_t *icmp = frame + ETHER_LEN + IPV6_LEN;

	sent_frame(f, i, frame);
	assert_int_equal(icmp[0], type);
	assert_int_equal(icmp[1], code);
	assert_int_equal(get32(icmp + 4), pointer);
}

static void test_the_source_is_told_of_impossible_lengths(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[256], data[100] = {0};

	receive_ns(f, PEER6, US6);
	sent_clear(f);
	receive_ipv6(f, packet, build_fragment6(packet, &plain, 17, 1, 0, true, data, 99));
	assert_told(f, 0, 4, 0, 4); // payload length
	receive_ipv6(f, packet, build_fragment6(packet, &plain, 17, 1, 0xfff8, false, data, 100));
	assert_told(f, 1, 4, 0, 42); // fragment offset
	assert_int_equal(dropped(f, "fragment_invalid"), 2);
}

static void test_what_waits_too_long_is_dropped_and_its_source_told(void **state)
{
	static const struct cut first = {0, 800}, last = {800, 720};
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t total = tcp_packet(packet, 1500);

	assert_false(receive_cut(f, packet, total, 1, &first));
	assert_false(receive_cut(f, packet, total, 2, &last));
	advance(f, 59 * SECOND);
	assert_int_equal(dropped(f, "fragment_timeout"), 0);
	receive_ns(f, PEER6, US6);
	sent_clear(f);
	advance(f, 3 * SECOND);
	assert_int_equal(dropped(f, "fragment_timeout"), 2);
	assert_int_equal(counter(f, "icmp_errors_total", "sent"), 1); // of the first fragment
	assert_told(f, 0, 3, 1, 0);
	advance(f, 3600 * SECOND);
	assert_true(net_next_deadline(f->net) == UINT64_MAX);
}

static void test_nd_in_fragments_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct packet6_spec spec = {.hop_limit = 255};
	uint8_t ns[128], packet[256];
	size_t length = build_nd(ns, PEER6, US6, ND_NS, 0, US6, mac_peer) - IPV6_LEN;

	assert_false(receive_ipv6(f, packet,
		build_fragment6(packet, &spec, PROTO_ICMP6, 1, 0, false, ns + IPV6_LEN, length)));
	assert_int_equal(dropped(f, "nd_malformed"), 1);
	assert_int_equal(f->sent_count, 0);
}

int test_net_fragments6(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_fragments_in_any_order_become_the_packet),
		net6_test(test_eight_fragments_are_the_most),
		net6_test(test_headers_before_the_fragment_header_are_dealt_with),
		net6_test(test_headers_behind_the_fragment_header_are_skipped),
		net6_test(test_an_atomic_fragment_is_a_packet_of_its_own),
		net6_test(test_hostile_cuts_never_become_a_packet),
		net6_test(test_a_fragment_inside_a_fragment_is_refused),
		net6_test(test_the_source_is_told_of_impossible_lengths),
		net6_test(test_what_waits_too_long_is_dropped_and_its_source_told),
		net6_test(test_nd_in_fragments_is_refused),
	};

	return cmocka_run_group_tests_name("fragments6", tests, NULL, NULL);
}
