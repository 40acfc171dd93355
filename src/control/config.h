// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The configuration file, read, checked and resolved: what a user may write is
// offrampd.yaml(5). Runs on the main thread at start; read-only afterwards, from
// any thread. The config_to_…() functions hand each floor its own structure.
//
//   FILE ─▶ document (positions) ─▶ schema check ─▶ libcyaml ─▶ resolve ─▶ struct config
//           errors name FILE:LINE:COL, the key, what is wrong and the valid choices

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "net/bridge.h"
#include "net/net.h"
#include "offload/config.h"
#include "port/port.h"
#include "tcp/tcp.h"

#define CONFIG_ENDPOINTS_MAX 15
#define CONFIG_DOORS_MAX     8
#define CONFIG_CONNECTS_MAX  32
#define CONFIG_UDP_MAX	     64
// Octets of a secret that is shared with processes.
#define CONFIG_SECRET_MIN 16
#define CONFIG_SECRET_MAX 64

struct payload_pool_config;

enum config_mode { // how clients meet their broker
	CONFIG_MODE_STACK,
	CONFIG_MODE_MONITOR,
	CONFIG_MODE_SOCKET,
};

enum config_bridge {	       // what happens to traffic that is not Offramp's
	CONFIG_BRIDGE_DEFAULT, // the mode's: none, or with monitor learning
	CONFIG_BRIDGE_NONE,
	CONFIG_BRIDGE_LEARNING,
	CONFIG_BRIDGE_STATIC,
	CONFIG_BRIDGE_HUB,
};

enum config_idle {	      // what a worker does when nothing arrives
	CONFIG_IDLE_ADAPTIVE, // spins for a while, then sleeps in short naps
	CONFIG_IDLE_BUSY,     // polls for ever
};

enum config_hugepages {
	CONFIG_HUGEPAGES_AUTO, // used when there are enough
	CONFIG_HUGEPAGES_OFF,
};

enum config_service { // what may be served at an endpoint of control
	CONFIG_SERVICE_ADMIN,
	CONFIG_SERVICE_BROKER,
	CONFIG_SERVICE_EXHOOK,
	CONFIG_SERVICE_HEALTH,
	CONFIG_SERVICES,
};

enum config_filter {	    // what of an interface's traffic comes to Offramp
	CONFIG_FILTER_NONE, // all of it
	CONFIG_FILTER_AUTO, // what it needs: its own addresses, its brokers', where the port can
			    // tell
};

struct config_port {
	struct port_config port;		 // its `own`: the addresses, and nothing else
	struct net_interface_address *addresses; // host bits included: 198.18.0.1 of 198.18.0.1/16
	unsigned addresses_count;
};

struct config_memory { // all per worker
	enum config_hugepages hugepages;
	uint64_t payloads;	// bytes for messages under way
	uint32_t frames;	// packet buffers, receiving and transmitting together
	uint32_t connections;	// clients served at once
	uint32_t sessions;	// persistent sessions remembered beside them
	uint32_t subscriptions; // in the map
	uint32_t send_pieces;	// entries in all send queues together
};

struct config_network {
	struct net_address address;
	uint8_t prefix;
};

// Where processes attach over a stream socket.
struct config_door {
	const char *address; // as in the file
	const char *path;    // of a unix socket; NULL: TCP
	struct net_endpoint tcp;
	uint32_t group;		      // of a unix socket; UINT32_MAX: the daemon's own
	struct config_network *allow; // who may; none: everybody
	unsigned allow_count;
	uint8_t *secret; // that who comes must know; NULL: none
	uint32_t secret_length;
};

struct config_socket {	  // socket mode
	const char *path; // where processes attach; absolute
	uint32_t group;	  // that may; UINT32_MAX: the daemon's own
	uint64_t memory;  // bytes for what is under way between the workers and one process
	struct config_door *doors;	 // beside it
	unsigned doors_count;		 // CONFIG_DOORS_MAX at most
	uint64_t silence_us;		 // who says nothing there for so long is gone
	struct config_network *connects; // where processes' connections to are made here
	unsigned connects_count;	 // CONFIG_CONNECTS_MAX at most
	struct net_endpoint *udp;	 // what UDP sockets may have; port 0: from 1024 on, all
	unsigned udp_count;		 // CONFIG_UDP_MAX at most
};

struct config_keep_alive {
	uint64_t idle_us; // 0: off
	uint64_t interval_us;
	uint32_t probes;
};

struct config_tls { // PEM texts, each its file
	char *certificate, *key;
	char *client_ca; // NULL: clients need no certificate
};

