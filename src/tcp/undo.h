// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Spurious recoveries: nothing was lost, it only came late. What the window was before is kept in
// the record of the flight until the peer's answer tells which it was, by timestamps (Eifel,
// RFC 3522), by duplicates reported (RFC 3708) or by what arrives after a timeout (F-RTO,
// RFC 5682); then it is restored (RFC 9438 4.9).

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tcp/congestion.h"

struct tcp_flight;
struct tcp_pcb;
struct tcp_sack_news;
struct tcp_segment;

enum tcp_frto {
	TCP_FRTO_OFF,
	TCP_FRTO_ACK,  // the head was sent again: what does its ACK say? (step 2)
	TCP_FRTO_NEW,  // new text is to be sent instead of what seems lost (step 2b)
	TCP_FRTO_WAIT, // it is under way: the next ACK decides (step 3)
};

struct tcp_undo {
	bool armed;		// the rest is valid
	bool timed;		// the first ACK of something new is still to come
	uint8_t frto;		// enum tcp_frto
	uint32_t ts;		// our clock when the first segment was sent again
	uint32_t start, resent; // octets sent again from here on, less those reported as duplicates
	uint32_t original;	// octets delivered by this segment that were sent only once
	uint32_t cwnd, ssthresh;
	union tcp_congestion_state state;
};

// The window is about to be reduced because of a loss, noticed by a timeout or else by ACKs.
void tcp_undo_arm(struct tcp_pcb *pcb, bool timeout);
// A router has confirmed the congestion: there is nothing to undo.
void tcp_undo_disarm(struct tcp_pcb *pcb);
// A segment with an ACK of `acked` new octets was learned from. True when it has shown that the
// recovery was spurious: it is over then, the windows are as before.
bool tcp_undo_input(struct tcp_pcb *pcb, const struct tcp_segment *seg, uint32_t acked,
	const struct tcp_sack_news *news);
// What seems lost has to wait: F-RTO asks with new text first.
bool tcp_undo_asks(const struct tcp_flight *flight);
// New text was sent, or there was none to send.
void tcp_undo_asked(struct tcp_flight *flight, bool any);
