// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Rules for cards, against a driver that takes them down: what comes to Offramp is there before
// the rest is sent away, and one refusal undoes all. No card has seen them.

#include "port_tests.h"

#include "port/flow_rules.h"
#include "port/port_state.h"

#include <rte_byteorder.h>
#include <rte_ethdev.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define CLIENTS	    3
#define BROKER	    4
#define RULES_MAX   64u
#define BROKER_IPV4 0xc6120001u // 198.18.0.1

// Addresses of the two brokers: 4 each; 4 of ICMP; PAUSE; the rest; both ports.
#define RULES (2 * (2 * 4 + 4 + 1 + 1))

struct seen {
	uint16_t proxy, from;
	bool rest, tagged;
	enum rte_flow_item_type last;
	struct rte_flow_item_eth eth;
	struct rte_flow_item_ipv4 ipv4, ipv4_mask;
	struct rte_flow_item_ipv6 ipv6, ipv6_mask;
	bool stands;
};

// The driver.
static struct {
	uint16_t switches[8], proxies[8];
	unsigned validated, created, standing, rests;
	unsigned refuse_validation, refuse_creation; // the n-th, from 1; 0: none
	bool keeps;				     // what was made cannot be undone
	struct seen rules[RULES_MAX];
} card;

static struct port clients, broker;
static struct port *const ports[2] = {&clients, &broker};

static int place(uint16_t port, uint16_t *ret_switch, uint16_t *ret_proxy)
{
	if (card.switches[port] == 0)
		return -ENOTSUP;
	*ret_switch = card.switches[port];
	*ret_proxy = card.proxies[port];
	return 0;
}

static void item_look(struct seen *seen, const struct rte_flow_item *item)
{
	seen->last = item->type;
	seen->tagged |= item->type == RTE_FLOW_ITEM_TYPE_VLAN;
	assert_null(item->last);
	assert_true((item->spec == NULL) == (item->mask == NULL));
	if (item->type == RTE_FLOW_ITEM_TYPE_ETH && item->spec != NULL)
		seen->eth = *(const struct rte_flow_item_eth *)item->spec;
	if (item->type == RTE_FLOW_ITEM_TYPE_IPV4) {
		seen->ipv4 = *(const struct rte_flow_item_ipv4 *)item->spec;
		seen->ipv4_mask = *(const struct rte_flow_item_ipv4 *)item->mask;
	}
	if (item->type == RTE_FLOW_ITEM_TYPE_IPV6) {
		seen->ipv6 = *(const struct rte_flow_item_ipv6 *)item->spec;
		seen->ipv6_mask = *(const struct rte_flow_item_ipv6 *)item->mask;
	}
}

static struct seen rule_look(uint16_t proxy, const struct rte_flow_attr *attr,
	const struct rte_flow_item *item, const struct rte_flow_action *action)
{
	const struct rte_flow_action_ethdev *to = action->conf;
	const struct rte_flow_item_ethdev *from = item->spec;
	struct seen seen = {.proxy = proxy, .from = from->port_id, .rest = attr->priority > 0};

	assert_true(attr->transfer && !attr->ingress && !attr->egress);
	assert_int_equal(item->type, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT);
	assert_true(seen.from == CLIENTS || seen.from == BROKER);
	assert_int_equal(proxy, card.proxies[seen.from]);
	if (seen.rest) {
		assert_int_equal(action->type, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT);
		assert_int_equal(to->port_id, CLIENTS + BROKER - seen.from);
	} else {
		assert_int_equal(action->type, RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR);
		assert_int_equal(to->port_id, seen.from);
	}
	assert_int_equal(action[1].type, RTE_FLOW_ACTION_TYPE_END);
	while ((++item)->type != RTE_FLOW_ITEM_TYPE_END)
		item_look(&seen, item);
	return seen;
}

static int validate(uint16_t port, const struct rte_flow_attr *attr,
	const struct rte_flow_item *pattern, const struct rte_flow_action *actions,
	struct rte_flow_error *error)
{
	assert_int_equal(card.created, 0);
	rule_look(port, attr, pattern, actions);
	return ++card.validated == card.refuse_validation ? -EINVAL : 0;
}

static struct rte_flow *create(uint16_t port, const struct rte_flow_attr *attr,
	const struct rte_flow_item *pattern, const struct rte_flow_action *actions,
	struct rte_flow_error *error)
{
	struct seen *seen = &card.rules[card.created];

	assert_in_range(card.created, 0, RULES_MAX - 1);
	*seen = rule_look(port, attr, pattern, actions);
	assert_true(seen->rest || card.rests == 0); // nothing is sent away before all else stands
	for (unsigned i = 0; i < card.created; i++)
		assert_memory_not_equal(&card.rules[i], seen, offsetof(struct seen, stands));
	if (++card.created == card.refuse_creation) {
		error->message = "table full";
		return NULL;
	}
	seen->stands = true;
	card.standing++;
	card.rests += seen->rest;
	return (struct rte_flow *)seen;
}

