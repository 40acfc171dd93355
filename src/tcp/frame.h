// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Frames to transmit and the text in them. Small text is copied behind the header. Where the netif
// takes chains, large parts of payloads are referred to where they lie:
//
//   header mbuf           mbuf of its own               payload
//   ┌──────┬─────┬──────┐ next ┌──────────────┐ buf_addr ┌──────┬───────────────┐
//   │ room │ TCP │ small│─────▶│ shinfo (room)│─────────▶│ refs │ data          │
//   └──────┴─────┴──────┘      └──────────────┘          └──────┴───────────────┘
//
// An mbuf's reference count has 16 bits and a payload stands in any number of frames, so each mbuf
// that refers to one holds one of the payload's own 32-bit references. The device gives it back on
// the worker's thread, where it frees what it has sent.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tcp/sendq.h"

struct net_if;
struct rte_mbuf;

// An mbuf to build a frame in; `control`: the reserved ones may be used. NULL.
struct rte_mbuf *tcp_frame_alloc(const struct net_if *netif, bool control);

// Puts `length` octets from the cursor on behind the header that m holds (data_len and pkt_len are
// set) and returns the cursor behind them. There is room for all of them in m. Parts of
// `reference_least` octets and more are referred to, where the netif takes chains. Adds to *sum
// what the octets contribute to the segment's checksum, unless `sum` is NULL.
struct tcp_cursor tcp_frame_fill(const struct net_if *netif, uint32_t reference_least,
	struct rte_mbuf *m, struct tcp_cursor from, uint32_t length, uint16_t *sum);
