// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A tap on one queue of a port: copies what comes out of the device and what the device
// has taken, as far as a filter wants it, into a ring. Between the device and everything
// else, an impaired wire included: what it shows was on the real one. The worker that
// owns the queue runs it; where there is no tap, that costs a branch a burst.

#pragma once

#include <stdint.h>

#include "port/tap_ring.h"

#define TAP_BURST_MAX 64u	    // frames of one burst
#define TAP_FLAT_MAX  (128u * 1024) // bytes of a frame that a filter sees

struct bpf_program;
struct port;
struct rte_mbuf;

// As pcapng's epb_flags have it.
enum port_direction {
	PORT_IN = 1,
	PORT_OUT = 2,
};

struct port_tap {
	// Whoever made it, before it is added.
	struct tap_ring *ring;		  // of this worker; taps of several ports may share it
	const struct bpf_program *filter; // of libpcap's, checked; NULL: all frames
	uint8_t *flat;			  // TAP_FLAT_MAX bytes, for the filter
	uint32_t snap_length;		  // so many bytes of a frame at most
	uint16_t port;			  // goes into its records

	// Written by the worker, read by anyone.
	uint64_t seen;	 // frames
	uint64_t wanted; // of these, by the filter
	uint64_t lost;	 // of these, because the ring was full

	// The worker's.
	struct port_tap *next;
	uint64_t start; // in the ring, before the burst
	struct {
		uint64_t position; // in the ring, behind frame i of the burst
		uint8_t wanted, lost;
	} burst[TAP_BURST_MAX];
};

// On the worker that owns the queue, between two bursts.
void port_tap_add(struct port *port, unsigned queue, struct port_tap *tap);
// Does nothing when it is not there.
void port_tap_remove(struct port *port, unsigned queue, struct port_tap *tap);

// --- for bursts ----------------------------------------------------------------------------------

// Frames have come; at most TAP_BURST_MAX are looked at in one go, in as many as it takes.
void port_taps_received(struct port_tap *taps, struct rte_mbuf *const *frames, unsigned count);
// Before a burst is offered to the device, TAP_BURST_MAX frames at most: the device may change and
// free what it takes.
void port_taps_offer(struct port_tap *taps, struct rte_mbuf *const *frames, unsigned count);
// After that: the device has taken so many of them.
void port_taps_sent(struct port_tap *taps, unsigned count);
