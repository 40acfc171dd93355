// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Monitor mode as a whole in virtual time: kernels of clients and of a broker, and between them the
// real bump in the wire (attach, offload, net, tcp) with MQTT over it. Everything that happens in a
// run follows from its seed.
//
//   lives ─ talker ─ stack ─ net ══ wires ══ line ┐             ┌ line ══ wires ══ net ─ stack ─
//   conns
//              host A, host B                     └── monitor ──┘                host BROKER
//
// A client has several lives, one after the other, each a connection. The wires carry IP and spoil
// it; the line puts Ethernet around what arrives at Offramp's ports, in pieces sometimes, and the
// tap looks at what Offramp sends. The oracle knows what everybody has said and who has heard it.

#pragma once

#include "../sim.h"

#include "attach/monitor.h"
#include "attach/stack.h"
#include "mqtt/packet.h"
#include "net/bridge.h"
#include "offload/offload.h"

#include <stdio.h>
#include <stdlib.h>

enum { HOST_A, HOST_B, HOST_BROKER, HOSTS };

#define PORTS	     4u // of Offramp: two for clients, two for the broker
#define CLIENTS_MAX  5u
#define LIVES_EACH   3u
#define LIVES_MAX    (CLIENTS_MAX * LIVES_EACH)
#define CONNS_MAX    96u
#define FOREIGN_MAX  12u
#define TOPICS	     4u
#define MESSAGES_MAX 512u
#define EXCHANGES    16u	  // QoS > 0, of one client at once, each way
#define ACKS_MAX     MESSAGES_MAX // MQTT 3.1.1 bounds nobody
#define FLOWS_MAX    64u
#define QUEUE_MAX    8192u // octets that a program leaves to its kernel
#define MOVES_MAX    2u

#define PORT_BROKER  SIM_PORT
#define PORT_OTHER   22
#define PORT_CLIENTS 20000 // of the first client's first life
#define PORT_FOREIGN 40000
#define NOBODY	     UINT32_MAX

// What a run can be spared.
enum dimension {
	LOSS,
	DUPLICATES,
	REORDERING,
	CORRUPTION,
	STALLS,
	NARROWINGS,
	BLACK_HOLES,
	FRAGMENTS,
	SMALL_BUFFERS,
	NAPS,
	CUTS,
	NAGLE,
	NO_SACK,
	NO_TIMESTAMPS,
	VLAN,
	HUB,
	MOVING,
	STOPS,
	BREAKS,	       // by clients
	BROKER_BREAKS, // ... and the broker
	PORT_REUSE,
	FOREIGN,
	CROWD, // more connections than the table has room for
	FEW_CLIENTS,
	LATE_CONNECTS,
	BIG_MESSAGES,
	RETAIN,
	QOS,
	MQTT_5,
	BROKER_MESSAGES,
	BYSTANDERS,
	END_TO_END, // acknowledgements, in every other run
	DIMENSIONS,
};
extern const char *const world_dimension_names[DIMENSIONS];

// What is done wrong on purpose, between the port and the wire, to see that it is noticed.
enum fault {
	FAULT_NONE,
	FAULT_OCTET,  // a wrong octet in a segment of a half's, under a good sum
	FAULT_ACK,    // more is acknowledged than has come
	FAULT_CLOCK,  // a timestamp ahead of the impersonated end's
	FAULT_WINDOW, // a right edge that goes back
	FAULT_LOST,   // a bystander's frame is not sent on
	FAULTS,
};
extern const char *const world_fault_names[FAULTS];

struct world;
struct life;
struct conn;

// --- octets and packets --------------------------------------------------------------------------

struct text {
	uint8_t *data;
	uint32_t length, capacity;
};

void text_add(struct text *text, const void *data, uint32_t length);
void text_take(struct text *text, uint32_t length); // off the front

struct packet_at {
	uint32_t offset, length;
};

// All packets that one end has said, one after the other.
struct said {
	struct text text;
	struct packet_at *packets;
	uint32_t count, capacity;
};

// --- kernels -------------------------------------------------------------------------------------

struct move {
	uint64_t at_us;
	uint64_t heard_us; // from then on others know the new address
	unsigned port;
	uint8_t mac;
	bool announced; // it says so itself
};

