// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The net under test and its two interfaces; see net_tests.h.

#include "frames6.h"
#include "net_tests.h"

#include "base/wheel.h"

#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

const uint8_t mac_us[6] = {2, 0, 0, 0, 0, 1};
const uint8_t mac_peer[6] = {2, 0, 0, 0, 0, 2};
const uint8_t mac_other[6] = {2, 0, 0, 0, 0, 3};
const uint8_t mac_static[6] = {2, 0, 0, 0, 0, 9};
const uint8_t mac_all[6] = {255, 255, 255, 255, 255, 255};

#define RESERVE_SIZE 63

// Pools are made once: a net does not own them.
static struct rte_mempool *frame_pool, *reserve_pool;

int fixture_pools_create(void)
{
	frame_pool = rte_pktmbuf_pool_create(
		"frames", NET_POOL_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	reserve_pool = rte_pktmbuf_pool_create(
		"reserve", RESERVE_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return frame_pool != NULL && reserve_pool != NULL ? 0 : -1;
}

static void capture(void *ctx, struct rte_mbuf *m)
{
	struct fixture *f = ctx;

	assert_true(f->sent_count < SENT_MAX);
	f->sent[f->sent_count++] = m;
}

struct net_address ip_address(uint32_t ip)
{
	return net_address_from_ipv4(rte_cpu_to_be_32(ip));
}

struct net_address ip6_address(const char *text)
{
	struct net_address address;

	assert_int_equal(net_address_parse(text, &address), 0);
	return address;
}

void fixture_net_create(struct fixture *f)
{
	const struct net_interface_address eth_addresses[] = {
		{ip_address(US), 16},
		{ip6_address(US6), 64},
	};
	const struct net_interface_address raw_addresses[] = {
		{ip_address(RAW_US), 24},
		{ip6_address(RAW_US6), 64},
	};
	unsigned families = f->ipv6 ? 2 : 1;
	const struct net_interface_config interfaces[] = {
		{&f->eth, eth_addresses, families},
		{&f->raw, raw_addresses, families},
	};
	const struct net_route_config routes[] = {
		{ip_address(0), 0, ip_address(IP(198, 18, 0, 254))},
		{ip6_address("::"), 0, ip6_address(GATEWAY6)},
	};
	struct net_neighbour_config neighbours[] = {
		{.address = ip_address(STATIC)},
		{.address = ip6_address(STATIC6)},
	};
	const char *error;

	memcpy(neighbours[0].mac, mac_static, 6);
	memcpy(neighbours[1].mac, mac_static, 6);
	f->config.interfaces = interfaces;
	f->config.interfaces_count = 2;
	f->config.routes = routes;
	f->config.routes_count = families;
	f->config.neighbours = neighbours;
	f->config.neighbours_count = families;
	net_destroy(f->net);
	assert_int_equal(net_create(&f->config, &f->rng, f->now_us, &f->net, &error), 0);
	assert_null(error);
}

static int setup(void **state, bool ipv6)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->pool = frame_pool;
	f->reserve = reserve_pool;
	f->eth = (struct net_if){.name = "eth0",
		.mtu = 1500,
		.tx_pool = f->pool,
		.tx_reserve = f->reserve,
		.tx = capture,
		.ctx = f};
	memcpy(f->eth.mac, mac_us, 6);
	f->raw = f->eth;
	strcpy(f->raw.name, "raw0");
	f->raw.raw_ip = true;
	f->ipv6 = ipv6;
	f->now_us = 1000 * SECOND;
	random_init(&f->rng, 7);
	net_config_init(&f->config);
	f->config.neighbours_max = 64;
	f->config.fragments_max = 16;
	fixture_net_create(f);
	// The announcements of the start are in nobody's way.
	advance(f, 4 * SECOND);
	sent_clear(f);
	*state = f;
	return 0;
}

int fixture_setup(void **state)
{
	return setup(state, false);
}

int fixture6_setup(void **state)
{
	return setup(state, true);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	net_check(f->net);
	sent_clear(f);
	net_destroy(f->net);
	assert_int_equal(rte_mempool_avail_count(f->pool), NET_POOL_SIZE);
	assert_int_equal(rte_mempool_avail_count(f->reserve), RESERVE_SIZE);
	free(f);
	return 0;
}

void advance(struct fixture *f, uint64_t by_us)
{
	uint64_t end_us = f->now_us + by_us;

	for (unsigned turns = 0; net_next_deadline(f->net) <= end_us; turns++) {
		uint64_t next_us = net_next_deadline(f->net);

		assert_true(turns < 100000); // a deadline that does not move on
		if (next_us > f->now_us)
			f->now_us = next_us;
		net_timers(f->net, f->now_us);
		net_check(f->net);
		if (next_us == net_next_deadline(f->net))
			f->now_us++; // the wheel's bound is a lower one: let the tick pass
	}
	f->now_us = end_us;
	net_timers(f->net, f->now_us);
}

struct rte_mbuf *frame_chain(struct fixture *f, const void *data, size_t length, size_t segment)
{
	struct rte_mbuf *head = NULL;

	for (size_t done = 0; done < length || head == NULL;) {
		size_t part = length - done < segment ? length - done : segment;
		struct rte_mbuf *m = rte_pktmbuf_alloc(f->pool);

		assert_non_null(m);
		memcpy(rte_pktmbuf_append(m, (uint16_t)part), (const char *)data + done, part);
		done += part;
		if (head == NULL)
			head = m;
		else
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
	}
	return head;
}

struct rte_mbuf *frame_mbuf(struct fixture *f, const void *data, size_t length)
{
	return frame_chain(f, data, length, 1900);
}

bool receive_mbuf(struct fixture *f, struct net_if *netif, struct rte_mbuf *m)
{
	unsigned n = net_input(f->net, netif, &m, 1, f->now_us, &f->delivery);

	net_check(f->net);
	return n == 1;
}

bool receive(struct fixture *f, struct net_if *netif, const void *frame, size_t length)
{
	return receive_mbuf(f, netif, frame_mbuf(f, frame, length));
}

bool receive_ipv4(struct fixture *f, const void *packet, size_t length)
{
	uint8_t frame[2048];
	size_t header = build_ether(frame, mac_us, mac_peer, 0x0800);

	memcpy(frame + header, packet, length);
	return receive(f, &f->eth, frame, header + length);
}

void receive_arp(
	struct fixture *f, unsigned opcode, const uint8_t mac[6], uint32_t sender, uint32_t target)
{
	uint8_t frame[64];

	assert_false(receive(f, &f->eth, frame, build_arp(frame, opcode, mac, sender, target)));
}

size_t sent_frame(const struct fixture *f, unsigned i, uint8_t *frame)
{
	const struct rte_mbuf *m;
	size_t length = 0;

	assert_true(i < f->sent_count);
	for (m = f->sent[i]; m != NULL; m = m->next) {
		memcpy(frame + length, rte_pktmbuf_mtod(m, void *), m->data_len);
		length += m->data_len;
	}
	assert_int_equal(length, f->sent[i]->pkt_len);
	return length;
}

void sent_clear(struct fixture *f)
{
	while (f->sent_count > 0)
		rte_pktmbuf_free(f->sent[--f->sent_count]);
}

void assert_sent_arp(const struct fixture *f, unsigned i, unsigned opcode, const uint8_t to[6],
	uint32_t sender, uint32_t target)
{
	uint8_t frame[2048];

	assert_int_equal(sent_frame(f, i, frame), 42);
	assert_memory_equal(frame, to, 6);
	assert_memory_equal(frame + 6, mac_us, 6);
	assert_int_equal(get16(frame + 12), 0x0806);
	assert_int_equal(get32(frame + 14), 0x00010800);
	assert_int_equal(get16(frame + 18), 0x0604);
	assert_int_equal(get16(frame + 20), opcode);
	assert_memory_equal(frame + 22, mac_us, 6);
	assert_int_equal(get32(frame + 28), sender);
	assert_int_equal(get32(frame + 38), target);
}

uint64_t counter(const struct fixture *f, const char *family, const char *value)
{
	struct counter_set set = net_counters(f->net);
	unsigned slot = 0;

	for (unsigned i = 0; i < set.families_count; i++) {
		const struct counter_family *fam = &set.families[i];

		for (unsigned k = 0; k < fam->slots; k++, slot++) {
			if (strcmp(fam->name, family) == 0 &&
				(value == NULL || strcmp(fam->values[k], value) == 0))
				return counter_read(&set.values[slot]);
		}
	}
	fail_msg("no counter %s{%s}", family, value != NULL ? value : "");
	return 0;
}

uint64_t dropped(const struct fixture *f, const char *reason)
{
	return counter(f, "packets_dropped_total", reason);
}

const char *neighbour_state_of(const struct fixture *f, const struct net_address *address)
{
	struct net_neighbour_info info;
	unsigned cursor = 0;

	while (net_neighbours_list(f->net, &cursor, &info, 1) == 1) {
		if (net_address_equal(&info.address, address))
			return info.state;
	}
	return "";
}

const char *neighbour_state(const struct fixture *f, uint32_t ip)
{
	struct net_address address = ip_address(ip);

	return neighbour_state_of(f, &address);
}

struct net_path open_path(struct fixture *f, uint32_t remote)
{
	struct net_address to = ip_address(remote), from;
	struct net_path path;

	assert_int_equal(net_source_select(f->net, &to, &from), 0);
	assert_int_equal(net_path_open(f->net, &from, &to, &path), 0);
	return path;
}

void send_bytes(struct fixture *f, struct net_path *path, size_t length)
{
	uint8_t data[4096];

	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(i * 7);
	net_path_send(path, frame_mbuf(f, data, length), 253, 0, f->now_us);
	net_check(f->net);
}
