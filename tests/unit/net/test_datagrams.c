// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Datagrams of somebody above: echo requests and UDP, and what comes of them.

#include "net_tests.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

#include "frames6.h"

#define BACK_MAX 16

// Somebody who asks.
struct asker {
	struct rte_mbuf *back[BACK_MAX];
	enum net_delivery_kind kinds[BACK_MAX];
	unsigned count;
};

static void take_back(void *ctx, const struct net_delivery *delivery)
{
	struct asker *asker = ctx;

	assert_true(asker->count < BACK_MAX);
	assert_non_null(delivery->netif);
	asker->kinds[asker->count] = delivery->kind;
	asker->back[asker->count++] = delivery->m;
}

static int setup_any(void **state, int (*setup)(void **state))
{
	static struct asker asker;
	struct fixture *f;

	if (setup(state) != 0)
		return -1;
	f = *state;
	asker.count = 0;
	f->config.datagram = take_back;
	f->config.datagram_ctx = &asker;
	f->config.udp = true;
	fixture_net_create(f);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f;

	if (setup_any(state, fixture_setup) != 0)
		return -1;
	f = *state;
	receive_arp(f, 1, mac_peer, PEER, US);
	sent_clear(f);
	return 0;
}

static int setup6(void **state)
{
	return setup_any(state, fixture6_setup);
}

static struct asker *asker_of(struct fixture *f)
{
	return f->config.datagram_ctx;
}

static int teardown(void **state)
{
	struct asker *asker = asker_of(*state);

	for (unsigned i = 0; i < asker->count; i++)
		rte_pktmbuf_free(asker->back[i]);
	return fixture_teardown(state);
}

#define echo_test(name)	 cmocka_unit_test_setup_teardown(name, setup, teardown)
#define echo6_test(name) cmocka_unit_test_setup_teardown(name, setup6, teardown)

// Sends an echo request of `length` octets with identifier 0x1234 and sequence number 7.
static int ask(struct fixture *f, const struct net_address *remote, uint32_t length)
{
	uint8_t message[16384] = {
		net_address_is_ipv4(remote) ? 8 : 128, 0, 0xff, 0xff, 0x12, 0x34, 0, 7};
	struct net_datagram echo = {
		.remote = *remote,
		.protocol = net_address_is_ipv4(remote) ? 1 : 58,
		.hops = 9,
	};
	struct net_way way;

	for (uint32_t i = 8; i < length; i++)
		message[i] = (uint8_t)(i * 7);
	assert_int_equal(net_way_find(f->net, remote, &way), 0);
	echo.local = way.local;
	return net_datagram_send(f->net, &echo, message, length, f->now_us);
}

static void test_a_request_leaves_as_it_is_with_its_sum(void **state)
{
	struct fixture *f = *state;
	const struct net_address peer = ip_address(PEER);
	uint8_t frame[2048], *ip = frame + ETHER_LEN, *icmp = ip + IPV4_LEN;

	assert_int_equal(ask(f, &peer, 64), 0);
	assert_int_equal(f->sent_count, 1);
	assert_int_equal(sent_frame(f, 0, frame), ETHER_LEN + IPV4_LEN + 64);
	assert_memory_equal(frame, mac_peer, 6);
	assert_int_equal(get32(ip + 12), US);
	assert_int_equal(ip[8], 9);
	assert_int_equal(icmp[0], 8);
	assert_int_equal(get32(icmp + 4), 0x12340007);
	assert_int_equal(icmp[63], (uint8_t)(63 * 7));
	assert_int_equal(naive_checksum(icmp, 64, 0), 0);
	assert_int_equal(counter(f, "icmp_pings_total", "sent"), 1);
}

static void test_a_long_request_leaves_in_fragments(void **state)
{
	struct fixture *f = *state;
	const struct net_address peer = ip_address(PEER);
	struct net_way way;

	assert_int_equal(net_way_find(f->net, &peer, &way), 0);
	assert_int_equal(way.echo_max, 8 * 1480);
	assert_int_equal(ask(f, &peer, way.echo_max), 0);
	assert_int_equal(f->sent_count, 8);
}

