// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fragments that pass by: a packet cut at random and shuffled comes back octet by octet, what
// contradicts itself does not, and what is let pass is given back as it came.

#include "frames6.h"
#include "net_tests.h"

#include "net/gather.h"

#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

#define CLIENT IP(192, 0, 2, 7)
#define BROKER IP(203, 0, 113, 9)
#define WHOLE  66000

struct bench {
	struct fixture *f;
	struct gather *gather;
	struct gather_packet *packet;
	uint8_t text[WHOLE]; // TCP header and text of the packet
};

static int bench_setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	fixture_setup((void **)&b->f);
	assert_int_equal(gather_create(&b->gather), 0);
	for (unsigned i = 0; i < WHOLE; i++)
		b->text[i] = (uint8_t)random_next(&b->f->rng);
	put16(b->text, 40000);
	put16(b->text + 2, 1883);
	b->text[12] = 5 << 4;
	*state = b;
	return 0;
}

static int bench_teardown(void **state)
{
	struct bench *b = *state;
	void *f = b->f;

	gather_destroy(b->gather);
	fixture_teardown(&f);
	free(b);
	return 0;
}

static struct rte_mbuf *fragment(
	struct bench *b, unsigned id, uint32_t offset, uint32_t length, bool more)
{
	const struct packet_spec spec = {.source = CLIENT,
		.destination = BROKER,
		.protocol = 6,
		.id = (uint16_t)id,
		.fragment = (uint16_t)((more ? 0x2000 : 0) | offset / 8)};
	static uint8_t frame[2048];
	size_t at = build_ether(frame, mac_other, mac_peer, 0x0800);

	at += build_ipv4(frame + at, &spec, b->text + offset, length);
	return frame_mbuf(b->f, frame, at);
}

static struct rte_mbuf *fragment6(
	struct bench *b, unsigned id, uint32_t offset, uint32_t length, bool more)
{
	const struct packet6_spec spec = {"2001:db8:a::1", "2001:db8:b::1", PROTO_FRAGMENT, 0, 0};
	static uint8_t frame[2048];
	size_t at = build_ether(frame, mac_other, mac_peer, 0x86dd);

	at += build_fragment6(
		frame + at, &spec, PROTO_TCP, id, offset, more, b->text + offset, length);
	return frame_mbuf(b->f, frame, at);
}

static enum gather_news add(struct bench *b, struct rte_mbuf *m, uint32_t tag)
{
	struct net_transit t;

	net_transit_read(&b->f->eth, m, &t);
	assert_int_equal(t.kind, NET_TRANSIT_FRAGMENT);
	return gather_add(b->gather, m, &t, tag, b->f->now_us, &b->packet);
}

// The whole packet is the text, and its header good.
static void expect_whole(struct bench *b, uint32_t total, bool ipv6)
{
	struct rte_mbuf *m = gather_whole(b->packet, b->f->pool);
	uint32_t header = ipv6 ? 40 : 20;
	static uint8_t out[WHOLE];
	struct net_transit t;
	const void *data;

	assert_non_null(m);
	net_transit_read(&b->f->eth, m, &t);
	assert_int_equal(t.kind, NET_TRANSIT_TCP);
	assert_int_equal(t.length, header + total);
	assert_int_equal(m->pkt_len, ETHER_LEN + header + total);
	assert_int_equal(t.source.port, 40000);
	data = rte_pktmbuf_read(m, 0, m->pkt_len, out);
	if (data != out)
		memcpy(out, data, m->pkt_len);
	if (!ipv6)
		assert_int_equal(naive_checksum(out + ETHER_LEN, IPV4_LEN, 0), 0);
	assert_memory_equal(out + ETHER_LEN + header, b->text, total);
	rte_pktmbuf_free(m);
	gather_release(b->gather, b->packet);
}

static void test_packets_cut_and_shuffled_come_back(void **state)
{
	struct bench *b = *state;

	for (unsigned run = 0; run < 60; run++) {
		uint32_t total = run == 0 ? 65515 : 100 + random_below(&b->f->rng, 20000);
		uint32_t step = run == 0 ? 1480 : 24 + 8 * random_below(&b->f->rng, 180);
		uint32_t count = (total + step - 1) / step, order[1000];
		bool ipv6 = run % 2 != 0;
		enum gather_news news = GATHER_WAITS;

		if (count < 2 || count > 700)
			continue;
		for (uint32_t i = 0; i < count; i++) {
			uint32_t k = random_below(&b->f->rng, i + 1);

			order[i] = order[k];
			order[k] = i;
		}
		for (uint32_t i = 0; i < count; i++) {
			uint32_t at = order[i] * step;
			bool last = order[i] == count - 1;
			uint32_t length = last ? total - at : step;

			assert_int_not_equal(news, GATHER_COMPLETE);
			news = add(b,
				ipv6 ? fragment6(b, run, at, length, !last)
				     : fragment(b, run, at, length, !last),
				0);
			if (order[i] == 0 && i < count - 1)
				assert_int_equal(news, GATHER_FIRST);
		}
		assert_int_equal(news, GATHER_COMPLETE);
		expect_whole(b, total, ipv6);
	}
}

