// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The names of what feeds count. docs/counters.md describes each.

#include "control/feeds.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const char *const begun_values[] = {"new", "resumed"};
static const char *const ended_values[FEED_ENDS] = {
	[FEED_END_CLOSED] = "closed",
	[FEED_END_REPLACED] = "replaced",
	[FEED_END_GAP] = "gap",
	[FEED_END_ORDER] = "order",
	[FEED_END_GARBAGE] = "garbage",
	[FEED_END_SILENT] = "silent",
};
static const char *const event_values[FEED_EVENTS] = {
	[FEED_HEARTBEAT] = "heartbeat",
	[FEED_SNAPSHOT_END] = "snapshot_end",
	[FEED_JOINED] = "client_joined",
	[FEED_SESSION] = "session",
	[FEED_SUBSCRIBED] = "subscribed",
	[FEED_UNSUBSCRIBED] = "unsubscribed",
	[FEED_PUBLISHED] = "published",
	[FEED_REVOKED] = "revoked",
};

// In the order of struct feed_counters.
static const struct counter_family families[] = {
	{"broker_streams", "Brokers that tell what happens.", NULL, NULL, 1, COUNTER_GAUGE},
	{"broker_streams_begun_total", "Streams of brokers that have begun.", "start", begun_values,
		COUNT(begun_values), COUNTER_MONOTONIC},
	{"broker_streams_ended_total", "Streams of brokers that have ended.", "reason",
		ended_values, FEED_ENDS, COUNTER_MONOTONIC},
	{"broker_events_total", "What brokers have told.", "kind", event_values, FEED_EVENTS,
		COUNTER_MONOTONIC},
	{"broker_stream_waits_total", "Times a stream had to wait for workers.", NULL, NULL, 1,
		COUNTER_MONOTONIC},
};

struct counter_set feeds_counters(const struct feeds *feeds)
{
	return (struct counter_set){families, COUNT(families), (const uint64_t *)&feeds->counters};
}
