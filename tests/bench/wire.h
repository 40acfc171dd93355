// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the benchmarks of the send path share: a worker's floors up to the engine over an interface
// that throws frames away, and thousands of peers behind it that acknowledge what they get.
//
//   engine ─▶ net ─▶ wire (reads the header, frees the frame in bursts, as a port does)
//   engine ◀─ net ◀─ wire_acknowledge(): one segment from each peer that is owed one
//
// The device's own work is imitated where that matters: `copies` writes each frame into a ring, as
// af_packet does.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/payload.h"
#include "base/random.h"
#include "net/net.h"
#include "tcp/tcp.h"

#define WIRE_BURST 64
#define WIRE_PORT  1883

struct wire_peer {
	uint32_t snd_nxt, rcv_nxt;
	uint32_t acked; // rcv_nxt as last told
	uint32_t ts_recent;
	bool timestamps;
	struct tcp_pcb *pcb;
};

struct wire_config {
	unsigned peers;
	struct net_if_caps caps;
	uint16_t mtu;
	bool copies;	 // frames are written into a ring
	bool timestamps; // the peers offer them
};

struct wire {
	struct wire_config config;
	struct net_if netif;
	struct rte_mempool *tx_pool, *rx_pool;
	struct payload_pool *payloads;
	struct random rng;
	struct net *net;
	struct tcp_stack *stack;
	struct tcp_pcb *listener;
	uint64_t now_us;
	struct wire_peer *peers;
	struct rte_mbuf *burst[WIRE_BURST];
	unsigned burst_count;
	uint64_t frames, bytes, segments; // mbufs of frames
	uint8_t *ring;
	size_t ring_at;
};

// Starts the EAL, without anything of the machine's. Exits when it cannot.
void wire_eal_init(void);
// Everything that can go wrong ends the program.
void wire_init(struct wire *wire, const struct wire_config *config);
// Asserts that every frame, payload and piece has come back.
void wire_fini(struct wire *wire);
// All peers connect; their pcbs stand in peers[].pcb.
void wire_connect(struct wire *wire);
// Bytes from a peer.
void wire_peer_sends(struct wire *wire, unsigned peer, const void *data, size_t length);
// A turn's beginning, `us` later; and its end.
void wire_turn_begin(struct wire *wire, uint64_t us);
void wire_turn_end(struct wire *wire);
// Each peer acknowledges what it has got and not acknowledged.
void wire_acknowledge(struct wire *wire);

// Cycles of the least disturbed of many rounds: the machine has other things to do as well.
struct wire_cost {
	uint64_t least;
};
void wire_cost_add(struct wire_cost *cost, uint64_t cycles);
double wire_cost_ns(const struct wire_cost *cost, double per);
