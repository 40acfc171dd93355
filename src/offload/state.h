// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The offload's own structures, shared by its files; opaque to everybody else.

#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "base/payload.h"
#include "base/slab.h"
#include "mqtt/framer.h"
#include "offload/counters.h"
#include "offload/offload.h"
#include "offload/reader.h"
#include "offload/stream.h"
#include "offload/wills.h"
#include "proof/fence.h"
#include "proof/grants.h"
#include "proof/route.h"
#include "session/acks.h"
#include "session/aliases.h"
#include "session/exchanges.h"
#include "session/holders.h"
#include "session/identifiers.h"
#include "session/pings.h"
#include "session/roster.h"
#include "session/session.h"

struct broker {
	const struct offload_broker_config *config;
	bool capture; // as the operator has it now; config says how it was at the start
	struct session_map *map;
	struct proof_routes *routes;
	const char *distrust; // why the operator's declaration does not hold; NULL: it does
	struct wills wills;
	struct broker_stream stream;
	// authorization: broker; NULL otherwise.
	struct grants *writes, *reads;
	uint64_t counting; // of the latest count of readers
	// Where it tells all that it has (offload/hooks.h); NULL otherwise.
	struct roster *roster;
	struct holders *holders; // of keys; NULL: there is one worker
	uint32_t misnamed;	 // clients that it may know by other identifiers than their own
	bool reachable;
	uint32_t connections;
	struct list told; // changes that other workers do not know yet (offload/peers.c)
};

// Deliveries made in one turn of the worker's loop before publishers wait for the next: enough that
// several messages share a segment, few enough that acknowledgements are seen in time.
#define OFFLOAD_TURN_WORK 16384
// Of these the share of one client: who floods leaves the rest to others.
#define OFFLOAD_CLIENT_WORK 4096

// Room to see the head of a PUBLISH (header, topic, identifier) in one piece.
#define OFFLOAD_SCRATCH (MQTT_HEADER_MAX + 2 + 65535 + 2)
// Room for the longest packet that is gathered.
#define OFFLOAD_PACKET (MQTT_FRAME_PARTS_MAX * PAYLOAD_LARGEST)

struct offload {
	struct offload_config config;
	struct tcp_stack *tcp;
	struct payload_pool *payloads;
	uint64_t now_us;
	uint32_t work;		// deliveries made in this turn
	uint32_t work_before;	// those made before the client that is being read
	uint64_t payload_bytes; // all there are
	uint64_t share_bytes;	// what may wait for one client, as memory is now
	struct slab *clients;
	struct slab *deliveries; // struct delivery: what waits in outputs and for SUBACKs
	struct broker *brokers;
	struct peers *peers;   // NULL: this is the only worker
	unsigned parcels_kept; // of others, until subscribers have caught up
	// Clients to run again: when something came about (kicked), or every turn until it does
	// (paused).
	struct list kicked, paused;
	struct list fencing; // publishers whose fence is under way
	uint64_t fence_epoch;
	uint64_t serial;	 // of the latest client
	uint64_t retry_us;	 // memory was tight: look again then
	uint64_t expiry_us;	 // next look at sessions' expiries
	struct slab *probe_slab; // struct probe (offload/probes.h)
	struct list probes;	 // those under way
	uint32_t token_count;
	bool draining;
	uint32_t owed_count;   // deliveries that sessions keep (offload/owed.c)
	struct ledger *ledger; // what an earlier run owes (offload/recall.c); NULL: nothing
	struct offload_counters counters;
	uint8_t *scratch; // OFFLOAD_PACKET bytes
};

enum client_state {
	CLIENT_NEW,	 // nothing seen
	CLIENT_CONNECT,	 // CONNECT passed
	CLIENT_ACCEPTED, // CONNACK with success passed
	CLIENT_ENDED,	 // refused, DISCONNECT seen, or the session was taken over
	CLIENT_RAW,	 // no MQTT that Offramp can follow: bytes pass
};

// Waiting for a subscriber.
struct pace_wait {
	uint32_t index;
	uint64_t serial; // 0: none
	uint64_t until_us;
};

