// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp.v1.Broker/Events: the server's side of a broker's stream. What comes, by what
// has come before:
//
//              Hello     SnapshotEnd        Heartbeat          an event
//   nothing    Welcome   order              order              order
//   Hello      order     up, if due         up, if resumed     up
//   up         order     if due             lease, Acknowledge taken in by its number
//
// "order", a missing number and what feed_check() does not like end the stream; all of it
// is counted. Nothing waits here: what the workers have no room for is left with the call,
// and so with the broker's side.

#include "base/clock.h"
#include "control/control_state.h"
#include "control/feed_check.h"
#include "control/services.h"
#include "offload/config.h"

#include <stdio.h>
#include <string.h>

#define HELLO_US     (10 * US_IN_S) // Hello comes within
#define SILENCE_US   (30 * US_IN_S) // a stream without a message for so long is given up
#define RETRY_US     US_IN_MS	    // workers that were behind
#define HEARTBEATS   5		    // a lease
#define HEARTBEAT_US US_IN_S	    // at least so often
#define UNTOLD_MAX   256	    // events not acknowledged between two heartbeats

struct events {
	struct feed_stream stream;
	uint64_t heard_us;     // the latest message; of the call's begin on
	uint64_t acknowledged; // in Acknowledge
	bool hello, welcomed;  // taken in; sent
	bool snapshot;	       // SnapshotEnd has to come
	bool due;	       // Acknowledge, after a heartbeat
	bool waits;	       // for the workers
};

#define KIND(name) OFFRAMP__V1__BROKER_MESSAGE__KIND_##name

static enum feed_event event_of(const Offramp__V1__BrokerMessage *message)
{
	switch (message->kind_case) {
	case KIND(SNAPSHOT_END):
		return FEED_SNAPSHOT_END;
	case KIND(CLIENT_JOINED):
		return FEED_JOINED;
	case KIND(SESSION):
		return FEED_SESSION;
	case KIND(SUBSCRIBED):
		return FEED_SUBSCRIBED;
	case KIND(UNSUBSCRIBED):
		return FEED_UNSUBSCRIBED;
	case KIND(PUBLISHED):
		return FEED_PUBLISHED;
	case KIND(REVOKED):
		return FEED_REVOKED;
	default:
		return FEED_HEARTBEAT;
	}
}

// Is it numbered?
static bool is_event(const Offramp__V1__BrokerMessage *message)
{
	return message->kind_case != KIND(HELLO) && message->kind_case != KIND(HEARTBEAT) &&
	       message->kind_case != KIND(SNAPSHOT_END);
}

// --- ends ----------------------------------------------------------------------------------------

static const char gap[] = "an event is missing in the broker's stream";
static const char disorder[] = "the broker's stream does not keep to the protocol";
static const char garbage[] = "the broker's stream holds what makes no sense";
static const char silence[] = "the broker says nothing";
static const char over[] = "the broker's stream has ended";

// The stream ends, and its call with the status; `what` is for the peer. True: the message is done
// with.
static bool refuse(struct feeds *feeds, struct events *events, enum feed_end end,
	grpc_status_code status, const char *what, struct rpc_reply *reply)
{
	const char *why = end == FEED_END_GAP ? gap : end == FEED_END_ORDER ? disorder : garbage;

	if (!events->stream.feed)
		counter_inc(&feeds->counters.ended[end]); // it has not become a broker's yet
	feed_end(feeds, &events->stream, end, why);
	rpc_reply_fail(reply, status, "%s", what);
	return true;
}

static bool refuse_order(
	struct feeds *feeds, struct events *events, const char *what, struct rpc_reply *reply)
{
	return refuse(feeds, events, FEED_END_ORDER, GRPC_STATUS_FAILED_PRECONDITION, what, reply);
}

static bool refuse_gap(
	struct feeds *feeds, struct events *events, uint64_t number, struct rpc_reply *reply)
{
	char what[128];

	snprintf(what, sizeof(what), "event %llu after %llu: connect again to start over",
		(unsigned long long)number, (unsigned long long)events->stream.feed->sequence);
	return refuse(feeds, events, FEED_END_GAP, GRPC_STATUS_DATA_LOSS, what, reply);
}

// --- messages ------------------------------------------------------------------------------------

