// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The engine's interface as the offload uses it, without an engine: a test says how the
// received bytes lie in memory, when the peer acknowledges, and when memory ends. Every span
// is an allocation of its own, freed when it is consumed, so that ASan sees who reads
// too late; queued payloads are read only when they are acknowledged, so that a payload
// changed after it was queued shows.

#pragma once

#include "tcp/tcp.h"

#define TCP_DOUBLE_PIECES 200000u // in one queue

struct tcp_double_span {
	uint8_t *data;
	uint32_t length, skip;
};

struct tcp_pcb {
	struct tcp_stack *stack;
	struct tcp_double_span spans[512];
	unsigned spans_first, spans_count;
	uint32_t readable;
	bool eof;  // the peer has ended its direction
	bool shut; // ours has ended
	bool dead; // nobody reads
	// What is queued, and what the peer has got of it.
	struct tcp_piece *pieces;
	uint32_t pieces_count;
	uint64_t queued;
	uint8_t *got;
	size_t got_length, got_size, got_read;
	uint32_t low_water;
	bool writable; // the queue came down to the low water mark: owed to the user as an event
	uint64_t progress_us;
	struct net_endpoint remote;
};

struct tcp_stack {
	uint32_t pieces, pieces_max;
	uint64_t now_us;
};

void tcp_double_open(struct tcp_pcb *pcb, struct tcp_stack *stack);
void tcp_double_close(struct tcp_pcb *pcb);
// Bytes arrive, as one span.
void tcp_double_arrive(struct tcp_pcb *pcb, const void *data, size_t length);
// As the flush of a turn: what was not consumed is put together.
void tcp_double_settle(struct tcp_pcb *pcb);
// The peer acknowledges everything, or the first `length` bytes at most.
void tcp_double_acknowledge(struct tcp_pcb *pcb, uint64_t length);
