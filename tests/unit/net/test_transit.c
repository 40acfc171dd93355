// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A look at what passes by: segments, fragments and ICMP errors of both families, tagged or not,
// and the step to a delivery, which proves sums. What is cut short at any octet is nobody's.

#include "frames6.h"
#include "net_tests.h"

#include "net/transit.h"

#include <rte_mbuf.h>

#include <string.h>

#define CLIENT IP(192, 0, 2, 7)
#define BROKER IP(203, 0, 113, 9)
#define TAG    (3 << 13 | 42)

static const struct packet_spec between = {
	.source = CLIENT, .destination = BROKER, .tos = 0xb9, .ttl = 61, .fragment = 0x4000};

// Ethernet and a tag, unless `tag` < 0.
static size_t build_head(uint8_t *frame, unsigned type, int tag)
{
	size_t length = build_ether(frame, mac_other, mac_peer, tag < 0 ? type : 0x8100);

	if (tag >= 0) {
		put16(frame + length, (unsigned)tag);
		put16(frame + length + 2, type);
		length += 4;
	}
	return length;
}

static size_t build_segment(uint8_t *frame, int tag)
{
	size_t at = build_head(frame, 0x0800, tag);

	return at + build_tcp(frame + at, &between, "hello", 5);
}

static struct net_transit look(struct fixture *f, const struct rte_mbuf *m)
{
	struct net_transit t;

	net_transit_read(&f->eth, m, &t);
	return t;
}

static enum net_transit_kind kind_of(struct fixture *f, const void *frame, size_t length)
{
	struct rte_mbuf *m = frame_mbuf(f, frame, length);
	enum net_transit_kind kind = look(f, m).kind;

	rte_pktmbuf_free(m);
	return kind;
}

static void assert_between(const struct net_transit *t)
{
	const struct net_address client = ip_address(CLIENT), broker = ip_address(BROKER);

	assert_true(net_address_equal(&t->source.address, &client));
	assert_true(net_address_equal(&t->destination.address, &broker));
}

static void test_a_segment_is_seen_and_delivered(void **state)
{
	struct fixture *f = *state;

	for (int tag = -1; tag <= TAG; tag += TAG + 1) {
		uint8_t frame[256], whole[256];
		size_t length = build_segment(frame, tag);
		struct net_delivery delivery;
		struct net_observed seen;
		struct net_transit t;
		struct rte_mbuf *m;

		memset(frame + length, 0xee, 6); // padding
		memcpy(whole, frame, length + 6);
		m = frame_mbuf(f, frame, length + 6);
		t = look(f, m);
		assert_int_equal(t.kind, NET_TRANSIT_TCP);
		assert_between(&t);
		assert_int_equal(t.source.port, 40000);
		assert_int_equal(t.destination.port, 1883);
		assert_int_equal(t.vlan, tag < 0 ? 0 : 42);
		assert_true(net_transit_intact(&f->eth, m, &t));
		net_transit_observe(m, &t, &f->eth, &seen);
		assert_ptr_equal(seen.netif, &f->eth);
		assert_memory_equal(seen.source, mac_peer, 6);
		assert_memory_equal(seen.destination, mac_other, 6);
		assert_int_equal(seen.tagged, tag >= 0);
		assert_int_equal(seen.tag, tag < 0 ? 0 : TAG);
		assert_int_equal(seen.ttl, 61);
		assert_int_equal(seen.tos, 0xb9);
		assert_false(seen.fragments);
		// Nothing was changed by looking.
		assert_memory_equal(rte_pktmbuf_mtod(m, void *), whole, length + 6);
		assert_true(net_transit_deliver(&f->eth, m, &t, &delivery));
		assert_int_equal(delivery.kind, NET_DELIVERY_TCP);
		assert_int_equal(delivery.m->pkt_len, IPV4_LEN + TCP_LEN + 5);
		assert_int_equal(delivery.m->l3_len, IPV4_LEN);
		assert_int_equal(delivery.ecn, 1);
		assert_int_equal(delivery.ttl, 61);
		assert_true(net_address_equal(&delivery.source, &t.source.address));
		rte_pktmbuf_free(delivery.m);
	}
}

static void test_a_tag_that_the_device_took_off_counts(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[256];
	size_t length = build_segment(frame, -1);
	struct rte_mbuf *m = frame_mbuf(f, frame, length);
	struct net_observed seen;
	struct net_transit t;

	m->ol_flags |= RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = TAG;
	t = look(f, m);
	assert_int_equal(t.vlan, 42);
	net_transit_observe(m, &t, &f->eth, &seen);
	assert_true(seen.tagged);
	assert_int_equal(seen.tag, TAG);
	rte_pktmbuf_free(m);
}