static int destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
	struct seen *seen = (struct seen *)flow;

	assert_true(seen->stands);
	assert_int_equal(port, seen->proxy);
	assert_true(seen->rest || card.rests == 0); // what was made last goes first
	if (card.keeps)
		return -EBUSY;
	seen->stands = false;
	card.standing--;
	card.rests -= seen->rest;
	return 0;
}

static const struct flow_driver driver = {place, validate, create, destroy};

static const struct port_endpoint brokers[] = {
	{{{[10] = 0xff, [11] = 0xff, 198, 18, 0, 1}}, 1883},
	{{{0x20, 0x01, 0x0d, 0xb8, [15] = 1}}, 8883},
	{{{[10] = 0xff, [11] = 0xff, 198, 18, 0, 1}}, 1884}, // the first one's address again
};
static const struct port_shortcut_config config = {
	.mode = PORT_BRIDGE_HUB,
	.brokers = brokers,
	.brokers_count = RTE_DIM(brokers),
};

static int reset(void **state)
{
	memset(&card, 0, sizeof(card));
	card.switches[CLIENTS] = card.switches[BROKER] = 1;
	card.proxies[CLIENTS] = 6;
	card.proxies[BROKER] = 7;
	clients = (struct port){.id = CLIENTS, .mtu = 1500, .name = "clients"};
	broker = (struct port){.id = BROKER, .mtu = 1500, .name = "broker"};
	return 0;
}

static unsigned rules_count(bool (*is)(const struct seen *seen))
{
	unsigned count = 0;

	for (unsigned i = 0; i < card.created; i++)
		count += is(&card.rules[i]);
	return count;
}

static bool is_to_ipv4(const struct seen *seen)
{
	return seen->last == RTE_FLOW_ITEM_TYPE_IPV4 &&
	       seen->ipv4_mask.hdr.dst_addr == UINT32_MAX &&
	       seen->ipv4.hdr.dst_addr == rte_cpu_to_be_32(BROKER_IPV4) &&
	       seen->ipv4_mask.hdr.src_addr == 0 && seen->ipv4_mask.hdr.next_proto_id == 0;
}

static bool is_from_ipv4(const struct seen *seen)
{
	return seen->last == RTE_FLOW_ITEM_TYPE_IPV4 &&
	       seen->ipv4_mask.hdr.src_addr == UINT32_MAX &&
	       seen->ipv4.hdr.src_addr == rte_cpu_to_be_32(BROKER_IPV4) &&
	       seen->ipv4_mask.hdr.dst_addr == 0 && seen->ipv4_mask.hdr.next_proto_id == 0;
}

static bool is_ipv6(const struct seen *seen)
{
	bool to = seen->ipv6_mask.hdr.dst_addr[15] == 0xff;
	bool from = seen->ipv6_mask.hdr.src_addr[0] == 0xff;
	const uint8_t *address = to ? seen->ipv6.hdr.dst_addr : seen->ipv6.hdr.src_addr;

	return seen->last == RTE_FLOW_ITEM_TYPE_IPV6 && to != from &&
	       memcmp(address, brokers[1].address.bytes, 16) == 0;
}

static bool is_icmp(const struct seen *seen)
{
	if (seen->last == RTE_FLOW_ITEM_TYPE_IPV4)
		return seen->ipv4_mask.hdr.next_proto_id == 0xff &&
		       seen->ipv4.hdr.next_proto_id == IPPROTO_ICMP;
	return seen->last == RTE_FLOW_ITEM_TYPE_IPV6 && seen->ipv6_mask.hdr.proto == 0xff &&
	       seen->ipv6.hdr.proto == IPPROTO_ICMPV6;
}

static bool is_pause(const struct seen *seen)
{
	return seen->last == RTE_FLOW_ITEM_TYPE_ETH && !seen->rest &&
	       seen->eth.hdr.dst_addr.addr_bytes[0] == 0x01 &&
	       seen->eth.hdr.dst_addr.addr_bytes[5] == 0x01;
}

static bool is_tagged(const struct seen *seen)
{
	return seen->tagged;
}

static bool is_rest(const struct seen *seen)
{
	return seen->rest && seen->last == RTE_FLOW_ITEM_TYPE_ETH;
}

