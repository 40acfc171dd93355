// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Each event is packed into one buffer, set aside for the longest there can be, and copied
// into the queue from there.

#include "plugin/events.h"

#include "plugin/queue.h"

#include "offramp/v1/broker.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADS_MAX 256 // of all fields of an event

struct events {
	struct queue *queue;
	void (*wake)(void *ctx);
	void *ctx;
	uint8_t packed[];
};

size_t events_size_max(unsigned readers_max)
{
	return HEADS_MAX + 2 * EVENTS_NAME_MAX + readers_max * sizeof(uint64_t);
}

int events_create(struct queue *queue, unsigned readers_max, void (*wake)(void *ctx), void *ctx,
	struct events **ret_events)
{
	struct events *events = malloc(sizeof(*events) + events_size_max(readers_max));

	if (!events)
		return -ENOMEM;
	events->queue = queue;
	events->wake = wake;
	events->ctx = ctx;
	*ret_events = events;
	return 0;
}

void events_destroy(struct events *events)
{
	free(events);
}

static void put(struct events *events, Offramp__V1__BrokerMessage *message)
{
	message->sequence = queue_next_sequence(events->queue);
	queue_put(events->queue, events->packed,
		offramp__v1__broker_message__pack(message, events->packed));
	events->wake(events->ctx);
}

// protobuf-c does not write through it.
static char *name(const char *text)
{
	return (char *)(text ? text : "");
}

uint64_t events_joined(struct events *events, uint64_t nonce, uint64_t key, const char *client_id,
	const char *username)
{
	Offramp__V1__ClientJoined joined = OFFRAMP__V1__CLIENT_JOINED__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;

	joined.nonce = nonce;
	joined.key = key;
	joined.client_id = name(client_id);
	joined.username = name(username);
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_CLIENT_JOINED;
	message.client_joined = &joined;
	put(events, &message);
	return message.sequence;
}

void events_disconnected(struct events *events, uint64_t key, const char *client_id)
{
	Offramp__V1__SessionChanged session = OFFRAMP__V1__SESSION_CHANGED__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;

	session.key = key;
	session.client_id = name(client_id);
	session.state = OFFRAMP__V1__SESSION_STATE__SESSION_STATE_DISCONNECTED;
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_SESSION;
	message.session = &session;
	put(events, &message);
}

void events_subscribed(struct events *events, uint64_t key, const char *client_id,
	const struct events_subscription *subscription)
{
	Offramp__V1__Subscribed subscribed = OFFRAMP__V1__SUBSCRIBED__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;

	subscribed.key = key;
	subscribed.client_id = name(client_id);
	subscribed.filter = name(subscription->filter);
	subscribed.qos = subscription->qos;
	subscribed.no_local = subscription->no_local;
	subscribed.retain_as_published = subscription->retain_as_published;
	subscribed.retain_handling = subscription->retain_handling;
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_SUBSCRIBED;
	message.subscribed = &subscribed;
	put(events, &message);
}

void events_unsubscribed(
	struct events *events, uint64_t key, const char *client_id, const char *filter)
{
	Offramp__V1__Unsubscribed unsubscribed = OFFRAMP__V1__UNSUBSCRIBED__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;

	unsubscribed.key = key;
	unsubscribed.client_id = name(client_id);
	unsubscribed.filter = name(filter);
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_UNSUBSCRIBED;
	message.unsubscribed = &unsubscribed;
	put(events, &message);
}

void events_published(struct events *events, const struct events_published *what)
{
	Offramp__V1__Published published = OFFRAMP__V1__PUBLISHED__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;

	published.token = what->token;
	published.key = what->key;
	published.client_id = name(what->client_id);
	published.topic = name(what->topic);
	published.written = what->written;
	published.cut = what->cut;
	published.readers = (uint64_t *)what->readers; // only read
	published.n_readers = what->readers_count;
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED;
	message.published = &published;
	put(events, &message);
}

void events_revoked(struct events *events, const char *why)
{
	Offramp__V1__Revoked revoked = OFFRAMP__V1__REVOKED__INIT;
	Offramp__V1__BrokerMessage message = OFFRAMP__V1__BROKER_MESSAGE__INIT;

	revoked.why = name(why);
	message.kind_case = OFFRAMP__V1__BROKER_MESSAGE__KIND_REVOKED;
	message.revoked = &revoked;
	put(events, &message);
}
