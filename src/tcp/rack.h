// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// RACK-TLP (RFC 8985): what is lost is told by time, not by counting duplicates; a probe
// finds out about the tail of a flight long before the retransmission timer would.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_flight;
struct tcp_pcb;
struct tcp_range;
struct tcp_segment;

// What the SACK option of a segment told, beside the marks it left in the flight.
struct tcp_sack_news {
	bool dsack;			 // RFC 2883: something arrived twice …
	bool blocks;			 // it also had blocks beyond SND.UNA
	uint32_t dsack_start, dsack_end; // … here
};

// A segment arrives: its echo of our time tells one transmission from another.
void tcp_rack_input(struct tcp_pcb *pcb, const struct tcp_segment *seg);
// A round trip of something that was sent once.
void tcp_rack_min_rtt(struct tcp_pcb *pcb, uint32_t rtt_us);
// Octets of `range` up to `end` are delivered (RFC 8985 6.2, steps 1 to 3).
void tcp_rack_delivered(struct tcp_pcb *pcb, struct tcp_flight *flight,
	const struct tcp_range *range, uint32_t end);
// A duplicate arrived: the window for reordering widens (step 4).
void tcp_rack_dsack(struct tcp_pcb *pcb);
// A recovery ended: the widened window lasts for some of them.
void tcp_rack_recovered(struct tcp_pcb *pcb);
// Step 5: marks as lost what was sent long enough before something that has arrived. Returns
// after how many microseconds more will be, unless it arrives; 0: nothing waits.
uint32_t tcp_rack_detect(struct tcp_pcb *pcb);
// The retransmission timer expired (6.3): the head is lost, and all that is due.
void tcp_rack_timeout(struct tcp_pcb *pcb);

// RFC 8985 7.2: microseconds until a probe is worth sending; 0: none is.
uint64_t tcp_probe_delay_us(const struct tcp_pcb *pcb);
// 7.3: new text, or else the last segment again.
void tcp_probe_expired(struct tcp_pcb *pcb);
// 7.4: does the ACK, which acknowledged `acked` new octets, answer the probe? True when the probe
// had repaired a loss.
bool tcp_probe_answered(struct tcp_pcb *pcb, const struct tcp_segment *seg, uint32_t acked,
	const struct tcp_sack_news *news);
