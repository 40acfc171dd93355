// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A port's inside, shared by the files of this folder.

#pragma once

#include "port/filter_map.h"
#include "port/port.h"
#include "port/tap.h"

#include <rte_common.h>
#include <rte_ethdev.h>

#include <assert.h>

#define PORT_BURST_MAX 64u
#define PORT_NAME_MAX  32

static_assert(PORT_BURST_MAX <= TAP_BURST_MAX, "a burst can be looked at");

// Slots of a port's counters, in the order of its families (port_counters.c).
enum port_counter {
	PORT_RX_PACKETS,
	PORT_TX_PACKETS,
	PORT_RX_BYTES,
	PORT_TX_BYTES,
	PORT_LINK_UP,
	PORT_DROPPED_TX_FULL,
	PORT_DROPPED_TX_INVALID,
	PORT_DROPPED_TX_ERROR,
	PORT_DROPPED_RX_MISSED,
	PORT_DROPPED_RX_ERROR,
	PORT_DROPPED_RX_NOMBUF,
	PORT_DROPPED_SHORTCUT, // one a reason: enum shortcut_counter, from the first drop on
	PORT_DROPPED_SHORTCUT_LAST = PORT_DROPPED_SHORTCUT + SHORTCUT_DROPS - 1,
	PORT_SHORTCUT_PACKETS,
	PORT_SHORTCUT_BYTES,
	PORT_IMPAIRED, // one a kind
	PORT_COUNTERS = PORT_IMPAIRED + IMPAIR_KINDS,
};

#define PORT_FAMILIES 9u

// Written by the worker that owns the queue; counters read by control threads.
struct port_queue {
	uint16_t count; // frames that wait for the flush
	uint64_t tx_full, tx_invalid;
	struct port_tap *taps; // NULL: nobody looks
	struct rte_mbuf *frames[PORT_BURST_MAX];
} __rte_cache_aligned;

struct port {
	// Read-only once open.
	uint16_t id; // ethdev
	uint16_t burst;
	bool tx_prepare; // checksums or TSO are left to the device
	bool promiscuous;
	bool physical; // a card
	uint16_t mtu;
	uint16_t pairs; // of queues
	struct port_queue *queues;
	struct port_impair *impair; // NULL: none
	struct shortcut *shortcut;  // NULL: none; main and control threads
	struct flow_rules *flows;   // NULL: none; the other port has the same; main thread
	struct port_caps caps;
	uint8_t mac[6];
	unsigned if_index; // of the kernel's interface behind the port, 0: none
	char name[PORT_NAME_MAX];

	// Control threads.
	const char *label_values[1];
	struct counter_family families[PORT_FAMILIES];
	uint64_t counters[PORT_COUNTERS];
};

void port_counters_init(struct port *port);

// What lies between port and device in the test build; in a normal one a refusal and nothing.
// Clears the capabilities that would hide corruption. On failure close it too. -ENOTSUP, -ENOMEM.
int port_impair_open(
	struct port *port, const struct port_config *config, const struct rte_mempool *rx_pool);
void port_impair_close(struct port *port); // after the device
uint64_t port_impair_count(const struct port *port, enum impair_kind kind);

// What the device claims, less what is known to be wrong, for packets up to `mtu`.
void port_caps_detect(
	const struct rte_eth_dev_info *info, uint16_t mtu, struct port_caps *ret_caps);
// The largest IP packet the port takes and sends, from the configuration and the device; -EINVAL,
// logged, when they do not go together.
int port_mtu_choose(
	const struct port_config *config, const struct rte_eth_dev_info *info, uint16_t *ret_mtu);
