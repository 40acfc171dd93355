// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// tcp-peer: the engine as one end of real TCP connections, with nothing of Offramp above it. One
// port (perhaps a bad wire), net, tcp, and small applications: a sink that
// verifies, a source, an echo. The other end is a kernel's. It ends after --connections of them
// or on SIGTERM, with one JSON object on stdout.
//
//   options.c  the command line         app.c     what a connection does
//   main.c     floors and the loop      waits.c   what it waited for
//   pattern.c  the bytes that travel    report.c  the JSON
//   pools.c    where bytes are kept

#pragma once

#include "base/random.h"
#include "net/net.h"
#include "port/port.h"
#include "tcp/tcp.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct payload_pool;
struct rte_mempool;

// --- pattern.c -----------------------------------------------------------------------------------

// The bytes of a stream follow from their place in it: PATTERN_PERIOD pseudo-random ones, again and
// again, each time with another value added (exclusive or). A prime period: what is lost or moved
// by any length of segments shows.
#define PATTERN_PERIOD 65521u

struct pattern {
	uint8_t bytes[PATTERN_PERIOD];
};

void pattern_init(struct pattern *pattern);
void pattern_fill(const struct pattern *pattern, uint64_t offset, uint8_t *into, uint32_t length);
// How many bytes are right before the first that is not.
uint32_t pattern_match(
	const struct pattern *pattern, uint64_t offset, const uint8_t *bytes, uint32_t length);

// --- options.c -----------------------------------------------------------------------------------

enum role { ROLE_SINK, ROLE_SOURCE, ROLE_ECHO, ROLES };
extern const char *const role_names[ROLES];

#define ENDPOINTS_MAX 8
#define ADDRESSES_MAX 4

struct options {
	const char *device; // "net_af_packet0,iface=eth0,framesz=9216,blocksz=36864"
	uint16_t mtu;	    // 0: what the device has
	struct net_interface_address addresses[ADDRESSES_MAX];
	unsigned addresses_count;
	struct net_route_config gateway;
	unsigned gateways; // 0 or 1
	struct net_neighbour_config neighbour;
	unsigned neighbours; // 0 or 1
	struct listen_option {
		enum role role;
		uint16_t port;
	} listens[ENDPOINTS_MAX];
	unsigned listens_count;
	struct connect_option {
		enum role role;
		struct net_endpoint remote;
	} connects[ENDPOINTS_MAX];
	unsigned connects_count;
	uint64_t bytes;		  // that a source sends
	unsigned connections;	  // end after so many; 0: never
	unsigned connections_max; // at once
	unsigned core;
	struct impair_config impair_rx, impair_tx;
	struct tcp_config tcp;
};

// Exits with a line when they are wrong.
void options_parse(int argc, char **argv, struct options *options);

// --- waits.c -------------------------------------------------------------------------------------

// A time in which a connection made no step, longer than is worth a word. Tests hold them against
// the retransmission timers: nothing else may make anybody wait that long.
#define WAITS_MAX 4096 // those of all connections; later ones are only counted

enum wait_kind {
	WAIT_BYTES,	 // of a reader: nothing came that it could read
	WAIT_TO_ADVANCE, // of a writer with something under way: nothing was sent or acknowledged
	WAIT_KINDS,
};

struct wait {
	enum wait_kind kind;
	uint16_t port; // the remote one
	uint64_t begin_us, end_us;
	// A writer's timer at the beginning, and what it follows from.
	uint32_t rto_us, srtt_us, rttvar_us;
	uint8_t backoff;
};

struct waits {
	struct wait list[WAITS_MAX];
	uint64_t count; // there were
};

struct app;
struct peer;

// The connection exists: both clocks begin.
void waits_begin(const struct peer *peer, struct app *app);
// Bytes came, or the end of them.
void waits_read(struct peer *peer, struct app *app);
// Looks at the writer; about every millisecond. app->info is what it is now.
void waits_sample(struct peer *peer, struct app *app);

// --- pools.c -------------------------------------------------------------------------------------

enum pool { POOL_PAYLOADS, POOL_RX, POOL_TX, POOL_RESERVE, POOLS };
extern const char *const pool_names[POOLS];

struct pools {
	struct payload_pool *payloads;
	struct rte_mempool *rx, *tx, *reserve;
};

int pools_create(struct pools *pools, bool jumbo, uint16_t data_room);
unsigned pools_in_use(const struct pools *pools, enum pool pool);
// Nobody uses them any more. Has everything come back? If not, a line about what has not.
bool pools_destroy(struct pools *pools);

// --- app.c ---------------------------------------------------------------------------------------

enum outcome {
	OUTCOME_OPEN,
	OUTCOME_DONE, // all bytes, and FINs, went both ways
	OUTCOME_RESET,
	OUTCOME_REFUSED,
	OUTCOME_TIMEOUT,
	OUTCOME_UNREACHABLE,
	OUTCOMES,
};
extern const char *const outcome_names[OUTCOMES];

// A connection; what is left of it when it has ended is for the report.
struct app {
	struct tcp_pcb *pcb; // NULL: ended
	enum role role;
	enum outcome outcome;
	struct net_endpoint remote;
	bool established, shut;
	uint64_t received, wrong_at; // bytes; where the first wrong one was, UINT64_MAX: nowhere
	uint64_t sent;		     // bytes queued
	uint64_t begun_us, ended_us;
	uint64_t read_us;     // the last byte came
	struct wait advance;  // under way since the last step
	uint32_t step;	      // changes with every step
	struct tcp_info info; // looked at every millisecond
};

struct peer {
	struct options options;
	struct pattern pattern;
	struct random rng;
	struct pools pools;
	struct port *port;
	struct net_if netif;
	struct net *net;
	struct tcp_stack *tcp;
	struct app *apps; // options.connections_max, used again when the rest is busy
	unsigned apps_used, apps_open;
	uint64_t ended, outcomes[OUTCOMES]; // of all connections there ever were
	uint64_t wrong;
	struct waits waits;
	uint64_t now_us;
	uint64_t pause_us; // the longest turn, or time between two: nobody looked at the wire
	// The same moment by both clocks, at the start: tests compare our times with theirs.
	uint64_t start_us, start_monotonic_us;
	sigset_t signals;
};

int app_connect(struct peer *peer, const struct connect_option *option);
void app_events(struct peer *peer, struct tcp_pcb *pcb, uint32_t events);
// Looks at every open connection: waits, timers.
void app_sample(struct peer *peer);

// --- main.c --------------------------------------------------------------------------------------

// CLOCK_MONOTONIC.
uint64_t monotonic_us(void);

// --- report.c ------------------------------------------------------------------------------------

void report_print(const struct peer *peer);
