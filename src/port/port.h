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

#define PORT_DEVICES_MAX 64 // more than DPDK has

struct port_eal_config {
	const char *const *devices; // "0000:03:00.0" or "net_af_packet0,iface=veth0"
	unsigned devices_count;
	uint64_t filtered; // bit i: devices[i] has a filter (port_config.filtered)
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
	unsigned rx_ring, tx_ring; // descriptors; 0: driver default within 512..2048
	bool promiscuous;	   // take frames for other stations too (bridging)
	// Only what is for these addresses comes, the rest stays with the host's kernel, where the
	// device can do that: port_filter_is_possible().
	bool filtered;
	const struct port_address *own;
	unsigned own_count;
	struct impair_config impair_rx, impair_tx; // all zero unless port_impair_built_in()
};

struct port_caps {
	bool rx_checksum, tx_ip_checksum, tx_tcp_checksum, multi_segment;
	bool tso, tso_ipv6;
	unsigned burst; // transmit at most so many at once (af_xdp loses packets above 64)
};

struct port;

// Can such a device be given a filter?
bool port_filter_is_possible(const char *device);

// Is this the test build, whose ports can be made bad wires? (meson -Dimpair=true)
bool port_impair_built_in(void);

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

// --- the worker's side ---------------------------------------------------------------------------

unsigned port_rx(struct port *port, unsigned queue, struct rte_mbuf **frames, unsigned max);
// Queues m for the burst's end (flushes by itself at caps.burst). Consumes m. Frames that the
// device does not take after bounded retries are freed and counted: "tx_full".
void port_tx(struct port *port, unsigned queue, struct rte_mbuf *m);
void port_flush(struct port *port, unsigned queue);

// Families: port_rx_packets_total{port}, port_tx_packets_total{port}, …_bytes_total, link_up{port},
// packets_dropped_total{reason}: tx_full, tx_invalid (an offload the device refuses), tx_error,
// rx_missed (device), rx_error, rx_nombuf. Of an impaired port also packets_impaired_total{kind}.
// port_counters_update() (control thread) refreshes what comes from rte_eth_stats and the link.
struct counter_set port_counters(const struct port *port);
void port_counters_update(struct port *port);

// A pool of frames for one worker: `count` mbufs with a cache. data_room: bytes of an mbuf, its
// headroom included; 0: the default, 2 KiB and headroom. An MTU above 2030 needs more where the
// device cannot scatter; af_packet needs its framesz and headroom. NULL when memory is short or
// the name is taken.
struct rte_mempool *port_frame_pool_create(const char *name, unsigned count, uint16_t data_room);
