// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A broker with access rules at the far end of the bed, as mosquitto with Offramp's plugin
// is one: it routes what it gets, asks before it delivers who may read, and answers markers.
// And the clients at the near end, who acknowledge what they get and write it down.
//
//   client i ══ offload ══ leg i of the twin ─▶ routes, rights ─▶ legs of the readers
//                  ▲            └─ events ─▶ a queue that a test lets go, or not
//                  └──────────────────────────────┘

#pragma once

#include "base/marker.h"
#include "packets.h"

#define TWIN_SUBSCRIPTIONS 8
#define TWIN_TOPICS	   16 // "t0" … "t9", "ta" …: the second character is the number in hex
#define TWIN_GOT	   4096

struct twin_message {
	char topic;
	uint32_t number; // of the message
};

struct twin_leg {
	bool connected, v5;
	char id[24];
	uint64_t key;
	uint8_t in[65536], out[65536]; // bytes of the client, and to it, that were not looked at
	size_t in_length, out_length;
	struct {
		char filter[16];
		uint8_t qos;
		bool no_local;
	} subscriptions[TWIN_SUBSCRIPTIONS];
	unsigned subscriptions_count;
	bool may_write[TWIN_TOPICS], may_read[TWIN_TOPICS];
	uint64_t ask; // a token that waits for its PUBLISH
	struct {
		uint64_t token;
		bool written, cut;
		uint64_t readers[64];
		unsigned count;
	} asked;	  // that waits for its END
	uint8_t qos2[64]; // a PUBLISH that waits for its PUBREL, whole
	size_t qos2_length;
	uint64_t qos2_token;
	uint16_t next_id;
	uint32_t published; // PUBLISHes that came by this leg
	uint32_t joins;	    // markers
	unsigned joined;    // the number of the event that told so; 0: not in this stream
	bool skip;	    // the next PUBLISH is not for who was joined at that number, but except
	unsigned skip_number;
	uint8_t skip_count;
	uint64_t skip_except[MARKER_EXCEPT_MAX];
	// What the client has got, in order.
	struct twin_message got[TWIN_GOT];
	unsigned got_count;
};

struct twin_event {
	enum { TWIN_JOINED, TWIN_PUBLISHED, TWIN_REVOKED, TWIN_SUBSCRIBED } kind;
	uint64_t token, key;
	bool written, cut;
	uint64_t readers[64];
	unsigned count;
	char filter[16];
};

struct twin {
	struct bed *bed;
	struct bed
		*other; // a second worker, which has the legs of odd numbers; NULL: there is none
	unsigned other_told; // so many events have been told to it
	bool other_held;     // it is behind: it is told nothing more
	uint64_t lease_us, instance, last_key;
	uint8_t marker_key[16];
	struct twin_leg legs[BED_CLIENTS];
	struct twin_event events[4096];
	unsigned first, last;
	bool held;	       // events wait
	bool vague;	       // cannot say who the readers of a message at QoS 2 were
	bool silent;	       // deliveries wait: nothing is sent to clients
	uint64_t strangers[8]; // keys of readers of everything that do not come by a leg
	unsigned strangers_count;
	uint32_t strangers_got; // messages
	bool no_split;
	bool stubborn;	 // unsubscriptions are answered, and not made
	char drop_topic; // a delivery of this topic is lost once, as for a slow reader
};

// For a bed that has been started; the stream comes up.
struct twin *twin_new(struct bed *bed);
// Likewise for two workers; the pair has been started.
struct pair;
struct twin *twin_new_pair(struct pair *pair);
void twin_free(struct twin *twin);
// Whose leg it is.
struct bed *twin_bed(const struct twin *twin, unsigned i);
void twin_stream_up(struct twin *twin);
void twin_stream_down(struct twin *twin);
// Everybody may do everything until a test says otherwise.
void twin_connect(struct twin *twin, unsigned i, bool v5, const char *id);
void twin_subscribe(struct twin *twin, unsigned i, const char *filter, uint8_t qos);
void twin_subscribe_not_local(struct twin *twin, unsigned i, const char *filter, uint8_t qos);
void twin_unsubscribe(struct twin *twin, unsigned i, const char *filter);
// SUBSCRIBE at QoS 1, or UNSUBSCRIBE, and nothing else happens.
void twin_ask(struct twin *twin, unsigned i, const char *filter, uint8_t type);
// Message `number`, which is its payload; nothing else happens.
void twin_send(struct twin *twin, unsigned i, char topic, uint8_t qos, uint32_t number);
// … and everything that can.
void twin_publish(struct twin *twin, unsigned i, char topic, uint8_t qos, uint32_t number);
// Rights have changed: the event is on its way.
void twin_revoke(struct twin *twin);
// Everything that can happen now does. Time stands still.
void twin_run(struct twin *twin);
// What one worker's legs have got is dealt with, and its worker is told what has happened: for two
// threads, each of which turns its own worker. The twin is one at a time's.
void twin_serve(struct twin *twin, unsigned worker);
// Time passes, and the lease is prolonged.
void twin_wait(struct twin *twin, uint64_t us);
// How often the client got message `number`.
unsigned twin_got(const struct twin *twin, unsigned i, uint32_t number);
// Publishes numbers from *number on until one is captured; fails after 20. Returns how many passed.
unsigned twin_until_captured(
	struct twin *twin, unsigned i, char topic, uint8_t qos, uint32_t *number);
uint64_t twin_captured(const struct twin *twin);