static void test_a_reply_comes_back_with_its_header(void **state)
{
	struct fixture *f = *state;
	const struct packet_spec spec = {.protocol = 1, .ttl = 33};
	uint8_t icmp[64], packet[128];
	struct asker *asker = asker_of(f);
	const uint8_t *back;

	assert_false(receive_ipv4(f, packet,
		build_ipv4(packet, &spec, icmp, build_icmp(icmp, 0, 0, 0x12340007, "hello", 5))));
	assert_int_equal(asker->count, 1);
	back = rte_pktmbuf_mtod(asker->back[0], const uint8_t *);
	assert_int_equal(asker->back[0]->pkt_len, IPV4_LEN + 13);
	assert_int_equal(asker->back[0]->l3_len, IPV4_LEN);
	assert_int_equal(get32(back + 12), PEER);
	assert_int_equal(back[8], 33);
	assert_memory_equal(back + IPV4_LEN + 8, "hello", 5);
}

// The head of what we sent, as a router quotes it.
static size_t quote(uint8_t *quoted, uint32_t source, uint8_t type)
{
	const struct packet_spec spec = {.protocol = 1, .source = source, .destination = PEER};
	uint8_t icmp[32];

	return build_ipv4(quoted, &spec, icmp, build_icmp(icmp, type, 0, 0x12340007, "", 0));
}

static bool error_comes(struct fixture *f, uint32_t source, uint8_t type)
{
	const struct packet_spec spec = {.protocol = 1};
	uint8_t quoted[64], icmp[128], packet[256];
	size_t length = quote(quoted, source, type);
	unsigned before = asker_of(f)->count;

	assert_false(receive_ipv4(f, packet,
		build_ipv4(packet, &spec, icmp, build_icmp(icmp, 11, 0, 0, quoted, length))));
	return asker_of(f)->count > before;
}

static void test_an_error_comes_back_when_it_is_about_a_request_of_ours(void **state)
{
	struct fixture *f = *state;

	assert_true(error_comes(f, US, 8));
	assert_false(error_comes(f, US, 0));
	assert_false(error_comes(f, IP(198, 18, 0, 3), 8));
	assert_int_equal(dropped(f, "icmp_embedded"), 2);
}

static void test_nobody_there_is_told_for_each_request(void **state)
{
	struct fixture *f = *state;
	const struct net_address nobody = ip_address(IP(198, 18, 0, 77));
	struct asker *asker = asker_of(f);

	assert_int_equal(ask(f, &nobody, 64), 0);
	assert_int_equal(ask(f, &nobody, 3000), 0); // three fragments, of which the first counts
	assert_int_equal(asker->count, 0);
	advance(f, 4 * SECOND);
	assert_int_equal(asker->count, 2);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *ip = rte_pktmbuf_mtod(asker->back[i], const uint8_t *);

		assert_int_equal(get32(ip + 12), US);
		assert_int_equal(get32(ip + 16), US);
		assert_int_equal(naive_checksum(ip, IPV4_LEN, 0), 0);
		assert_int_equal(get16(ip + IPV4_LEN), 0x0301);
		assert_int_equal(get32(ip + IPV4_LEN + 8 + 16), IP(198, 18, 0, 77));
		assert_int_equal(get32(ip + IPV4_LEN + 8 + IPV4_LEN + 4), 0x12340007);
	}
}

static void test_we_answer_ourselves(void **state)
{
	struct fixture *f = *state;
	const struct net_address us = ip_address(US);
	struct asker *asker = asker_of(f);
	const uint8_t *ip;

	assert_int_equal(ask(f, &us, 3000), 0);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(asker->count, 1);
	ip = rte_pktmbuf_mtod(asker->back[0], const uint8_t *);
	assert_int_equal(ip[IPV4_LEN], 0);
	assert_int_equal(get32(ip + IPV4_LEN + 4), 0x12340007);
	assert_int_equal(asker->back[0]->pkt_len, IPV4_LEN + 3000);
}

