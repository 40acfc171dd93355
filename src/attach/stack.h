// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Stack mode: Offramp is an endpoint with an address of its own. A client's SYN is
// answered once the broker has accepted a peer connection that Offramp opens from
// the port the client used; from then on the two are one client of the offload.
//
//   client          Offramp           broker
//     │── SYN ────────▶│── SYN ────────▶│
//     │                │◀──── SYN-ACK ──│
//     │◀───── SYN-ACK ─│                │     the broker sees nothing of it yet
//     │── ACK ────────▶│── ACK ────────▶│     now it does
//
// What has come about otherwise (attach/monitor.h) is given to it by stack_adopt(), and is the same
// from there on. One a worker, on the worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/slab.h"
#include "offload/config.h"

struct offload;
struct stack;
struct tcp_pcb;
struct tcp_stack;

// Where there are several workers: which connections are this one's, by their two ends, of which
// `local` is ours. A peer connection is made from a port with which it is.
struct stack_share {
	bool (*is_ours)(
		void *ctx, const struct net_endpoint *local, const struct net_endpoint *remote);
	void *ctx;
};

// `listens`: for every broker of the configuration; else there is only what is adopted. `share`,
// copied; NULL: all are this worker's. -EADDRINUSE, -ENOMEM.
int stack_create(const struct offload_config *config, struct offload *offload,
	struct tcp_stack *tcp, bool listens, const struct stack_share *share, uint64_t now_us,
	struct stack **ret_stack);
// Aborts what is left. Accepts NULL.
void stack_destroy(struct stack *stack);

// Takes two connections that stand, the client's and the broker's, and makes them one client of the
// offload. -ENOMEM, also while draining: they stay the caller's.
int stack_adopt(struct stack *stack, unsigned broker, struct tcp_pcb *down, struct tcp_pcb *up);

// Deals with everything TCP has to report, and with timers.
void stack_run(struct stack *stack, uint64_t now_us);
uint64_t stack_next_deadline(const struct stack *stack);

// An orderly stop: new clients are refused; connections end once what they are owed is delivered.
void stack_drain(struct stack *stack);
// All connections have ended.
bool stack_drained(const struct stack *stack);

// Connections that clients have, or are being given.
struct pool_usage stack_usage(const struct stack *stack);

struct counter_set stack_counters(const struct stack *stack);
