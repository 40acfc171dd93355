// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Events on their way to the workers: each gets all of them, and hands them to its
// offload in its own words (offload/notice.h).

#include "control/feeds.h"

#include "base/clock.h"
#include "offload/config.h"
#include "offload/notice.h"

#include <stdlib.h>
#include <string.h>

struct event_notice {
	struct notice notice;
	unsigned broker;
	uint64_t *leases;
	uint64_t lease_until_us; // 0: left as it is
	uint64_t posted_us;
	Offramp__V1__BrokerMessage *message;
};

static struct mqtt_bytes bytes_of(const char *text)
{
	return (struct mqtt_bytes){(const uint8_t *)text, strlen(text)};
}

static enum offload_session_state session_state(Offramp__V1__SessionState state)
{
	switch (state) {
	case OFFRAMP__V1__SESSION_STATE__SESSION_STATE_CREATED:
		return OFFLOAD_SESSION_CREATED;
	case OFFRAMP__V1__SESSION_STATE__SESSION_STATE_RESUMED:
		return OFFLOAD_SESSION_RESUMED;
	case OFFRAMP__V1__SESSION_STATE__SESSION_STATE_DISCONNECTED:
		return OFFLOAD_SESSION_DISCONNECTED;
	default:
		return OFFLOAD_SESSION_ENDED;
	}
}

static void session(struct offload *offload, unsigned broker, const Offramp__V1__SessionChanged *s)
{
	struct offload_session what = {
		.key = s->key,
		.client_id = bytes_of(s->client_id),
		.state = session_state(s->state),
	};

	if (s->peer_address.len == sizeof(what.peer.address.bytes)) {
		memcpy(what.peer.address.bytes, s->peer_address.data, s->peer_address.len);
		what.peer.port = s->peer_port <= UINT16_MAX ? (uint16_t)s->peer_port : 0;
	}
	offload_notice_session(offload, broker, &what);
}

static void subscribed(struct offload *offload, unsigned broker, const Offramp__V1__Subscribed *s)
{
	const struct offload_filter filter = {
		.text = bytes_of(s->filter),
		.qos = s->qos <= 2 ? (uint8_t)s->qos : UINT8_MAX,
		.no_local = s->no_local,
	};

	offload_notice_subscribed(offload, broker, s->key, bytes_of(s->client_id), &filter);
}

static void published(
	struct offload *offload, unsigned broker, const Offramp__V1__Published *p, uint64_t told_us)
{
	struct offload_published what = {
		.token = p->token,
		.key = p->key,
		.client_id = bytes_of(p->client_id),
		.topic = bytes_of(p->topic),
		.qos = p->qos <= 2 ? (uint8_t)p->qos : UINT8_MAX,
		.told_us = told_us,
		.written = p->written,
		.readers = p->readers,
		.readers_count = p->n_readers,
		.cut = p->cut,
	};

	offload_notice_published(offload, broker, &what);
}

static void tell(struct offload *offload, unsigned broker, const Offramp__V1__BrokerMessage *m,
	uint64_t posted_us)
{
	switch (m->kind_case) {
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_SNAPSHOT_END:
		offload_notice_snapshot_end(offload, broker);
		break;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_CLIENT_JOINED:
		offload_notice_joined(
			offload, broker, m->client_joined->nonce, m->client_joined->key);
		break;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_SESSION:
		session(offload, broker, m->session);
		break;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_SUBSCRIBED:
		subscribed(offload, broker, m->subscribed);
		break;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_UNSUBSCRIBED:
		offload_notice_unsubscribed(offload, broker, m->unsubscribed->key,
			bytes_of(m->unsubscribed->client_id), bytes_of(m->unsubscribed->filter));
		break;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED:
		published(offload, broker, m->published, posted_us);
		break;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_REVOKED:
		offload_notice_revoked(offload, broker);
		break;
	default: // a heartbeat: the lease is all there is to it
		break;
	}
}

static void event_run(const struct notice *notice, struct offload *offload, unsigned worker)
{
	const struct event_notice *event = (const struct event_notice *)notice;

	tell(offload, event->broker, event->message, event->posted_us);
	if (event->message->sequence)
		offload_notice_heard(offload, event->broker, event->message->sequence);
	if (event->lease_until_us)
		__atomic_store_n(&event->leases[worker], event->lease_until_us, __ATOMIC_RELEASE);
}

static void event_free(struct notice *notice)
{
	struct event_notice *event = (struct event_notice *)notice;

	offramp__v1__broker_message__free_unpacked(event->message, NULL);
	free(event);
}

bool feed_post(struct feeds *feeds, struct feed_stream *stream, Offramp__V1__BrokerMessage *message,
	uint64_t said_us)
{
	struct feed *feed = stream->feed;
	struct event_notice *event = malloc(sizeof(*event));

	if (!event)
		return false;
	*event = (struct event_notice){
		.broker = feed->broker,
		.leases = feed->leases,
		.lease_until_us = said_us ? said_us + feed->config->proof.lease_us : 0,
		.posted_us = clock_now_us(),
		.message = message,
	};
	// Unpacked it takes more than packed: a structure for each part, and what malloc() adds.
	event->notice = (struct notice){event_run, event_free,
		sizeof(*event) + 256 + 2 * offramp__v1__broker_message__get_packed_size(message)};
	if (notices_post(feeds->notices, &event->notice))
		return true;
	free(event);
	return false;
}