static void test_bad_sums_are_told_and_dropped(void **state)
{
	struct fixture *f = *state;
	const struct {
		size_t at;
		const char *reason;
	} spoilt[] = {{ETHER_LEN + 8, "ip_checksum"},
		{ETHER_LEN + IPV4_LEN + TCP_LEN + 2, "tcp_checksum"}};

	for (unsigned i = 0; i < 2; i++) {
		uint64_t before = dropped(f, spoilt[i].reason);
		uint8_t frame[256];
		size_t length = build_segment(frame, -1);
		struct net_delivery delivery;
		struct net_transit t;
		struct rte_mbuf *m;

		frame[spoilt[i].at] ^= 4;
		m = frame_mbuf(f, frame, length);
		t = look(f, m);
		assert_int_equal(t.kind, NET_TRANSIT_TCP);
		assert_false(net_transit_intact(&f->eth, m, &t));
		assert_false(net_transit_deliver(&f->eth, m, &t, &delivery));
		assert_int_equal(dropped(f, spoilt[i].reason), before + 1);
	}
}

static void test_hardware_that_has_looked_is_believed(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[256];
	size_t length = build_segment(frame, -1);
	struct net_transit t;
	struct rte_mbuf *m;

	f->eth.caps.rx_checksum = true;
	m = frame_mbuf(f, frame, length);
	t = look(f, m);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
	assert_false(net_transit_intact(&f->eth, m, &t));
	rte_pktmbuf_mtod(m, uint8_t *)[length - 1] ^= 1;
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	assert_true(net_transit_intact(&f->eth, m, &t));
	rte_pktmbuf_free(m);
}

static void test_fragments_are_told(void **state)
{
	struct fixture *f = *state;
	struct packet_spec part = between;
	uint8_t frame[256], payload[64] = {0};
	size_t at = build_head(frame, 0x0800, TAG);
	struct net_transit t;
	struct rte_mbuf *m;

	part.protocol = 6;
	part.id = 0x1234;
	part.fragment = 0x2000 | 3; // more, 24 octets in
	m = frame_mbuf(f, frame, at + build_ipv4(frame + at, &part, payload, 64));
	t = look(f, m);
	rte_pktmbuf_free(m);
	assert_int_equal(t.kind, NET_TRANSIT_FRAGMENT);
	assert_between(&t);
	assert_int_equal(t.offset, 24);
	assert_true(t.more);
	assert_int_equal(t.l4 - t.l3, IPV4_LEN);
	part.protocol = 17;
	assert_int_equal(kind_of(f, frame, at + build_ipv4(frame + at, &part, payload, 64)),
		NET_TRANSIT_OTHER);
}

static void test_fragments_of_ipv6_are_told(void **state)
{
	const struct packet6_spec spec = {"2001:db8:a::1", "2001:db8:b::1", PROTO_FRAGMENT, 0, 0};
	struct fixture *f = *state;
	uint8_t frame[256], payload[64] = {0};
	size_t at = build_head(frame, 0x86dd, -1);
	struct net_transit t;
	struct rte_mbuf *m;

	m = frame_mbuf(f, frame,
		at + build_fragment6(
			     frame + at, &spec, PROTO_TCP, 0x12345678, 40, false, payload, 64));
	t = look(f, m);
	rte_pktmbuf_free(m);
	assert_int_equal(t.kind, NET_TRANSIT_FRAGMENT);
	assert_int_equal(t.offset, 40);
	assert_false(t.more);
	assert_int_equal(t.l4 - t.l3, 48);
}

static void test_segments_of_ipv6_behind_what_is_skipped(void **state)
{
	const uint8_t extensions[16] = {PROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, PROTO_TCP, 0, 1, 4};
	const struct packet6_spec spec = {
		"2001:db8:a::1", "2001:db8:b::1", PROTO_HOPOPTS, 0xb9, 61};
	struct fixture *f = *state;
	struct net_delivery delivery;
	struct net_observed seen;
	struct net_transit t;
	struct rte_mbuf *m;
	uint8_t frame[256];
	size_t at = build_head(frame, 0x86dd, -1);

	m = frame_mbuf(f, frame, at + build_tcp6(frame + at, &spec, extensions, 16, "hello", 5));
	t = look(f, m);
	assert_int_equal(t.kind, NET_TRANSIT_TCP);
	assert_int_equal(t.l4 - t.l3, 56);
	net_transit_observe(m, &t, &f->eth, &seen);
	assert_int_equal(seen.ttl, 61);
	assert_int_equal(seen.tos, 0xb9);
	assert_true(net_transit_deliver(&f->eth, m, &t, &delivery));
	assert_int_equal(delivery.m->l3_len, 56);
	assert_int_equal(delivery.ecn, 1);
	rte_pktmbuf_free(delivery.m);
}

static size_t build_error(uint8_t *frame, unsigned type, unsigned code, uint32_t rest)
{
	const struct packet_spec icmp_spec = {
		.source = IP(192, 0, 2, 254), .destination = CLIENT, .protocol = 1};
	size_t at = build_head(frame, 0x0800, -1), quoted, length;
	uint8_t quote[256], icmp[256];

	quoted = build_tcp(quote, &between, "hello", 5);
	length = build_icmp(icmp, (uint8_t)type, (uint8_t)code, rest, quote, quoted);
	return at + build_ipv4(frame + at, &icmp_spec, icmp, length);
}

