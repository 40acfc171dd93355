// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Two engines over an impaired wire in virtual time. Everything that happens in a run
// follows from its seed.
//
//   apps ─ stack ─ net ─ net_if ─┐                 ┌─ net_if ─ net ─ stack ─ apps
//            host 0              └── tap ── wire ──┘              host 1
//
// The tap looks at every packet as it is sent, before the wire spoils it.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "net/net.h"
#include "net/net_if.h"
#include "tcp/tcp.h"

struct payload_pool;
struct rte_mbuf;
struct rte_mempool;

#define SIM_PACKET_MAX 2048
#define SIM_START_US   1000000
#define SIM_HOSTS      2
#define SIM_PAIRS      4
#define SIM_PORT       1883
#define SIM_CLIENTS    10000 // port of the first pair's client

// What can be scarce; made once, for all runs.
enum sim_pool_size {
	SIM_POOL_TINY,
	SIM_POOL_SMALL,
	SIM_POOL_AMPLE,
	SIM_POOL_SIZES,
};

struct sim_pools {
	struct rte_mempool *tx[SIM_HOSTS][SIM_POOL_SIZES];
	struct rte_mempool *reserve[SIM_HOSTS];
	struct rte_mempool *rx;
	struct payload_pool *payloads[SIM_HOSTS][SIM_POOL_SIZES];
};

int sim_pools_create(struct sim_pools *pools);
void sim_pools_destroy(struct sim_pools *pools);
// Aborts unless every buffer is back.
void sim_pools_check(const struct sim_pools *pools);

// --- the wire: one direction

struct sim_impairment {
	uint32_t loss, duplicate, reorder, corrupt; // of 10,000 packets
	uint32_t burst;				    // of 10,000 begin a burst of losses
	uint32_t mark;				    // of 10,000 that permit it get CE (RFC 3168)
	uint32_t delay_us, jitter_us;		    // jitter delays reordered packets further
	uint32_t bytes_per_ms;			    // rate
	uint32_t queue_us;			    // a packet that would wait longer is dropped
};

struct sim_packet {
	uint64_t due_us;
	struct rte_mbuf *m;
};

struct sim_wire {
	struct sim_impairment impairment;
	struct random *rng;
	uint64_t free_us; // when the last packet has been put on the wire
	uint64_t burst_until_us;
	uint64_t lost; // packets
	struct sim_packet *packets;
	unsigned count, capacity;
};

void sim_wire_send(
	struct sim_wire *wire, struct rte_mbuf *m, struct rte_mempool *pool, uint64_t now_us);
// The next packet that has arrived by now; NULL.
struct rte_mbuf *sim_wire_receive(struct sim_wire *wire, uint64_t now_us);
uint64_t sim_wire_next_us(const struct sim_wire *wire);
void sim_wire_fini(struct sim_wire *wire);

// --- the tap: what one end of one pair has sent

struct sim_tap {
	bool syn_seen, fin_seen, dead; // dead: RST or a new SYN; no more is expected of it
	uint32_t isn, fin_seq;
	uint8_t wscale;
	bool wscale_sent;
	bool edge_known;
	uint32_t edge; // the right edge it has advertised
	bool ts_known;
	uint32_t ts;
	uint64_t segments;
	// What has come back to this end, as it knows.
	bool echo_known;
	uint32_t echo;	 // the peer's latest timestamp
	uint8_t *sacked; // octets of the stream, from 0 on
	uint32_t sacked_size;
	uint64_t forgotten; // times that the host may have forgotten what was SACKed before
};

struct sim;
struct tcp_segment;

// Looks at a packet that `host` sends; aborts on what no engine should do.
void sim_tap_packet(struct sim *sim, unsigned host, const struct rte_mbuf *m);

// Looks at a delivery that `host` is about to process.
void sim_tap_delivery(struct sim *sim, unsigned host, const struct rte_mbuf *m);
void sim_tap_fini(struct sim_tap *tap);

// One line a segment, for --verbose.
void sim_trace(const struct sim *sim, unsigned host, unsigned pair, const struct tcp_segment *seg);

// --- apps

enum sim_ending {
	SIM_END_SHUTDOWN, // shutdown, read until EOF, close
	SIM_END_CLOSE,	  // close once everything is queued
	SIM_END_ABORT,	  // abort at a random point
	SIM_END_ABORT_AFTER_SEND,
	SIM_ENDINGS,
};

struct sim_app {
	struct sim *sim;
	unsigned host, pair;
	struct tcp_pcb *pcb; // NULL: not open yet, or done
	bool client, done, established;
	uint32_t terminal; // event that ended it
	enum sim_ending ending;
	uint64_t to_send, queued, received;
	uint64_t abort_at; // SIM_END_ABORT: after this many octets
	bool shut;
	bool sent_all; // everything was queued and FIN asked for
	bool eof;
	uint64_t eof_us;   // since the start
	bool abandoned;	   // its peer went away and the RST was lost
	uint32_t burst;	   // octets a write
	uint64_t think_us; // between writes; 0: as fast as it goes
	uint64_t next_write_us;
	uint32_t read_max;	// octets a turn
	uint64_t read_pause_us; // a slow reader
	uint64_t next_read_us;
	bool pieces; // writes references instead of copies
};

void sim_app_open(struct sim_app *app);
// What it does in its turn; also reads.
void sim_app_turn(struct sim_app *app, uint64_t now_us);
void sim_app_events(struct sim_app *app, uint32_t events, uint64_t now_us);
uint64_t sim_app_next_us(const struct sim_app *app);
// The octet at an offset of what `host` sends on a pair.
uint8_t sim_octet(const struct sim *sim, unsigned host, unsigned pair, uint64_t offset);

// --- hosts and the whole

struct sim_host {
	struct sim *sim;
	unsigned index;
	struct net_if netif;
	struct net_address address;
	struct net *net;
	struct payload_pool *payloads;
	struct tcp_stack *stack;
	struct tcp_pcb *listener;
	struct random rng;
};

struct sim {
	uint64_t seed;
	bool verbose;
	struct random rng;
	uint64_t now_us;
	const struct sim_pools *pools;
	struct sim_host hosts[SIM_HOSTS];
	struct sim_wire wires[SIM_HOSTS]; // [h]: from host h
	unsigned pairs;
	struct sim_app apps[SIM_HOSTS][SIM_PAIRS];
	struct sim_tap taps[SIM_HOSTS][SIM_PAIRS];
	unsigned steps;
	bool scarce; // a host has few payloads
};

struct sim_result {
	uint64_t octets, segments;
	uint64_t lost; // packets, by the wire
	uint64_t retransmits, timeouts, recoveries, probes, dsacks, reductions;
	uint64_t virtual_us;
	unsigned given_up; // connections that timed out
};

// A run whose hosts, wires and apps the caller sets up in between.
struct sim *sim_create(uint64_t seed, const struct sim_pools *pools, bool verbose);
void sim_play(struct sim *sim, struct sim_result *result);
void sim_destroy(struct sim *sim);
// Prints what loss costs.
void sim_bulk(const struct sim_pools *pools);
// One run; aborts with the seed printed when anything is wrong.
void sim_run(
	uint64_t seed, const struct sim_pools *pools, bool verbose, struct sim_result *ret_result);

_Noreturn void sim_fail(const struct sim *sim, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, cond)                                                   \
	do {                                                                   \
		if (!(cond))                                                   \
			sim_fail(sim, "%s:%d: %s", __FILE__, __LINE__, #cond); \
	} while (0)