// Where control is served beside its own socket.
struct config_endpoint {
	const char *address; // as in the file
	const char *path;    // of a unix socket; NULL: TCP
	struct net_endpoint tcp;
	uint32_t group;		// of a unix socket; UINT32_MAX: the daemon's own
	struct config_tls *tls; // NULL: none
	uint32_t services;	// bit i: enum config_service i
};

struct config {
	const char *file; // where it came from
	enum config_mode mode;
	enum config_bridge bridge;	 // not DEFAULT
	struct bridge_station *stations; // static ones
	unsigned stations_count;

	struct config_port *ports; // at least one
	unsigned ports_count;
	struct net_route_config *routes;
	unsigned routes_count;
	struct net_neighbour_config *neighbours;
	unsigned neighbours_count;

	struct offload_broker_config *brokers; // at least one; sources are filled in
	unsigned brokers_count;

	unsigned *worker_cores;
	unsigned workers;
	unsigned control_core;
	enum config_idle idle;

	struct config_memory memory;
	struct tcp_config tcp; // connections_max, pieces_max, keep_alive, secret: config_to_tcp()'s
	struct config_keep_alive keep_alive;
	struct config_socket socket;

	const char *secret_file;    // NULL: none
	const char *control_socket; // absolute path
	struct config_endpoint *endpoints;
	unsigned endpoints_count; // CONFIG_ENDPOINTS_MAX at most
	enum log_level log_level;
};

// Reads and checks `file`. Every mistake is one line on `errors`:
//   FILE:LINE:COL: brokers[0].fence: 'pong' is not known; valid choices: ping, none
// 0; -EINVAL for mistakes in the file, another negative errno when it cannot be read. Changes
// nothing outside the process. *ret_config is untouched on failure.
int config_load(const char *file, struct config **ret_config, FILE *errors);
void config_free(struct config *config); // accepts NULL

const char *config_mode_name(enum config_mode mode); // as in the file
const char *config_service_name(enum config_service service);

// --- for the daemon ------------------------------------------------------------------------------
// What a function fills in points into `config` (and into the arrays given), so both must outlive
// it. Fields that the configuration does not speak of are left as they are: call the floor's
// …_init() first, except where said otherwise.

// What memory: speaks of is the total of all workers. One worker's share of `total`: a hash spreads
// connections unevenly, so there is a margin.
uint32_t config_share(const struct config *config, uint32_t total);

// Bytes that the buffer of a frame needs on any of the ports, headroom included.
uint16_t config_frame_room(const struct config *config);

// Sets every field. `devices` has room for ports_count of them. memory_mb is an estimate of all
// pools below plus the EAL's own needs.
void config_to_eal(const struct config *config, struct port_eal_device *devices,
	struct port_eal_config *ret_eal);
// Port i's structure is config->ports[i].port: nothing to convert.
// Are the ports two that the kernel, or a card, may bridge?
bool config_wants_shortcut(const struct config *config);
// Sets every field. There is room for as many stations and brokers as the configuration has.
void config_to_shortcut(const struct config *config, struct port_station *stations,
	struct port_endpoint *brokers, struct port_shortcut_config *ret_shortcut);

// Interfaces, routes, static neighbours. `netifs[i]` is port i; `interfaces` has room for
// ports_count entries.
void config_to_net(const struct config *config, struct net_if *const *netifs,
	struct net_interface_config *interfaces, struct net_config *ret_net);
// Not with bridge: none. `netifs[i]` is port i.
void config_to_bridge(const struct config *config, struct net_if *const *netifs,
	struct bridge_config *ret_bridge);
// How many connections a worker looks after at once in monitor mode: those that are served, those
// that have ended lately, and as many handshakes.
uint32_t config_flows_max(const struct config *config);
// Sizes of the payload pools: memory.payloads shared out among the classes. Sets every field.
void config_to_payloads(const struct config *config, struct payload_pool_config *ret_payloads);
// Timers, buffers, pools: connections_max is three pcbs a client (its two connections, and one in
// TIME-WAIT). Leaves `secret` alone.
void config_to_tcp(const struct config *config, struct tcp_config *ret_tcp);
void config_to_offload(const struct config *config, struct offload_config *ret_offload);

// The secret behind TCP's initial sequence numbers (RFC 6528): from secret_file, which is made
// when missing (mode 0600), so that restarts keep them; random without one. Negative errno after
// one logged line.
int config_secret(const struct config *config, uint8_t ret_secret[16]);
