// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a broker tells is taken here.

#include "offload/notice.h"

#include "offload/fencing.h"
#include "offload/hooks.h"
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

// Of who tells all that it has: why that is not known. NULL: it is.
static const char *complete_reason(const struct broker *broker)
{
	if (!broker->stream.told.complete)
		return NULL;
	if (!broker->stream.snapshot_over)
		return "the broker is telling what it has";
	if (broker->roster == NULL)
		return "nothing was set aside for all that a broker has: control.listen serves no "
		       "exhook";
	return broker->roster->lost ? "the broker has more clients or subscriptions than there is "
				      "room for: raise memory.subscriptions and memory.sessions"
				    : NULL;
}

// A lease that is missed ends nothing: who prolongs it has been heard out up to there, for the
// worker is told of everything in the order of the stream, the lease too.
static void stream_look(const struct offload *offload, struct broker *broker)
{
	struct broker_stream *stream = &broker->stream;

	stream->live =
		stream->up && complete_reason(broker) == NULL && leased(stream, offload->now_us);
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
	if (complete_reason(broker) != NULL)
		return complete_reason(broker);
	if (!stream->live)
		return "the broker has said nothing for longer than proof.lease";
	return NULL;
}

static void keys_forget(struct broker *broker)
{
	session_keys_forget(broker->map);
	if (broker->holders != NULL)
		holders_forget(broker->holders);
}

void offload_stream_up(
	struct offload *offload, unsigned broker, const struct offload_stream *stream)
{
	struct broker *b = &offload->brokers[broker];

	if (stream->instance == 0 || stream->instance != b->stream.instance)
		keys_forget(b);
	b->stream.tide++;
	b->stream.instance = stream->instance;
	b->stream.serial++;
	b->stream.heard = 0;
	b->stream.told = *stream;
	b->stream.up = true;
	b->stream.snapshot_over = false;
	b->stream.live = false;
	hooks_stream_up(offload, b);
	epoch_begin(offload, b);
	stream_look(offload, b);
}

void offload_stream_down(struct offload *offload, unsigned broker, const char *why)
{
	struct broker *b = &offload->brokers[broker];

	b->stream.tide++;
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
	struct broker *b = &offload->brokers[broker];

	if (b->holders != NULL && marker_token_worker(nonce) < offload->config.peers.count)
		holders_set(b->holders, key, marker_token_worker(nonce));
	marker_joined(offload, b, nonce, key);
}

// Is it told of all that the broker has?
static bool is_told_all(const struct broker *broker)
{
	return broker->stream.up && broker->stream.told.complete && broker->roster != NULL;
}

void offload_notice_session(
	struct offload *offload, unsigned broker, const struct offload_session *session)
{
	struct roster_name name = {session->key, session->client_id};
	struct broker *b = &offload->brokers[broker];

	if (!is_told_all(b))
		return;
	hooks_session(b, &name, &session->peer, session->state);
	stream_look(offload, b);
}

// A change that the wire shows is no news; a client that comes another way, or whose wire-side
// subscriptions are not all known, is.
static void filter_changed(
	struct offload *offload, struct broker *broker, uint64_t key, struct mqtt_bytes filter)
{
	const struct session *session = key != 0 ? session_by_key(broker->map, key) : NULL;
	struct mqtt_bytes plain = filter, name;

	int holder = broker->holders != NULL ? holders_find(broker->holders, key) : -1;

	if (session != NULL && session->owner != NULL && !session->unknown)
		return;
	// Another worker looks at this, and tells what it sees on the wire, or does not.
	if (holder >= 0 && holder != (int)offload->config.peers.self)
		return;
	mqtt_filter_share(filter, &name, &plain);
	session_changes_add_filter(&broker->map->changes, plain);
	session_changes_add_filter(&broker->map->doubts, plain);
	probes_overtaken(offload, broker, plain);
	if (holder >= 0)
		replica_doubt(broker->map->replica, plain);
}

void offload_notice_subscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, const struct offload_filter *filter)
{
	struct broker *b = &offload->brokers[broker];

	if (!is_told_all(b)) {
		filter_changed(offload, b, key, filter->text);
		return;
	}
	hooks_subscribed(b, &(struct roster_name){key, client_id}, filter);
	stream_look(offload, b); // was there room?
}

void offload_notice_unsubscribed(struct offload *offload, unsigned broker, uint64_t key,
	struct mqtt_bytes client_id, struct mqtt_bytes filter)
{
	struct broker *b = &offload->brokers[broker];

	if (is_told_all(b))
		hooks_unsubscribed(b, &(struct roster_name){key, client_id}, filter);
	else
		filter_changed(offload, b, key, filter);
}

void offload_notice_published(
	struct offload *offload, unsigned broker, const struct offload_published *published)
{
	struct broker *b = &offload->brokers[broker];

	if (published->token != 0)
		probe_answered(offload, b, published);
	else if (is_told_all(b))
		hooks_published(b, published);
}

void offload_notice_revoked(struct offload *offload, unsigned broker)
{
	offload->brokers[broker].stream.tide++;
	epoch_begin(offload, &offload->brokers[broker]);
}
