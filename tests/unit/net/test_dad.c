// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Our own IPv6 addresses: probed for, assigned, announced, given up, defended (RFC 4862
// 5.4).

#include "frames6.h"

#include <rte_mbuf.h>

#include <errno.h>
#include <string.h>

// A net whose addresses are being probed for; what it has sent is put away.
static void restart(struct fixture *f)
{
	fixture_net_create(f);
	net_timers(f->net, f->now_us);
	sent_clear(f);
}

static int path_try(struct fixture *f, const char *local)
{
	struct net_address from = ip6_address(local), to = ip6_address(PEER6);
	struct net_path path;
	int rc = net_path_open(f->net, &from, &to, &path);

	if (rc == 0)
		net_path_close(&path);
	return rc;
}

static void test_addresses_are_probed_for_then_announced(void **state)
{
	struct fixture *f = *state;
	unsigned i = 0;

	fixture_net_create(f);
	net_timers(f->net, f->now_us);
	// ARP's announcement, the report of groups, the probes.
	assert_int_equal(f->sent_count, 4);
	assert_sent_nd(f, 2, ND_NS, "::", solicited_node(US6), 0, US6, NULL);
	assert_sent_nd(f, 3, ND_NS, "::", solicited_node(LINK_US6), 0, LINK_US6, NULL);
	assert_int_equal(path_try(f, US6), -EADDRNOTAVAIL);
	assert_int_equal(path_try(f, RAW_US6), 0); // there is nobody to ask
	advance(f, SECOND);
	assert_int_equal(path_try(f, US6), 0);
	sent_clear(f);
	advance(f, 10 * SECOND);
	for (unsigned k = 0; k < f->sent_count; k++) {
		uint8_t frame[2048];

		sent_frame(f, k, frame);
		if (get16(frame + 12) != 0x86dd)
			continue;
		assert_sent_nd(f, k, ND_NA, i == 0 ? US6 : LINK_US6, "ff02::1", ND_OVERRIDE,
			i == 0 ? US6 : LINK_US6, mac_us);
		i++;
	}
	assert_int_equal(i, 2); // the second of each
	assert_true(net_next_deadline(f->net) == UINT64_MAX);
	assert_int_equal(counter(f, "nd_advertisements_total", "sent"), 4);
}

static void test_probes_can_be_more_or_none(void **state)
{
	struct fixture *f = *state;

	f->config.dad_transmits = 3;
	restart(f);
	advance(f, 2 * SECOND + 900000);
	assert_int_equal(path_try(f, US6), -EADDRNOTAVAIL);
	assert_int_equal(counter(f, "nd_solicitations_total", "sent"), 6);
	advance(f, 200000);
	assert_int_equal(path_try(f, US6), 0);
	f->config.dad_transmits = 0;
	restart(f);
	assert_int_equal(path_try(f, US6), 0);
	assert_int_equal(counter(f, "nd_solicitations_total", "sent"), 0);
}

static void test_a_tentative_address_is_not_there_yet(void **state)
{
	const struct packet6_spec spec = {0};
	struct fixture *f = *state;
	struct net_address us = ip6_address(US6);
	uint8_t packet[256];

	restart(f);
	assert_true(net_address_is_local(f->net, &us));
	assert_false(receive_ipv6(f, packet, build_tcp6(packet, &spec, NULL, 0, "x", 1)));
	assert_int_equal(dropped(f, "not_ours"), 1);
	receive_ns(f, PEER6, US6); // who resolves it learns nothing
	assert_int_equal(f->sent_count, 0);
	assert_string_equal(neighbour6_state(f, PEER6), "");
	advance(f, SECOND + 2000);
	assert_int_equal(path_try(f, US6), 0);
}

static void assert_given_up(struct fixture *f)
{
	struct net_address us = ip6_address(US6);
	struct net_conflict conflict;

	assert_true(net_conflict_take(f->net, &conflict));
	assert_true(net_address_equal(&conflict.address, &us));
	assert_memory_equal(conflict.mac, mac_other, 6);
	assert_false(net_conflict_take(f->net, &conflict));
	assert_int_equal(counter(f, "nd_conflicts_total", NULL), 1);
	assert_false(net_address_is_local(f->net, &us));
	advance(f, 60 * SECOND);
	assert_int_equal(path_try(f, US6), -EADDRNOTAVAIL);
	sent_clear(f);
	receive_ns(f, PEER6, US6);
	assert_int_equal(f->sent_count, 0);
	assert_int_equal(path_try(f, LINK_US6), 0); // the others stay
}

