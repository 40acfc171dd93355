// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A feed is what one configured broker tells: at most one stream at a time
// (Broker/Events), what is known of the one before, and the lease. The gRPC thread's,
// but for the leases, which workers write. Private to control.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/marker.h"
#include "control/control.h"
#include "control/notices.h"
#include "offramp/v1/broker.pb-c.h"

struct offload_broker_config;
struct rpc_call;

#define FEED_SOFTWARE_SIZE 64

enum feed_event { // broker_events_total{kind}
	FEED_HEARTBEAT,
	FEED_SNAPSHOT_END,
	FEED_JOINED,
	FEED_SESSION,
	FEED_SUBSCRIBED,
	FEED_UNSUBSCRIBED,
	FEED_PUBLISHED,
	FEED_REVOKED,
	FEED_EVENTS,
};

enum feed_end {		   // broker_streams_ended_total{reason}
	FEED_END_CLOSED,   // by its peer, or the peer is gone
	FEED_END_REPLACED, // by another stream of the same broker
	FEED_END_GAP,	   // an event was missing
	FEED_END_ORDER,	   // what came was not due
	FEED_END_GARBAGE,  // what came makes no sense
	FEED_END_SILENT,   // nothing came for a long time
	FEED_ENDS,
};

struct feed_counters {
	uint64_t streams;  // open, in step
	uint64_t begun[2]; // from the start, resumed
	uint64_t ended[FEED_ENDS];
	uint64_t events[FEED_EVENTS];
	uint64_t waits; // for workers that were behind
};

// One stream of a broker, from Hello on.
struct feed_stream {
	struct feed *feed;     // NULL: none yet, or it was replaced
	struct rpc_call *call; // NULL: the messages are made here (EMQX's hooks)
	uint8_t marker_key[MARKER_KEY_SIZE];
	uint64_t begun_us;
	uint64_t welcome_us;  // time_us of Welcome
	uint64_t replay_from; // of Welcome
	bool markers, split, complete;
	bool up; // workers know of it
};

struct feed {
	const struct offload_broker_config *config;
	unsigned broker;
	struct feed_stream *stream;	   // NULL: none
	char software[FEED_SOFTWARE_SIZE]; // of the latest stream, for people
	uint64_t instance;		   // likewise
	uint64_t sequence;		   // of its latest event that was taken in
	bool known;			   // nothing is missing up to that one
	bool rivals_told;
	uint64_t logged_us; // the latest line
	uint64_t ended_us;  // when the latest one before ended; 0: there was none
	const char *why;    // it did; NULL: there was none
	uint64_t *leases;   // until when, by worker; each written by its worker
};

struct feeds {
	const struct control_source *source;
	struct notices *notices;
	struct feed *feeds; // by broker, as configured
	struct feed_counters counters;
};

// -ENOMEM.
int feeds_create(
	const struct control_source *source, struct notices *notices, struct feeds *ret_feeds);
// When no worker runs any more.
void feeds_destroy(struct feeds *feeds);
struct counter_set feeds_counters(const struct feeds *feeds);

// The feed of a broker; an empty name where there is one broker. NULL: none of that name.
struct feed *feeds_find(struct feeds *feeds, const char *name);

// A stream takes its place, and another one's that is there. Decides where it goes on:
// stream->replay_from. `hello` has been checked (feed_check.h).
void feed_begin(struct feeds *feeds, struct feed *feed, struct feed_stream *stream,
	const Offramp__V1__Hello *hello);
// The workers learn that it is up. False: they are behind.
bool feed_up(struct feeds *feeds, struct feed_stream *stream);
// Hands a message that has been checked to the workers, who free it then; `said_us` is from when
// the lease counts, 0: it is left as it is. False: they are behind, and the message is still the
// caller's.
bool feed_post(struct feeds *feeds, struct feed_stream *stream, Offramp__V1__BrokerMessage *message,
	uint64_t said_us);
// It is over. `why` has static storage. Harmless when it has no feed.
void feed_end(struct feeds *feeds, struct feed_stream *stream, enum feed_end end, const char *why);

// There is no stream: why, for the operator; with static storage. Harmless when there is one.
// False: the workers are behind and have not been told.
bool feed_explain(struct feeds *feeds, struct feed *feed, const char *why);

// Until when the workers rely on it: the earliest of theirs.
uint64_t feed_lease_until_us(const struct feeds *feeds, const struct feed *feed);
