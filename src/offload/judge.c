// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every term of the proof, cheapest first.

#include "offload/judge.h"

#include "offload/fencing.h"
#include "offload/hooks.h"
#include "offload/output.h"
#include "offload/owed.h"
#include "offload/pending.h"
#include "offload/proving.h"
#include "offload/split.h"

static enum proof_reason judge_stream(const struct offload *offload, const struct broker *broker)
{
	if (!stream_wanted(broker))
		return PROOF_CAPTURE;
	// Whom another worker could not tell of its clients.
	if (offload->peers != NULL && !replica_whole(broker->map->replica))
		return PROOF_MAP_INCOMPLETE;
	return broker->stream.live ? PROOF_CAPTURE : PROOF_STREAM;
}

enum proof_reason judge_broker(const struct offload *offload, const struct broker *broker)
{
	if (!broker->capture)
		return PROOF_DISABLED;
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_NONE)
		return PROOF_MAP_UNKNOWN;
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_WIRE &&
		(broker->distrust != NULL || !session_map_complete(broker->map)))
		return PROOF_MAP_INCOMPLETE;
	if (broker->config->authorization == OFFLOAD_AUTHORIZATION_NONE)
		return PROOF_UNAUTHORIZED;
	return judge_stream(offload, broker);
}

// What the packet and its sender say.
static enum proof_reason judge_packet(const struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish)
{
	if (client->state != CLIENT_ACCEPTED || client->session == NULL)
		return PROOF_NOT_ACCEPTED;
	if (client->disordered)
		return PROOF_FENCE;
	// The broker reads nothing after a violation; text may be legal, and still the broker may
	// refuse it (1.5.4).
	if (client->violated || publish->text_discouraged || publish->has_subscription_id ||
		publish->qos > client->broker_qos) // [MQTT-3.2.2-11]
		return PROOF_MALFORMED;
	if (publish->retain)
		return PROOF_RETAIN;
	if (publish->qos > client->broker->config->capture.qos)
		return PROOF_QOS2;
	if (session_is_unsubscribing(client->session, publish->topic))
		return PROOF_UNSUBSCRIBING;
	// What it has not released would have to outlive this connection.
	if (publish->qos == 2 && client->session->expiry_s != 0)
		return PROOF_PERSISTENT;
	if (publish->topic.data[0] == '$')
		return PROOF_DOLLAR_TOPIC;
	if (client->bridge)
		return PROOF_BRIDGE;
	if (frame->length > client->broker->config->capture.max_size ||
		frame->length > client->broker_packet_size)
		return PROOF_TOO_LARGE;
	return PROOF_CAPTURE;
}

// Payloads of at least `size` that are free.
static uint64_t payloads_free(const struct offload *offload, uint32_t size)
{
	struct payload_pool_usage usage;
	uint64_t count = 0;

	payload_pool_usage(offload->payloads, &usage);
	for (unsigned i = 0; i < PAYLOAD_CLASSES; i++)
		if (usage.size[i] >= size)
			count += usage.total[i] - usage.in_use[i];
	return count;
}

// How many payloads the deliveries of a message may take: its forms and the table of its body; a
// form for every subscription identifier; what a client keeps of its identifiers; a copy and its
// table for who waits for a SUBACK.
static uint64_t payloads_needed(const struct proof_route *route)
{
	uint64_t count = MESSAGE_FORMS + 1;

	for (uint32_t i = 0; i < route->targets; i++) {
		const struct proof_target *target = proof_route_target(route, i);
		const struct client *subscriber = target->owner;

		count += (target->id != 0) + (subscriber->identifiers == NULL) +
			 (target->flags & ROUTE_PENDING ? 2 : 0);
	}
	return count;
}

static bool payloads_suffice(const struct offload *offload, const struct proof_route *route,
	const struct mqtt_frame *frame, const struct message *message)
{
	uint32_t size = frame->length + MQTT_HEADER_MAX + 2 * MQTT_VARINT_MAX;
	uint64_t count;

	if (message->body_count > 0)
		size -= message->publish->payload_length;
	if (size < sizeof(struct identifiers))
		size = sizeof(struct identifiers);
	if (size < sizeof(struct piece_table) + message->body_count * sizeof(struct tcp_piece))
		size = sizeof(struct piece_table) + message->body_count * sizeof(struct tcp_piece);
	count = payloads_free(offload, size);
	// Nearly always there is plenty, and nobody needs to count.
	return count >= MESSAGE_FORMS + 1 + 4ull * route->targets ||
	       count >= payloads_needed(route);
}

