// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Feeds: whose stream it is, where one goes on, and how workers learn of both. All that
// they are told goes through one ring, the lease too, so a worker relies on nothing
// beyond what it has taken in.

#include "control/feeds.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/config.h"
#include "control/rpc.h"
#include "offload/notice.h"

#include <sys/random.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_PAUSE_US (US_IN_S / 2) // a stream that comes and goes is not worth a line each time

// --- up and down, for the workers ----------------------------------------------------------------

struct turn_notice { // a stream comes or goes
	struct notice notice;
	unsigned broker;
	uint64_t *leases;
	struct offload_stream stream;
	const char *why; // it goes; NULL: it comes
};

static void turn_run(const struct notice *notice, struct offload *offload, unsigned worker)
{
	const struct turn_notice *turn = (const struct turn_notice *)notice;
	struct offload_stream stream = turn->stream;

	__atomic_store_n(&turn->leases[worker], 0, __ATOMIC_RELEASE);
	if (turn->why) {
		offload_stream_down(offload, turn->broker, turn->why);
		return;
	}
	stream.lease_until_us = &turn->leases[worker];
	offload_stream_up(offload, turn->broker, &stream);
}

static void turn_free(struct notice *notice)
{
	free(notice);
}

static bool turn_post(
	struct feeds *feeds, struct feed *feed, const struct feed_stream *stream, const char *why)
{
	struct turn_notice *turn = calloc(1, sizeof(*turn));

	if (!turn)
		return false;
	turn->notice = (struct notice){turn_run, turn_free, sizeof(*turn)};
	turn->broker = feed->broker;
	turn->leases = feed->leases;
	turn->why = why;
	turn->stream.instance = feed->instance;
	turn->stream.markers = stream->markers;
	turn->stream.split = stream->split;
	turn->stream.complete = stream->complete;
	memcpy(turn->stream.marker_key, stream->marker_key, MARKER_KEY_SIZE);
	if (notices_post(feeds->notices, &turn->notice))
		return true;
	free(turn);
	return false;
}

// --- life ----------------------------------------------------------------------------------------

int feeds_create(
	const struct control_source *source, struct notices *notices, struct feeds *ret_feeds)
{
	unsigned count = source->config->brokers_count;

	ret_feeds->source = source;
	ret_feeds->notices = notices;
	ret_feeds->feeds = calloc(count, sizeof(*ret_feeds->feeds));
	for (unsigned i = 0; ret_feeds->feeds && i < count; i++) {
		struct feed *feed = &ret_feeds->feeds[i];

		feed->config = &source->config->brokers[i];
		feed->broker = i;
		feed->leases = calloc(source->workers_count, sizeof(*feed->leases));
		if (!feed->leases)
			return -ENOMEM;
	}
	return ret_feeds->feeds ? 0 : -ENOMEM;
}

void feeds_destroy(struct feeds *feeds)
{
	for (unsigned i = 0; feeds->feeds && i < feeds->source->config->brokers_count; i++)
		free(feeds->feeds[i].leases);
	free(feeds->feeds);
}

struct feed *feeds_find(struct feeds *feeds, const char *name)
{
	unsigned count = feeds->source->config->brokers_count;

	if (!*name && count == 1)
		return &feeds->feeds[0];
	for (unsigned i = 0; i < count; i++)
		if (strcmp(feeds->feeds[i].config->name, name) == 0)
			return &feeds->feeds[i];
	return NULL;
}

uint64_t feed_lease_until_us(const struct feeds *feeds, const struct feed *feed)
{
	uint64_t until_us = UINT64_MAX;

	for (unsigned i = 0; i < feeds->source->workers_count; i++) {
		uint64_t own_us = __atomic_load_n(&feed->leases[i], __ATOMIC_ACQUIRE);

		if (own_us < until_us)
			until_us = own_us;
	}
	return until_us;
}

// The level of a line about the feed.
static enum log_level level(struct feed *feed, enum log_level due)
{
	uint64_t now_us = clock_now_us();

	if (feed->logged_us && now_us - feed->logged_us < LOG_PAUSE_US)
		return LOG_LEVEL_DEBUG;
	feed->logged_us = now_us;
	return due;
}

// --- beginning -----------------------------------------------------------------------------------