// Asking subscribers, from a cursor on.
struct fence_walk {
	uint64_t route_serial; // of the targets that the cursor goes over
	uint64_t epoch;	       // what the awaited PINGRESPs answer
	uint32_t cursor;       // targets before it have answered
	bool unsent;	       // a subscriber could not be asked yet
};

// A fence under way (offload/fencing.c).
struct fence_run {
	struct list link; // in offload.fencing; unlinked: none
	uint64_t key;
	struct delivery *held; // the released PUBLISH that waits for it; NULL: one in the stream
	struct payload *topic;
	uint64_t deadline_us;
	struct fence_walk walk;
	struct visit *visit; // the same on other workers; NULL: not asked for
	bool publisher_done; // its own PINGRESP has come: the subscribers' are awaited
};

// What was looked up last of what it may write.
struct client_written {
	uint64_t hash, epoch, until_us;
};

// How many PUBLISHes of the broker there had been then.
struct client_traffic {
	uint64_t since_us;
	uint32_t count;
};

struct client {
	struct offload *offload;
	struct broker *broker;
	struct tcp_pcb *pcb;
	const struct broker_link_ops *link;
	void *link_ctx;
	uint64_t serial;
	struct list run_link; // in offload.kicked or .paused

	// What CONNECT and CONNACK said.
	struct session
		*session; // NULL before CONNACK, after the end, and when it cannot be followed
	struct payload *client_id;
	enum client_state state;
	enum mqtt_version version;
	bool clean, bridge;
	bool left;	    // it has said goodbye
	bool broker_waits;  // with its next PUBLISH: too long to gather, or one more than may wait
	bool broker_needs;  // that is at QoS 1 or 2: it needs room in the window
	bool has_will;	    // which the broker publishes unless it says goodbye
	bool unknown;	    // counted as unknown in the map
	bool gone;	    // the client's direction has ended
	bool disordered;    // what passed could not be remembered: nothing is captured any more
	bool violated;	    // it broke the protocol: the broker will end it and reads no further
	bool resumed;	    // its session was there before
	bool unaccounted;   // what the broker has of its messages at QoS 2 is not known
	bool superseded;    // a later connection has its session
	bool failed;	    // memory ran out where nothing may be lost
	bool refused;	    // a PUBLISH of its was not taken: an orderly stop
	bool misnamed;	    // the broker has told of no session of its identifier
	uint8_t refusal;    // raw: how much of one the broker has sent (client_raw_answered())
	uint8_t rounds;	    // of the other workers, before its first bytes pass (offload/peers.c)
	uint8_t broker_qos; // the highest the broker takes
	uint16_t keep_alive;
	uint16_t receive_maximum; // the client's
	uint16_t broker_aliases;  // topic aliases the broker takes from the client
	uint32_t session_expiry;
	uint64_t will_key;	      // fence_key() of the will
	uint32_t maximum_packet_size; // the client's
	uint32_t broker_packet_size;  // the broker's

	// What the broker's side tells of it (offload/proving.h).
	struct client_written written;
	uint8_t unsure;		   // bit q: readers of its messages at QoS q cannot be told
	uint64_t identity;	   // stands for who it is: another one after another authentication
	uint64_t nonce, joined_us; // of the marker that asks for its key; 0: none
	uint64_t joined_stream;	   // in which it was sent
	uint64_t connect_epoch;	   // when its CONNECT passed
	uint64_t clean_epoch;	   // it began without a session in this epoch; 0: otherwise
	uint64_t fresh_from;	   // the fence epoch that it must have settled to be fresh
	uint64_t unseen_us; // when the broker last sent a PUBLISH that could not be looked at
	struct client_traffic traffic[2]; // PUBLISHes of the broker at two times
	uint32_t traffic_count;
	uint32_t probes_count;
	struct list probes;   // those under way for messages of its
	struct probe *asking; // of the message that is judged; NULL: it does not ask
	bool preparing;	      // it would ask, and other workers will be ready for that in a moment

	// Likewise, of its own accord (offload/hooks.h).
	struct roster_client *entry; // that the broker has for this connection; NULL: not known
	uint64_t roster_mark;	     // what was told before is not of this connection
	uint64_t unlike_epoch; // a message passed, then, that shows nothing of those to be captured

