// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The fast path of one worker: cuts both directions of every client's connection
// into MQTT packets, captures PUBLISHes that it can prove it would deliver as the
// broker would, delivers them, and passes everything else.
//
//   client ─▶ pcb ─▶ upstream ──┬─▶ broker link            (passed)
//                               └─▶ capture ─▶ output of each subscriber
//   client ◀─ pcb ◀─ output ◀───┬── downstream ◀─ broker link
//
// How a client meets its broker is the attach floor's business; it joins the two
// through struct broker_link_ops. Everything runs on the worker's thread.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/slab.h"
#include "offload/config.h"
#include "tcp/tcp.h"

struct client;
struct ledger;
struct ledger_writer;
struct offload;
struct payload_pool;
struct random;

// The broker's end of one client's connection, as the offload uses it. Implemented by attach.
struct broker_link_ops {
	// What the broker has sent and is not consumed yet, as tcp_recv_peek().
	unsigned (*peek)(struct client *client, struct tcp_span *ret_spans, unsigned max);
	void (*consume)(struct client *client, uint32_t n);
	// Some of what the client has sent was consumed; NULL: nobody wants to know.
	void (*consumed)(struct client *client);
	bool (*eof)(const struct client *client); // nothing follows what peek shows
	// Bytes to the broker, as tcp_send() and tcp_send_copy().
	int (*send)(struct client *client, const struct tcp_piece *pieces, unsigned count);
	int (*send_copy)(struct client *client, const void *data, size_t length);
	uint64_t (*queued)(const struct client *client); // bytes the broker has not taken yet
	// Our end of the broker's connection and its state's name, for listings.
	void (*describe)(const struct client *client, struct net_endpoint *ret_local,
		const char **ret_state);
	// A run of the client has ended: carry on with what follows from it (ends of streams). The
	// client may be closed in here.
	void (*moved)(struct client *client);
};

// When the link's queue comes down to this, attach runs the client again.
#define OFFLOAD_LINK_LOW_WATER (128u << 10)
// Likewise for the client's own connection (tcp_set_low_water).
#define OFFLOAD_CLIENT_LOW_WATER (64u << 10)

int offload_create(const struct offload_config *config, struct tcp_stack *tcp,
	struct payload_pool *payloads, struct random *rng, uint64_t now_us,
	struct offload **ret_offload);
// All clients must be closed. Accepts NULL.
void offload_destroy(struct offload *offload);

// --- a turn of the worker's loop -----------------------------------------------------------------

// The turn's time; before any client runs.
void offload_advance(struct offload *offload, uint64_t now_us);
// After all events: clients that wait for something that has come about, fences, expiries.
void offload_run(struct offload *offload);
uint64_t offload_next_deadline(const struct offload *offload);
// Where there are several workers. Between receiving and dealing with what was received: takes what
// others have captured for clients of this one, so that nothing overtakes what has caused it.
// Last, when everything has been sent: learns what has changed with others. Return how much there
// was.
unsigned offload_hear(struct offload *offload);
unsigned offload_learn(struct offload *offload);

// --- a client's connection -----------------------------------------------------------------------

// A connection is up on both sides. `link_ctx` is attach's. NULL when there are clients_max
// already.
struct client *offload_client_open(struct offload *offload, unsigned broker, struct tcp_pcb *pcb,
	const struct broker_link_ops *link, void *link_ctx);
void *offload_client_link(const struct client *client);
struct tcp_pcb *offload_client_pcb(const struct client *client);

// Moves what can be moved in both directions. Call on every event of either side. Ends in
// link->moved().
void offload_client_run(struct client *client);
// The client has ended its direction, or is dead: its session ends or goes offline now.
void offload_client_gone(struct client *client);
// The broker has ended its direction: the session ends or goes offline, packets that the broker
// sent are flushed, deliveries that wait are dropped.
void offload_client_broker_gone(struct client *client);
// Everything that the client (the broker) has sent has been dealt with.
bool offload_client_read(const struct client *client);
bool offload_client_broker_read(const struct client *client);
// For who acknowledges from end to end: of what the client (the broker) has sent, so many octets
// more than were consumed have been dealt with; negative: less. Dealt with is what has been queued
// for the other side, what Offramp has taken, and the beginning of a packet.
int32_t offload_client_beyond(const struct client *client, bool of_client);
// Out of memory where nothing may be lost: attach resets both sides.
bool offload_client_failed(const struct client *client);
// Messages of the client are on their way to other workers: nothing that follows them, its end
// neither, may reach the broker.
bool offload_client_crossing(const struct client *client);
// Nothing of ours waits to be sent to it.
bool offload_client_drained(const struct client *client);
// Frees the client (with offload_client_gone() when that was not called). Not the pcb.
void offload_client_close(struct client *client);

// An orderly stop: from now on no PUBLISH is taken from clients (nor acknowledged); their
// acknowledgements still are, so that what is owed to them can go out.
void offload_drain(struct offload *offload);

// The last attempt to reach the broker succeeded or failed.
void offload_broker_reachable(struct offload *offload, unsigned broker, bool reachable);
// The operator's declaration does not hold (yet): why; NULL: it does. `reason` has static storage.
void offload_broker_distrust(struct offload *offload, unsigned broker, const char *reason);
bool offload_broker_trusted(const struct offload *offload, unsigned broker);
// *kept is set once the broker keeps a session beyond its connection: a later start that finds it
// set knows that it does not know everything.
void offload_broker_remember(struct offload *offload, unsigned broker, uint8_t *kept);
// No session outlives its connection at this broker: a restart of Offramp forgets nothing.
bool offload_broker_forgetful(const struct offload *offload, unsigned broker);

// What the operator turns while it runs: is anything captured, and what passes always? Takes effect
// at once; the filters must live until they are replaced.
struct offload_filters {
	bool capture;
	const char *const *pass;
	unsigned pass_count;
};
void offload_filters_set(
	struct offload *offload, unsigned broker, const struct offload_filters *filters);

// What an earlier run owed to persistent sessions (offload/ledger.h), shared by the workers; before
// they run. Taken up as their clients come back.
void offload_recall(struct offload *offload, struct ledger *ledger);
// When no worker runs any more: every client's session ends or goes offline. Then, for one worker
// after the other and several times: what is under way between them arrives.
void offload_leave(struct offload *offload);
void offload_settle(struct offload *offload);
// After that: what the sessions that stay are owed is written down.
void offload_bequeath(struct offload *offload, struct ledger_writer *writer);

// What is in use of the offload's pools, all brokers together.
struct offload_usage {
	struct pool_usage clients, deliveries, sessions, subscriptions, topic_levels, filters;
	// Where a broker tells all that it has.
	struct pool_usage told_clients, told_subscriptions, told_levels;
};
void offload_usage(const struct offload *offload, struct offload_usage *ret_usage);

struct counter_set offload_counters(const struct offload *offload);
// Refreshes the gauges; on the worker, once a second or so.
void offload_counters_update(struct offload *offload);

// Invariants, for tests.
void offload_check(const struct offload *offload);
