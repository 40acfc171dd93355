// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Two engines over an impaired wire in virtual time. Everything that happens in a run
// follows from its seed.
//
//   apps ─ stack ─ net ─ net_if ─┐                 ┌─ net_if ─ net ─ stack ─ apps
//            host 0              └ device ─ tap ─ wire ┘          host 1
//
// The device completes sums and cuts what it was given to cut; the tap looks at every packet
// as it is sent, before the wire spoils it.

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
struct sim;

#define SIM_PACKET_MAX 2048
#define SIM_FRAME_MAX  65535
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

#define SIM_SPELLS 3 // of each kind, on one wire

// The wire stands still: what is sent meanwhile waits, or is lost.
struct sim_stall {
	uint64_t from_us, until_us;
	bool drops;
};

enum sim_router {
	SIM_ROUTER_TELLS,  // "fragmentation needed", with the MTU
	SIM_ROUTER_OLD,	   // ... without it (RFC 1191 5)
	SIM_ROUTER_SILENT, // a black hole
	SIM_ROUTERS,
};

// A router on the way has a smaller MTU.
struct sim_narrowing {
	uint64_t from_us, until_us;
	uint16_t mtu;
	enum sim_router router;
};

// A box on the way divides the windows by 2^shift: a window that shrinks from the right.
struct sim_squeeze {
	uint64_t from_us, until_us;
	unsigned shift; // 16: to nothing
};

struct sim_impairment {
	uint32_t loss, duplicate, reorder, corrupt; // of 10,000 packets
	uint32_t burst;				    // of 10,000 begin a burst of losses
	uint32_t mark;				    // of 10,000 that permit it get CE (RFC 3168)
	uint32_t delay_us, jitter_us;		    // jitter delays reordered packets further
	uint32_t bytes_per_ms;			    // rate
	uint32_t queue_us;			    // a packet that would wait longer is dropped
	struct sim_stall stalls[SIM_SPELLS];
	struct sim_narrowing narrowings[SIM_SPELLS];
	struct sim_squeeze squeezes[SIM_SPELLS];
};

struct sim_packet {
	uint64_t due_us;
	struct rte_mbuf *m;
};

struct sim_wire {
	struct sim_impairment impairment;
	struct random *rng;
	struct sim_wire *back; // the way for what routers tell; NULL: they are silent
	uint64_t free_us;      // when the last packet has been put on the wire
	uint64_t burst_until_us;
	uint64_t lost, too_big; // packets
	struct sim_packet *packets;
	unsigned count, capacity;
};

void sim_wire_send(
	struct sim_wire *wire, struct rte_mbuf *m, struct rte_mempool *pool, uint64_t now_us);
// The next packet that has arrived by now; NULL.
struct rte_mbuf *sim_wire_receive(struct sim_wire *wire, uint64_t now_us);
uint64_t sim_wire_next_us(const struct sim_wire *wire);
void sim_wire_fini(struct sim_wire *wire);
// Something to arrive after the wire's delay, come what may.
void sim_wire_put(struct sim_wire *wire, struct rte_mbuf *m, uint64_t now_us);

// --- what stands on the way (router.c)

// The narrowest that is too narrow for a packet now; NULL.
const struct sim_narrowing *sim_router_narrowing(
	const struct sim_wire *wire, const struct rte_mbuf *m, uint64_t now_us);
// Tells the sender that its packet was too big, as far as such a router does.
void sim_router_complain(struct sim_wire *wire, const struct sim_narrowing *narrowing,
	const struct rte_mbuf *m, struct rte_mempool *pool, uint64_t now_us);
void sim_router_squeeze(const struct sim_wire *wire, struct rte_mbuf *m, uint64_t now_us);

// --- the device

// Completes the sums of a frame and cuts it; what it makes of it goes through the tap to the wire.
// Consumes m.
void sim_device_send(struct sim *sim, unsigned host, struct rte_mbuf *m);

// --- the tap: what one end of one pair has sent

