// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The learning bridge: where frames go, what it learns and forgets, and that they leave as they
// came. An oracle, a list searched from end to end, says of random frames where they belong.

#include "frames6.h"
#include "net_tests.h"

#include "base/clock.h"
#include "net/bridge.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORTS 4

struct bench {
	struct fixture *f; // pools and randomness
	struct net_if netifs[PORTS];
	struct net_if *list[PORTS];
	struct bridge_config config;
	struct bridge *bridge;
	struct rte_mbuf *sent[PORTS][8];
	unsigned sent_count[PORTS];
	struct port {
		struct bench *bench;
		unsigned index;
	} ports[PORTS];
	uint64_t now_us;
};

static void capture(void *ctx, struct rte_mbuf *m)
{
	struct port *port = ctx;
	struct bench *b = port->bench;

	assert_true(b->sent_count[port->index] < 8);
	b->sent[port->index][b->sent_count[port->index]++] = m;
}

static void forget_sent(struct bench *b)
{
	for (unsigned i = 0; i < PORTS; i++)
		while (b->sent_count[i] > 0)
			rte_pktmbuf_free(b->sent[i][--b->sent_count[i]]);
}

static int bench_create(struct bench *b)
{
	bridge_destroy(b->bridge);
	b->bridge = NULL;
	return bridge_create("bridge", &b->config, &b->f->rng, &b->bridge);
}

static int bench_setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	fixture_setup((void **)&b->f);
	b->now_us = 1000 * SECOND;
	for (unsigned i = 0; i < PORTS; i++) {
		b->ports[i] = (struct port){b, i};
		b->netifs[i] = (struct net_if){.index = i,
			.mtu = 1500,
			.tx_pool = b->f->pool,
			.tx = capture,
			.ctx = &b->ports[i]};
		b->list[i] = &b->netifs[i];
	}
	bridge_config_init(&b->config);
	b->config.netifs = b->list;
	b->config.netifs_count = PORTS;
	b->config.stations_max = 16;
	assert_int_equal(bench_create(b), 0);
	*state = b;
	return 0;
}

static int bench_teardown(void **state)
{
	struct bench *b = *state;
	void *f = b->f;

	bridge_check(b->bridge);
	forget_sent(b);
	bridge_destroy(b->bridge);
	fixture_teardown(&f);
	free(b);
	return 0;
}

static const uint8_t *mac_of(unsigned station)
{
	static uint8_t macs[256][6];

	memcpy(macs[station], (uint8_t[]){2, 0, 0, 0, 1, (uint8_t)station}, 6);
	return macs[station];
}

static size_t build(uint8_t *frame, const uint8_t to[6], const uint8_t from[6], int vlan)
{
	size_t length = build_ether(frame, to, from, vlan < 0 ? 0x88b5 : 0x8100);

	if (vlan >= 0) {
		put16(frame + length, (unsigned)vlan);
		put16(frame + length + 2, 0x88b5);
		length += 4;
	}
	for (unsigned i = 0; i < 50; i++)
		frame[length++] = (uint8_t)(i * 3);
	return length;
}

static uint32_t route_mbuf(struct bench *b, unsigned port, struct rte_mbuf *m)
{
	uint32_t ports = bridge_route(b->bridge, &b->netifs[port], m, b->now_us);

	bridge_check(b->bridge);
	assert_false(ports & 1u << port);
	bridge_send(b->bridge, m, ports);
	return ports;
}

// The ports that a frame goes to.
static uint32_t pass_on(
	struct bench *b, unsigned port, const uint8_t to[6], const uint8_t from[6], int vlan)
{
	uint8_t frame[128];
	size_t length = build(frame, to, from, vlan);
	uint32_t ports = route_mbuf(b, port, frame_mbuf(b->f, frame, length));

	for (unsigned i = 0; i < PORTS; i++) {
		uint8_t out[128];

		assert_int_equal(b->sent_count[i], (ports >> i) & 1);
		if (b->sent_count[i] == 0)
			continue;
		assert_int_equal(b->sent[i][0]->pkt_len, length);
		memcpy(out, rte_pktmbuf_mtod(b->sent[i][0], void *), length);
		assert_memory_equal(out, frame, length);
	}
	forget_sent(b);
	return ports;
}