struct host {
	struct world *world;
	unsigned index;
	struct net_if netif;
	struct net *net;
	struct tcp_stack *stack;
	struct sim_wire out, in; // to and from Offramp
	uint8_t mac, mac_heard;	 // the last octet; as others believe it
	unsigned port;		 // of Offramp, where it is
	struct move moves[MOVES_MAX];
	unsigned moves_count, moved;
	bool timestamps;
	uint32_t fragments; // of 10,000 packets that arrive at Offramp come in pieces
};

void host_init(struct host *host, uint16_t mtu, const struct tcp_config *tcp);
void host_fini(struct host *host);
void host_turn(struct host *host);
struct net_address host_address(unsigned index);
uint32_t host_pcbs(const struct host *host);

// --- one end of one connection -------------------------------------------------------------------

struct talker;

struct talker_ops {
	// A whole packet has come; octets, when the talker is raw.
	void (*hears)(struct talker *talker, const uint8_t *octets, uint32_t length);
	void (*eof)(struct talker *talker);   // the other direction has ended
	void (*reset)(struct talker *talker); // the connection is no more
};

struct talker {
	const struct talker_ops *ops;
	struct host *host;
	struct tcp_pcb *pcb; // NULL: not yet, or no more
	struct random rng;
	struct said said;
	uint32_t written;
	uint64_t next_write_us;
	bool raw;
	bool cuts;	   // writes in pieces of any size
	uint32_t pause_us; // between them at most
	struct text heard; // a packet that is not whole yet
	uint64_t octets;   // heard in all
	uint64_t nap_at, nap_us, wakes_us;
	bool established, ends, shut, eof_told;
};

void talker_open(struct talker *talker, struct tcp_pcb *pcb, bool no_delay);
void talker_say(struct talker *talker, const uint8_t *packet, size_t length);
void talker_end(struct talker *talker); // FIN, when everything has been written
void talker_close(struct talker *talker);
void talker_abort(struct talker *talker);
void talker_turn(struct talker *talker);
void talker_events(struct talker *talker, uint32_t events);
uint64_t talker_next_us(const struct talker *talker);
void talker_fini(struct talker *talker);

// --- messages ------------------------------------------------------------------------------------

struct message {
	uint32_t life; // NOBODY: the broker's own
	uint8_t topic, qos;
	bool retain;
	uint32_t size;
	uint64_t said_us;
	bool acked;	// its publisher has been told that it is safe
	bool at_broker; // the broker has seen it
	bool captured;	// the broker has seen what was said after it
	bool received;	// its publisher has heard PUBREC
	// Offramp had taken it, and gave it to the broker when it was released.
	bool late;
	uint64_t released_us;
	bool overtaken; // the broker did not take it for so long that others may overtake it
};

// --- clients -------------------------------------------------------------------------------------

enum life_state { LIFE_WAITS, LIFE_CONNECTS, LIFE_GREETS, LIFE_SERVED, LIFE_LEAVES, LIFE_OVER };

enum ending {
	ENDING_ORDERLY, // DISCONNECT, FIN, reads until EOF
	ENDING_HALF,	// FIN, reads until EOF
	ENDING_CLOSE,	// leaves what comes unread
	ENDING_RESET,
	ENDINGS,
};

enum interest_state { INTEREST_NONE, INTEREST_ASKED, INTEREST_ACTIVE, INTEREST_LEAVING };

struct interest {
	enum interest_state state;
	uint8_t asked;	   // a bit each QoS that it was ever subscribed with
	uint64_t since_us; // ACTIVE
	uint64_t until_us; // when it was no more
};

// QoS 1 and 2 under way from the client.
struct exchange {
	uint16_t id; // 0: free
	bool released;
	uint32_t message;
};

// ... and to it.
struct incoming {
	uint16_t id; // 0: free
	uint8_t qos;
	bool by_broker;
};

struct ack {
	uint8_t type;
	uint16_t id;
	uint64_t due_us;
};

