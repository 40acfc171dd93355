// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Counters and link state of a port; control threads. Packets and bytes are counted by the driver,
// so the packet path pays for nothing but its own drops.

#include "port/port.h"

#include "base/counters.h"
#include "port/kernel_interface.h"
#include "port/port_state.h"
#include "port/shortcut.h"

#include <rte_ethdev.h>

#include <assert.h>
#include <string.h>

static const char *const drop_reasons[] = {
	"tx_full",
	"tx_invalid",
	"tx_error",
	"rx_missed",
	"rx_error",
	"rx_nombuf",
	// The program in the kernel does as net/bridge.c: by the same names.
	"bridge_malformed",
	"bridge_same_port",
	"bridge_unknown",
	"bridge_pause",
	"bridge_too_big",
	"filter_unserved",
};

static_assert(PORT_DROPPED_TX_FULL + RTE_DIM(drop_reasons) == PORT_SHORTCUT_PACKETS,
	"a name for every reason");

static const char *const impair_kinds[IMPAIR_KINDS] = {
	[IMPAIR_LOST] = "lost",
	[IMPAIR_DUPLICATED] = "duplicated",
	[IMPAIR_REORDERED] = "reordered",
	[IMPAIR_CORRUPTED] = "corrupted",
	[IMPAIR_OVERFLOWED] = "overflowed",
};

static const struct counter_family families[PORT_FAMILIES] = {
	{.name = "port_rx_packets_total", .help = "Frames received", .label = "port", .slots = 1},
	{.name = "port_tx_packets_total", .help = "Frames sent", .label = "port", .slots = 1},
	{.name = "port_rx_bytes_total", .help = "Bytes received", .label = "port", .slots = 1},
	{.name = "port_tx_bytes_total", .help = "Bytes sent", .label = "port", .slots = 1},
	{.name = "link_up",
		.help = "1 while the port has a link",
		.label = "port",
		.slots = 1,
		.kind = COUNTER_GAUGE},
	{.name = "packets_dropped_total",
		.help = "Packets dropped, by reason",
		.label = "reason",
		.values = drop_reasons,
		.slots = RTE_DIM(drop_reasons)},
	{.name = "shortcut_packets_total",
		.help = "Frames that went to the other port in the kernel",
		.label = "port",
		.slots = 1},
	{.name = "shortcut_bytes_total",
		.help = "Bytes that went to the other port in the kernel",
		.label = "port",
		.slots = 1},
	// The last: left out where there is nothing to count.
	{.name = "packets_impaired_total",
		.help = "Packets that the test build's bad wire harmed, by kind",
		.label = "kind",
		.values = impair_kinds,
		.slots = IMPAIR_KINDS},
};

void port_counters_init(struct port *port)
{
	memcpy(port->families, families, sizeof(families));
	port->label_values[0] = port->name;
	for (unsigned i = 0; i < PORT_FAMILIES; i++)
		if (port->families[i].values == NULL)
			port->families[i].values = port->label_values;
}

struct counter_set port_counters(const struct port *port)
{
	return (struct counter_set){
		.families = port->families,
		.families_count = port->impair != NULL ? PORT_FAMILIES : PORT_FAMILIES - 1,
		.values = port->counters,
	};
}

bool port_link_up(struct port *port)
{
	struct rte_eth_link link;

	// The drivers of kernel interfaces say "up" from start to stop.
	if (port->if_index != 0)
		return kernel_interface_running(port->if_index);
	return rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

static void shortcut_update(struct port *port)
{
	uint64_t counted[SHORTCUT_COUNTERS];

	shortcut_counters_read(port->shortcut, counted);
	for (unsigned i = 0; i < SHORTCUT_DROPS; i++)
		counter_set_to(&port->counters[PORT_DROPPED_SHORTCUT + i],
			counted[SHORTCUT_DROPPED_MALFORMED + i]);
	counter_set_to(&port->counters[PORT_SHORTCUT_PACKETS], counted[SHORTCUT_REDIRECTED]);
	counter_set_to(&port->counters[PORT_SHORTCUT_BYTES], counted[SHORTCUT_REDIRECTED_BYTES]);
}

void port_counters_update(struct port *port)
{
	uint64_t *counters = port->counters;
	uint64_t tx_full = 0, tx_invalid = 0;
	struct rte_eth_stats stats;

	for (unsigned i = 0; i < port->pairs; i++) {
		tx_full += counter_read(&port->queues[i].tx_full);
		tx_invalid += counter_read(&port->queues[i].tx_invalid);
	}
	counter_set_to(&counters[PORT_DROPPED_TX_FULL], tx_full);
	counter_set_to(&counters[PORT_DROPPED_TX_INVALID], tx_invalid);
	for (unsigned i = 0; i < IMPAIR_KINDS; i++)
		counter_set_to(&counters[PORT_IMPAIRED + i], port_impair_count(port, i));
	counter_set_to(&counters[PORT_LINK_UP], port_link_up(port));
	if (port->shortcut != NULL)
		shortcut_update(port);
	if (rte_eth_stats_get(port->id, &stats) < 0)
		return;
	counter_set_to(&counters[PORT_RX_PACKETS], stats.ipackets);
	counter_set_to(&counters[PORT_TX_PACKETS], stats.opackets);
	counter_set_to(&counters[PORT_RX_BYTES], stats.ibytes);
	counter_set_to(&counters[PORT_TX_BYTES], stats.obytes);
	counter_set_to(&counters[PORT_DROPPED_TX_ERROR], stats.oerrors);
	counter_set_to(&counters[PORT_DROPPED_RX_MISSED], stats.imissed);
	counter_set_to(&counters[PORT_DROPPED_RX_ERROR], stats.ierrors);
	counter_set_to(&counters[PORT_DROPPED_RX_NOMBUF], stats.rx_nombuf);
}