static uint64_t count(const struct bench *b, const char *family, const char *value)
{
	struct counter_set set = bridge_counters(b->bridge);
	unsigned slot = 0;

	for (unsigned i = 0; i < set.families_count; i++)
		for (unsigned k = 0; k < set.families[i].slots; k++, slot++)
			if (strcmp(set.families[i].name, family) == 0 &&
				(value == NULL || strcmp(set.families[i].values[k], value) == 0))
				return counter_read(&set.values[slot]);
	fail_msg("no counter %s", family);
	return 0;
}

static void test_what_is_unknown_goes_everywhere_else(void **state)
{
	struct bench *b = *state;

	assert_int_equal(pass_on(b, 0, mac_of(2), mac_of(1), -1), 0xe);
	assert_int_equal(pass_on(b, 2, mac_all, mac_of(2), -1), 0xb);
	assert_int_equal(count(b, "bridge_flooded_total", NULL), 2);
	assert_int_equal(count(b, "bridge_frames_total", NULL), 2);
}

static void test_what_is_known_goes_to_its_port(void **state)
{
	struct bench *b = *state;

	pass_on(b, 0, mac_of(2), mac_of(1), -1);
	assert_int_equal(pass_on(b, 2, mac_of(1), mac_of(2), -1), 1 << 0);
	assert_int_equal(pass_on(b, 0, mac_of(2), mac_of(1), -1), 1 << 2);
	assert_int_equal(pass_on(b, 3, mac_of(2), mac_of(3), -1), 1 << 2);
	assert_int_equal(count(b, "bridge_stations", "learned"), 3);
	// Both on one port: the frame has passed already.
	pass_on(b, 0, mac_all, mac_of(4), -1);
	assert_int_equal(pass_on(b, 0, mac_of(1), mac_of(4), -1), 0);
	assert_int_equal(count(b, "packets_dropped_total", "bridge_same_port"), 1);
}

static void test_a_station_moves(void **state)
{
	struct bench *b = *state;

	pass_on(b, 0, mac_all, mac_of(1), -1);
	pass_on(b, 3, mac_all, mac_of(1), -1);
	assert_int_equal(pass_on(b, 1, mac_of(1), mac_of(2), -1), 1 << 3);
	assert_int_equal(count(b, "bridge_stations", "learned"), 2);
}

static void test_vlans_are_learned_apart(void **state)
{
	struct bench *b = *state;

	pass_on(b, 0, mac_all, mac_of(1), 10);
	pass_on(b, 1, mac_all, mac_of(1), 20);
	assert_int_equal(pass_on(b, 2, mac_of(1), mac_of(2), 10), 1 << 0);
	assert_int_equal(pass_on(b, 2, mac_of(1), mac_of(2), 20), 1 << 1);
	assert_int_equal(pass_on(b, 2, mac_of(1), mac_of(2), -1), 0xb);
	// A priority is no VLAN.
	assert_int_equal(pass_on(b, 0, mac_of(2), mac_of(1), 5 << 13), 1 << 2);
}

static void test_silent_stations_are_forgotten(void **state)
{
	struct bench *b = *state;

	pass_on(b, 0, mac_all, mac_of(1), -1);
	b->now_us += b->config.age_us;
	assert_int_equal(pass_on(b, 1, mac_of(1), mac_of(2), -1), 1 << 0);
	b->now_us++;
	assert_int_equal(pass_on(b, 1, mac_of(1), mac_of(2), -1), 0xd);
}