struct life {
	struct talker talker; // first
	struct world *world;
	unsigned serial, client;
	struct conn *conn; // the broker's end, once its CONNECT has come there
	enum life_state state;
	bool last;   // stays until everybody leaves
	bool broken; // ended by other than its own orderly leave
	bool reset;  // ... by its own reset
	bool listens;
	bool barrier; // it has said something behind its last message that passes
	// Drawn:
	enum mqtt_version version;
	uint16_t port, keep_alive, receive_max;
	uint64_t begins_us, hesitates_us; // hesitates: before CONNECT
	uint32_t steps, think_us;
	uint32_t ack_us; // an acknowledgement takes so long at most
	enum ending ending;
	bool no_delay, wild; // wild: one filter for all topics
	// As it goes:
	uint64_t next_step_us, next_ping_us;
	uint16_t next_id, waits_id; // of SUBACK or UNSUBACK
	struct interest interests[TOPICS];
	struct exchange exchanges[EXCHANGES];
	struct ack acks[ACKS_MAX]; // to be said, in this order
	unsigned acks_count;
	struct incoming incoming[ACKS_MAX];
	uint32_t messages[MESSAGES_MAX]; // by packet identifier
	uint32_t pings, pongs;
	uint64_t said_us;
	// What it has got: how often, and the latest of each publisher, topic and QoS.
	uint8_t got[MESSAGES_MAX];
	uint32_t latest[LIVES_MAX + 1][TOPICS][3][3]; // QoS as said, as got
};

void life_turn(struct life *life);
uint64_t life_next_us(const struct life *life);
void life_leave(struct life *life); // orderly
bool life_stands(const struct life *life);
// Between the files of it:
void life_say(struct life *life, const uint8_t *packet, size_t length);
void life_acks_say(struct life *life); // those that are due
void life_subscribe(struct life *life, unsigned topic);
void life_over(struct life *life);
struct exchange *life_exchange(struct life *life, uint16_t id); // 0: a free place; NULL
extern const struct talker_ops life_ops;

// --- the broker ----------------------------------------------------------------------------------

struct flight { // QoS > 0 to a client
	uint16_t id;
	uint8_t qos;
	bool received; // PUBREC has come
	uint32_t message;
};

struct conn {
	struct talker talker; // first
	struct world *world;
	bool used, connected, gone, reset; // reset: by the broker
	struct life *life;
	bool subscribed[TOPICS];
	uint8_t qos[TOPICS];
	uint16_t next_id;
	struct flight flights[ACKS_MAX];
	uint32_t waiting[MESSAGES_MAX]; // messages behind the window
	unsigned waiting_count;
	uint16_t held[ACKS_MAX]; // QoS 2 from the client, not released
	uint64_t breaks_at;	 // octets heard
	bool breaks_hard;
	uint64_t heard_us;
	// How far the two streams are accounted for, in packets.
	uint32_t upstream;		      // of the life's
	uint32_t seen_publishes, seen_others; // of its own, by the life
	uint32_t pings_inserted, pings_heard;
};

void broker_accept(struct world *world, struct tcp_pcb *pcb);
void broker_turn(struct world *world);
uint64_t broker_next_us(const struct world *world);
bool conn_owns(const struct conn *conn, uint16_t id); // is the identifier of something under way?

// --- connections that are not MQTT ---------------------------------------------------------------

enum foreign_kind {
	FOREIGN_CLIENT_FIRST, // to the broker's port
	FOREIGN_BROKER_FIRST,
	FOREIGN_SILENT,
	FOREIGN_OTHER_PORT,
	FOREIGN_KINDS,
};

struct foreign_end {
	struct talker talker; // first
	struct foreign *foreign;
	bool is_client;
	uint32_t to_send, received;
	bool begun, done;
};

struct foreign {
	struct world *world;
	enum foreign_kind kind;
	uint16_t port;
	uint64_t begins_us, ends_us;
	bool begun, broken;
	struct foreign_end ends[2]; // the client's, the broker's
};

void foreign_init(struct foreign *foreign, enum foreign_kind kind);
void foreign_accept(struct world *world, struct tcp_pcb *pcb);
void foreign_turn(struct foreign *foreign, struct host *host);
uint64_t foreign_next_us(const struct foreign *foreign);
bool foreign_done(const struct foreign *foreign);

// --- Offramp -------------------------------------------------------------------------------------

struct bump_port {
	struct world *world;
	unsigned index;
	// Bystanders' frames to here.
	uint32_t bystanders_expected;
};

// What one end of one connection has put on the wire.
struct tap_end {
	bool known;
	uint32_t isn, sent; // sent: behind the last octet
	uint32_t edge;	    // the highest right edge that it has told
	bool edge_known, scales;
	uint8_t wscale;
	uint32_t ts;
};

// What a half has told the end it speaks to.
struct tap_half {
	bool edge_known, ts_known;
	uint32_t edge, ts;
};

struct tap_flow {
	uint16_t port; // of the client
	struct tap_end ends[2];
	struct tap_half halves[2]; // towards the end
};