static void test_errors_are_told_by_what_they_quote(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[512];
	size_t length = build_error(frame, 3, 4, 1300);
	struct rte_mbuf *m = frame_mbuf(f, frame, length);
	struct net_transit t = look(f, m);
	struct net_delivery delivery;
	const struct net_address router = ip_address(IP(192, 0, 2, 254));

	assert_int_equal(t.kind, NET_TRANSIT_ICMP_ERROR);
	assert_between(&t);
	assert_int_equal(t.source.port, 40000);
	assert_true(net_transit_deliver(&f->eth, m, &t, &delivery));
	assert_int_equal(delivery.kind, NET_DELIVERY_ICMP_ERROR);
	assert_int_equal(delivery.icmp_type, 3);
	assert_int_equal(delivery.icmp_code, 4);
	assert_int_equal(delivery.icmp_mtu, 1300);
	assert_true(net_address_equal(&delivery.source, &router));
	assert_int_equal(*rte_pktmbuf_mtod(delivery.m, uint8_t *), 0x45);
	assert_int_equal(delivery.m->l3_len, IPV4_LEN);
	rte_pktmbuf_free(delivery.m);
	// Echo is not about anything.
	assert_int_equal(kind_of(f, frame, build_error(frame, 8, 0, 0)), NET_TRANSIT_OTHER);
	// A sum that is wrong.
	length = build_error(frame, 3, 4, 1300);
	frame[length - 1] ^= 1;
	m = frame_mbuf(f, frame, length);
	t = look(f, m);
	assert_false(net_transit_deliver(&f->eth, m, &t, &delivery));
	assert_int_equal(dropped(f, "icmp_checksum"), 1);
}

static void test_errors_of_ipv6(void **state)
{
	const struct packet6_spec spec = {"2001:db8:c::1", "2001:db8:a::1", 0, 0, 0};
	const struct packet6_spec quoted_spec = {"2001:db8:a::1", "2001:db8:b::1", PROTO_TCP, 0, 0};
	const struct net_address source = ip6_address("2001:db8:a::1");
	struct fixture *f = *state;
	uint8_t frame[512], quote[256];
	size_t at = build_head(frame, 0x86dd, -1);
	size_t quoted = build_tcp6(quote, &quoted_spec, NULL, 0, "hello", 5);
	struct net_delivery delivery;

	for (uint32_t mtu = 1279; mtu <= 1280; mtu++) {
		struct rte_mbuf *m = frame_mbuf(
			f, frame, at + build_icmp6(frame + at, &spec, 2, 0, mtu, quote, quoted));
		struct net_transit t = look(f, m);

		assert_int_equal(t.kind, NET_TRANSIT_ICMP_ERROR);
		assert_true(net_address_equal(&t.source.address, &source));
		assert_int_equal(net_transit_deliver(&f->eth, m, &t, &delivery), mtu == 1280);
	}
	assert_int_equal(delivery.icmp_mtu, 1280);
	assert_int_equal(delivery.m->l3_len, 40);
	rte_pktmbuf_free(delivery.m);
}

static void test_other_things_are_other(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[256];
	size_t length;

	assert_int_equal(kind_of(f, frame, build_arp(frame, 1, mac_peer, CLIENT, BROKER)),
		NET_TRANSIT_OTHER);
	length = build_segment(frame, -1);
	put16(frame + 12, 0x88a8); // a service tag
	assert_int_equal(kind_of(f, frame, length), NET_TRANSIT_OTHER);
	// Two tags.
	length = build_segment(frame, TAG);
	put16(frame + 16, 0x8100);
	assert_int_equal(kind_of(f, frame, length), NET_TRANSIT_OTHER);
	// A header of 60 octets in a packet of 45.
	length = build_segment(frame, -1);
	frame[ETHER_LEN + IPV4_LEN + 12] = 15 << 4;
	assert_int_equal(kind_of(f, frame, length), NET_TRANSIT_OTHER);
}

static void test_what_is_cut_short_at_any_octet_is_other(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[512];
	size_t length = build_segment(frame, TAG);

	for (size_t cut = 1; cut < length; cut++)
		assert_int_equal(kind_of(f, frame, cut), NET_TRANSIT_OTHER);
	length = build_error(frame, 3, 1, 0);
	for (size_t cut = 1; cut < length; cut++)
		assert_int_equal(kind_of(f, frame, cut), NET_TRANSIT_OTHER);
}

int test_net_transit(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_a_segment_is_seen_and_delivered),
		net_test(test_a_tag_that_the_device_took_off_counts),
		net_test(test_bad_sums_are_told_and_dropped),
		net_test(test_hardware_that_has_looked_is_believed),
		net_test(test_fragments_are_told),
		net_test(test_fragments_of_ipv6_are_told),
		net_test(test_segments_of_ipv6_behind_what_is_skipped),
		net_test(test_errors_are_told_by_what_they_quote),
		net_test(test_errors_of_ipv6),
		net_test(test_other_things_are_other),
		net_test(test_what_is_cut_short_at_any_octet_is_other),
	};

	return cmocka_run_group_tests_name("net_transit", tests, NULL, NULL);
}
