// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One client's connection to a process, and the processes. Internal to the floor.
//
//   KNOCKING  SYN held: nobody listens with room for it
//   SHAKING   SYN-ACK sent
//   STANDING  the handshake is complete; no process takes it yet (its kernel would have it in the
//             listening socket's queue)
//   OPEN      a process has it, and the offload
//   ENDING    the client's side is gone; the process has not taken all that it had sent
//
// Or one that a process makes, from the beginning its own, and not the offload's:
//
//   CONNECTING  SYN sent
//   CONNECTED   it stands
//
// A slot whose flow is gone stays the process's until its descriptor is closed.

#pragma once

#include "attach/bytes.h"
#include "attach/sockets.h"
#include "base/list.h"
#include "base/wheel.h"
#include "channel/lane.h"
#include "offload/offload.h"
#include "net/net.h"
#include "tcp/tcp.h"

#define SOCKETS_LISTENERS_MAX 64 // of a process

enum sockets_refusal { SOCKETS_REFUSED_FULL, SOCKETS_REFUSED_DRAINING, SOCKETS_REFUSALS };
enum { SOCKETS_RESET_CLIENT, SOCKETS_RESET_BROKER, SOCKETS_RESET_OFFRAMP, SOCKETS_RESETS };

enum sockets_failure {
	SOCKETS_FAILED_REFUSED,
	SOCKETS_FAILED_TIMEOUT,
	SOCKETS_FAILED_UNREACHABLE,
	SOCKETS_FAILED_HERE, // it was not tried
	SOCKETS_FAILURES
};
enum { SOCKETS_OUTGOING_CONNECTING, SOCKETS_OUTGOING_CONNECTED, SOCKETS_OUTGOINGS };
enum { SOCKET_DATAGRAM_RECEIVED, SOCKET_DATAGRAM_SENT, SOCKET_DATAGRAM_WAYS };

struct sockets_counters {
	uint64_t accepted;
	uint64_t refused[SOCKETS_REFUSALS];
	uint64_t resets[SOCKETS_RESETS];
	uint64_t datagrams_lost[SOCKET_DATAGRAM_WAYS];
	uint64_t processes; // attached now
	uint64_t broken;    // lanes given up
	uint64_t wakes;
	uint64_t connected; // that processes made
	uint64_t outgoing_failed[SOCKETS_FAILURES];
	uint64_t outgoing[SOCKETS_OUTGOINGS]; // now
};

struct socket_listener {
	uint32_t number; // the process's
	unsigned broker;
	uint32_t backlog;
	bool accepts; // looks for connections: another process may do so in its place
	bool used;
};

// In a process's table of flows: the flow is gone, and the process has not closed its descriptor.
#define SOCKET_SLOT_LEFT ((struct socket_flow *)1)

struct socket_process {
	struct sockets *sockets;
	struct lane *lane; // NULL: the place is free
	void (*wake)(void *ctx);
	void *wake_ctx;
	bool wake_wanted;
	bool broken; // read by control
	bool gone;   // likewise
	bool ended;  // and what it had is ended
	struct socket_listener listeners[SOCKETS_LISTENERS_MAX];
	struct socket_flow **flows; // by slot; NULL: free
	uint32_t *free_slots;
	uint32_t free_count;
	uint32_t connecting;	// flows
	struct list datagrams;	// struct socket_datagram.of_process
	uint64_t datagrams_out; // octets that wait for it in their queues
};

enum socket_datagram_kind { SOCKET_DATAGRAM_ECHO, SOCKET_DATAGRAM_UDP };

// A UDP socket, as the process has it.
struct socket_udp {
	struct net_endpoint local;  // the unspecified address: every one of ours
	struct net_endpoint remote; // port 0: not connected
	uint64_t cookie;	    // equal ones: one socket that several processes have
	bool ipv6_only;
	bool reuses, shares; // SO_REUSEADDR, SO_REUSEPORT
	uint32_t order;
};

// A datagram socket of a process (socket_datagram.c).
struct socket_datagram {
	struct socket_process *process;
	enum socket_datagram_kind kind;
	uint32_t number; // the process's
	uint32_t slot;
	union {
		struct sockets_echo echo;
		struct socket_udp udp;
	};
	struct bytes out;	// datagrams for the process, for which its stream has no room
	struct list of_process; // or free
	struct list of_kind;	// ICMP: of all; UDP: of a bucket
	struct list more;	// it has written more than was sent in a turn
};
#define SOCKETS_DATAGRAMS_MAX 1024
#define SOCKETS_UDP_BUCKETS   256

