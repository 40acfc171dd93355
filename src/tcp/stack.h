// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// struct tcp_stack: one worker's connections and what they share.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/list.h"
#include "base/wheel.h"
#include "tcp/counters.h"
#include "tcp/flight.h"
#include "tcp/lookup.h"
#include "tcp/pcb.h"
#include "tcp/sendq.h"
#include "tcp/tcp.h"

// At most `per_s` a second.
struct tcp_limit {
	uint64_t since_us;
	uint32_t used, per_s;
};

struct tcp_stack {
	uint64_t now_us;    // the turn's time
	uint32_t now_ms;    // the same, as the clock of timestamps
	uint32_t half_open; // passive pcbs before ESTABLISHED
	struct tcp_config config;
	struct net *net;
	struct payload_pool *payloads;
	struct random *rng;

	struct list ready;     // pcbs with events, in the order of their first
	struct list flush;     // pcbs with something to send or to settle
	struct list time_wait; // TIME-WAITs of nobody's, oldest first (by pcb->ready)
	struct tcp_table table;
	struct tcp_piece_pool pieces;
	struct tcp_flight_pool flights;
	uint32_t early_stamp; // orders pieces of early text by arrival
	struct tcp_limit resets, challenges;

	struct tcp_pcb *pcbs;
	struct list pcbs_free; // by pcb->flush
	uint32_t pcbs_fresh;   // pcbs never used begin here: their memory is untouched
	uint32_t pcbs_used;
	uint8_t rcv_wscale;	// what receive_buffer asks for
	uint64_t cookie_period; // in which the last SYN cookie was sent; 0: never
	uint8_t cookie_secret[16];

	uint64_t counters[TCP_COUNTERS];
	struct wheel wheel;
};

// False when the second's share is used up.
bool tcp_limit_take(struct tcp_limit *limit, uint64_t now_us);

static inline void tcp_count(struct tcp_stack *stack, enum tcp_counter counter)
{
	counter_inc(&stack->counters[counter]);
}

static inline void tcp_count_drop(struct tcp_stack *stack, enum tcp_drop reason)
{
	counter_inc(&stack->counters[TCP_COUNTER_DROPPED + reason]);
}

static inline void tcp_count_syn_drop(struct tcp_stack *stack, enum tcp_syn_drop reason)
{
	counter_inc(&stack->counters[TCP_COUNTER_SYN_DROPPED + reason]);
}

// Where a pcb stands, and back; 0 is NULL.
static inline uint32_t tcp_pcb_index(const struct tcp_pcb *pcb)
{
	return pcb ? (uint32_t)(pcb - pcb->stack->pcbs) + 1 : 0;
}

static inline struct tcp_pcb *tcp_pcb_at(const struct tcp_stack *stack, uint32_t index)
{
	return index ? &stack->pcbs[index - 1] : NULL;
}

// NULL: there is no record of the flight, see flight.h.
static inline struct tcp_flight *tcp_flight_find(const struct tcp_pcb *pcb)
{
	return pcb->flight ? &pcb->stack->flights.flights[pcb->flight - 1] : NULL;
}
