// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a broker tells is taken here.

#include "offload/notice.h"

#include "offload/fencing.h"
#include "offload/markers.h"
#include "offload/probes.h"
#include "offload/proving.h"
#include "mqtt/topic.h"
#include "session/keys.h"

static const char never[] = "the broker has not told anything yet: its plugin is not connected";

void stream_init(struct broker_stream *stream)
{
	*stream = (struct broker_stream){.down = never, .epoch = 1};
}

bool stream_wanted(const struct broker *broker)
{
	return broker->config->knowledge == OFFLOAD_KNOWLEDGE_BROKER ||
	       broker->config->authorization == OFFLOAD_AUTHORIZATION_BROKER;
}

// Nothing that was shown stands any more, and nothing on its way shows anything.
static void epoch_begin(struct offload *offload, struct broker *broker)
{
	struct broker_stream *stream = &broker->stream;

	probes_end_broker(offload, broker);
	stream->epoch++;
	stream->since_us = offload->now_us;
	stream->fresh_from = fencing_epoch(offload);
	if (stream->up)
		markers_begin(broker);
}

static bool leased(const struct broker_stream *stream, uint64_t now_us)
{
	return now_us < __atomic_load_n(stream->told.lease_until_us, __ATOMIC_ACQUIRE);
}

// A lease that is missed ends nothing: who prolongs it has been heard out up to there, for the
// worker is told of everything in the order of the stream, the lease too.
static void stream_look(const struct offload *offload, struct broker *broker)
{
	struct broker_stream *stream = &broker->stream;

	stream->live = stream->up && (!stream->told.complete || stream->snapshot_over) &&
		       leased(stream, offload->now_us);
}

void streams_advance(struct offload *offload)
{
	for (unsigned i = 0; i < offload->config.brokers_count; i++)
		stream_look(offload, &offload->brokers[i]);
}

const char *stream_reason(const struct broker *broker)
{
	const struct broker_stream *stream = &broker->stream;

	if (!stream->up)
		return stream->down;
	if (stream->told.complete && !stream->snapshot_over)
		return "the broker is telling what it has";
	if (!stream->live)
		return "the broker has said nothing for longer than proof.lease";
	return NULL;
}

void offload_stream_up(
	struct offload *offload, unsigned broker, const struct offload_stream *stream)
{
	struct broker *b = &offload->brokers[broker];

	if (stream->instance == 0 || stream->instance != b->stream.instance)
		session_keys_forget(b->map);
	b->stream.instance = stream->instance;
	b->stream.serial++;
	b->stream.heard = 0;
	b->stream.told = *stream;
	b->stream.up = true;
	b->stream.snapshot_over = false;
	b->stream.live = false;
	epoch_begin(offload, b);
	stream_look(offload, b);
}

void offload_stream_down(struct offload *offload, unsigned broker, const char *why)
{
	struct broker *b = &offload->brokers[broker];

	b->stream.down = why;
	if (!b->stream.up)
		return;
	b->stream.up = b->stream.live = false;
	b->stream.told.lease_until_us = NULL;
	epoch_begin(offload, b);
}

void offload_notice_heard(struct offload *offload, unsigned broker, uint64_t sequence)
{
	offload->brokers[broker].stream.heard = sequence;
}

void offload_notice_snapshot_end(struct offload *offload, unsigned broker)
{
	offload->brokers[broker].stream.snapshot_over = true;
	stream_look(offload, &offload->brokers[broker]);
}

void offload_notice_joined(struct offload *offload, unsigned broker, uint64_t nonce, uint64_t key)
{
	marker_joined(offload, &offload->brokers[broker], nonce, key);
}

void offload_notice_session(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, enum offload_session_state state)
{
}

// A change that the wire shows is no news; a client that comes another way, or whose wire-side
// subscriptions are not all known, is.
static void filter_changed(
	struct offload *offload, struct broker *broker, uint64_t key, struct mqtt_bytes filter)
{
	const struct session *session = key != 0 ? session_by_key(broker->map, key) : NULL;
	struct mqtt_bytes plain = filter, name;

	if (session != NULL && session->owner != NULL && !session->unknown)
		return;
	mqtt_filter_share(filter, &name, &plain);
	session_changes_add_filter(&broker->map->changes, plain);
	session_changes_add_filter(&broker->map->doubts, plain);
	probes_overtaken(offload, broker, plain);
}

void offload_notice_subscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, struct mqtt_bytes filter)
{
	filter_changed(offload, &offload->brokers[broker], key, filter);
}

void offload_notice_unsubscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, struct mqtt_bytes filter)
{
	filter_changed(offload, &offload->brokers[broker], key, filter);
}

void offload_notice_published(
	struct offload *offload, unsigned broker, const struct offload_published *published)
{
	if (published->token != 0)
		probe_answered(offload, &offload->brokers[broker], published);
}

void offload_notice_revoked(struct offload *offload, unsigned broker)
{
	epoch_begin(offload, &offload->brokers[broker]);
}