static void test_an_advertisement_ends_the_probe(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];

	restart(f);
	receive_ipv6_from(f, mac_other, packet,
		build_nd(packet, US6, "ff02::1", ND_NA, ND_OVERRIDE, US6, mac_other));
	assert_given_up(f);
}

static void test_another_probe_ends_the_probe(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];

	restart(f);
	receive_ipv6_from(f, mac_other, packet,
		build_nd(packet, "::", solicited_node(US6), ND_NS, 0, US6, NULL));
	assert_given_up(f);
}

static void test_our_own_probe_sent_back_is_no_conflict(void **state)
{
	struct fixture *f = *state;
	uint8_t packet[128];

	restart(f);
	receive_ipv6_from(f, mac_us, packet,
		build_nd(packet, "::", solicited_node(US6), ND_NS, 0, US6, NULL));
	assert_int_equal(dropped(f, "nd_conflict"), 1);
	advance(f, SECOND + 2000);
	receive_ipv6_from(f, mac_us, packet,
		build_nd(packet, US6, "ff02::1", ND_NA, ND_OVERRIDE, US6, mac_us));
	assert_int_equal(dropped(f, "nd_conflict"), 2);
	assert_int_equal(counter(f, "nd_conflicts_total", NULL), 0);
	assert_int_equal(path_try(f, US6), 0);
}

static void test_a_later_conflict_is_noted_and_defended_at_a_limited_rate(void **state)
{
	struct fixture *f = *state;
	struct net_conflict conflict;
	uint8_t packet[128];

	for (unsigned i = 0; i < 4; i++) {
		if (i % 2 == 0)
			build_nd(packet, US6, "ff02::1", ND_NA, ND_OVERRIDE, US6, mac_other);
		else
			build_nd(packet, US6, solicited_node(LINK_US6), ND_NS, 0, LINK_US6,
				mac_other);
		receive_ipv6_from(f, mac_other, packet, IPV6_LEN + 32);
		f->now_us += SECOND;
	}
	assert_int_equal(f->sent_count, 1);
	assert_sent_nd(f, 0, ND_NA, US6, "ff02::1", ND_OVERRIDE, US6, mac_us);
	assert_true(net_conflict_take(f->net, &conflict));
	assert_memory_equal(conflict.mac, mac_other, 6);
	assert_int_equal(counter(f, "nd_conflicts_total", NULL), 4);
	f->now_us += 10 * SECOND;
	receive_ipv6_from(f, mac_other, packet,
		build_nd(packet, US6, "ff02::1", ND_NA, ND_OVERRIDE, US6, mac_other));
	assert_int_equal(f->sent_count, 2);
	assert_int_equal(path_try(f, US6), 0);
}

static void test_a_configured_link_local_address_replaces_the_one_of_the_mac(void **state)
{
	struct fixture *f = *state;
	const struct net_interface_address addresses[] = {
		{ip6_address(US6), 64}, {ip6_address("fe80::77"), 64}};
	const struct net_interface_config interface = {&f->eth, addresses, 2};
	struct net_address derived = ip6_address(LINK_US6), given = ip6_address("fe80::77");
	struct net_config config;
	const char *error;

	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	net_destroy(f->net);
	assert_int_equal(net_create(&config, &f->rng, f->now_us, &f->net, &error), 0);
	assert_true(net_address_is_local(f->net, &given));
	assert_false(net_address_is_local(f->net, &derived));
}

int test_net_dad(void)
{
	const struct CMUnitTest tests[] = {
		net6_test(test_addresses_are_probed_for_then_announced),
		net6_test(test_probes_can_be_more_or_none),
		net6_test(test_a_tentative_address_is_not_there_yet),
		net6_test(test_an_advertisement_ends_the_probe),
		net6_test(test_another_probe_ends_the_probe),
		net6_test(test_our_own_probe_sent_back_is_no_conflict),
		net6_test(test_a_later_conflict_is_noted_and_defended_at_a_limited_rate),
		net6_test(test_a_configured_link_local_address_replaces_the_one_of_the_mac),
	};

	return cmocka_run_group_tests_name("dad", tests, NULL, NULL);
}
