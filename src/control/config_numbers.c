// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every number of the configuration file: unit, default, range. offrampd.yaml(5)
// says the same; a test compares the two.

#include "control/config_raw.h"

#define US  1ull
#define MS  (1000 * US)
#define S   (1000 * MS)
#define MIN (60 * S)
#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define NUMBER(raw, member, into, field, kind, low, otherwise, high)                               \
	{                                                                                          \
		.key = #member, .unit = CONFIG_UNIT_##kind, .fallback = (otherwise), .min = (low), \
		.max = (high), .from = offsetof(struct raw, member),                               \
		.to = offsetof(struct into, field), .width = sizeof(((struct into *)0)->field),    \
	}

// The columns: lowest, default, highest.

#define PORT(member, kind, ...) NUMBER(raw_port, member, port_config, member, kind, __VA_ARGS__)
static const struct config_number port_numbers[] = {
	PORT(mtu, COUNT, 576, 0, 9216),	    // 0, which cannot be written: what the device has
	PORT(rx_ring, COUNT, 64, 0, 32768), // 0: the driver's choice
	PORT(tx_ring, COUNT, 64, 0, 32768),
};

// Shares in parts of a million.
#define IMPAIR(member, field, kind, ...) \
	NUMBER(raw_impair, member, impair_config, field, kind, __VA_ARGS__)
static const struct config_number impair_numbers[] = {
	IMPAIR(loss, loss, SHARE, 0, 0, IMPAIR_MILLION),
	IMPAIR(duplicate, duplicate, SHARE, 0, 0, IMPAIR_MILLION),
	IMPAIR(reorder, reorder, SHARE, 0, 0, IMPAIR_MILLION),
	IMPAIR(corrupt, corrupt, SHARE, 0, 0, IMPAIR_MILLION),
	IMPAIR(delay, delay_us, DURATION, 0, 0, 10 * S),
	IMPAIR(rate, rate, RATE, 8000, 0, 1000000000000), // 0: no limit
	IMPAIR(seed, seed, COUNT, 0, 1, UINT32_MAX),
};

static const struct config_number broker_numbers[] = {
	NUMBER(raw_broker, connect_timeout, offload_broker_config, connect_timeout_us, DURATION,
		100 * MS, 10 * S, 5 * MIN),
};

// A captured message must fit into the largest number of payloads that one send takes.
#define CAPTURE(member, field, kind, ...) \
	NUMBER(raw_capture, member, offload_capture_config, field, kind, __VA_ARGS__)
static const struct config_number capture_numbers[] = {
	CAPTURE(qos, qos, COUNT, 0, 2, 2),
	CAPTURE(max_size, max_size, SIZE, 1, 1100 * KIB, 1100 * KIB),
	CAPTURE(hold, hold_us, DURATION, 0, 1 * S, 60 * MIN),
};

static const struct config_number station_numbers[] = {
	NUMBER(raw_station, vlan, bridge_station, vlan, COUNT, 0, 0, 4094),
};

#define PROOF(member, field, kind, ...) \
	NUMBER(raw_proof, member, offload_proof_config, field, kind, __VA_ARGS__)
static const struct config_number proof_numbers[] = {
	PROOF(ttl, ttl_us, DURATION, 100 * MS, 30 * S, 60 * MIN),
	PROOF(lease, lease_us, DURATION, 50 * MS, 500 * MS, 60 * S),
};

#define CLIENT(member, kind, ...) \
	NUMBER(raw_client, member, offload_client_config, member, kind, __VA_ARGS__)
static const struct config_number client_numbers[] = {
	CLIENT(queue_messages, COUNT, 1, 16384, 1048576),
	CLIENT(queue_bytes, SIZE, 64 * KIB, 16 * MIB, 1 * GIB),
	CLIENT(queued_qos1, COUNT, 1, 1000, 1048576),
	CLIENT(inflight, COUNT, 1, 1024, 1024),
	CLIENT(subscriptions, COUNT, 1, 1024, 65536),
	CLIENT(pending_messages, COUNT, 0, 64, 65536),
};

static const struct config_number workers_numbers[] = {
	NUMBER(raw_workers, control_core, config, control_core, COUNT, 0, 0, 1023),
};

