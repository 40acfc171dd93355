// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the two halves of the fuzz target share: tcp_segments.c is the user of the engine,
// tcp_segments_peer.c the peers that it talks to.

#pragma once

#include "base/assert.h"
#include "base/random.h"
#include "fuzz.h"
#include "net/net.h"
#include "tcp/tcp.h"

struct payload_pool;
struct rte_mbuf;
struct rte_mempool;

#define FUZZ_PEERS     4
#define FUZZ_PORT      1883
#define FUZZ_PEER_PORT 40000
#define FUZZ_HOARD     64

// What a step does; numbers below are part of the corpus.
enum {
	FUZZ_PEER_SENDS,      // any segment, about where the connection stands
	FUZZ_PEER_SENDS_SACK, // the same, with more options
	FUZZ_PEER_GOES_ON,    // what an honest peer would send
	FUZZ_PEER_KNOCKS,     // SYN
	FUZZ_PEER_ANSWERS,    // SYN-ACK
	FUZZ_PEER_BABBLES,    // a header out of the input
	FUZZ_ROUTER_COMPLAINS,
	FUZZ_PEER_LAST = FUZZ_ROUTER_COMPLAINS,
	FUZZ_TIME_PASSES,
	FUZZ_TURN_ENDS,
	FUZZ_USER_OPENS,
	FUZZ_USER_WRITES,
	FUZZ_USER_READS,
	FUZZ_USER_LEAVES,
	FUZZ_USER_DECIDES,
	FUZZ_USER_SETS,
};

struct fuzz_peer {
	uint16_t port;
	struct tcp_pcb *pcb;
	bool knocking;	  // SYN was reported and not decided upon
	bool garbled;	  // has sent text that is not the stream's
	bool talked;	  // iss is known
	uint64_t written; // octets that the user has queued
	uint32_t isn, iss;
	uint32_t expected; // by the engine: its latest ACK
	uint32_t top;	   // the end of what the engine has sent
	uint32_t tsval;	   // the peer's clock
	uint32_t ts;	   // the engine's latest timestamp
	bool ts_known;
	uint32_t edge; // the right edge that the engine has told
	bool edge_known;
};

struct fuzz_tcp {
	struct rte_mempool *frames, *reserve, *receive;
	struct payload_pool *payloads;
	struct random rng;
	struct net_if netif;
	struct net *net;
	struct tcp_stack *stack;
	struct tcp_pcb *listener;
	struct net_endpoint local;
	struct net_address remote;
	bool ipv6;
	uint64_t now_us;
	struct fuzz_peer peers[FUZZ_PEERS];
	struct rte_mbuf *hoard[FUZZ_HOARD]; // frames that the engine has to do without
	unsigned hoard_count;
};

struct fuzz_input {
	const uint8_t *at, *end;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t high = fuzz_byte(in);

	return (uint16_t)(high << 8 | fuzz_byte(in));
}

// Of either stream, at a number: the peer's sequence number, or the user's offset.
static inline uint8_t fuzz_octet(uint32_t number)
{
	return (uint8_t)(number * 31 + (number >> 8));
}

// A new connection: what an earlier one has promised holds no longer.
void fuzz_peer_forget(struct fuzz_peer *peer);
// The engine has begun with this ISN.
void fuzz_peer_begin(struct fuzz_peer *peer, uint32_t iss);
void fuzz_peer_step(struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned what, unsigned variant,
	struct fuzz_input *in);
// The interface's transmission (`ctx`: struct fuzz_tcp): looks at the packet and consumes it.
void fuzz_peer_receive(void *ctx, struct rte_mbuf *m);
void fuzz_frames_hoard(struct fuzz_tcp *f);
void fuzz_frames_release(struct fuzz_tcp *f);
