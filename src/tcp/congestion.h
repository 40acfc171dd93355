// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Congestion control as a const table of functions over a state of its own
// (RFC 5681). Loss detection and recovery (recovery.c) call it; CWND and SSTHRESH
// in the pcb are what it decides.

#pragma once

#include <stdint.h>

struct tcp_pcb;

union tcp_congestion_state {
	struct {
		uint32_t bytes_acked; // since CWND last grew in congestion avoidance
	} newreno;
};

struct tcp_congestion_ops {
	const char *name;
	// The connection is established, MSS and CWND (the initial window) are set.
	void (*init)(struct tcp_pcb *pcb);
	// `acked` new octets outside of recovery, of `flight` that were outstanding.
	void (*acked)(struct tcp_pcb *pcb, uint32_t acked, uint32_t flight);
	// A loss in a window with `flight` outstanding octets: sets SSTHRESH.
	void (*lost)(struct tcp_pcb *pcb, uint32_t flight);
};

extern const struct tcp_congestion_ops tcp_congestion_newreno;

// RFC 6928 2; one segment when SYN or SYN-ACK were lost (RFC 5681 3.1).
uint32_t tcp_congestion_initial_window(const struct tcp_pcb *pcb);
