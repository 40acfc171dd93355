// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The flows that monitor mode knows, and what the files of it share. Internal to the
// floor.

#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach/flow.h"
#include "attach/monitor.h"
#include "base/list.h"
#include "base/wheel.h"
#include "net/net.h"
#include "net/transit.h"
#include "tcp/segment.h"
#include "tcp/tcp.h"

struct gather;
struct gather_packet;
struct rte_hash;

// Segments ahead of a connection's first octet that wait for it: of one, and of all (receive
// buffers that are kept are not there to receive with).
#define TRACK_HELD    4u
#define TRACKS_HELD   128u
#define MONITOR_BURST 64u

enum track_state { TRACK_FREE, TRACK_OPENING, TRACK_ADOPTED, TRACK_GONE, TRACK_STATES };

enum { CLIENT, BROKER, ENDS };

// Why a connection passes.
enum track_pass {
	PASS_NOT_MQTT,	    // its first octet begins no CONNECT
	PASS_BROKER_FIRST,  // the broker spoke first
	PASS_EARLY_TEXT,    // text on a SYN
	PASS_OPTION,	    // MD5, AO, MPTCP
	PASS_SIMULTANEOUS,  // both ends opened it
	PASS_ONE_PORT,	    // both ends are on one port
	PASS_ONE_DIRECTION, // the answer to its SYN went another way
	PASS_ENDED,	    // over before anything was said
	PASS_IDLE,	    // silent for too long before anything was said
	PASS_FULL,	    // no room
	PASSES,
};

// An end that sends from another port of Offramp, or with other addresses of Ethernet.
enum track_move {
	MOVE_FOLLOWED,
	MOVE_REFUSED, // what came from there is nothing that the end could have sent
	MOVES,
};

enum monitor_drop {
	MONITOR_DROP_EARLY,	 // text ahead of a connection's first octet, and no room to keep it
	MONITOR_DROP_FRAGMENT,	 // overlaps, makes no packet, or there is no room to keep it
	MONITOR_DROP_UNFINISHED, // packets of which fragments were missing for too long
	MONITOR_DROPS,
};

struct monitor_counter_slots {
	uint64_t flows[TRACK_STATES - 1];
	uint64_t passed[PASSES];
	uint64_t strays;
	uint64_t moves[MOVES];
	uint64_t reassembled;
	uint64_t dropped[MONITOR_DROPS];
};

// No padding: the bytes are hashed.
struct track_key {
	struct net_address client;
	uint16_t port;
	uint16_t broker; // of the configuration
	uint16_t vlan;
	uint16_t zero;
};
static_assert(sizeof(struct track_key) == 24, "the key must have no padding");

struct track_end {
	struct tcp_adopted_end tcp;
	struct net_observed seen; // how its frames look
	struct net_if *netif;	  // where they come in
	uint8_t left[6];	  // the address that it had before the latest
	bool known;
};

struct track {
	struct track_key key;
	uint8_t state; // enum track_state
	uint8_t held_count;
	uint8_t questions; // left to be asked of both ends
	bool edge_known[ENDS];
	struct list order; // among those in its state, the longest waiting first
	struct wheel_timer timer;
	struct track_end ends[ENDS];
	struct rte_mbuf *held[TRACK_HELD];
};

struct monitor {
	struct stack *stack;
	struct net *net;
	struct bridge *bridge;
	struct gather *gather;
	struct net_if *const *netifs;
	unsigned netifs_count;
	struct monitor_share share;
	struct monitor_record *records; // of the track at the same place; NULL: none are kept
	struct rte_hash *hash;		// position → tracks[]
	struct track *tracks;
	uint32_t tracks_max;
	unsigned held; // segments, of all
	struct list order[TRACK_STATES];
	struct wheel timers;
	uint64_t now_us;
	// What goes to TCP with the burst.
	struct net_delivery deliveries[MONITOR_BURST];
	unsigned deliveries_count;
	struct monitor_counter_slots counters;
};