	// Towards the broker.
	struct reader up;
	bool up_in_packet;   // a long packet streams to the broker: nothing may come between
	uint64_t up_last_us; // when the broker last got bytes of this client
	struct pings pings;
	uint32_t crossings;	   // parcels under way: what passes waits for them
	uint64_t connect_us;	   // when its CONNECT passed; before that, when it was opened
	uint64_t due;		   // what other workers must have learned before an answer passes
	struct move *move;	   // finding its session at other workers; NULL: not, or done
	struct payload *acks;	   // struct acks; NULL: nothing waits
	struct payload *fences;	   // struct fences; NULL: all clear
	struct payload *aliases;   // struct aliases; NULL: none
	uint32_t up_skip;	   // bytes at the front of a long packet that were written anew
	struct payload *exchanges; // struct exchanges; NULL: none at QoS 2 is under way
	struct list unreleased;	   // PUBLISHes taken at QoS 2 (offload/exact.c)
	uint32_t unreleased_count;
	uint64_t unreleased_bytes;
	uint64_t late_until_us; // so long a late exchange keeps what follows waiting; 0: none does
	struct fence_run fence;
	uint64_t ping_epoch, pong_epoch; // fences: asked, answered
	// As a subscriber: what the last question that was asked and answered while the broker had
	// nothing more for it answers; how far the broker was at the last question.
	uint64_t settled_epoch;
	uint64_t behind_epoch; // of the question whether the broker has caught up; 0: not asked
	uint64_t broker_publish_us; // when the broker last sent a PUBLISH above QoS 0
	uint32_t broker_publishes, ping_publishes; // how many of them
	uint32_t broker_peak,
		ping_unacknowledged; // the most unacknowledged at once; at the question
	struct pace_wait wait;	     // for a subscriber of what it has published
	uint64_t patience_us; // as a subscriber: until then publishers wait for it; 0: it keeps up

	// Towards the client.
	struct reader down;
	bool in_packet;	      // the broker's packet streams through: nothing may come between
	struct list waiting;  // control packets and QoS 0 that wait for in_packet to end
	struct list windowed; // QoS 1 and the broker's PUBLISHes that wait for the window
	struct list pending;  // messages that wait for a SUBACK
	uint32_t waiting_count, windowed_count, windowed_broker, windowed_numbered, pending_count;
	uint64_t windowed_bytes;
	uint32_t resends;	     // of the unacknowledged ones, those that wait to be sent again
	struct payload *identifiers; // struct identifiers; NULL: nothing unacknowledged
	uint16_t identifier_next, identifier_broker;

	uint64_t captured, passed, delivered;
};

// Run the client at the end of this turn.
static inline void client_kick(struct client *client)
{
	list_remove(&client->run_link);
	list_append(&client->offload->kicked, &client->run_link);
}

// It could not be run in this turn: it is the first of the next.
static inline void client_kick_first(struct client *client)
{
	list_remove(&client->run_link);
	list_prepend(&client->offload->kicked, &client->run_link);
}

// Run the client every turn (at most a millisecond apart) until it is no longer blocked.
static inline void client_pause(struct client *client)
{
	list_remove(&client->run_link);
	list_append(&client->offload->paused, &client->run_link);
}

static inline struct acks *client_acks(const struct client *client)
{
	return (struct acks *)client->acks->data;
}

static inline struct fences *client_fences(const struct client *client)
{
	return (struct fences *)client->fences->data;
}

static inline struct aliases *client_aliases(const struct client *client)
{
	return (struct aliases *)(void *)client->aliases->data;
}

static inline struct exchanges *client_exchanges(const struct client *client)
{
	return (struct exchanges *)client->exchanges->data;
}

static inline struct identifiers *client_identifiers(const struct client *client)
{
	return (struct identifiers *)client->identifiers->data;
}

// So little memory is left that nothing new is begun: who is reading waits.
bool offload_tight(const struct offload *offload);
// The longest packet that is gathered now: all that may be captured, less when memory runs short.
uint32_t offload_gather_max(const struct offload *offload, const struct broker *broker);
// Everything that capture asks of a broker's map and the operator's declarations holds.
bool broker_map_complete(const struct offload *offload, const struct broker *broker);