struct bump {
	struct net_if netifs[PORTS];
	struct net_if *list[PORTS];
	struct bump_port ports[PORTS];
	struct net *net;
	struct payload_pool *payloads;
	struct tcp_stack *tcp;
	struct offload_broker_config broker;
	struct offload_config config;
	struct offload *offload;
	struct stack *stack;
	struct bridge *bridge;
	struct monitor *monitor;
	uint64_t stopped_from_us, stopped_until_us;
};

void bump_start(struct world *world, const struct tcp_config *tcp, uint32_t flows_max);
void bump_stop(struct world *world);
void bump_turn(struct world *world);
uint64_t bump_next_us(const struct world *world);
uint64_t bump_flows(const struct world *world); // in any state

void line_turn(struct world *world); // what has arrived at Offramp's ports
void line_send(void *ctx, struct rte_mbuf *m);
void line_move(struct host *host); // when it is time
uint64_t line_next_us(const struct host *host);

void bystander_send(struct world *world);
// True when the frame was a bystander's.
bool bystander_check(struct bump_port *port, const struct rte_mbuf *m);

// IP packets: what a kernel sends, and what Offramp sends in its place.
void tap_end(struct world *world, unsigned host, const struct rte_mbuf *m);
void tap_half(struct world *world, unsigned towards, const struct rte_mbuf *m);

// A frame whose packet begins at `at`. True: it is lost.
bool fault_apply(struct world *world, struct rte_mbuf *m, uint32_t at);

// --- the oracle
// -----------------------------------------------------------------------------------

uint32_t oracle_message(struct world *world, const struct message *message); // NOBODY: no room
// A whole packet that has come to the client, or to the broker.
void oracle_client(struct life *life, const struct mqtt_header *header, const uint8_t *packet,
	uint32_t length);
void oracle_broker(struct conn *conn, const struct mqtt_header *header, const uint8_t *packet,
	uint32_t length);
// A delivery: whose message, and may it be?
uint32_t oracle_delivery(struct life *life, const struct mqtt_header *header, const uint8_t *packet,
	uint32_t length);
// Has everything come that must?
bool oracle_complete(struct world *world, bool tell);
void message_payload(uint32_t number, uint32_t size, uint8_t *out);

// --- the whole -----------------------------------------------------------------------------------

struct world_result {
	uint64_t runs, messages, captured, passed, deliveries, segments, adopted, moves, virtual_s;
	uint64_t broken;  // lives
	uint64_t trusted; // runs in which nothing of the broker's was unknown
};

struct world {
	uint64_t seed, without, now_us, steps;
	unsigned fault;
	uint32_t faults; // occasions so far
	bool verbose;
	struct random rng;
	const struct sim_pools *pools;
	struct host hosts[HOSTS];
	struct bump bump;
	struct tap_flow taps[LIVES_MAX + FOREIGN_MAX + CONNS_MAX];
	unsigned taps_count;
	struct life lives[LIVES_MAX];
	unsigned lives_count;
	struct conn conns[CONNS_MAX];
	struct foreign foreigns[FOREIGN_MAX];
	unsigned foreigns_count;
	struct message messages[MESSAGES_MAX];
	uint32_t messages_count;
	struct tcp_pcb *listeners[2];
	// Drawn:
	bool clean; // nothing is lost, and nobody stands still
	uint32_t flows_max;
	uint32_t max_size; // of what is captured
	uint16_t vlan;
	uint32_t retain, big, qos; // of 100 messages; qos: the highest
	uint32_t bystanders;	   // of 10,000 turns
	uint32_t bystander_number[PORTS];
	bool broker_breaks;
	uint64_t broker_says_us; // the broker's next message of its own
	uint32_t broker_says;	 // left
	uint64_t settle_us, check_us, give_up_us;
	bool leaving;
	struct world_result result;
};

void world_draw(struct world *world);
struct world_result world_run(uint64_t seed, uint64_t without, unsigned fault, bool verbose,
	const struct sim_pools *pools);
bool world_has(const struct world *world, enum dimension dimension, bool drawn);

_Noreturn void world_fail(const struct world *world, const char *file, int line, const char *format,
	...) __attribute__((format(printf, 4, 5)));
#define FAIL(world, ...) world_fail(world, __FILE__, __LINE__, __VA_ARGS__)
#define CHECK(world, cond)                        \
	do {                                      \
		if (!(cond))                      \
			FAIL(world, "%s", #cond); \
	} while (0)

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}