// A segment on its way, and what is known of it.
struct passer {
	struct rte_mbuf *m;
	struct net_if *from;
	uint32_t ports; // where the bridge would send it
	unsigned side;	// CLIENT or BROKER: who has sent it
	unsigned broker;
	struct net_transit transit;
	struct tcp_segment segment;   // not of fragments and ICMP errors
	struct gather_packet *pieces; // m was put together from these; NULL: it came as it is
};

static inline struct net_endpoint track_client(const struct track *track)
{
	return (struct net_endpoint){track->key.client, track->key.port};
}

// --- track.c
int tracks_create(struct monitor *monitor, const char *name, uint32_t max, uint64_t hash_seed);
void tracks_destroy(struct monitor *monitor); // frees what waits; harmless when half built
struct track *track_find(const struct monitor *monitor, const struct track_key *key);
// In OPENING. NULL when all places are taken by adopted ones.
struct track *track_add(struct monitor *monitor, const struct track_key *key);
void track_remove(struct monitor *monitor, struct track *track);
void track_set_state(struct monitor *monitor, struct track *track, enum track_state state);
// The longer it is heard of, the longer it stays.
void track_touch(struct monitor *monitor, struct track *track);
void track_timeout(struct monitor *monitor, struct track *track);
// The path to that end, in the place of the other. Negative errno.
int track_path(struct monitor *monitor, const struct track *track, unsigned side,
	struct net_path *ret_path);
void track_record(struct monitor *monitor, const struct track *track);
void tracks_recall(struct monitor *monitor, const struct monitor_record *records, uint32_t count);
void tracks_check(const struct monitor *monitor);

// --- opening.c
// A SYN of nobody's. Consumes passer->m.
void opening_begin(struct monitor *monitor, struct passer *passer, const struct track_key *key);
// A segment of a track in OPENING. Consumes passer->m.
void opening_segment(struct monitor *monitor, struct track *track, struct passer *passer);

// --- adopted.c
// A segment of a track in ADOPTED or GONE. Consumes passer->m.
void adopted_segment(struct monitor *monitor, struct track *track, struct passer *passer);
// False: it is about nothing of ours. Else it consumes passer->m.
bool adopted_error(struct monitor *monitor, struct track *track, struct passer *passer);
// Have both halves ended?
bool adopted_over(const struct monitor *monitor, const struct track *track);

// --- follow.c
// Does the frame come from elsewhere than those before, or with other addresses?
bool follow_is_elsewhere(const struct track *track, const struct passer *passer);
// Of a track in ADOPTED: if the segment is one that the end could have sent, both halves go on with
// where and how it was sent.
void follow_adopted(struct monitor *monitor, struct track *track, const struct passer *passer);
// Of a track in OPENING, for a segment that the end has sent.
void follow_opening(struct monitor *monitor, struct track *track, const struct passer *passer);
// The path back to where a segment came from. Negative errno.
int follow_back(struct monitor *monitor, const struct track *track, const struct passer *passer,
	struct net_path *ret_path);

// --- pieces.c
// A fragment between a broker's address and somebody. Consumes passer->m.
void pieces_pass(struct monitor *monitor, struct passer *passer);
// The packet goes on as it came.
void pieces_forward(struct monitor *monitor, struct gather_packet *packet);

// --- monitor.c
// A whole segment to or from a broker. Consumes passer->m.
void monitor_segment(struct monitor *monitor, struct passer *passer);
// Whose connection the segment would be of; false: nobody's.
bool monitor_find_broker(const struct monitor *monitor, struct passer *passer);
struct track_key monitor_key(const struct passer *passer);
void monitor_forward(struct monitor *monitor, struct passer *passer); // consumes passer->m
void monitor_deliver(struct monitor *monitor, struct passer *passer); // consumes passer->m
// Is the connection another worker's?
bool monitor_is_elsewhere(
	const struct monitor *monitor, const struct passer *passer, unsigned *ret_owner);
// Consumes passer->m.
void monitor_hand_over(struct monitor *monitor, const struct passer *passer, unsigned owner);