struct sim_tap {
	bool syn_seen, knocked, fin_seen, dead; // dead: RST or a new SYN; no more is expected of
						// it; knocked: SYN without ACK
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

struct tcp_segment;

// Looks at a frame that `host` gives to its device.
void sim_tap_frame(const struct sim *sim, unsigned host, const struct rte_mbuf *m);

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
	SIM_END_ABORT,	  // abort at a random point of the streams
	SIM_END_ABORT_AT, // ... or of time
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
	uint64_t abort_at;  // SIM_END_ABORT: after this many octets
	uint64_t abort_us;  // SIM_END_ABORT_AT
	uint64_t open_us;   // not before; a server's own attempt: both open at once
	bool opens;	    // ... has still to be made
	uint64_t end_us;    // ends not before
	bool listens_first; // writes once it has heard all that its peer has to say
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
	uint64_t nap_at; // after so many octets it reads nothing ...
	uint64_t nap_us; // ... for so long, once
	bool pieces;	 // writes references instead of copies
	bool fickle;	 // keeps changing the sizes of its buffers
	uint16_t mss;	 // asks for smaller segments; 0: no
	// Acknowledges by itself, some time after it has read: so many octets, the FIN included.
	bool manual;
	uint64_t acknowledged;
	uint64_t next_ack_us;
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
	uint64_t cut; // frames, by the device
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
	bool scarce;	 // a host has few payloads
	uint64_t active; // bits of enum sim_dimension: what this run has of them
	unsigned fault;	 // enum sim_fault: what is wrong with host 0
	struct rte_mbuf *leaked;
};

// What a run can be spared; the seed draws the rest as before.
enum sim_dimension {
	SIM_LOSS,
	SIM_BURSTS,
	SIM_DUPLICATES,
	SIM_REORDERING,
	SIM_CORRUPTION,
	SIM_MARKS,
	SIM_RATE, // and queue
	SIM_STALLS,
	SIM_NARROWINGS,	 // MTU changes that routers tell of
	SIM_BLACK_HOLES, // ... and do not
	SIM_SQUEEZES,
	SIM_CROSSING, // both open at once
	SIM_TOGETHER, // both end at once
	SIM_HALF_CLOSE,
	SIM_BREAKS, // ends that are not orderly
	SIM_SLOW_READERS,
	SIM_NAPS,
	SIM_MANUAL_ACKS,
	SIM_SLOW_WRITERS,
	SIM_SMALL_BUFFERS,
	SIM_FICKLE_BUFFERS,
	SIM_SMALL_MSS,
	SIM_SCARCITY,
	SIM_OFFLOADS,
	SIM_PAIRS_MANY,
	SIM_NO_SACK,
	SIM_NO_TIMESTAMPS,
	SIM_ECN,
	SIM_NEWRENO,
	SIM_DIMENSIONS,
};
extern const char *const sim_dimension_names[SIM_DIMENSIONS];

// What is done wrong on purpose, where the run has a certain dimension: to see that it is noticed.
enum sim_fault {
	SIM_FAULT_NONE,
	SIM_FAULT_OCTET,  // a wrong octet under a good sum
	SIM_FAULT_WINDOW, // a right edge that goes back
	SIM_FAULT_CLOCK,  // a timestamp that goes back
	SIM_FAULT_LEAK,	  // a buffer that is kept
	SIM_FAULTS,
};
extern const char *const sim_fault_names[SIM_FAULTS];
// On the way from the device of `host` to the tap.
void sim_fault_apply(struct sim *sim, unsigned host, struct rte_mbuf *m);

// Everything that follows from the seed but for the dimensions of the bits in `without`.
void sim_draw(struct sim *sim, uint64_t without);

struct sim_result {
	uint64_t octets, segments;
	uint64_t lost; // packets, by the wire
	uint64_t retransmits, timeouts, recoveries, probes, dsacks, reductions;
	uint64_t virtual_us;
	unsigned given_up; // connections that timed out
	uint64_t too_big;  // packets, for a router
	uint64_t cut;	   // frames, by devices
	uint64_t crossed;  // connections opened from both sides
};

// A run whose hosts, wires and apps the caller sets up in between.
struct sim *sim_create(uint64_t seed, const struct sim_pools *pools, bool verbose);
void sim_play(struct sim *sim, struct sim_result *result);
void sim_destroy(struct sim *sim);
// Prints what loss costs.
void sim_bulk(const struct sim_pools *pools);

_Noreturn void sim_fail(const struct sim *sim, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, cond)                                                   \
	do {                                                                   \
		if (!(cond))                                                   \
			sim_fail(sim, "%s:%d: %s", __FILE__, __LINE__, #cond); \
	} while (0)