static bool take_hello(struct feeds *feeds, struct events *events,
	const Offramp__V1__BrokerMessage *message, struct rpc_reply *reply)
{
	struct feed *feed;

	if (events->hello)
		return refuse_order(feeds, events, "a second Hello", reply);
	if (message->sequence)
		return refuse_order(feeds, events, "a numbered Hello", reply);
	feed = feeds_find(feeds, message->hello->broker);
	if (!feed)
		return refuse(feeds, events, FEED_END_GARBAGE, GRPC_STATUS_NOT_FOUND,
			"Hello.broker is no name of brokers[] in the configuration", reply);
	feed_begin(feeds, feed, &events->stream, message->hello);
	events->hello = true;
	events->snapshot = events->stream.replay_from == 0;
	events->acknowledged = feed->sequence;
	return true;
}

// From when the lease counts, as far as this message says it.
static uint64_t said_us(const struct events *events, const Offramp__V1__BrokerMessage *message)
{
	uint64_t now_us = clock_now_us(), echo_us;

	if (message->kind_case == KIND(SNAPSHOT_END))
		return events->stream.welcome_us; // it is an answer to that
	if (message->kind_case != KIND(HEARTBEAT))
		return 0;
	echo_us = message->heartbeat->echo_us;
	return echo_us && echo_us < now_us ? echo_us : now_us;
}

// Takes in what is due. False: the workers are behind.
static bool take_due(struct feeds *feeds, struct events *events,
	const Offramp__V1__BrokerMessage *message, struct rpc_reply *reply)
{
	struct feed_stream *stream = &events->stream;

	if (!stream->up && !feed_up(feeds, stream))
		return false;
	if (!feed_post(
		    feeds, stream, (Offramp__V1__BrokerMessage *)message, said_us(events, message)))
		return false;
	rpc_request_keep(reply); // it is the workers' now
	counter_inc(&feeds->counters.events[event_of(message)]);
	return true;
}

static bool take_unnumbered(struct feeds *feeds, struct events *events,
	const Offramp__V1__BrokerMessage *message, struct rpc_reply *reply)
{
	struct feed *feed = events->stream.feed;
	bool snapshot_end = message->kind_case == KIND(SNAPSHOT_END);

	if (message->sequence)
		return refuse_order(feeds, events, "a number for what is no event", reply);
	if (snapshot_end && !events->snapshot)
		return refuse_order(feeds, events, "SnapshotEnd without a snapshot", reply);
	if (!snapshot_end && message->heartbeat->latest_sequence > feed->sequence)
		return refuse_gap(feeds, events, message->heartbeat->latest_sequence, reply);
	if (!take_due(feeds, events, message, reply))
		return false;
	if (snapshot_end) {
		events->snapshot = false;
		feed->known = true;
	} else {
		events->due = true;
	}
	return true;
}

static bool take_event(struct feeds *feeds, struct events *events,
	const Offramp__V1__BrokerMessage *message, struct rpc_reply *reply)
{
	struct feed *feed = events->stream.feed;
	uint64_t number = message->sequence;

	if (!number)
		return refuse_order(feeds, events, "an event without a number", reply);
	if (number > feed->sequence + 1)
		return refuse_gap(feeds, events, number, reply);
	if (number <= feed->sequence)
		return refuse_order(feeds, events, "an event that was told already", reply);
	if (!take_due(feeds, events, message, reply))
		return false;
	feed->sequence = number;
	return true;
}

static bool take(struct feeds *feeds, struct events *events,
	const Offramp__V1__BrokerMessage *message, struct rpc_reply *reply)
{
	const char *wrong = feed_check(message);

	if (wrong)
		return refuse(feeds, events, FEED_END_GARBAGE, GRPC_STATUS_INVALID_ARGUMENT, wrong,
			reply);
	if (message->kind_case == KIND(HELLO))
		return take_hello(feeds, events, message, reply);
	if (!events->hello)
		return refuse_order(feeds, events, "no Hello", reply);
	if (!events->stream.feed)
		return true; // another stream has taken over, and this one ends
	if (is_event(message))
		return take_event(feeds, events, message, reply);
	return take_unnumbered(feeds, events, message, reply);
}

// --- the method ----------------------------------------------------------------------------------

