// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What must be shown before a topic's messages are captured, where the broker is to tell:
//
//                           knowledge: broker   authorization: broker
//   publisher may write                          (publisher, topic)     a probe's answer
//   same readers            topic                                       likewise, compared
//   subscribers may read                         (subscriber, topic)    what their legs show
//
// What is shown holds for proof.ttl, within an epoch (offload/stream.h), and as long as no change
// of the map touches the topic. Shortly before its end one message asks anew. A message that
// asks passes, and so do those behind it until the answer is here; then a fence brings the topic
// back. What came to nothing is asked again, later each time.

#pragma once

#include "offload/readers.h"
#include "offload/state.h"

enum proof_reason proving_look(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, bool may_ask);

// May the message be captured, as far as the broker is to tell? `may_ask`: if it passes, it may be
// the one that asks (client->asking then). Most often everything is shown and this is all:
static inline enum proof_reason proving_judge(struct client *client, struct proof_route *route,
	const struct mqtt_publish *publish, bool may_ask)
{
	const struct broker *broker = client->broker;
	const struct proof_standing *standing = &route->standing;
	uint64_t now_us = client->offload->now_us, epoch = broker->stream.epoch;
	bool open = broker->config->authorization == OFFLOAD_AUTHORIZATION_OPEN;

	if (standing->shown && standing->epoch == epoch && standing->only == 0 &&
		now_us < standing->until_us && now_us < standing->ask_us &&
		(open || (client->written.hash == route->hash && client->written.epoch == epoch &&
				 now_us < client->written.until_us)))
		return PROOF_CAPTURE;
	return proving_look(client, route, publish, may_ask);
}

// A probe's answer: the broker let the publisher write, or not. `since_us`: when it was asked.
void proving_written(struct client *publisher, uint64_t hash, bool written, uint64_t since_us);
// … and it considers the same readers, or others. True: subscribers are to be seen now.
bool proving_compared(struct client *publisher, struct proof_route *route, enum readers readers);
// Of every subscriber is seen what there is to see; `all`: what all of them may.
void proving_shown(struct client *publisher, struct proof_route *route, bool all);
// The answer says nothing of the route: another publisher's message may ask for it at once.
void proving_ask_others(struct client *publisher, struct proof_route *route);
// … and of the subscribers of other workers, until then; said at `since_us` by their clocks.
void proving_shown_elsewhere(const struct broker *broker, struct proof_route *route,
	uint64_t until_us, uint64_t since_us);
// No answer came; `route` may be NULL.
void proving_unanswered(struct client *publisher, uint64_t hash, struct proof_route *route);

// --- of this worker's subscribers, for whoever asks ---------------------------------------------

// Is the broker's side ready to answer for all of them? PROOF_CAPTURE, or why not; asks for what is
// missing.
enum proof_reason proving_subscribers_ready(struct broker *broker, const struct proof_route *route);
// What is known of the right to read of all of them: until when it holds, 0: not of all.
uint64_t proving_subscribers_until(struct broker *broker, struct proof_route *route);
