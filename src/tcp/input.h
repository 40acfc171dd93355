// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Segment arrival (RFC 9293 3.10.7), split by state. A handler may free the pcb.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"
#include "tcp/segment.h"

struct net_delivery;
struct rte_mbuf;
struct tcp_pcb;
struct tcp_stack;

// One segment on its way through the handlers.
struct tcp_arrival {
	const struct net_delivery *delivery;
	struct rte_mbuf *m; // NULL once somebody has taken it
	uint32_t text;	    // offset of the text in m
	uint32_t hash;	    // of the endpoints
	struct net_endpoint local, remote;
	struct tcp_segment seg;
};

// input_handshake.c
// A SYN for a listener; `beyond`: the new ISN must lie behind it (NULL: anywhere).
void tcp_input_listen(struct tcp_stack *stack, struct tcp_pcb *listener, struct tcp_arrival *a,
	const uint32_t *beyond);
void tcp_input_deferred(struct tcp_pcb *pcb, struct tcp_arrival *a);
void tcp_input_syn_sent(struct tcp_pcb *pcb, struct tcp_arrival *a);

// Address, path and the listener's options of a connection to be; errors of net_path_open().
int tcp_input_child_open(
	struct tcp_pcb *pcb, const struct tcp_pcb *listener, const struct tcp_arrival *a);
// The same on a pcb of its own, the user's; NULL (counted) when there is none or no way back.
struct tcp_pcb *tcp_input_child_alloc(
	struct tcp_stack *stack, struct tcp_pcb *listener, const struct tcp_arrival *a);

// cookie.c
// SYN-ACK to a SYN that is not going to be remembered.
void tcp_cookie_answer(
	struct tcp_stack *stack, const struct tcp_pcb *listener, const struct tcp_arrival *a);
// Were cookies given out lately?
bool tcp_cookie_expected(const struct tcp_stack *stack);
// A segment of no connection: if it brings a cookie back it is processed, and true.
bool tcp_cookie_accept(struct tcp_stack *stack, struct tcp_pcb *listener, struct tcp_arrival *a);

// input_synchronized.c: SYN-RECEIVED and all states from ESTABLISHED on
void tcp_input_synchronized(struct tcp_pcb *pcb, struct tcp_arrival *a);

// input_ack.c: the fifth step; false when processing of the segment ends here.
bool tcp_input_ack(struct tcp_pcb *pcb, const struct tcp_segment *seg);
// RFC 7323 4.3 (2), after PAWS: what our next segment echoes.
void tcp_input_timestamp(struct tcp_pcb *pcb, const struct tcp_segment *seg);

// input_text.c: the seventh and eighth step; the pcb may be gone afterwards.
void tcp_input_text(struct tcp_pcb *pcb, struct tcp_arrival *a);

// input_icmp.c: takes no ownership.
void tcp_input_icmp(struct tcp_stack *stack, const struct net_delivery *delivery);