static void test_a_full_table_gives_way_to_new_stations_as_it_ages(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 20; i++)
		pass_on(b, 0, mac_all, mac_of(i), -1);
	assert_int_equal(count(b, "bridge_stations", "learned"), 16);
	assert_int_equal(count(b, "bridge_stations_refused_total", NULL), 4);
	// Those without a place are flooded for.
	assert_int_equal(pass_on(b, 1, mac_of(18), mac_of(0), -1), 0xd);
	b->now_us += b->config.age_us + 1;
	for (unsigned i = 30; i < 46; i++)
		pass_on(b, 2, mac_all, mac_of(i), -1);
	assert_int_equal(pass_on(b, 1, mac_of(45), mac_of(30), -1), 1 << 2);
}

static void test_configured_stations_stay(void **state)
{
	struct bench *b = *state;
	struct bridge_station stations[] = {{.port = 3}, {.port = 1, .vlan = 7}};

	memcpy(stations[0].mac, mac_of(1), 6);
	memcpy(stations[1].mac, mac_of(1), 6);
	b->config.stations = stations;
	b->config.stations_count = 2;
	assert_int_equal(bench_create(b), 0);
	pass_on(b, 0, mac_all, mac_of(1), -1); // a liar
	b->now_us += 10 * b->config.age_us;
	assert_int_equal(pass_on(b, 0, mac_of(1), mac_of(2), -1), 1 << 3);
	assert_int_equal(pass_on(b, 0, mac_of(1), mac_of(2), 7), 1 << 1);
	assert_int_equal(count(b, "bridge_stations", "static"), 2);
	// With nothing but them, strangers are told of by nobody and reached by nobody.
	b->config.mode = BRIDGE_STATIC;
	assert_int_equal(bench_create(b), 0);
	assert_int_equal(pass_on(b, 2, mac_of(1), mac_of(9), -1), 1 << 3);
	assert_int_equal(pass_on(b, 0, mac_of(9), mac_of(2), -1), 0);
	assert_int_equal(count(b, "packets_dropped_total", "bridge_unknown"), 1);
	assert_int_equal(pass_on(b, 2, mac_all, mac_of(9), -1), 0xb); // ARP must work
	assert_int_equal(count(b, "bridge_stations", "learned"), 0);
}

static void test_a_hub_learns_nothing(void **state)
{
	struct bench *b = *state;

	b->config.mode = BRIDGE_HUB;
	assert_int_equal(bench_create(b), 0);
	pass_on(b, 0, mac_all, mac_of(1), -1);
	assert_int_equal(pass_on(b, 1, mac_of(1), mac_of(2), -1), 0xd);
	assert_int_equal(count(b, "bridge_stations", "learned"), 0);
}

static void test_what_bridges_say_goes_on_and_pauses_do_not(void **state)
{
	const uint8_t spanning_tree[6] = {1, 0x80, 0xc2, 0, 0, 0};
	const uint8_t pause[6] = {1, 0x80, 0xc2, 0, 0, 1};
	struct bench *b = *state;

	assert_int_equal(pass_on(b, 0, spanning_tree, mac_of(1), -1), 0xe);
	assert_int_equal(pass_on(b, 0, pause, mac_of(1), -1), 0);
	// Nobody has a group's address.
	assert_int_equal(pass_on(b, 0, mac_of(2), mac_all, -1), 0);
	assert_int_equal(count(b, "packets_dropped_total", "bridge_malformed"), 1);
}

