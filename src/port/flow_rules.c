// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One list of rules, gone through twice: all are validated, then all are made. The last ones, of a
// lower priority, are those that take what is left to the other wire; they are the first to go.
//
//   to Offramp:         from and to a broker's address; ICMP and ICMPv6 (errors quote connections
//                       whose ends they are not from); untagged and behind one tag. PAUSE
//   to the other wire:  all else
//
// Addresses and protocols only, no ports: fragments and what has extension headers go the way of
// their connection then, and cards that know nothing of either take the rules.

#include "port/flow_rules.h"

#include "base/assert.h"
#include "base/log.h"
#include "port/port_state.h"

#include <rte_ethdev.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define COMPONENT      "port"
#define ITEMS_MAX      5u
#define RULES_A_BROKER 4u // from and to, untagged and tagged
#define RULES_OTHER    6u // ICMP and ICMPv6, untagged and tagged; PAUSE; the rest

struct made {
	uint16_t proxy;
	struct rte_flow *flow;
};

struct flow_rules {
	const struct flow_driver *driver;
	struct port *ports[2];
	unsigned count;
	struct made made[];
};

// Rules in the making.
struct maker {
	const struct flow_driver *driver;
	const struct port_shortcut_config *config;
	uint16_t ports[2], proxies[2];
	unsigned from;		  // which of the ports the rule is for
	struct flow_rules *rules; // NULL: they are only validated
	const char *why;	  // they are refused; NULL: nobody says
};

// What the items of one rule point to.
struct rule {
	struct rte_flow_item items[ITEMS_MAX];
	unsigned count;
	struct rte_flow_item_ethdev wire;
	struct rte_flow_item_eth eth, eth_mask;
	struct rte_flow_item_ipv4 ipv4, ipv4_mask;
	struct rte_flow_item_ipv6 ipv6, ipv6_mask;
};

// --- the driver ----------------------------------------------------------------------------------

static int ethdev_place(uint16_t port, uint16_t *ret_switch, uint16_t *ret_proxy)
{
	struct rte_eth_dev_info info;
	int r = rte_eth_dev_info_get(port, &info);

	if (r < 0)
		return r;
	if (info.switch_info.domain_id == RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID)
		return -ENOTSUP;
	*ret_switch = info.switch_info.domain_id;
	return rte_flow_pick_transfer_proxy(port, ret_proxy, NULL);
}

const struct flow_driver flow_driver_ethdev = {
	.place = ethdev_place,
	.validate = rte_flow_validate,
	.create = rte_flow_create,
	.destroy = rte_flow_destroy,
};

// --- one rule ------------------------------------------------------------------------------------

static void item_add(
	struct rule *rule, enum rte_flow_item_type type, const void *spec, const void *mask)
{
	ASSERT(rule->count < ITEMS_MAX);
	rule->items[rule->count++] =
		(struct rte_flow_item){.type = type, .spec = spec, .mask = mask};
}

// Frames that come in at the wire of the port.
static void rule_begin(const struct maker *maker, struct rule *rule)
{
	*rule = (struct rule){.wire.port_id = maker->ports[maker->from]};
	item_add(
		rule, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &rule->wire, &rte_flow_item_ethdev_mask);
}

