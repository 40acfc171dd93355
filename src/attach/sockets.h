// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Socket mode: the broker's own sockets live here. A process (src/shim) attaches over a lane
// (channel/lane.h), says on which of the configured addresses it listens, and is given the
// connections that come. There is no TCP on the broker's side: what it writes is in the lane, and
// so is what passes to it.
//
//   client ── pcb ── offload ── flow ── slot of a lane ── the broker's descriptor
//
// Several processes may listen on one address: connections go round among those that look for them.
// Works on the worker's thread; lanes are handed over and taken back through its mailbox.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/slab.h"
#include "offload/config.h"

struct lane;
struct net;
struct net_address;
struct net_delivery;
struct net_endpoint;
struct offload;
struct payload_pool;
struct sockets;
struct tcp_stack;

#define SOCKETS_PROCESSES_MAX 256 // attached at once

struct sockets_process {
	struct lane *lane; // this side; not owned
	// Somebody sleeps over there, and there is news, or it is to be written: at most once a
	// turn.
	void (*wake)(void *ctx);
	void *wake_ctx;
};

// -ENOMEM.
int sockets_create(const struct offload_config *config, struct offload *offload, struct net *net,
	struct tcp_stack *tcp, struct payload_pool *payloads, uint64_t now_us,
	struct sockets **ret_sockets);
// Resets what is left. Accepts NULL.
void sockets_destroy(struct sockets *sockets);

// A process has come: its number, or -ENOSPC, -ENOMEM.
int sockets_attach(struct sockets *sockets, const struct sockets_process *process);
// It has gone: what it had ends as the kernel would end it. The lane is not touched any more.
void sockets_detach(struct sockets *sockets, unsigned process);
// It has ended, and children of its hold on to its listening sockets: who comes waits for one of
// them, until it is detached.
void sockets_bequeath(struct sockets *sockets, unsigned process);
// It has written what it never may. Any thread.
bool sockets_is_broken(const struct sockets *sockets, unsigned process);
// Its lane has told so, behind all that came over it. Any thread.
bool sockets_is_gone(const struct sockets *sockets, unsigned process);
// What a lane's `wake` is to call.
void sockets_wake(struct sockets *sockets, unsigned process);

// An ICMP socket of a process.
struct sockets_echo {
	uint32_t call, socket; // the process's numbers
	int error;	       // not 0: it has no right to one, and is told so
	bool ipv6;
	bool raw;	     // else a datagram socket, which sees what belongs to its identifier
	uint16_t identifier; // of echo requests
};
// It begins, or not: the process is answered. Its slot is of the kind CHANNEL_DATAGRAM_SLOT.
void sockets_open_echo(struct sockets *sockets, unsigned process, const struct sockets_echo *echo);
// UDP sockets may have these places, of which a port 0 stands for all from 1024 on. They stay the
// caller's.
void sockets_serve_udp(struct sockets *sockets, const struct net_endpoint *where, unsigned count);
// What net_config.datagram is given is for all of these. Consumes its m.
void sockets_datagram(struct sockets *sockets, const struct net_delivery *delivery);

// Which connections processes make: to where, and (several workers) between which ends they are
// this worker's; NULL: all.
struct sockets_outgoing {
	bool (*may)(void *ctx, const struct net_address *remote);
	bool (*is_ours)(
		void *ctx, const struct net_endpoint *local, const struct net_endpoint *remote);
	void *ctx;
};
// Before the first process comes; without it they make none. Copied.
void sockets_allow_outgoing(struct sockets *sockets, const struct sockets_outgoing *outgoing);

// Takes in what processes have written; before offload_hear(). Returns how much there was.
unsigned sockets_receive(struct sockets *sockets);
// Deals with that, with everything TCP has to report, and with timers.
void sockets_run(struct sockets *sockets, uint64_t now_us);
// Wakes who sleeps; last in a turn.
void sockets_flush(struct sockets *sockets);
uint64_t sockets_next_deadline(const struct sockets *sockets);

// An orderly stop, as stack_drain().
void sockets_drain(struct sockets *sockets);
bool sockets_drained(const struct sockets *sockets);

struct pool_usage sockets_usage(const struct sockets *sockets);
struct counter_set sockets_counters(const struct sockets *sockets); // NULL: zeros
