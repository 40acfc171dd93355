// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The flight of a connection with SACK: what of SND.UNA..SND.NXT was sent when, has been
// SACKed, is thought lost, was sent again. It is RFC 6675's scoreboard and RFC 8985's
// transmission times in one sorted array of ranges:
//
//   SND.UNA                                                         SND.NXT
//   ├── 10:00.1 ──┼─ lost ─┼──── SACKed ────┼─ sent again ─┼── 10:00.3 ──┤
//      ranges[0]    [1]         [2]              [3]            [4]
//
// What was sent in one turn is one range, and a flight that was sent in one turn (thin
// flows, a message to a thousand subscribers) needs no record at all: pcb->sent_us says it
// all. So an idle or quiet connection has none. There is one for each pcb of the stack:
// taking one cannot fail, and their memory is touched only when used.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tcp/sendq.h"
#include "tcp/undo.h"

struct tcp_pcb;
struct tcp_stack;

// Past this neighbours are merged. More than ranges of one round trip and dozens of holes.
#define TCP_RANGES 44

enum tcp_range_mark {
	TCP_RANGE_SACKED = 1 << 0,
	TCP_RANGE_LOST = 1 << 1, // and not sent again since
	TCP_RANGE_RESENT = 1 << 2,
};

struct tcp_range {
	uint32_t end;	  // it begins where the one before ends
	uint32_t sent_us; // low half of the time of the last transmission
	uint32_t marks;	  // enum tcp_range_mark
};

struct tcp_flight {
	uint32_t first, count; // ranges in use
	uint32_t sacked, lost; // octets in ranges so marked
	uint32_t since_us;     // when the oldest part of the last range was sent
	uint32_t fack;	       // one past the highest octet SACKed; valid while `sacked`
	// What the segment that is being processed has brought.
	uint32_t delivered; // octets that are acknowledged or SACKed for the first time
	uint32_t echo;	    // the time of ours that it echoes, where that is known; 0
	// RFC 8985 5.2: the most recently sent of what was delivered.
	bool rack_valid;
	bool resent;	    // something was sent again: ranges are not in the order of sending
	bool dsack_pending; // a DSACK widened the reordering window, until dsack_round
	uint32_t rack_us, rack_end, rack_rtt_us;
	uint32_t dsack_round;
	// RFC 8985 7: tail loss probe.
	bool probe;	   // one is under way: its end is probe_end
	bool probe_resent; // it was a retransmission
	uint32_t probe_end;
	// RFC 6937: proportional rate reduction.
	uint32_t prr_delivered, prr_out, prr_flight;
	struct tcp_undo undo;
	// Where the octet at cursor_seq stands in the send queue; valid beyond SND.UNA.
	uint32_t cursor_seq;
	struct tcp_cursor cursor;
	struct tcp_range ranges[TCP_RANGES];
};

// Records of all connections of a stack.
struct tcp_flight_pool {
	struct tcp_flight *flights;
	uint32_t *free; // stack of indices
	uint32_t free_count, fresh;
};

int tcp_flight_pool_init(struct tcp_flight_pool *pool, uint32_t count); // -ENOMEM
void tcp_flight_pool_fini(struct tcp_flight_pool *pool);

// tcp_flight_find(), which is NULL when there is no record, stands in stack.h.
// With a record made when there was none.
struct tcp_flight *tcp_flight_get(struct tcp_pcb *pcb);
void tcp_flight_drop(struct tcp_pcb *pcb);

// [seq, end) is sent: at SND.NXT (which has not moved yet) or again.
void tcp_flight_sent(struct tcp_pcb *pcb, uint32_t seq, uint32_t end);
// `ack` is acknowledged; SND.UNA has not moved yet.
void tcp_flight_acked(struct tcp_pcb *pcb, uint32_t ack);
// [start, end) is SACKed; within SND.UNA..SND.NXT.
void tcp_flight_sack(struct tcp_pcb *pcb, uint32_t start, uint32_t end);
// RFC 2018 8: what was SACKed may have been thrown away since.
void tcp_flight_unsack(struct tcp_pcb *pcb);
// The range is thought lost.
void tcp_flight_lose(struct tcp_flight *flight, struct tcp_range *range, uint32_t length);
// Everything that is not SACKed is (a router said so).
void tcp_flight_lose_all(struct tcp_pcb *pcb);
// Nothing is, after all.
void tcp_flight_unlose(struct tcp_pcb *pcb);
// The first `length` octets become a range of their own.
void tcp_flight_split_head(struct tcp_pcb *pcb, uint32_t length);

// RFC 6675 4, NextSeg() (1): the lowest range that is lost. False when there is none.
bool tcp_flight_next_lost(const struct tcp_pcb *pcb, uint32_t *ret_seq, uint32_t *ret_length);
// Where [seq, …) stands in the send queue.
struct tcp_cursor tcp_flight_cursor(struct tcp_pcb *pcb, uint32_t seq);
// RFC 6675 4, SetPipe(): octets thought to be in the network. With or without a record.
uint32_t tcp_flight_pipe(const struct tcp_pcb *pcb);

static inline struct tcp_range *tcp_flight_range(struct tcp_flight *f, uint32_t i)
{
	return &f->ranges[f->first + i];
}
// Where range i begins.
uint32_t tcp_flight_start(const struct tcp_pcb *pcb, const struct tcp_flight *f, uint32_t i);

void tcp_flight_check(const struct tcp_pcb *pcb);