// For people; what a terminal would obey is left out.
static void copy_software(char into[FEED_SOFTWARE_SIZE], const char *from)
{
	size_t length = strnlen(from, FEED_SOFTWARE_SIZE - 1);

	// Not within a character.
	while (length && (from[length] & 0xc0) == 0x80)
		length--;
	memcpy(into, from, length);
	into[length] = '\0';
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)into[i] < ' ' || into[i] == 0x7f)
			into[i] = '?';
}

static void replace(struct feeds *feeds, struct feed *feed, const Offramp__V1__Hello *hello)
{
	struct feed_stream *old = feed->stream;
	struct rpc_call *call = old->call;

	if (feed->instance != hello->instance && !feed->rivals_told) {
		feed->rivals_told = true;
		log_warning("broker",
			"%s: two brokers say that they are it; the one that comes later counts",
			feed->config->name);
	}
	feed_end(feeds, old, FEED_END_REPLACED, "another stream of the broker has taken its place");
	if (call)
		rpc_call_cancel(
			call, GRPC_STATUS_ABORTED, "another stream of this broker has taken over");
}

// Is everything that followed the latest event taken in still to be had? What `complete` brokers
// told is not kept over a lost stream.
static bool can_resume(const struct feed *feed, const Offramp__V1__Hello *hello)
{
	uint64_t next = feed->sequence + 1;

	if (!feed->known || feed->instance != hello->instance || hello->complete)
		return false;
	return next == hello->latest_sequence + 1 ||
	       (hello->oldest_sequence && hello->oldest_sequence <= next &&
		       next <= hello->latest_sequence);
}

void feed_begin(struct feeds *feeds, struct feed *feed, struct feed_stream *stream,
	const Offramp__V1__Hello *hello)
{
	bool resumed;

	if (feed->stream)
		replace(feeds, feed, hello);
	resumed = can_resume(feed, hello);
	stream->feed = feed;
	stream->markers = hello->markers;
	stream->split = hello->split;
	stream->complete = hello->complete;
	stream->begun_us = clock_now_us();
	stream->replay_from = resumed ? feed->sequence + 1 : 0;
	ASSERT(getrandom(stream->marker_key, MARKER_KEY_SIZE, 0) == MARKER_KEY_SIZE);
	feed->stream = stream;
	copy_software(feed->software, hello->software);
	feed->instance = hello->instance;
	feed->known = resumed;
	if (!resumed)
		feed->sequence = hello->latest_sequence;
	counter_inc(&feeds->counters.begun[resumed]);
	counter_add(&feeds->counters.streams, 1);
}

bool feed_up(struct feeds *feeds, struct feed_stream *stream)
{
	struct feed *feed = stream->feed;

	if (!turn_post(feeds, feed, stream, NULL))
		return false;
	stream->up = true;
	log_write(level(feed, LOG_LEVEL_INFO), "broker", "%s: in step with it (%s%s)",
		feed->config->name, feed->software,
		stream->replay_from ? ", it goes on where it was" : "");
	return true;
}

// --- end -----------------------------------------------------------------------------------------

void feed_end(struct feeds *feeds, struct feed_stream *stream, enum feed_end end, const char *why)
{
	struct feed *feed = stream->feed;

	if (!feed)
		return;
	// Where the workers are too far behind to be told, the lease ends by itself.
	if (stream->up)
		turn_post(feeds, feed, stream, why);
	if (end == FEED_END_GAP)
		feed->known = false;
	if (stream->up && end != FEED_END_REPLACED)
		log_write(level(feed, LOG_LEVEL_WARNING), "broker",
			"%s: %s; messages pass until it is back", feed->config->name, why);
	counter_inc(&feeds->counters.ended[end]);
	counter_add(&feeds->counters.streams, -1);
	feed->why = why;
	feed->ended_us = clock_now_us();
	feed->stream = NULL;
	stream->feed = NULL;
}

bool feed_explain(struct feeds *feeds, struct feed *feed, const char *why)
{
	static const struct feed_stream none;

	if (feed->stream)
		return true;
	if (feed->why != why)
		log_warning("broker", "%s: %s", feed->config->name, why);
	feed->why = why;
	return turn_post(feeds, feed, &none, why);
}