static void rule_begin_ip(const struct maker *maker, struct rule *rule, bool tagged)
{
	rule_begin(maker, rule);
	item_add(rule, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
	if (tagged)
		item_add(rule, RTE_FLOW_ITEM_TYPE_VLAN, NULL, NULL);
}

// Consumes the rule: what it matches goes to Offramp, or out of the other wire.
static int rule_put(struct maker *maker, struct rule *rule, bool rest)
{
	const struct rte_flow_attr attr = {.transfer = 1, .priority = rest};
	const struct rte_flow_action_ethdev to = {
		.port_id = maker->ports[rest ? 1 - maker->from : maker->from]};
	const struct rte_flow_action actions[] = {
		{rest ? RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT
		      : RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR,
			&to},
		{RTE_FLOW_ACTION_TYPE_END, NULL},
	};
	uint16_t proxy = maker->proxies[maker->from];
	struct rte_flow_error error = {.message = NULL};
	struct rte_flow *flow;
	int r = 0;

	item_add(rule, RTE_FLOW_ITEM_TYPE_END, NULL, NULL);
	if (maker->rules == NULL) {
		r = maker->driver->validate(proxy, &attr, rule->items, actions, &error);
	} else {
		flow = maker->driver->create(proxy, &attr, rule->items, actions, &error);
		if (flow != NULL)
			maker->rules->made[maker->rules->count++] = (struct made){proxy, flow};
		else
			r = -ENOTSUP;
	}
	if (r < 0)
		maker->why = error.message;
	return r;
}

// --- all rules -----------------------------------------------------------------------------------

static bool is_ipv4(const struct port_address *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

static int address_put(
	struct maker *maker, const struct port_address *address, bool tagged, bool to)
{
	struct rule rule;

	rule_begin_ip(maker, &rule, tagged);
	if (is_ipv4(address)) {
		memcpy(to ? &rule.ipv4.hdr.dst_addr : &rule.ipv4.hdr.src_addr, address->bytes + 12,
			4);
		memset(to ? &rule.ipv4_mask.hdr.dst_addr : &rule.ipv4_mask.hdr.src_addr, 0xff, 4);
		item_add(&rule, RTE_FLOW_ITEM_TYPE_IPV4, &rule.ipv4, &rule.ipv4_mask);
	} else {
		memcpy(to ? rule.ipv6.hdr.dst_addr : rule.ipv6.hdr.src_addr, address->bytes, 16);
		memset(to ? rule.ipv6_mask.hdr.dst_addr : rule.ipv6_mask.hdr.src_addr, 0xff, 16);
		item_add(&rule, RTE_FLOW_ITEM_TYPE_IPV6, &rule.ipv6, &rule.ipv6_mask);
	}
	return rule_put(maker, &rule, false);
}

// Brokers may share an address, but two equal rules are an error.
static bool has_been_put(const struct port_endpoint *brokers, unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (memcmp(&brokers[i].address, &brokers[index].address,
			    sizeof(brokers[i].address)) == 0)
			return true;
	return false;
}

static int brokers_put(struct maker *maker)
{
	const struct port_endpoint *brokers = maker->config->brokers;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < maker->config->brokers_count; i++)
		for (unsigned j = 0; r == 0 && j < 4 && !has_been_put(brokers, i); j++)
			r = address_put(maker, &brokers[i].address, j & 1, j & 2);
	return r;
}

static int icmp_put(struct maker *maker, bool tagged, bool ipv4)
{
	struct rule rule;

	rule_begin_ip(maker, &rule, tagged);
	rule.ipv4.hdr.next_proto_id = IPPROTO_ICMP;
	rule.ipv4_mask.hdr.next_proto_id = 0xff;
	rule.ipv6.hdr.proto = IPPROTO_ICMPV6;
	rule.ipv6_mask.hdr.proto = 0xff;
	if (ipv4)
		item_add(&rule, RTE_FLOW_ITEM_TYPE_IPV4, &rule.ipv4, &rule.ipv4_mask);
	else
		item_add(&rule, RTE_FLOW_ITEM_TYPE_IPV6, &rule.ipv6, &rule.ipv6_mask);
	return rule_put(maker, &rule, false);
}

// It is for the link that it was sent on; the bridge drops it.
static int pause_put(struct maker *maker)
{
	struct rule rule;

	rule_begin(maker, &rule);
	rule.eth.hdr.dst_addr = (struct rte_ether_addr){{0x01, 0x80, 0xc2, 0x00, 0x00, 0x01}};
	memset(&rule.eth_mask.hdr.dst_addr, 0xff, sizeof(rule.eth_mask.hdr.dst_addr));
	item_add(&rule, RTE_FLOW_ITEM_TYPE_ETH, &rule.eth, &rule.eth_mask);
	return rule_put(maker, &rule, false);
}

static int seen_put(struct maker *maker)
{
	int r = brokers_put(maker);

	for (unsigned i = 0; r == 0 && i < 4; i++)
		r = icmp_put(maker, i & 1, i & 2);
	return r < 0 ? r : pause_put(maker);
}

static int rest_put(struct maker *maker)
{
	struct rule rule;

	rule_begin(maker, &rule);
	item_add(&rule, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
	return rule_put(maker, &rule, true);
}

static int all_put(struct maker *maker)
{
	int r = 0;

	for (maker->from = 0; r == 0 && maker->from < 2; maker->from++)
		r = seen_put(maker);
	for (maker->from = 0; r == 0 && maker->from < 2; maker->from++)
		r = rest_put(maker);
	return r;
}

// -EIO: the card keeps some.
static int rules_destroy(struct flow_rules *rules)
{
	struct rte_flow_error error;
	int r = 0;

	while (rules->count > 0) {
		const struct made *last = &rules->made[--rules->count];

		if (rules->driver->destroy(last->proxy, last->flow, &error) < 0)
			r = -EIO;
	}
	if (r < 0)
		log_error(COMPONENT,
			"%s, %s: the card keeps rules that it was to forget: frames may go past "
			"Offramp until it is reset",
			rules->ports[0]->name, rules->ports[1]->name);
	free(rules);
	return r;
}

// -ENOTSUP: refused, and none is left.
static int rules_create(
	struct maker *maker, struct port *const ports[2], struct flow_rules **ret_rules)
{
	size_t most = 2 * (RULES_A_BROKER * maker->config->brokers_count + RULES_OTHER);
	struct flow_rules *rules;
	int r;

	if (all_put(maker) < 0)
		return -ENOTSUP;
	rules = calloc(1, sizeof(*rules) + most * sizeof(rules->made[0]));
	if (rules == NULL)
		return -ENOMEM;
	*rules = (struct flow_rules){.driver = maker->driver, .ports = {ports[0], ports[1]}};
	maker->rules = rules;
	if (all_put(maker) < 0) {
		r = rules_destroy(rules);
		return r < 0 ? r : -ENOTSUP;
	}
	*ret_rules = rules;
	return 0;
}

// --- two ports -----------------------------------------------------------------------------------

static bool place(struct maker *maker)
{
	uint16_t switches[2];

	for (unsigned i = 0; i < 2; i++)
		if (maker->driver->place(maker->ports[i], &switches[i], &maker->proxies[i]) < 0)
			return false;
	return switches[0] == switches[1];
}

// Why rules would not do what the bridge does; NULL: they would.
static const char *unfit(struct port *const ports[2], const struct port_shortcut_config *config)
{
	if (config->mode != PORT_BRIDGE_HUB)
		return "cards know no stations, so it takes 'bridge: hub'";
	if (ports[0]->mtu != ports[1]->mtu)
		return "the ports' MTUs differ";
	return NULL;
}

int flow_rules_open(const struct flow_driver *driver, struct port *const ports[2],
	const struct port_shortcut_config *config)
{
	struct maker maker = {
		.driver = driver, .config = config, .ports = {ports[0]->id, ports[1]->id}};
	struct flow_rules *rules = NULL;
	int r = -ENOTSUP;

	maker.why = unfit(ports, config);
	if (maker.why == NULL && !place(&maker))
		maker.why = "they are not two ports of one embedded switch";
	else if (maker.why == NULL)
		r = rules_create(&maker, ports, &rules);
	if (r == -ENOTSUP)
		log_warning(COMPONENT,
			"%s, %s: nothing can cross in the card: %s: everything comes to Offramp",
			ports[0]->name, ports[1]->name,
			maker.why != NULL ? maker.why : "its driver refuses a rule");
	if (r < 0)
		return r == -ENOTSUP ? 0 : r;
	ports[0]->flows = rules;
	ports[1]->flows = rules;
	log_warning(COMPONENT,
		"%s, %s: what is not for Offramp crosses in the card (rte_flow, %u rules); no "
		"such card was tried: if other traffic stops, leave the filter off",
		ports[0]->name, ports[1]->name, rules->count);
	return 0;
}

void flow_rules_close(struct port *port)
{
	struct flow_rules *rules = port->flows;

	if (rules == NULL)
		return;
	rules->ports[0]->flows = NULL;
	rules->ports[1]->flows = NULL;
	rules_destroy(rules);
}