struct sockets_udp {
	const struct net_endpoint *where; // what may be had; port 0: every one from 1024 on
	unsigned where_count;
	uint32_t opened;
	struct list buckets[SOCKETS_UDP_BUCKETS]; // by port, in the order of their coming
};

struct sockets {
	const struct offload_config *config;
	struct offload *offload;
	struct net *net;
	struct tcp_stack *tcp;
	struct payload_pool *payloads;
	struct sockets_outgoing outgoing;
	struct tcp_pcb **listeners; // one a broker; NULL: nobody listens
	unsigned *turns;	    // one a broker: whose turn it was
	uint32_t *standing;	    // one a broker: flows that are STANDING
	struct socket_process processes[SOCKETS_PROCESSES_MAX];
	struct slab *flows;
	struct list waiting; // KNOCKING and STANDING, as they came
	struct list ready;   // OPEN and ENDING: something is new
	struct wheel timers;
	uint64_t now_us;
	uint64_t freed; // flows that have ended: tells whether one ended meanwhile
	bool draining;
	bool look; // somebody who waits may find a place
	struct socket_datagram datagrams[SOCKETS_DATAGRAMS_MAX];
	struct list datagrams_free;
	struct list datagrams_more; // have more to send
	struct list echoes;
	struct sockets_udp udp;
	uint8_t message[8 + CHANNEL_DATAGRAM_MAX]; // of a process, out of its reach
	struct sockets_counters counters;
};

enum socket_flow_state {
	SOCKET_KNOCKING,
	SOCKET_SHAKING,
	SOCKET_STANDING,
	SOCKET_OPEN,
	SOCKET_ENDING,
	SOCKET_CONNECTING,
	SOCKET_CONNECTED
};

static inline bool socket_state_is_outgoing(enum socket_flow_state state)
{
	return state >= SOCKET_CONNECTING;
}

struct socket_flow {
	struct sockets *sockets;
	struct client *client;		// OPEN
	struct tcp_pcb *pcb;		// NULL: ENDING
	struct socket_process *process; // from OPEN on
	uint32_t slot;
	unsigned broker;
	enum socket_flow_state state;
	struct bytes in;  // from the process, out of its reach
	struct bytes out; // for the process, for which its stream has no room
	struct list link; // waiting or ready
	struct wheel_timer timer;
	int error; // ENDING, or down_dead: how; of a process that is gone: had it left something
		   // unread?
	struct tcp_keep_alive keep_alive; // as the process has set it
	bool keeps_alive;
	bool down_ended; // the client's FIN was seen, and what it sent dealt with
	bool end_sent;	 // and the process has been told
	bool up_ended;	 // the process's end was carried on
	bool down_dead;	 // the client is gone; what it sent before is still on its way
};

// --- flows (socket_flow.c) -----------------------------------------------------------------------

// A client knocks, or stands there already. Takes the pcb.
void socket_flow_open(struct sockets *sockets, unsigned broker, struct tcp_pcb *pcb, bool standing);
// Something happened to the pcb.
void socket_flow_event(struct socket_flow *flow, uint32_t events);
void socket_flow_timeout(struct socket_flow *flow);
// Whoever waits, once more.
void socket_flows_place(struct sockets *sockets);
// What the process has written is taken out of its reach. Returns how many octets.
uint64_t socket_flow_take(struct socket_flow *flow);
// Something is new on the process's side.
void socket_flow_run(struct socket_flow *flow);
// The process is gone, or has broken the lane.
void socket_flow_orphan(struct socket_flow *flow);
void socket_flow_drain(struct socket_flow *flow);
void socket_flow_abort(struct socket_flow *flow);
// What waits goes into the slot's stream as far as there is room, with word when there is more.
void socket_push(struct lane *lane, uint32_t slot, struct bytes *bytes);
// As much of the spans as there is room for. Returns how many octets.
uint32_t socket_post(
	struct lane *lane, uint32_t slot, const struct tcp_span *spans, unsigned count);
// A flow of nobody's yet, zeroed before.
void socket_flow_init(
	struct sockets *sockets, struct socket_flow *flow, enum socket_flow_state state);