static void test_what_offramp_sees_is_there_before_the_rest_goes(void **state)
{
	assert_int_equal(flow_rules_open(&driver, ports, &config), 0);
	assert_true(port_has_shortcut(&clients) && port_has_shortcut(&broker));
	assert_int_equal(card.validated, RULES);
	assert_int_equal(card.standing, RULES);
	assert_int_equal(rules_count(is_to_ipv4), 2 * 2); // ports, tags
	assert_int_equal(rules_count(is_from_ipv4), 2 * 2);
	assert_int_equal(rules_count(is_ipv6), 2 * 2 * 2); // directions too
	assert_int_equal(rules_count(is_icmp), 2 * 2 * 2); // versions, ports, tags
	assert_int_equal(rules_count(is_pause), 2);
	assert_int_equal(rules_count(is_tagged), (RULES - 4) / 2);
	assert_int_equal(rules_count(is_rest), 2);
	assert_true(card.rules[RULES - 2].rest && card.rules[RULES - 1].rest);
	flow_rules_close(&clients);
}

// The port that is closed first may be the one that takes the other's rules.
static void test_all_rules_go_with_either_port(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		reset(NULL);
		assert_int_equal(flow_rules_open(&driver, ports, &config), 0);
		flow_rules_close(ports[i]);
		assert_int_equal(card.standing, 0);
		assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
		flow_rules_close(ports[1 - i]);
	}
}

static void test_nothing_is_made_when_a_rule_is_not_valid(void **state)
{
	for (unsigned i = 1; i <= RULES; i++) {
		reset(NULL);
		card.refuse_validation = i;
		assert_int_equal(flow_rules_open(&driver, ports, &config), 0);
		assert_int_equal(card.created, 0);
		assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
	}
}

// Drivers are known that call everything valid.
static void test_one_refusal_undoes_all(void **state)
{
	for (unsigned i = 1; i <= RULES; i++) {
		reset(NULL);
		card.refuse_creation = i;
		assert_int_equal(flow_rules_open(&driver, ports, &config), 0);
		assert_int_equal(card.created, i);
		assert_int_equal(card.standing, 0);
		assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
	}
}

static void test_a_card_that_keeps_rules_is_not_used(void **state)
{
	card.refuse_creation = RULES - 1;
	card.keeps = true;
	assert_int_equal(flow_rules_open(&driver, ports, &config), -EIO);
	assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
}

static void test_what_rules_cannot_do_is_left_to_offramp(void **state)
{
	static const enum port_bridge modes[] = {PORT_BRIDGE_LEARNING, PORT_BRIDGE_STATIC};
	struct port_shortcut_config other = config;

	for (unsigned i = 0; i < RTE_DIM(modes); i++) {
		other.mode = modes[i];
		assert_int_equal(flow_rules_open(&driver, ports, &other), 0);
	}
	broker.mtu = 9000;
	assert_int_equal(flow_rules_open(&driver, ports, &config), 0);
	assert_int_equal(card.validated + card.created, 0);
	assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
}

static void test_ports_of_no_switch_or_of_two_are_left_alone(void **state)
{
	for (uint16_t other = 0; other <= 2; other += 2) {
		card.switches[BROKER] = other;
		assert_int_equal(flow_rules_open(&driver, ports, &config), 0);
	}
	assert_int_equal(card.validated + card.created, 0);
	assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
}

// As the real driver interface says: those of these tests are in software.
static void test_devices_without_a_switch_are_left_alone(void **state)
{
	clients.id = 0;
	broker.id = 1;
	assert_true(rte_eth_dev_is_valid_port(0) && rte_eth_dev_is_valid_port(1));
	assert_int_equal(flow_rules_open(&flow_driver_ethdev, ports, &config), 0);
	assert_false(port_has_shortcut(&clients) || port_has_shortcut(&broker));
}

static void test_two_of_a_kind_can_have_something_between_them(void **state)
{
	static const char xdp[] = "net_af_xdp0,iface=a", nic[] = "0000:03:00.0";

	assert_true(port_shortcut_is_possible(xdp, "net_af_xdp1,iface=b"));
	assert_true(port_shortcut_is_possible(nic, "03:00.1,arguments=no"));
	assert_false(port_shortcut_is_possible(xdp, nic));
	assert_false(port_shortcut_is_possible(nic, xdp));
	assert_false(port_shortcut_is_possible("net_tap0", "net_tap1"));
}

int test_port_flow_rules(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_offramp_sees_is_there_before_the_rest_goes, reset),
		cmocka_unit_test_setup(test_all_rules_go_with_either_port, reset),
		cmocka_unit_test_setup(test_nothing_is_made_when_a_rule_is_not_valid, reset),
		cmocka_unit_test_setup(test_one_refusal_undoes_all, reset),
		cmocka_unit_test_setup(test_a_card_that_keeps_rules_is_not_used, reset),
		cmocka_unit_test_setup(test_what_rules_cannot_do_is_left_to_offramp, reset),
		cmocka_unit_test_setup(test_ports_of_no_switch_or_of_two_are_left_alone, reset),
		cmocka_unit_test_setup(test_devices_without_a_switch_are_left_alone, reset),
		cmocka_unit_test(test_two_of_a_kind_can_have_something_between_them),
	};

	return cmocka_run_group_tests_name("flow rules", tests, NULL, NULL);
}
