// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What must be shown before a topic's messages are captured, where the broker tells of
// its own accord all that it has (Hello.complete: EMQX, by its hooks) and understands no markers:
//
//                           knowledge: broker            authorization: broker
//   publisher may write                                  the broker has told of a PUBLISH of
//                                                        this connection, topic and QoS that
//                                                        passed when it was asked for
//   same readers            the broker's subscriptions   likewise (with either of them)
//                           and ours, compared
//   subscribers may read                                 the broker has their subscriptions:
//                                                        such brokers ask for the right when
//                                                        a client subscribes, and never again
//
// A connection is joined to the broker's client by the address and port from which the
// broker sees it come; where the broker does not say ports, by the identifier that both have,
// while there is no client that only one of them has under its identifier. Whoever cannot be
// joined is a stranger, and its subscriptions are uncovered.
//
// Where there are several workers each is told everything, and joins its own clients; whose the
// rest of a topic's readers are they ask each other (offload/survey.h).

#pragma once

#include "offload/notice.h"
#include "offload/state.h"

// --- what the broker tells -----------------------------------------------------------------------

void hooks_stream_up(struct offload *offload, struct broker *broker);
void hooks_session(struct broker *broker, const struct roster_name *name,
	const struct net_endpoint *peer, enum offload_session_state state);
void hooks_subscribed(
	struct broker *broker, const struct roster_name *name, const struct offload_filter *filter);
void hooks_unsubscribed(
	struct broker *broker, const struct roster_name *name, struct mqtt_bytes filter);
void hooks_published(struct broker *broker, const struct offload_published *published);

// --- what the wire shows -------------------------------------------------------------------------

// The client's CONNECT has passed; its CONNACK has; its connection or session is over.
void hooks_connect(struct client *client);
void hooks_connack(struct client *client);
void hooks_leave(struct client *client);
// A message of the client has passed, or an authentication begun, so that what the broker tells
// next says nothing of messages like those that may be captured.
void hooks_unlike(struct client *client);

// It is known which of the broker's clients this is; likewise, once that has been looked up.
bool hooks_joined(const struct client *client);
bool hooks_join(struct client *client);
// Where the broker does not say ports: no client has another name there than here, as far as is
// known.
bool hooks_names_hold(const struct broker *broker);

// --- the same readers (offload/hooks_readers.c) --------------------------------------------------

// Of one worker: the subscriptions of its clients that match a topic.
struct hooks_tally {
	uint64_t sum;	// of their hashes, as the broker has them
	bool same;	// the broker has just these of them
	bool unjoined;	// of one it is not known whose it is
	bool unsettled; // one comes or goes
};

// False: the topic has too many levels. *ret_all: the sum of all that the broker has.
bool hooks_tally(const struct broker *broker, struct mqtt_bytes topic,
	struct hooks_tally *ret_tally, uint64_t *ret_all);
// Do the broker's map and those of all workers match the same? `may_wait`: client->preparing is
// set when that will have been said in a moment.
enum proof_reason hooks_look_readers(
	struct client *client, struct proof_route *route, bool may_wait);
// Without success again after this, twice as much …
uint64_t hooks_later_us(const struct client *client, uint64_t wait_us, uint8_t *failures);

// --- verdicts ------------------------------------------------------------------------------------

enum proof_reason hooks_look(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, bool may_ask);

// As proving_judge(). The right to write is one of a topic and a QoS: brokers' rules know both.
static inline enum proof_reason hooks_judge(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, bool may_ask)
{
	const struct broker *broker = client->broker;
	const struct proof_standing *standing = &route->standing;
	uint64_t epoch = broker->stream.epoch;
	bool open = broker->config->authorization == OFFLOAD_AUTHORIZATION_OPEN;

	if (standing->shown && standing->epoch == epoch &&
		(open || (client->written.hash == fence_key(route->hash, publish->qos) &&
				 client->written.epoch == epoch &&
				 client->offload->now_us < client->written.until_us)))
		return PROOF_CAPTURE;
	return hooks_look(client, route, publish, may_ask);
}
