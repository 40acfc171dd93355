// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A flow: one client's connection and its peer connection to the broker. Internal to
// the floor. In stack mode it is opened; in monitor mode both legs are adopted, and it
// begins OPEN.
//
//   OPENING   SYN held, the broker's leg connects
//   LATE      past the backlog: the client's leg stands (SYN cookie), the broker's leg connects;
//             what the client sends meanwhile waits in its receive queue
//   ACCEPTED  SYN-ACK sent, the client's ACK is awaited
//   OPEN      both legs stand, the offload has them
//
// When both directions have ended, or one side was reset, the flow is gone and its legs end by
// themselves.

#pragma once

#include "attach/passage.h"
#include "attach/stack.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "offload/offload.h"
#include "tcp/tcp.h"

enum stack_refusal {		   // connections_refused_total{reason}
	STACK_REFUSED_BROKER,	   // the broker refused
	STACK_REFUSED_UNREACHABLE, // the broker did not answer in time, or there is no way to it
	STACK_REFUSED_FULL,	   // clients_max, or memory
	STACK_REFUSED_PORTS,	   // no free port towards the broker
	STACK_REFUSED_DRAINING,
	STACK_REFUSALS,
};

enum { STACK_RESET_CLIENT, STACK_RESET_BROKER, STACK_RESET_OFFRAMP, STACK_RESETS };

struct stack_counters {
	uint64_t accepted;
	uint64_t refused[STACK_REFUSALS];
	uint64_t other_port; // peer connections from another port than the client's
	uint64_t resets[STACK_RESETS];
};

struct stack {
	struct offload *offload;
	struct tcp_stack *tcp;
	const struct offload_config *config;
	struct tcp_connect_options connect; // of peer connections
	struct tcp_pcb **listeners;	    // one a broker
	struct slab *flows, *passages;	    // struct passages: NULL where all is acknowledged early
	struct wheel timers;
	uint64_t now_us;
	bool draining;
	uint64_t freed; // flows that have ended: tells whether one ended meanwhile
	struct stack_counters counters;
};

enum flow_state { FLOW_OPENING, FLOW_LATE, FLOW_ACCEPTED, FLOW_OPEN };

// What a pcb's user pointer refers to: a side of a flow.
struct leg {
	struct flow *flow;
	struct tcp_pcb *pcb;
};

// ack: end-to-end.
struct passages {
	struct passage up, down; // from the client to the broker, and back
};

struct flow {
	struct stack *stack;
	struct client *client;	   // from OPEN on
	struct leg down, up;	   // the client's, the broker's
	struct passages *passages; // NULL: it is acknowledged early
	struct wheel_timer timer;
	enum flow_state state;
	unsigned broker;
	bool other_port; // the broker's leg is not from the client's port
	bool down_ended; // the client's FIN was carried on
	bool up_ended;	 // the broker's
	bool down_dead;	 // the client is gone; what it sent before is still on its way
};

// A client knocks, or stands there already (`late`). Takes the pcb.
void flow_open(struct stack *stack, unsigned broker, struct tcp_pcb *pcb, bool late);
// Something happened to a leg.
void flow_event(struct flow *flow, bool is_down, uint32_t events);
// The flow's timer fired.
void flow_timeout(struct flow *flow);
// An orderly stop looks at the flow: ends it when it is owed nothing.
void flow_drain(struct flow *flow);
// Resets both sides at once.
void flow_abort(struct flow *flow);
