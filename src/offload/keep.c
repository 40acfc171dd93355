// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A session holds while its client is away what it would hold if it were there.

#include "offload/keep.h"

#include "offload/owed.h"
#include "offload/promise.h"
#include "proof/away.h"

struct keeping {
	struct broker *broker;
	struct message *message;
	const struct session *only; // NULL: for all who may get it
	uint64_t topic_hash, since_us;
};

static bool session_has_room(const struct broker *broker, const struct session *session)
{
	const struct offload_client_config *bounds = &broker->config->client;

	return session->owed_count < bounds->inflight + bounds->queued_qos1 &&
	       session->owed_bytes < bounds->queue_bytes;
}

static struct delivery *make(
	const struct keeping *keeping, const struct session *session, uint32_t id)
{
	bool v5 = session->version == MQTT_VERSION_5;
	const struct form *form;

	if (!session_has_room(keeping->broker, session))
		return NULL;
	form = message_form(keeping->message, v5, 1, id);
	return form == NULL ? NULL
			    : delivery_create(keeping->message->offload, keeping->message, form);
}

static void keep(void *ctx, struct session *session, uint8_t qos, uint32_t id)
{
	const struct keeping *keeping = ctx;
	struct offload *offload = keeping->message->offload;
	struct delivery *delivery;

	if (keeping->only == NULL &&
		!promise_may_keep(keeping->broker, session, keeping->topic_hash, keeping->since_us))
		return;
	// At QoS 2 nobody has captured it for a subscription that was granted (decision 0016).
	if ((qos > 1 && keeping->message->publish->qos > 1) ||
		(keeping->only != NULL && keeping->only != session))
		return;
	delivery = make(keeping, session, id);
	if (delivery == NULL)
		counter_inc(&offload->counters.dropped[OFFLOAD_DROP_QUEUE_FULL]);
	else
		owed_append(offload, session, delivery);
}

bool keep_has_room(const struct offload *offload, const struct proof_route *route)
{
	uint32_t free = slab_count(offload->deliveries) - slab_used(offload->deliveries);

	return (route->away == 0 && !route->kept) ||
	       (free >= route->away + route->targets && owed_takes_late(offload));
}

void keep_for_away(
	struct broker *broker, struct message *message, uint64_t topic_hash, uint64_t since_us)
{
	struct keeping keeping = {
		.broker = broker,
		.message = message,
		.topic_hash = topic_hash,
		.since_us = since_us,
	};

	proof_away_match(
		broker->map, broker->config->overlap, message->publish->topic, keep, &keeping);
}

void keep_held(struct client *client, struct session *session, struct message *message)
{
	struct keeping keeping = {.broker = client->broker, .message = message, .only = session};
	void *owner = session->owner;

	// As of one that is away, which it is about to be.
	session->owner = NULL;
	proof_away_match(client->broker->map, client->broker->config->overlap,
		message->publish->topic, keep, &keeping);
	session->owner = owner;
}
