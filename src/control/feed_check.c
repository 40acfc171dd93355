// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What is checked here, workers rely on: texts are MQTT's (1.5.4, 4.7), numbers are
// known. protobuf-c looks at neither.

#include "control/feed_check.h"

#include "mqtt/topic.h"

#include <stdbool.h>
#include <string.h>

#define SOFTWARE_MAX 256

static struct mqtt_bytes bytes_of(const char *text)
{
	return (struct mqtt_bytes){(const uint8_t *)text, strlen(text)};
}

// May be empty: a v3.1.1 client without an identifier has none that it knows of.
static bool text_fine(const char *text)
{
	return mqtt_utf8_valid(bytes_of(text));
}

static const char *check_hello(const Offramp__V1__Hello *hello)
{
	if (!text_fine(hello->software) || strlen(hello->software) > SOFTWARE_MAX)
		return "Hello.software is no short text";
	if (hello->instance == 0)
		return "Hello.instance is 0";
	if (hello->oldest_sequence > hello->latest_sequence + 1)
		return "Hello.oldest_sequence is beyond the latest";
	return NULL;
}

static const char *check_session(const Offramp__V1__SessionChanged *session)
{
	if (!text_fine(session->client_id))
		return "SessionChanged.client_id is no MQTT string";
	if (session->state < OFFRAMP__V1__SESSION_STATE__SESSION_STATE_CREATED ||
		session->state > OFFRAMP__V1__SESSION_STATE__SESSION_STATE_ENDED)
		return "SessionChanged.state is not known";
	return NULL;
}

static const char *check_filter(const char *client_id, const char *filter)
{
	if (!text_fine(client_id))
		return "the client_id of a subscription is no MQTT string";
	if (!mqtt_filter_valid(bytes_of(filter)))
		return "the filter of a subscription is no topic filter";
	return NULL;
}

static const char *check_published(const Offramp__V1__Published *published)
{
	if (!text_fine(published->client_id))
		return "Published.client_id is no MQTT string";
	// With a token it is known already, and may be left out.
	if (!(published->token && !*published->topic) &&
		!mqtt_topic_valid(bytes_of(published->topic)))
		return "Published.topic is no topic";
	return NULL;
}

const char *feed_check(const Offramp__V1__BrokerMessage *m)
{
	switch (m->kind_case) {
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_HELLO:
		return check_hello(m->hello);
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_HEARTBEAT:
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_SNAPSHOT_END:
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_REVOKED:
		return NULL;
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_CLIENT_JOINED:
		return m->client_joined->key ? NULL : "ClientJoined.key is 0";
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_SESSION:
		return check_session(m->session);
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_SUBSCRIBED:
		return check_filter(m->subscribed->client_id, m->subscribed->filter);
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_UNSUBSCRIBED:
		return check_filter(m->unsubscribed->client_id, m->unsubscribed->filter);
	case OFFRAMP__V1__BROKER_MESSAGE__KIND_PUBLISHED:
		return check_published(m->published);
	default:
		return "a message of a kind that this version does not know";
	}
}
