// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Congestion control as a const table of functions over a state of its own
// (RFC 5681). Loss detection and recovery (recovery.c, recovery_sack.c) and ECN call it;
// CWND and SSTHRESH in the pcb are what it decides.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_pcb;

#define TCP_CWND_MAX (1u << 30)

union tcp_congestion_state {
	struct {
		uint32_t bytes_acked; // since CWND last grew in congestion avoidance
	} newreno;
	struct {
		uint32_t w_max;	   // octets; 0: nothing is known
		uint32_t w_est;	   // what Reno's window would be
		uint32_t epoch_ms; // when this stage of congestion avoidance began; 0: not yet
		uint32_t k_ms;	   // from then until the window is W_max again
	} cubic;
};

struct tcp_congestion_ops {
	const char *name;
	// The connection is established, or changes over: MSS and CWND are set.
	void (*init)(struct tcp_pcb *pcb);
	// `acked` new octets outside of recovery, of `flight` that were outstanding.
	void (*acked)(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight);
	// A loss (or CE) in a window with `flight` outstanding octets: sets SSTHRESH.
	void (*lost)(struct tcp_pcb *pcb, uint32_t flight);
	// The loss was noticed by a timeout (called after lost()); may be NULL.
	void (*timeout)(struct tcp_pcb *pcb);
};

extern const struct tcp_congestion_ops tcp_congestion_cubic;
extern const struct tcp_congestion_ops tcp_congestion_newreno;

// The pcb's.
const struct tcp_congestion_ops *tcp_congestion(const struct tcp_pcb *pcb);

// RFC 6928 2; one segment when SYN or SYN-ACK were lost (RFC 5681 3.1).
uint32_t tcp_congestion_initial_window(const struct tcp_pcb *pcb);
// A window that was not used up says nothing about the network (RFC 7661 1): it must not grow.
bool tcp_congestion_unused(const struct tcp_pcb *pcb, uint32_t flight);
// Slow start: CWND grows by what was acknowledged, two segments an ACK at most (RFC 3465 2.3).
// False in congestion avoidance.
bool tcp_congestion_slow_start(struct tcp_pcb *pcb, uint32_t acked);