static void events_open(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply)
{
	struct events *events = state;

	(void)ctx;
	(void)request;
	events->stream.call = rpc_reply_call(reply);
	events->heard_us = clock_now_us();
}

static bool events_receive(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply)
{
	struct feeds *feeds = &((struct control *)ctx)->feeds;
	struct events *events = state;

	if (!request) {
		feed_end(feeds, &events->stream, FEED_END_CLOSED, over);
		rpc_reply_end(reply);
		return true;
	}
	if (!take(feeds, events, (const Offramp__V1__BrokerMessage *)request, reply)) {
		if (!events->waits)
			counter_inc(&feeds->counters.waits);
		events->waits = true;
		rpc_call_wake(events->stream.call, RETRY_US);
		return false;
	}
	events->waits = false;
	events->heard_us = clock_now_us();
	return true;
}

static void reply_welcome(struct events *events, struct rpc_reply *reply)
{
	Offramp__V1__OfframpMessage message = OFFRAMP__V1__OFFRAMP_MESSAGE__INIT;
	Offramp__V1__Welcome welcome = OFFRAMP__V1__WELCOME__INIT;
	struct feed_stream *stream = &events->stream;

	stream->welcome_us = clock_now_us();
	welcome.replay_from = stream->replay_from;
	welcome.marker_key = (ProtobufCBinaryData){MARKER_KEY_SIZE, stream->marker_key};
	welcome.lease_us = stream->feed->config->proof.lease_us;
	welcome.heartbeat_us = welcome.lease_us / HEARTBEATS;
	if (welcome.heartbeat_us > HEARTBEAT_US)
		welcome.heartbeat_us = HEARTBEAT_US;
	welcome.time_us = stream->welcome_us;
	message.kind_case = OFFRAMP__V1__OFFRAMP_MESSAGE__KIND_WELCOME;
	message.welcome = &welcome;
	rpc_reply_message(reply, &message.base);
	events->welcomed = true;
}

static void reply_acknowledge(struct events *events, struct rpc_reply *reply)
{
	Offramp__V1__OfframpMessage message = OFFRAMP__V1__OFFRAMP_MESSAGE__INIT;
	Offramp__V1__Acknowledge acknowledge = OFFRAMP__V1__ACKNOWLEDGE__INIT;

	events->acknowledged = events->stream.feed->sequence;
	events->due = false;
	acknowledge.sequence = events->acknowledged;
	acknowledge.time_us = clock_now_us();
	message.kind_case = OFFRAMP__V1__OFFRAMP_MESSAGE__KIND_ACKNOWLEDGE;
	message.acknowledge = &acknowledge;
	rpc_reply_message(reply, &message.base);
}

static void look_after(struct feeds *feeds, struct events *events, struct rpc_reply *reply)
{
	uint64_t patience_us = events->hello ? SILENCE_US : HELLO_US;
	uint64_t silent_us = clock_now_us() - events->heard_us;

	if (silent_us < patience_us) {
		rpc_call_wake(events->stream.call, patience_us - silent_us);
		return;
	}
	if (!events->stream.feed)
		counter_inc(&feeds->counters.ended[FEED_END_SILENT]);
	feed_end(feeds, &events->stream, FEED_END_SILENT, silence);
	rpc_reply_fail(reply, GRPC_STATUS_DEADLINE_EXCEEDED, "nothing was heard for %llu s",
		(unsigned long long)(patience_us / US_IN_S));
}

static void events_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct feeds *feeds = &((struct control *)ctx)->feeds;
	struct events *events = state;
	const struct feed *feed = events->stream.feed;

	if (feed && !events->welcomed)
		reply_welcome(events, reply);
	else if (feed && (events->due || feed->sequence - events->acknowledged >= UNTOLD_MAX))
		reply_acknowledge(events, reply);
	else
		look_after(feeds, events, reply);
}

static void events_close(void *ctx, void *state)
{
	struct events *events = state;

	feed_end(&((struct control *)ctx)->feeds, &events->stream, FEED_END_CLOSED, over);
}

const struct rpc_method broker_methods[] = {
	{
		.path = "/offramp.v1.Broker/Events",
		.request = &offramp__v1__broker_message__descriptor,
		.state_size = sizeof(struct events),
		.open = events_open,
		.receive = events_receive,
		.next = events_next,
		.close = events_close,
	},
	{.path = NULL},
};
