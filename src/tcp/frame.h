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

// Mbufs that a frame may have beside its first.
#define TCP_FRAME_MORE 15

struct tcp_frame {
	const struct net_if *netif;
	struct rte_mbuf *m;
	uint32_t reference_least;
	unsigned more_count;
	struct rte_mbuf *more[TCP_FRAME_MORE];
};

// The first mbuf. Parts of `reference_least` octets and more are referred to, where the netif takes
// chains. `control`: the reserved mbufs may be used. False when none is free.
bool tcp_frame_begin(struct tcp_frame *frame, const struct net_if *netif, uint32_t reference_least,
	bool control);

// Takes what is needed beside the first for `length` octets from the cursor on and returns how many
// octets of them the frame can hold now: a multiple of `mss`, which fits always, if not all.
uint32_t tcp_frame_reserve(
	struct tcp_frame *frame, struct tcp_cursor from, uint32_t length, uint32_t mss);

// Puts the octets that were reserved for behind the header that frame->m holds (data_len and
// pkt_len are set) and returns the cursor behind them. Adds to *sum what they contribute to the
// segment's checksum, unless `sum` is NULL.
struct tcp_cursor tcp_frame_fill(
	struct tcp_frame *frame, struct tcp_cursor from, uint32_t length, uint16_t *sum);