#define MEMORY(member, kind, ...) \
	NUMBER(raw_memory, member, config_memory, member, kind, __VA_ARGS__)
static const struct config_number memory_numbers[] = {
	MEMORY(payloads, SIZE, 8 * MIB, 128 * MIB, 64 * GIB),
	MEMORY(frames, COUNT, 1024, 32768, 1048576),
	MEMORY(connections, COUNT, 16, 16384, 1048576),
	MEMORY(sessions, COUNT, 1, 16384, 1048576),
	MEMORY(subscriptions, COUNT, 64, 262144, 16777216),
	MEMORY(send_pieces, COUNT, 4096, 1048576, 268435456),
};

static const struct config_number socket_numbers[] = {
	NUMBER(raw_socket, memory, config_socket, memory, SIZE, 1 * MIB, 64 * MIB, 64 * GIB),
	NUMBER(raw_socket, silence, config_socket, silence_us, DURATION, 1 * S, 30 * S, 60 * MIN),
};

#define TCP(member, field, kind, ...) NUMBER(raw_tcp, member, tcp_config, field, kind, __VA_ARGS__)
static const struct config_number tcp_numbers[] = {
	TCP(receive_buffer, receive_buffer, SIZE, 16 * KIB, 256 * KIB, 16 * MIB),
	TCP(backlog, backlog, COUNT, 1, 1024, 65536),
	TCP(rto_min, rto_min_us, DURATION, 10 * MS, 200 * MS, 10 * S),
	TCP(rto_max, rto_max_us, DURATION, 1 * S, 60 * S, 2 * MIN),
	TCP(rto_initial, rto_initial_us, DURATION, 10 * MS, 1 * S, 60 * S),
	TCP(syn_retries, syn_retries, COUNT, 0, 6, 15),
	TCP(retries, retries, COUNT, 1, 15, 30),
	TCP(connect_retries, connect_retries, COUNT, 0, 1, 10),
	TCP(time_wait, time_wait_us, DURATION, 1 * S, 60 * S, 4 * MIN),
	TCP(fin_wait, fin_wait_us, DURATION, 1 * S, 60 * S, 10 * MIN),
	TCP(delayed_ack, delayed_ack_us, DURATION, 0, 40 * MS, 500 * MS),
};

// Whole seconds in the end, rounded up.
#define KEEP(member, field, kind, ...) \
	NUMBER(raw_keep_alive, member, config_keep_alive, field, kind, __VA_ARGS__)
static const struct config_number keep_alive_numbers[] = {
	KEEP(idle, idle_us, DURATION, 0, 0, 18 * 60 * MIN), // 0: no keep-alives
	KEEP(interval, interval_us, DURATION, 1 * S, 75 * S, 4 * MIN),
	KEEP(probes, probes, COUNT, 1, 9, 255),
};

#define SECTION(where, table)                                        \
	{                                                            \
		(where), (table), sizeof(table) / sizeof((table)[0]) \
	}
const struct config_section config_sections[CONFIG_SECTIONS] = {
	[CONFIG_SECTION_PORT] = SECTION("ports[]", port_numbers),
	[CONFIG_SECTION_IMPAIR] = SECTION("ports[].impair", impair_numbers),
	[CONFIG_SECTION_STATION] = SECTION("stations[]", station_numbers),
	[CONFIG_SECTION_BROKER] = SECTION("brokers[]", broker_numbers),
	[CONFIG_SECTION_CAPTURE] = SECTION("brokers[].capture", capture_numbers),
	[CONFIG_SECTION_PROOF] = SECTION("brokers[].proof", proof_numbers),
	[CONFIG_SECTION_CLIENT] = SECTION("brokers[].client", client_numbers),
	[CONFIG_SECTION_WORKERS] = SECTION("workers", workers_numbers),
	[CONFIG_SECTION_MEMORY] = SECTION("memory", memory_numbers),
	[CONFIG_SECTION_TCP] = SECTION("tcp", tcp_numbers),
	[CONFIG_SECTION_SOCKET] = SECTION("socket", socket_numbers),
	[CONFIG_SECTION_KEEP_ALIVE] = SECTION("tcp.keep_alive", keep_alive_numbers),
};