static void test_ipv6_has_all_of_it(void **state)
{
	struct fixture *f = *state;
	const struct net_address peer = ip6_address(PEER6), us = ip6_address(US6);
	struct asker *asker = asker_of(f);
	uint8_t packet[256];
	const uint8_t *back;

	advance(f, 3 * SECOND); // addresses are probed for
	assert_int_equal(ask(f, &us, 64), 0);
	assert_int_equal(asker->count, 1);
	assert_false(receive_ipv6(f, packet,
		build_icmp6(packet, &(struct packet6_spec){.protocol = 58}, 129, 0, 0x12340007,
			"hello", 5)));
	assert_int_equal(asker->count, 2);
	back = rte_pktmbuf_mtod(asker->back[1], const uint8_t *);
	assert_int_equal(asker->back[1]->l3_len, IPV6_LEN);
	assert_int_equal(back[IPV6_LEN], 129);
	assert_int_equal(ask(f, &peer, 64), 0);
	advance(f, 5 * SECOND);
	assert_int_equal(asker->count, 3);
	back = rte_pktmbuf_mtod(asker->back[2], const uint8_t *);
	assert_int_equal(get16(back + IPV6_LEN), 0x0103);
}

static void test_ways(void **state)
{
	struct fixture *f = *state;
	const struct net_address none[] = {ip_address(IP(127, 0, 0, 1)), ip_address(0xffffffff),
		ip_address(IP(224, 0, 0, 1)), ip_address(IP(198, 18, 255, 255)),
		ip6_address("fe80::1")};
	const struct net_address us = ip_address(US), peer = ip_address(PEER);
	struct net_way way;

	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(net_way_find(f->net, &none[i], &way), -EHOSTUNREACH);
	assert_int_equal(net_way_find(f->net, &us, &way), 0);
	assert_true(way.own);
	assert_int_equal(net_way_find(f->net, &peer, &way), 0);
	assert_false(way.own || way.general);
	assert_true(net_address_equal(&way.local, &us));
	assert_int_equal(way.mtu, 1500);
}

// --- UDP -----------------------------------------------------------------------------------------

#define UDP_LEN 8

// From port 7 to port 9. Returns the IP packet's length.
static size_t build_udp(uint8_t *packet, uint16_t length, bool with_sum, size_t payload)
{
	const struct packet_spec spec = {.protocol = 17};
	uint8_t udp[2048] = {0, 7, 0, 9};
	size_t whole;

	put16(udp + 4, length);
	for (size_t i = 0; i < payload; i++)
		udp[UDP_LEN + i] = (uint8_t)(i * 3);
	whole = build_ipv4(packet, &spec, udp, UDP_LEN + payload);
	if (with_sum) {
		uint32_t pseudo =
			(PEER >> 16) + (PEER & 0xffff) + (US >> 16) + (US & 0xffff) + 17 + length;

		put16(packet + IPV4_LEN + 6, naive_checksum(packet + IPV4_LEN, length, pseudo));
	}
	return whole;
}

static bool udp_comes(struct fixture *f, const uint8_t *packet, size_t length)
{
	unsigned before = asker_of(f)->count;

	assert_false(receive_ipv4(f, packet, length));
	return asker_of(f)->count > before;
}

static void test_udp_comes_up_without_what_lies_behind_it(void **state)
{
	struct fixture *f = *state;
	struct asker *asker = asker_of(f);
	uint8_t packet[2048];

	assert_true(udp_comes(f, packet, build_udp(packet, UDP_LEN + 100, true, 100)));
	assert_true(udp_comes(f, packet, build_udp(packet, UDP_LEN + 60, true, 100)));
	assert_true(udp_comes(f, packet, build_udp(packet, UDP_LEN, false, 0)));
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned lengths[] = {108, 68, 8};

		assert_int_equal(asker->kinds[i], NET_DELIVERY_UDP);
		assert_int_equal(asker->back[i]->pkt_len, IPV4_LEN + lengths[i]);
		assert_int_equal(asker->back[i]->l3_len, IPV4_LEN);
	}
	assert_int_equal(counter(f, "udp_datagrams_total", "received"), 3);
	assert_int_equal(f->sent_count, 0);
}

