// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Explicit congestion notification (RFC 3168 6.1).

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_arrival;
struct tcp_pcb;
struct tcp_segment;

#define TCP_ECN_NOT_ECT 0u
#define TCP_ECN_ECT0	2u
#define TCP_ECN_CE	3u

// The flags that offer or accept ECN in a SYN of ours with `flags`.
uint8_t tcp_ecn_syn_flags(const struct tcp_pcb *pcb, uint8_t flags);
// The peer's SYN or SYN-ACK.
void tcp_ecn_learn_syn(struct tcp_pcb *pcb, const struct tcp_segment *syn);
// An acceptable segment arrived: CE is echoed until the peer says CWR.
void tcp_ecn_input(struct tcp_pcb *pcb, const struct tcp_arrival *a);
// The peer echoes CE: the window is halved, once a round trip.
void tcp_ecn_echoed(struct tcp_pcb *pcb, uint32_t flight);
// Was the window of which SND.UNA is part reduced because of ECN?
bool tcp_ecn_reduced(const struct tcp_pcb *pcb);
// It is reduced now for another reason: the peer is told that, too.
void tcp_ecn_reduction(struct tcp_pcb *pcb);
// The flags and the ECN bits of a segment with `length` octets of text at `seq`.
uint8_t tcp_ecn_flags(struct tcp_pcb *pcb, uint32_t seq, uint32_t length, uint8_t *ret_ecn);