static void test_the_first_part_tells_the_ports(void **state)
{
	struct bench *b = *state;
	uint16_t source, destination;

	assert_int_equal(add(b, fragment(b, 1, 800, 80, false), 0), GATHER_WAITS);
	assert_int_equal(add(b, fragment(b, 1, 0, 80, true), 0), GATHER_FIRST);
	assert_true(gather_ports(b->packet, &source, &destination));
	assert_int_equal(source, 40000);
	assert_int_equal(destination, 1883);
}

static void test_what_passes_is_given_back_as_it_came(void **state)
{
	struct bench *b = *state;
	struct rte_mbuf *first = fragment(b, 1, 0, 80, true),
			*second = fragment(b, 1, 160, 8, false);
	struct rte_mbuf *third = fragment(b, 1, 80, 80, true);
	uint32_t tag;

	assert_int_equal(add(b, second, 22), GATHER_WAITS);
	assert_int_equal(add(b, first, 11), GATHER_FIRST);
	gather_let_pass(b->packet);
	assert_ptr_equal(gather_take(b->gather, b->packet, &tag), second);
	assert_int_equal(tag, 22);
	assert_ptr_equal(gather_take(b->gather, b->packet, &tag), first);
	assert_null(gather_take(b->gather, b->packet, &tag));
	assert_int_equal(add(b, third, 33), GATHER_PASSES);
	// All of it has come.
	assert_int_equal(gather_next_deadline(b->gather), UINT64_MAX);
	rte_pktmbuf_free(first);
	rte_pktmbuf_free(second);
	rte_pktmbuf_free(third);
}

static void test_contradictions_are_refused(void **state)
{
	const struct {
		uint32_t offset, length;
		bool more;
	} second[] = {
		{72, 80, true},	    // overlaps
		{0, 80, true},	    // again
		{160, 79, true},    // not in units of eight
		{8, 80, true},	    // begins inside TCP's header
		{65528, 16, false}, // longer than a packet can be
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
		assert_int_equal(add(b, fragment(b, 1, 0, 80, true), 0), GATHER_FIRST);
		assert_int_equal(
			add(b, fragment(b, 1, second[i].offset, second[i].length, second[i].more),
				0),
			GATHER_REFUSED);
	}
	// Two ends.
	assert_int_equal(add(b, fragment(b, 1, 160, 80, false), 0), GATHER_WAITS);
	assert_int_equal(add(b, fragment(b, 1, 240, 80, false), 0), GATHER_REFUSED);
	// A first part without the whole header.
	assert_int_equal(add(b, fragment(b, 1, 0, 16, true), 0), GATHER_REFUSED);
	assert_int_equal(gather_next_deadline(b->gather), UINT64_MAX);
}

static void test_packets_are_bounded_and_those_that_pass_give_way(void **state)
{
	struct bench *b = *state;
	struct rte_mbuf *m;
	uint32_t tag;

	assert_int_equal(add(b, fragment(b, 0, 0, 80, true), 0), GATHER_FIRST);
	gather_let_pass(b->packet);
	m = gather_take(b->gather, b->packet, &tag);
	rte_pktmbuf_free(m);
	for (unsigned i = 1; i <= GATHER_PACKETS; i++)
		assert_int_equal(add(b, fragment(b, i, 0, 80, true), 0), GATHER_FIRST);
	assert_int_equal(add(b, fragment(b, 1000, 0, 80, true), 0), GATHER_REFUSED);
}

static void test_what_stays_unfinished_is_given_up(void **state)
{
	struct bench *b = *state;

	add(b, fragment(b, 1, 0, 80, true), 0);
	assert_int_equal(gather_next_deadline(b->gather), b->f->now_us + 60 * SECOND);
	assert_int_equal(gather_expire(b->gather, b->f->now_us + 60 * SECOND - 1), 0);
	assert_int_equal(gather_expire(b->gather, b->f->now_us + 60 * SECOND), 1);
	assert_int_equal(gather_next_deadline(b->gather), UINT64_MAX);
}

int test_net_gather(void)
{
#define bench_test(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
	const struct CMUnitTest tests[] = {
		bench_test(test_packets_cut_and_shuffled_come_back),
		bench_test(test_the_first_part_tells_the_ports),
		bench_test(test_what_passes_is_given_back_as_it_came),
		bench_test(test_contradictions_are_refused),
		bench_test(test_packets_are_bounded_and_those_that_pass_give_way),
		bench_test(test_what_stays_unfinished_is_given_up),
	};

	return cmocka_run_group_tests_name("net_gather", tests, NULL, NULL);
}