static void test_udp_that_cannot_be_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[2048];
	size_t length = build_udp(packet, UDP_LEN + 100, true, 100);

	packet[IPV4_LEN + 40] ^= 1;
	assert_false(udp_comes(f, packet, length));
	assert_int_equal(dropped(f, "udp_checksum"), 1);
	assert_false(udp_comes(f, packet, build_udp(packet, UDP_LEN + 101, false, 100)));
	assert_false(udp_comes(f, packet, build_udp(packet, UDP_LEN - 1, false, 100)));
	length = build_ipv4(packet, &(struct packet_spec){.protocol = 17}, "short", 5);
	assert_false(udp_comes(f, packet, length));
	assert_int_equal(dropped(f, "udp_header"), 3);
}

static void test_udp6_needs_a_sum(void **state)
{
	struct fixture *f = *state;
	const struct packet6_spec spec = {.protocol = 17};
	uint8_t udp[] = {0, 7, 0, 9, 0, 13, 0, 0, 'h', 'e', 'l', 'l', 'o'}, packet[256];
	size_t length = build_ipv6(packet, &spec, udp, sizeof(udp));

	advance(f, 3 * SECOND);
	assert_false(receive_ipv6(f, packet, length));
	assert_int_equal(asker_of(f)->count, 0);
	assert_int_equal(dropped(f, "udp_checksum"), 1);
	put16(packet + IPV6_LEN + 6, naive_checksum6(packet, 17, packet + IPV6_LEN, sizeof(udp)));
	assert_false(receive_ipv6(f, packet, length));
	assert_int_equal(asker_of(f)->count, 1);
}

// From port 7 to port 9.
static int send_udp(struct fixture *f, const struct net_address *remote, uint32_t payload,
	uint16_t mtu, uint16_t first)
{
	uint8_t message[16384] = {0, 7, 0, 9};
	struct net_datagram datagram = {.remote = *remote, .protocol = 17, .mtu = mtu};
	struct net_way way;

	put16(message + 4, (uint16_t)(UDP_LEN + payload));
	put16(message + UDP_LEN, first);
	assert_int_equal(net_way_find(f->net, remote, &way), 0);
	datagram.local = way.local;
	return net_datagram_send(f->net, &datagram, message, UDP_LEN + payload, f->now_us);
}

static void test_the_sum_of_udp_is_never_none(void **state)
{
	struct fixture *f = *state;
	const struct net_address peer = ip_address(PEER);
	uint8_t frame[256], *udp = frame + ETHER_LEN + IPV4_LEN;
	uint32_t pseudo =
		(PEER >> 16) + (PEER & 0xffff) + (US >> 16) + (US & 0xffff) + 17 + UDP_LEN + 2;
	uint16_t sum;

	assert_int_equal(send_udp(f, &peer, 2, 0, 0), 0);
	sent_frame(f, 0, frame);
	assert_int_equal(naive_checksum(udp, UDP_LEN + 2, pseudo), 0);
	// What makes the sum of all the rest 0.
	sum = (uint16_t)get16(udp + 6);
	assert_int_equal(send_udp(f, &peer, 2, 0, sum), 0);
	sent_frame(f, 1, frame);
	assert_int_equal(get16(udp + 6), 0xffff);
}

static void test_udp_is_cut_to_the_mtu_that_its_sender_knows_of(void **state)
{
	struct fixture *f = *state;
	const struct net_address peer = ip_address(PEER);
	uint8_t frame[2048];

	assert_int_equal(send_udp(f, &peer, 1400, 600, 0), 0);
	assert_int_equal(f->sent_count, 3);
	assert_true(sent_frame(f, 0, frame) <= ETHER_LEN + 600);
	sent_clear(f);
	assert_int_equal(send_udp(f, &peer, 1400, 60, 0), 0); // nobody has such a one
	assert_int_equal(f->sent_count, 1);
}

