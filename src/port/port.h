// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// DPDK ports: any ethdev, by PCI address or vdev string, one queue pair a worker at
// most.
// port_open() and friends run on the main thread at start; port_rx(), port_tx()
// and port_flush() on the worker that owns the queue. Knows no protocol.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counters.h"
#include "port/impair.h"

struct rte_mbuf;
struct rte_mempool;

// --- EAL -----------------------------------------------------------------------------------------

// What comes to Offramp from a device whose interface the kernel has, too (net_af_xdp), by a
// program of ours in the kernel.
enum port_filter {
	PORT_FILTER_NONE, // everything
	PORT_FILTER_OWN,  // what is for its own addresses; the rest stays with the host
	// With another such port, of a bridge: what concerns brokers; the rest goes to the
	// other port, in the kernel (port_shortcut_open()). Between two cards: in them.
	PORT_FILTER_BRIDGE,
	PORT_FILTERS,
};

struct port_eal_device {
	const char *name;	 // "0000:03:00.0" or "net_af_packet0,iface=veth0"
	enum port_filter filter; // NONE unless port_is_af_xdp()
};

struct port_eal_config {
	const struct port_eal_device *devices;
	unsigned devices_count;
	unsigned memory_mb;
	unsigned control_core; // the main lcore: control threads live here
	const unsigned *worker_cores;
	unsigned workers;
	bool hugepages; // false: never use them; true: use them when there are enough
};

// Initialises the EAL without touching anything outside the process where it can be avoided
// (--no-huge --no-shconf, or --in-memory with hugepages; facts in docs/decisions). A line about
// what went wrong is logged; negative errno.
int port_eal_init(const struct port_eal_config *config);
// Ports are closed and pools freed; after this the process can only end.
void port_eal_cleanup(void);
// EAL lcore id of worker i.
unsigned port_eal_worker_lcore(unsigned worker);

// --- a port --------------------------------------------------------------------------------------

// IPv4 as an IPv4-mapped IPv6 address.
struct port_address {
	uint8_t bytes[16];
};

struct port_config {
	const char *name;   // as in the configuration: "clients"
	const char *device; // as given to the EAL
	// 0: what the device has. At most the kernel interface's own where there is one behind the
	// port (af_packet, af_xdp): that one belongs to the host and is not changed.
	uint16_t mtu;
	unsigned rx_ring, tx_ring;	// descriptors; 0: driver default within 512..2048
	bool promiscuous;		// take frames for other stations too (bridging)
	enum port_filter filter;	// where it is possible: port_is_af_xdp()
	const struct port_address *own; // PORT_FILTER_OWN: its addresses
	unsigned own_count;
	struct impair_config impair_rx, impair_tx; // all zero unless port_impair_built_in()
};

struct port_caps {
	bool rx_checksum, tx_ip_checksum, tx_tcp_checksum, multi_segment;
	bool tso, tso_ipv6;
	unsigned burst; // transmit at most so many at once (af_xdp loses packets above 64)
};

struct port;

// A device whose interface the kernel has, too, and which can be given a filter there.
bool port_is_af_xdp(const char *device);

// Is this the test build, whose ports can be made bad wires? (meson -Dimpair=true)
bool port_impair_built_in(void);
// How many frames, of the size of those that it receives, a port sets aside for being a bad wire.
uint32_t port_impair_frames(const struct port_config *config);

// `rx_pools[i]` and queue i belong to worker i. A device with fewer queue pairs than workers serves
// the first ones (port_queues()). An MTU that device, interface and pools do not carry: -EINVAL; no
// such device: -ENODEV; an impairment in a build without: -ENOTSUP. Logs what the port can do, or
// what is wrong, once.
int port_open(const struct port_config *config, unsigned workers,
	struct rte_mempool *const *rx_pools, struct port **ret_port);
int port_start(struct port *port);
void port_close(struct port *port); // accepts NULL

const char *port_name(const struct port *port);
const struct port_caps *port_get_caps(const struct port *port);
void port_mac(const struct port *port, uint8_t ret_mac[6]);
uint16_t port_mtu(const struct port *port);
unsigned port_queues(const struct port *port); // pairs: those of worker 0, 1 …
// Link state is polled by control threads, once a second; true when up.
bool port_link_up(struct port *port);

// --- two ports, and the kernel or a card between them --------------------------------------------

enum port_bridge { // the rules of a bridge
	PORT_BRIDGE_LEARNING,
	PORT_BRIDGE_STATIC,
	PORT_BRIDGE_HUB,
};

struct port_station {
	uint8_t mac[6];
	uint16_t vlan; // 0: untagged
	unsigned port; // 0 or 1
};

struct port_endpoint {
	struct port_address address;
	uint16_t port;
};

struct port_shortcut_config {
	enum port_bridge mode;
	uint64_t age_us; // learned stations that are silent so long are forgotten
	const struct port_station *stations; // never aged, never moved
	unsigned stations_count;
	const struct port_endpoint *brokers; // TCP from and to these comes to Offramp
	unsigned brokers_count;
};

// Two such devices: both of af_xdp, or both cards?
bool port_shortcut_is_possible(const char *device, const char *other);
// The two ports of a bridge, started, with PORT_FILTER_BRIDGE: from now on the programs on their
// interfaces are the bridge. What they let come is to leave by the other port; other traffic
// crosses in the kernel, where it takes frames for the other interface. Of cards: other traffic
// crosses in them, where they are one embedded switch that takes the rules, and the bridge is a
// hub. Where kernel or card refuse, nothing happens, and all comes (logged). Negative errno
// (logged): half of it is done, the ports are to be closed.
int port_shortcut_open(struct port *const ports[2], const struct port_shortcut_config *config);
// Is that so?
bool port_has_shortcut(const struct port *port);
// Once a second, main thread: does the kernel still do it? Changes are logged. Any port.
void port_shortcut_look(struct port *port);

// --- the worker's side ---------------------------------------------------------------------------

unsigned port_rx(struct port *port, unsigned queue, struct rte_mbuf **frames, unsigned max);
// Queues m for the burst's end (flushes by itself at caps.burst). Consumes m. Frames that the
// device does not take after bounded retries are freed and counted: "tx_full".
void port_tx(struct port *port, unsigned queue, struct rte_mbuf *m);
void port_flush(struct port *port, unsigned queue);

// Families: port_rx_packets_total{port}, port_tx_packets_total{port}, …_bytes_total, link_up{port},
// packets_dropped_total{reason}: tx_full, tx_invalid (an offload the device refuses), tx_error,
// rx_missed (device), rx_error, rx_nombuf, and of what a shortcut drops (bridge_…,
// filter_unserved). shortcut_packets_total{port}, shortcut_bytes_total{port}: what has crossed in
// the kernel (cards do not tell). Of an impaired port also packets_impaired_total{kind}.
// port_counters_update() (control thread) refreshes what comes from rte_eth_stats and the link.
struct counter_set port_counters(const struct port *port);
void port_counters_update(struct port *port);

// The data_room for frames of so many bytes, with the headers of their link, at such a device.
uint16_t port_frame_room(const char *device, uint32_t bytes);
// A pool of frames for one worker: `count` mbufs with a cache. data_room: bytes of an mbuf, its
// headroom included; 0: the default, 2 KiB and headroom. An MTU above 2030 needs more where the
// device cannot scatter; af_packet needs its framesz and headroom. NULL when memory is short or
// the name is taken.
struct rte_mempool *port_frame_pool_create(const char *name, unsigned count, uint16_t data_room);
