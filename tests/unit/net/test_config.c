// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What net_create() refuses, and which way packets then take.

#include "net_tests.h"

#include <errno.h>
#include <string.h>

struct setup {
	struct net_if netif;
	struct net_interface_address addresses[2];
	struct net_interface_config interface;
	struct net_route_config route;
	struct net_neighbour_config neighbours[2];
	struct net_config config;
};

static void break_no_interface(struct setup *s)
{
	s->config.interfaces_count = 0;
}

static void break_no_address(struct setup *s)
{
	s->interface.addresses_count = 0;
}

static void break_mtu(struct setup *s)
{
	s->netif.mtu = 67;
}

static void break_address_twice(struct setup *s)
{
	s->addresses[1] = s->addresses[0];
}

static void break_address_multicast(struct setup *s)
{
	s->addresses[0].address = ip_address(IP(224, 0, 0, 1));
}

static void break_address_loopback(struct setup *s)
{
	s->addresses[0].address = ip_address(IP(127, 0, 0, 1));
}

static void break_address_broadcast(struct setup *s)
{
	s->addresses[0].address = ip_address(IP(198, 18, 255, 255));
}

static void break_address_network(struct setup *s)
{
	s->addresses[0].address = ip_address(IP(198, 18, 0, 0));
}

static void break_address_prefix(struct setup *s)
{
	s->addresses[0].prefix = 33;
}

// A setup of IPv6 alone, to be broken further.
static void make_ipv6(struct setup *s)
{
	net_address_parse("2001:db8::1", &s->addresses[0].address);
	s->addresses[0].prefix = 64;
	net_address_parse("2001:db8:1::1", &s->addresses[1].address);
	s->addresses[1].prefix = 127;
	net_address_parse("::", &s->route.prefix);
	net_address_parse("2001:db8::fe", &s->route.via);
	net_address_parse("2001:db8::2", &s->neighbours[0].address);
	net_address_parse("2001:db8::9", &s->neighbours[1].address);
}

static void break_ipv6_mtu(struct setup *s)
{
	make_ipv6(s);
	s->netif.mtu = 1279;
}

static void break_ipv6_prefix(struct setup *s)
{
	make_ipv6(s);
	s->addresses[0].prefix = 129;
}

static void break_ipv6_multicast(struct setup *s)
{
	make_ipv6(s);
	net_address_parse("ff02::1", &s->addresses[0].address);
}

static void break_ipv6_loopback(struct setup *s)
{
	make_ipv6(s);
	net_address_parse("::1", &s->addresses[0].address);
}

static void break_ipv6_routers(struct setup *s)
{
	make_ipv6(s);
	net_address_parse("2001:db8::", &s->addresses[0].address);
}

static void break_ipv6_twice(struct setup *s)
{
	make_ipv6(s);
	s->addresses[1] = s->addresses[0];
}

static void break_ipv6_gateway_family(struct setup *s)
{
	make_ipv6(s);
	s->route.prefix = ip_address(0);
}

static void break_ipv6_gateway_link_local(struct setup *s)
{
	make_ipv6(s);
	net_address_parse("fe80::fe", &s->route.via);
}

static void break_delay(struct setup *s)
{
	s->config.neighbour_delay_us = 0;
}

static void break_probes(struct setup *s)
{
	s->config.dad_transmits = 256;
}

static void break_route_prefix(struct setup *s)
{
	s->route.prefix_len = 33;
}

static void break_gateway_elsewhere(struct setup *s)
{
	s->route.via = ip_address(IP(192, 0, 2, 1));
}

static void break_gateway_self(struct setup *s)
{
	s->route.via = ip_address(US);
}

static void break_neighbour_elsewhere(struct setup *s)
{
	s->neighbours[0].address = ip_address(IP(192, 0, 2, 1));
}

static void break_neighbour_raw(struct setup *s)
{
	s->netif.raw_ip = true;
}

static void break_neighbour_twice(struct setup *s)
{
	s->neighbours[1] = s->neighbours[0];
}

static void break_neighbours_max(struct setup *s)
{
	s->config.neighbours_max = 2;
}

static void break_fragments_max(struct setup *s)
{
	s->config.fragments_max = 0;
}

static void break_queue(struct setup *s)
{
	s->config.neighbour_queue = 0;
}

static void break_retries(struct setup *s)
{
	s->config.neighbour_retries = 255;
}

static void break_retry(struct setup *s)
{
	s->config.neighbour_retry_us = 0;
}

static void setup_init(struct setup *s, const struct fixture *f)
{
	s->netif = f->eth;
	s->addresses[0] = (struct net_interface_address){ip_address(US), 16};
	s->addresses[1] = (struct net_interface_address){ip_address(IP(10, 9, 0, 1)), 24};
	s->interface = (struct net_interface_config){&s->netif, s->addresses, 2};
	s->route = (struct net_route_config){ip_address(0), 0, ip_address(PEER)};
	s->neighbours[0].address = ip_address(PEER);
	s->neighbours[1].address = ip_address(STATIC);
	net_config_init(&s->config);
	s->config.interfaces = &s->interface;
	s->config.interfaces_count = 1;
	s->config.routes = &s->route;
	s->config.routes_count = 1;
	s->config.neighbours = s->neighbours;
	s->config.neighbours_count = 2;
}

