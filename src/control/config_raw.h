// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The configuration file as libcyaml loads it: structures of the file's own shape,
// the schema that names every key, and the table of every number with its unit,
// default and range. Private to the configuration's files and their tests.

#pragma once

#include <cyaml/cyaml.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config.h"
#include "control/config_number.h"

// Texts are NULL where the key is absent. Enums start with their default.

enum raw_direction { RAW_DIRECTION_BOTH, RAW_DIRECTION_RX, RAW_DIRECTION_TX };

struct raw_impair {
	char *loss, *duplicate, *reorder, *corrupt, *delay, *rate, *seed;
	enum raw_direction direction;
};

struct raw_port {
	char *name, *device, *mtu, *rx_ring, *tx_ring;
	enum config_filter filter;
	struct raw_impair *impair;
	char **addresses;
	unsigned addresses_count;
};

struct raw_route {
	char *to, *via;
};

struct raw_neighbour {
	char *address, *mac;
};

struct raw_station {
	char *mac, *port, *vlan;
};

struct raw_capture {
	bool *enabled;
	char *qos, *max_size, *hold;
	char **pass;
	unsigned pass_count;
};

struct raw_proof {
	char *ttl, *lease;
};

struct raw_client {
	char *queue_messages, *queue_bytes, *queued_qos1, *inflight, *subscriptions,
		*pending_messages;
};

struct raw_broker {
	char *name, *listen, *address, *connect_timeout;
	char **sources;
	unsigned sources_count;
	enum offload_knowledge knowledge;
	enum offload_authorization authorization;
	enum offload_fence fence;
	enum proof_overlap overlap;
	enum offload_topics topics;
	enum offload_ack ack;
	struct raw_capture capture;
	struct raw_proof proof;
	struct raw_client client;
};

struct raw_workers {
	unsigned *cores;
	unsigned cores_count;
	char *control_core;
	enum config_idle idle;
};

struct raw_memory {
	enum config_hugepages hugepages;
	char *payloads, *frames, *connections, *sessions, *subscriptions, *send_pieces;
};

struct raw_keep_alive {
	char *idle, *interval, *probes;
};

struct raw_tcp {
	char *receive_buffer, *backlog, *rto_min, *rto_max, *rto_initial, *syn_retries, *retries,
		*connect_retries, *time_wait, *fin_wait, *delayed_ack;
	enum tcp_congestion congestion;
	struct raw_keep_alive keep_alive;
};

struct raw_door {
	char *address, *group, *secret_file;
	char **allow;
	unsigned allow_count;
};

struct raw_socket {
	char *path, *group, *memory, *silence;
	struct raw_door *listen;
	unsigned listen_count;
	char **connect;
	unsigned connect_count;
	char **udp;
	unsigned udp_count;
};

struct raw_tls {
	char *certificate, *key, *client_ca;
};

struct raw_endpoint {
	char *address, *group;
	struct raw_tls *tls;
	enum config_service *services;
	unsigned services_count;
};

struct raw_control {
	char *socket;
	struct raw_endpoint *listen;
	unsigned listen_count;
};

struct raw_log {
	enum log_level *level;
};

struct raw_config {
	enum config_mode mode;
	enum config_bridge bridge;
	struct raw_port *ports;
	unsigned ports_count;
	struct raw_route *routes;
	unsigned routes_count;
	struct raw_neighbour *neighbours;
	unsigned neighbours_count;
	struct raw_station *stations;
	unsigned stations_count;
	struct raw_broker *brokers;
	unsigned brokers_count;
	struct raw_workers workers;
	struct raw_memory memory;
	struct raw_tcp tcp;
	char *secret_file;
	struct raw_socket socket;
	struct raw_control control;
	struct raw_log log;
};

extern const cyaml_schema_value_t config_schema;

// One number: where its text stands in the raw structure, what it may be, where it goes.
struct config_number {
	const char *key;
	enum config_unit unit;
	uint64_t fallback, min, max; // in units of one, bytes or microseconds
	size_t from;		     // offset of the char * in the raw structure
	size_t to;		     // offset in the resolved structure
	size_t width;		     // bytes of an unsigned integer there
};

struct config_section {
	const char *path; // "tcp", "brokers[].client"
	const struct config_number *numbers;
	unsigned count;
};

enum config_section_id {
	CONFIG_SECTION_PORT,	   // raw_port → port_config
	CONFIG_SECTION_IMPAIR,	   // raw_impair → impair_config
	CONFIG_SECTION_STATION,	   // raw_station → bridge_station
	CONFIG_SECTION_BROKER,	   // raw_broker → offload_broker_config
	CONFIG_SECTION_CAPTURE,	   // raw_capture → offload_capture_config
	CONFIG_SECTION_PROOF,	   // raw_proof → offload_proof_config
	CONFIG_SECTION_CLIENT,	   // raw_client → offload_client_config
	CONFIG_SECTION_WORKERS,	   // raw_workers → config
	CONFIG_SECTION_MEMORY,	   // raw_memory → config_memory
	CONFIG_SECTION_TCP,	   // raw_tcp → tcp_config
	CONFIG_SECTION_SOCKET,	   // raw_socket → config_socket
	CONFIG_SECTION_KEEP_ALIVE, // raw_keep_alive → config_keep_alive
	CONFIG_SECTIONS,
};

extern const struct config_section config_sections[CONFIG_SECTIONS];

#define CONFIG_SOCKET_DEFAULT  "/run/offramp/offramp.sock"
#define CONFIG_CHANNEL_DEFAULT "/run/offramp/channel.sock"