static void test_udp_to_ourselves_comes_up_and_is_refused_there(void **state)
{
	struct fixture *f = *state;
	const struct net_address us = ip_address(US);
	struct asker *asker = asker_of(f);
	struct net_delivery delivery = {.kind = NET_DELIVERY_UDP, .source = us, .destination = us};

	assert_int_equal(send_udp(f, &us, 3000, 0, 0), 0);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(asker->count, 1);
	assert_int_equal(asker->kinds[0], NET_DELIVERY_UDP);
	assert_int_equal(asker->back[0]->pkt_len, IPV4_LEN + UDP_LEN + 3000);
	delivery.m = asker->back[0];
	delivery.netif = &f->eth;
	asker->count = 0;
	net_datagram_refuse(f->net, &delivery, f->now_us);
	assert_int_equal(asker->count, 1);
	assert_int_equal(asker->kinds[0], NET_DELIVERY_ICMP);
	assert_int_equal(
		get16(rte_pktmbuf_mtod_offset(asker->back[0], const uint8_t *, IPV4_LEN)), 0x0303);
	assert_int_equal(dropped(f, "udp"), 1);
}

static void test_a_port_that_nobody_has_is_unreachable(void **state)
{
	struct fixture *f = *state;
	struct asker *asker = asker_of(f);
	struct net_delivery delivery = {
		.source = ip_address(PEER), .destination = ip_address(US), .netif = &f->eth};
	uint8_t packet[2048], frame[2048];

	assert_true(udp_comes(f, packet, build_udp(packet, UDP_LEN + 100, true, 100)));
	delivery.m = asker->back[--asker->count];
	net_datagram_refuse(f->net, &delivery, f->now_us);
	assert_int_equal(f->sent_count, 1);
	sent_frame(f, 0, frame);
	assert_int_equal(get16(frame + ETHER_LEN + IPV4_LEN), 0x0303);
}

static void test_an_error_about_udp_of_ours_comes_back(void **state)
{
	struct fixture *f = *state;
	const struct packet_spec of = {.protocol = 17, .source = US, .destination = PEER},
				 spec = {.protocol = 1};
	uint8_t udp[UDP_LEN] = {0, 7, 0, 9, 0, 8}, quoted[64], icmp[128], packet[256];
	size_t length = build_ipv4(quoted, &of, udp, sizeof(udp));

	assert_true(udp_comes(f, packet,
		build_ipv4(packet, &spec, icmp, build_icmp(icmp, 3, 3, 0, quoted, length))));
	assert_int_equal(asker_of(f)->kinds[0], NET_DELIVERY_ICMP);
}

int test_net_datagrams(void)
{
	const struct CMUnitTest tests[] = {
		echo_test(test_a_request_leaves_as_it_is_with_its_sum),
		echo_test(test_a_long_request_leaves_in_fragments),
		echo_test(test_a_reply_comes_back_with_its_header),
		echo_test(test_an_error_comes_back_when_it_is_about_a_request_of_ours),
		echo_test(test_nobody_there_is_told_for_each_request),
		echo_test(test_we_answer_ourselves),
		echo6_test(test_ipv6_has_all_of_it),
		echo_test(test_ways),
		echo_test(test_udp_comes_up_without_what_lies_behind_it),
		echo_test(test_udp_that_cannot_be_is_dropped),
		echo6_test(test_udp6_needs_a_sum),
		echo_test(test_the_sum_of_udp_is_never_none),
		echo_test(test_udp_is_cut_to_the_mtu_that_its_sender_knows_of),
		echo_test(test_udp_to_ourselves_comes_up_and_is_refused_there),
		echo_test(test_a_port_that_nobody_has_is_unreachable),
		echo_test(test_an_error_about_udp_of_ours_comes_back),
	};

	return cmocka_run_group_tests_name("datagrams", tests, NULL, NULL);
}