static void test_impossible_configurations_are_refused_with_a_line(void **state)
{
	static void (*const breaks[])(struct setup *) = {
		break_no_interface,
		break_no_address,
		break_mtu,
		break_address_twice,
		break_address_multicast,
		break_address_loopback,
		break_address_broadcast,
		break_address_network,
		break_address_prefix,
		break_ipv6_mtu,
		break_ipv6_prefix,
		break_ipv6_multicast,
		break_ipv6_loopback,
		break_ipv6_routers,
		break_ipv6_twice,
		break_ipv6_gateway_family,
		break_ipv6_gateway_link_local,
		break_route_prefix,
		break_gateway_elsewhere,
		break_gateway_self,
		break_neighbour_elsewhere,
		break_neighbour_raw,
		break_neighbour_twice,
		break_neighbours_max,
		break_fragments_max,
		break_queue,
		break_retries,
		break_retry,
		break_delay,
		break_probes,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(breaks) / sizeof(*breaks); i++) {
		struct setup s = {0};
		struct net *net = NULL;
		const char *error = NULL;

		setup_init(&s, f);
		breaks[i](&s);
		assert_int_equal(net_create(&s.config, &f->rng, 0, &net, &error), -EINVAL);
		assert_null(net);
		assert_non_null(error);
	}
}

static void test_the_unbroken_configuration_is_taken(void **state)
{
	struct fixture *f = *state;
	struct setup s = {0};
	struct net *net;
	const char *error;

	setup_init(&s, f);
	assert_int_equal(net_create(&s.config, &f->rng, 0, &net, &error), 0);
	net_check(net);
	net_destroy(net);
	make_ipv6(&s);
	assert_int_equal(net_create(&s.config, &f->rng, 0, &net, &error), 0);
	net_check(net);
	net_destroy(net);
	net_destroy(NULL);
}

static void test_counters_have_a_slot_for_each_value(void **state)
{
	struct fixture *f = *state;
	struct counter_set set = net_counters(f->net);

	for (unsigned i = 0; i < set.families_count; i++) {
		for (unsigned k = 0; k < set.families[i].slots; k++)
			assert_true(
				set.families[i].label == NULL || set.families[i].values[k] != NULL);
	}
	// The last family's slot is the last word: names and structure agree.
	assert_int_equal(counter(f, "icmp_errors_total", "sent"), 0);
	assert_int_equal(counter(f, "neighbours", "static"), 1);
	assert_int_equal(counter(f, "arp_requests_total", "sent"), 2); // the announcements
}

static void test_our_own_addresses_are_known(void **state)
{
	struct fixture *f = *state;
	struct net_address a = ip_address(US);

	assert_true(net_address_is_local(f->net, &a));
	a = ip_address(PEER);
	assert_false(net_address_is_local(f->net, &a));
	net_address_parse("2001:db8::1", &a);
	assert_false(net_address_is_local(f->net, &a));
}

// Which interface and which next hop: the ARP request that a packet causes tells.
static void test_the_longest_prefix_decides_the_way(void **state)
{
	static const struct {
		uint32_t remote, next_hop; // next hop 0: the raw interface
	} cases[] = {
		{PEER, PEER},
		{IP(198, 18, 200, 7), IP(198, 18, 200, 7)},
		{IP(8, 8, 8, 8), IP(198, 18, 0, 254)},
		{IP(10, 0, 1, 1), IP(198, 18, 0, 254)},
		{IP(10, 0, 0, 9), 0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct net_path path = open_path(f, cases[i].remote);

		send_bytes(f, &path, 10);
		assert_int_equal(f->sent_count, 1);
		if (cases[i].next_hop != 0) {
			assert_ptr_equal(path.netif, &f->eth);
			if (i < 3) // the gateway is asked for once
				assert_sent_arp(f, 0, 1, mac_all, US, cases[i].next_hop);
		} else {
			assert_ptr_equal(path.netif, &f->raw);
			assert_null(path.neighbour);
		}
		net_path_close(&path);
		if (i == 2) // forget the gateway
			advance(f, 5 * SECOND);
		sent_clear(f);
	}
}

static void test_paths_to_nowhere_do_not_open(void **state)
{
	static const struct {
		uint32_t local, remote;
		int error;
	} cases[] = {
		{US, IP(255, 255, 255, 255), -EHOSTUNREACH},
		{US, IP(198, 18, 255, 255), -EHOSTUNREACH},
		{US, IP(224, 0, 0, 1), -EHOSTUNREACH},
		{US, IP(127, 0, 0, 1), -EHOSTUNREACH},
		{US, IP(0, 0, 0, 0), -EHOSTUNREACH},
		{US, RAW_US, -EHOSTUNREACH},
		{PEER, STATIC, -EADDRNOTAVAIL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct net_address local = ip_address(cases[i].local);
		struct net_address remote = ip_address(cases[i].remote);
		struct net_path path;

		assert_int_equal(net_path_open(f->net, &local, &remote, &path), cases[i].error);
	}
}

int test_net_config(void)
{
	const struct CMUnitTest tests[] = {
		net_test(test_impossible_configurations_are_refused_with_a_line),
		net_test(test_the_unbroken_configuration_is_taken),
		net_test(test_counters_have_a_slot_for_each_value),
		net_test(test_our_own_addresses_are_known),
		net_test(test_the_longest_prefix_decides_the_way),
		net_test(test_paths_to_nowhere_do_not_open),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