// Nothing that has been begun here may fail half-way: see that there is room for all of it. At QoS
// 0 only pieces: what else is missing costs a delivery, which may be lost.
enum proof_reason judge_memory(const struct offload *offload, const struct proof_route *route,
	const struct mqtt_frame *frame, const struct message *message)
{
	struct tcp_usage usage;
	uint32_t free_deliveries = slab_count(offload->deliveries) - slab_used(offload->deliveries);

	tcp_stack_usage(offload->tcp, &usage);
	if ((uint64_t)route->targets * (3 + message->body_count) > usage.pieces_max - usage.pieces)
		return PROOF_NO_MEMORY;
	if (message->publish->qos > 0 && (route->targets > free_deliveries ||
						 !payloads_suffice(offload, route, frame, message)))
		return PROOF_NO_MEMORY;
	return PROOF_CAPTURE;
}

enum proof_reason judge_kept(const struct client *client, const struct proof_route *route)
{
	const struct replica *replica = client->broker->map->replica;

	if (route->kept && !owed_has_room(client->offload))
		return PROOF_NO_MEMORY;
	if (replica != NULL && (route->kept_elsewhere & replica_full(replica)))
		return PROOF_NO_MEMORY;
	return PROOF_CAPTURE;
}

// Every SUBACK that is waited for leaves room to hold this message.
bool judge_pending(const struct proof_route *route)
{
	if (route->pending == 0)
		return true;
	for (uint32_t i = 0; i < route->targets; i++) {
		const struct proof_target *target = proof_route_target(route, i);

		if ((target->flags & ROUTE_PENDING) && !pending_has_room(target->owner))
			return false;
	}
	return true;
}

enum proof_reason judge_publish(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, bool may_ask, struct proof_route **ret_route)
{
	enum proof_reason reason = judge_packet(client, frame, publish);
	struct proof_route *route;

	if (reason == PROOF_CAPTURE)
		reason = judge_broker(client->offload, client->broker);
	if (reason != PROOF_CAPTURE)
		return reason;
	route = proof_route_find(client->broker->routes, publish->topic);
	if (route == NULL)
		return PROOF_NO_MEMORY;
	*ret_route = route;
	if (route->reason != PROOF_CAPTURE)
		return route->reason;
	if (publish->qos > 0 && route->reason_qos1 != PROOF_CAPTURE &&
		!(publish->qos == 1 && split_possible(client, route)))
		return route->reason_qos1;
	if (publish->qos > 1 && route->reason_qos2 != PROOF_CAPTURE)
		return route->reason_qos2;
	if (stream_wanted(client->broker)) {
		reason = client->broker->stream.told.complete
				 ? hooks_judge(client, route, publish, may_ask)
				 : proving_judge(client, route, publish, may_ask);
		if (reason != PROOF_CAPTURE)
			return reason;
		if (split_needed(client, route, publish->qos)) {
			if (route->workers != 0)
				return PROOF_WORKERS;
			if (publish->qos == 2 || !split_possible(client, route))
				return PROOF_UNKNOWN_READER;
		}
	}
	return judge_pending(route) ? PROOF_CAPTURE : PROOF_PENDING_FULL;
}

enum judge_order judge_order(struct client *client, const struct proof_route *route, uint8_t qos)
{
	uint64_t key = fence_key(route->hash, qos);
	struct fences *fences;

	if (client->fences == NULL)
		return JUDGE_IN_ORDER;
	fences = client_fences(client);
	switch (fences_state(fences, key, client->offload->now_us)) {
	case FENCE_CLEAR:
		return JUDGE_IN_ORDER;
	case FENCE_HELD:
		return JUDGE_HELD;
	case FENCE_BLOCKED:
		break;
	}
	if (client->broker->config->fence == OFFLOAD_FENCE_PING)
		return JUDGE_UNPROVEN;
	// Without a fence that proves something, a quiet hold time has to do.
	if (!fences_known(fences, key) || (qos == 2 && client->exchanges != NULL))
		return JUDGE_HELD;
	fencing_clear(client, key);
	return JUDGE_IN_ORDER;
}