static void test_chains_jumbos_and_metadata(void **state)
{
	struct bench *b = *state;
	uint8_t frame[1600], out[1600];
	size_t length = build(frame, mac_of(2), mac_of(1), 42);
	struct rte_mbuf *m;

	pass_on(b, 1, mac_all, mac_of(2), 42);
	// A chain where chains can be sent, with what the device has said of it.
	b->netifs[1].caps.multi_segment = true;
	m = frame_chain(b->f, frame, length, 20);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	m->hash.rss = 0x1234;
	route_mbuf(b, 0, m);
	assert_ptr_equal(b->sent[1][0], m);
	assert_int_equal(m->hash.rss, 0x1234);
	assert_true(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	forget_sent(b);
	// And where they cannot.
	b->netifs[1].caps.multi_segment = false;
	route_mbuf(b, 0, frame_chain(b->f, frame, length, 20));
	assert_int_equal(b->sent[1][0]->nb_segs, 1);
	memcpy(out, rte_pktmbuf_mtod(b->sent[1][0], void *), length);
	assert_memory_equal(out, frame, length);
	forget_sent(b);
	// The MTU is one of packets: tags come on top.
	memset(frame + length, 0, sizeof(frame) - length);
	route_mbuf(b, 0, frame_mbuf(b->f, frame, 1518));
	assert_int_equal(b->sent_count[1], 1);
	forget_sent(b);
	route_mbuf(b, 0, frame_mbuf(b->f, frame, 1519));
	assert_int_equal(b->sent_count[1], 0);
	assert_int_equal(count(b, "packets_dropped_total", "bridge_too_big"), 1);
	b->netifs[1].mtu = 9000;
	route_mbuf(b, 0, frame_mbuf(b->f, frame, 1519));
	assert_int_equal(b->sent_count[1], 1);
}

static void test_a_tag_that_the_device_took_off_is_put_back(void **state)
{
	struct bench *b = *state;
	uint8_t frame[128], out[128];
	size_t length = build(frame, mac_of(2), mac_of(1), -1);
	struct rte_mbuf *m = frame_mbuf(b->f, frame, length);

	pass_on(b, 3, mac_all, mac_of(2), 42);
	m->vlan_tci = 3 << 13 | 42;
	m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	assert_int_equal(route_mbuf(b, 0, m), 1 << 3);
	assert_int_equal(b->sent[3][0]->pkt_len, length + 4);
	memcpy(out, rte_pktmbuf_mtod(b->sent[3][0], void *), length + 4);
	assert_memory_equal(out, frame, 12);
	assert_int_equal(get16(out + 12), 0x8100);
	assert_int_equal(get16(out + 14), 3 << 13 | 42);
	assert_memory_equal(out + 16, frame + 12, length - 12);
}

static void test_sums_that_were_left_to_a_device_are_completed(void **state)
{
	const struct packet_spec spec = {.source = IP(10, 1, 1, 1), .destination = IP(10, 1, 1, 2)};
	struct bench *b = *state;
	uint8_t frame[256], out[256];

	for (unsigned tagged = 0; tagged < 2; tagged++) {
		size_t at = build_ether(frame, mac_of(2), mac_of(1), tagged ? 0x8100 : 0x0800);
		size_t length;
		struct rte_mbuf *m;

		if (tagged) {
			put16(frame + at, 42);
			put16(frame + at + 2, 0x0800);
			at += 4;
		}
		length = at + build_tcp(frame + at, &spec, "odd", 3);
		memcpy(out, frame, length);
		put16(frame + at + IPV4_LEN + 16, 0x1234); // of the pseudo header, or anything
		m = frame_mbuf(b->f, frame, length);
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
		route_mbuf(b, 0, m);
		assert_memory_equal(rte_pktmbuf_mtod(b->sent[1][0], void *), out, length);
		forget_sent(b);
		// What nobody has said anything of is left alone.
		m = frame_mbuf(b->f, frame, length);
		route_mbuf(b, 0, m);
		assert_memory_equal(rte_pktmbuf_mtod(b->sent[1][0], void *), frame, length);
		forget_sent(b);
	}
}

static void test_sums_of_datagrams_and_of_ipv6(void **state)
{
	const struct packet_spec spec = {
		.source = IP(10, 1, 1, 1), .destination = IP(10, 1, 1, 2), .protocol = 17};
	const struct packet6_spec spec6 = {"2001:db8::1", "2001:db8::2", PROTO_TCP, 0, 0};
	struct bench *b = *state;
	uint8_t frame[256], udp[13] = {0, 7, 0, 7, 0, 13, 0xab, 0xcd, 'h', 'e', 'l', 'l', 'o'};
	uint8_t *ip = frame + ETHER_LEN;
	size_t length = build_ether(frame, mac_of(2), mac_of(1), 0x0800);
	struct rte_mbuf *m;

	length += build_ipv4(ip, &spec, udp, sizeof(udp));
	m = frame_mbuf(b->f, frame, length);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	route_mbuf(b, 0, m);
	memcpy(frame, rte_pktmbuf_mtod(b->sent[1][0], void *), length);
	assert_int_equal(
		naive_checksum(ip + IPV4_LEN, sizeof(udp),
			(10u << 8 | 1) * 2 + (1u << 8 | 1) + (1u << 8 | 2) + 17 + sizeof(udp)),
		0);
	forget_sent(b);
	length = build_ether(frame, mac_of(2), mac_of(1), 0x86dd);
	length += build_tcp6(ip, &spec6, NULL, 0, "hello", 5);
	m = frame_mbuf(b->f, frame, length);
	put16(rte_pktmbuf_mtod(m, uint8_t *) + ETHER_LEN + 40 + 16, 0xabcd);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	route_mbuf(b, 0, m);
	assert_memory_equal(rte_pktmbuf_mtod(b->sent[1][0], void *), frame, length);
}

static void test_impossible_configurations_are_refused(void **state)
{
	struct bench *b = *state;
	struct bridge_station stations[2] = {{.port = PORTS}, {.port = 0}};

	b->config.stations = stations;
	b->config.stations_count = 1;
	assert_int_equal(bench_create(b), -EINVAL); // no such port
	stations[0].port = 0;
	b->config.stations_count = 2;
	assert_int_equal(bench_create(b), -EEXIST);
	b->config.stations_count = 0;
	b->config.netifs_count = 1;
	assert_int_equal(bench_create(b), -EINVAL);
	b->config.netifs_count = PORTS;
	assert_int_equal(bench_create(b), 0);
}

// --- random frames, and who searches a list ------------------------------------------------------

#define STATIONS 12

static void test_random_frames_go_where_a_list_says(void **state)
{
	struct bench *b = *state;
	struct {
		uint64_t seen_us;
		unsigned port;
		bool known;
	} list[STATIONS][2] = {0};

	for (unsigned i = 0; i < 20000; i++) {
		unsigned from = random_below(&b->f->rng, STATIONS);
		unsigned to = random_below(&b->f->rng, STATIONS);
		unsigned port = random_below(&b->f->rng, PORTS);
		unsigned vlan = random_below(&b->f->rng, 4) == 0 && from < 2;
		uint32_t expected = 0xf & ~(1u << port);

		b->now_us += random_below(&b->f->rng, 20) * SECOND;
		list[from][vlan].seen_us = b->now_us;
		list[from][vlan].port = port;
		list[from][vlan].known = true;
		if (list[to][vlan].known && b->now_us - list[to][vlan].seen_us <= b->config.age_us)
			expected = 1u << list[to][vlan].port & ~(1u << port);
		assert_int_equal(
			pass_on(b, port, mac_of(to), mac_of(from), vlan ? 9 : -1), expected);
	}
}

int test_net_bridge(void)
{
#define bench_test(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
	const struct CMUnitTest tests[] = {
		bench_test(test_what_is_unknown_goes_everywhere_else),
		bench_test(test_what_is_known_goes_to_its_port),
		bench_test(test_a_station_moves),
		bench_test(test_vlans_are_learned_apart),
		bench_test(test_silent_stations_are_forgotten),
		bench_test(test_a_full_table_gives_way_to_new_stations_as_it_ages),
		bench_test(test_configured_stations_stay),
		bench_test(test_a_hub_learns_nothing),
		bench_test(test_what_bridges_say_goes_on_and_pauses_do_not),
		bench_test(test_chains_jumbos_and_metadata),
		bench_test(test_a_tag_that_the_device_took_off_is_put_back),
		bench_test(test_sums_that_were_left_to_a_device_are_completed),
		bench_test(test_sums_of_datagrams_and_of_ipv6),
		bench_test(test_impossible_configurations_are_refused),
		bench_test(test_random_frames_go_where_a_list_says),
	};

	return cmocka_run_group_tests_name("net_bridge", tests, NULL, NULL);
}
