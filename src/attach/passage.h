// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// `ack: end-to-end`: one direction of a flow in which an octet is acknowledged to who
// has sent it only when what became of it has been acknowledged by who gets it. Streams
// are edited, so octets do not correspond; positions do:
//
//   from ──▶ consumed ░░░░░░░░░│░░░░░░░░│░░░░│      an edge: what was consumed up to here
//                              │        │    │      had been queued up to there, or captured
//   to   ◀── queued   ▓▓▓▓▓│▓▓▓▓▓▓▓▓▓▓▓▓▓│▓▓▓│
//                          └ acknowledged up to here: the first edge is carried back
//
// Captured octets have an edge as well: they wait for what passed in front of them, because an ACK
// number speaks for everything before it, and for nothing else. Edges are few and get coarser when
// there are too many; a coarser one is late, never early. Worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_pcb;

#define PASSAGE_EDGES 16

struct passage_edge {
	uint32_t octets; // of `from`, since the edge before
	uint32_t end;	 // sequence number of `to`
	uint32_t clock;	 // timestamp of the segment that came last
};

struct passage {
	struct tcp_pcb *from, *to;
	uint32_t octets; // of all edges
	uint32_t first, count;
	bool ended; // the end of the stream was carried on
	struct passage_edge edges[PASSAGE_EDGES];
};

void passage_init(struct passage *passage, struct tcp_pcb *from, struct tcp_pcb *to);
// Everything consumed of `from`, and so many octets more (negative: less), has been dealt with:
// what is to reach `to` is in its queue. Acknowledges at once what waits for nobody.
void passage_note(struct passage *passage, int32_t beyond);
// `to` may have acknowledged more: so does `from`.
void passage_carry(struct passage *passage);
// All that has come, and the end of the stream if it has, is acknowledged.
bool passage_settled(const struct passage *passage);
