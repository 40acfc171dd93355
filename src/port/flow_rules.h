// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What port_shortcut_open() is on cards with an embedded switch: rules of rte_flow ("transfer")
// that bring to Offramp what it has to see, and send the rest from wire to wire in the card. Main
// thread.
//
// No card was at hand. So nothing is believed: the two ports must say that they are of one switch,
// every rule is validated and made before the first one takes anything away from Offramp, and one
// refusal undoes all.

#pragma once

#include <stdint.h>

#include <rte_flow.h>

struct port;
struct port_shortcut_config;

// The driver's side; the tests have their own.
struct flow_driver {
	// The switch that the port belongs to, and the port that takes its rules; negative errno:
	// it belongs to none.
	int (*place)(uint16_t port, uint16_t *ret_switch, uint16_t *ret_proxy);
	int (*validate)(uint16_t port, const struct rte_flow_attr *attr,
		const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		struct rte_flow_error *error);
	struct rte_flow *(*create)(uint16_t port, const struct rte_flow_attr *attr,
		const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		struct rte_flow_error *error);
	int (*destroy)(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error);
};

extern const struct flow_driver flow_driver_ethdev;

// Rules for both ports, which are started; 0 too where there can be none, and all comes (logged).
// Negative errno: memory is short, or the card keeps rules that were to be undone (logged).
int flow_rules_open(const struct flow_driver *driver, struct port *const ports[2],
	const struct port_shortcut_config *config);
// Of the port and the other one, while both devices run. Nothing where there are none.
void flow_rules_close(struct port *port);