// The process is told, and the flow is no more. Not the pcb, which the caller deals with.
void socket_flow_leave(struct socket_flow *flow, int error);
// As the lane writes an end, and back.
struct channel_endpoint socket_endpoint_to(const struct net_endpoint *from);
struct net_endpoint socket_endpoint_from(const struct channel_endpoint *from);

// --- connections that processes make (socket_outgoing.c) -----------------------------------------

// As a process asked. An errno, for the process.
int socket_outgoing_open(struct socket_process *process, const struct channel_message *message);
// For flows in its states, these are what is above.
void socket_outgoing_event(struct socket_flow *flow, uint32_t events);
uint64_t socket_outgoing_take(struct socket_flow *flow);
void socket_outgoing_run(struct socket_flow *flow);
void socket_outgoing_orphan(struct socket_flow *flow);
void socket_outgoing_drain(struct socket_flow *flow);
void socket_outgoing_forget(struct socket_flow *flow);

// --- datagram sockets (socket_datagram.c) --------------------------------------------------------

void socket_datagrams_init(struct sockets *sockets);
// NULL: the slot is none.
struct socket_datagram *socket_datagram_at(const struct socket_process *process, uint32_t slot);
// A place for one, which is in no list of its kind yet, and of which the process has not been told.
// NULL: there is none.
struct socket_datagram *socket_datagram_begin(
	struct socket_process *process, enum socket_datagram_kind kind, uint32_t number);
void socket_datagram_tell(struct socket_datagram *datagram, const struct lane_opened *opened);
// Something is new on the process's side. Returns how many datagrams were sent.
unsigned socket_datagram_take(struct socket_datagram *datagram);
// All that have more to send, once more.
unsigned socket_datagrams_go_on(struct sockets *sockets);
// The process is given what the delivery is, which stays the caller's; or it is lost, and counted.
void socket_datagram_give(
	struct socket_datagram *datagram, const struct net_delivery *delivery, uint8_t flags);
// The process is gone, or has broken the lane.
void socket_datagrams_forget(struct socket_process *process);

struct net_address socket_address(const uint8_t address[16], bool ipv6);
bool socket_address_is_any(const struct net_address *address);

// --- ICMP (socket_echo.c), UDP (socket_udp.c) ----------------------------------------------------

// What a process has written of a datagram is in sockets->message: of ICMP from its first octet on,
// of UDP behind where its header goes. 0, or -EPROTO: no shim writes that; any other: it is lost.
int socket_echo_send(struct socket_datagram *datagram, const struct channel_datagram *head);
int socket_udp_send(struct socket_datagram *datagram, const struct channel_datagram *head);
// Consume the delivery's m.
void socket_icmp_input(struct sockets *sockets, const struct net_delivery *delivery);
void socket_udp_input(struct sockets *sockets, const struct net_delivery *delivery);
// An error about a datagram between these two; it stays the caller's.
void socket_udp_error(struct sockets *sockets, const struct net_delivery *delivery,
	const struct net_endpoint *local, const struct net_endpoint *remote);
// What CHANNEL_UDP asks for: 0, or an errno.
int socket_udp_open(struct socket_process *process, const struct channel_message *message);

// --- listening (socket_listen.c) -----------------------------------------------------------------

// As a process asked. An errno, for the process.
int socket_listen(struct socket_process *process, const struct channel_message *message);
void socket_unlisten(struct socket_process *process, uint32_t number);
// Who listens for the broker and has a free slot, in turn. NULL: nobody.
struct socket_process *sockets_listener(
	struct sockets *sockets, unsigned broker, uint32_t *ret_number);
// How many connections may wait for the broker's processes; 0: nobody listens.
uint32_t sockets_backlog(const struct sockets *sockets, unsigned broker);

// --- messages (socket_message.c) -----------------------------------------------------------------

void socket_message_take(struct socket_process *process, const struct channel_message *message);
// Answers the call of a process.
void socket_done(struct socket_process *process, uint32_t call, int error);

// --- processes (socket_process.c) ----------------------------------------------------------------

// Deals with what is new of it, within reason. Returns how much there was.
unsigned socket_process_receive(struct socket_process *process);
// It has broken the lane, or is gone: so is all that it had.
void socket_process_end(struct socket_process *process);
// It is gone; who has inherited its listening sockets, if anybody, has still to come.
void socket_process_bequeath(struct socket_process *process);
uint32_t socket_slot_take(struct socket_process *process);
// The daemon has done with the slot; it is free when the process has, too.
void socket_slot_settle(struct socket_process *process, uint32_t slot);
