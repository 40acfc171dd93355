// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The SACK option's meaning, both ways (RFC 2018, RFC 2883).

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_options;
struct tcp_pcb;
struct tcp_sack_news;
struct tcp_segment;

// [start, end) arrived although it was there already; the next ACK says so (RFC 2883 4).
void tcp_sack_duplicate(struct tcp_pcb *pcb, uint32_t start, uint32_t end);
// Is there anything that an ACK should report?
bool tcp_sack_pending(const struct tcp_pcb *pcb);
// The blocks of the next ACK, as many as there is room for (RFC 2018 4).
void tcp_sack_report(struct tcp_pcb *pcb, struct tcp_options *options);

// Marks what the peer reports in the flight (RFC 2018 5); SND.UNA has moved already. Blocks that no
// honest peer could send are ignored and counted.
void tcp_sack_learn(
	struct tcp_pcb *pcb, const struct tcp_segment *seg, struct tcp_sack_news *ret_news);
