// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Every term of the proof, one after the other, cheapest first; then the fan-out.

#include "offload/capture.h"

#include <rte_prefetch.h>

#include <errno.h>

#include "base/assert.h"
#include "offload/fencing.h"
#include "offload/output.h"
#include "offload/pace.h"
#include "offload/pass.h"
#include "offload/pending.h"

// Targets fetched ahead of their turn.
#define PREFETCH 4

// --- the proof -----------------------------------------------------------------------------------

// What the operator declared, and whether it holds.
static enum proof_reason judge_broker(const struct broker *broker)
{
	if (!broker->config->capture.enabled)
		return PROOF_DISABLED;
	if (broker->config->knowledge == OFFLOAD_KNOWLEDGE_NONE)
		return PROOF_MAP_UNKNOWN;
	if (broker->distrust != NULL || !session_map_complete(broker->map))
		return PROOF_MAP_INCOMPLETE;
	if (broker->config->authorization == OFFLOAD_AUTHORIZATION_NONE)
		return PROOF_UNAUTHORIZED;
	return PROOF_CAPTURE;
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
	if (publish->qos == 2)
		return PROOF_QOS2;
	if (publish->topic_alias != 0)
		return PROOF_TOPIC_ALIAS;
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
static enum proof_reason judge_memory(const struct offload *offload,
	const struct proof_route *route, const struct mqtt_frame *frame,
	const struct message *message)
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

// Every SUBACK that is waited for leaves room to hold this message.
static bool pending_have_room(const struct proof_route *route)
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

// May an earlier message of this topic and QoS still be on its way through the broker?
// PROOF_CAPTURE: no. *ret_wait: a fence has been begun that will tell.
static enum proof_reason judge_order(
	struct client *client, const struct proof_route *route, uint8_t qos, bool *ret_wait)
{
	uint64_t key = fence_key(route->hash, qos);
	struct fences *fences;

	if (client->fences == NULL)
		return PROOF_CAPTURE;
	fences = client_fences(client);
	switch (fences_state(fences, key, client->offload->now_us)) {
	case FENCE_CLEAR:
		return PROOF_CAPTURE;
	case FENCE_HELD:
		return PROOF_FENCE;
	case FENCE_BLOCKED:
		break;
	}
	if (client->broker->config->fence == OFFLOAD_FENCE_NONE) {
		// Without a fence that proves something, a quiet hold time has to do.
		if (!fences_known(fences, key))
			return PROOF_FENCE;
		fencing_clear(client, key);
		return PROOF_CAPTURE;
	}
	*ret_wait = fencing_begin(client, key, route->topic);
	return PROOF_FENCE;
}

// --- the fan-out ---------------------------------------------------------------------------------

static void distribute(struct client *publisher, const struct proof_route *route,
	const struct mqtt_frame *frame, struct message *message)
{
	const struct mqtt_publish *publish = message->publish;
	struct pace pace = {0};

	for (uint32_t i = 0; i < route->targets; i++) {
		const struct proof_target *target = proof_route_target(route, i);
		struct client *subscriber = target->owner;

		if (i + PREFETCH < route->targets) {
			const struct client *next = proof_route_target(route, i + PREFETCH)->owner;

			rte_prefetch0(next);
		}
		if ((target->flags & ROUTE_NO_LOCAL) && subscriber == publisher)
			continue; // [MQTT-3.8.3-3]
		if (target->flags & ROUTE_PENDING) {
			pending_hold(subscriber, frame, publisher);
			continue;
		}
		output_deliver(subscriber, message,
			target->qos < publish->qos ? target->qos : publish->qos, target->id);
		pace_look(&pace, subscriber);
	}
	publisher->offload->work += route->targets;
	pace_apply(&pace, publisher);
}

// [MQTT-4.6.0-2]: in the order of the PUBLISHes, behind what the broker still has to acknowledge.
static void acknowledge(struct client *client, uint16_t id, uint8_t reason)
{
	uint8_t bytes[MQTT_ACK_MAX];

	if (client->acks != NULL)
		acks_captured(client_acks(client), id, reason);
	else
		output_control(client, bytes,
			mqtt_ack_encode(client->version, MQTT_PUBACK, id, reason, bytes));
}

#define REASON_NO_MATCHING_SUBSCRIBERS 0x10 // 3.4.2.1

static int capture(struct client *client, struct proof_route *route, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason)
{
	struct message message;

	*ret_reason = PROOF_NO_MEMORY;
	if (message_init(&message, client->offload, frame, publish) < 0)
		return 0;
	*ret_reason = judge_memory(client->offload, route, frame, &message);
	if (*ret_reason == PROOF_CAPTURE) {
		uint8_t reason = client->version == MQTT_VERSION_5 && route->targets == 0
					 ? REASON_NO_MATCHING_SUBSCRIBERS
					 : 0;

		distribute(client, route, frame, &message);
		if (publish->qos > 0)
			acknowledge(client, publish->packet_id, reason);
		client->captured++;
		counter_inc(&client->offload->counters.captured[publish->qos]);
		pass_keep_alive(client);
	}
	message_fini(&message);
	return *ret_reason == PROOF_CAPTURE;
}

int capture_publish(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason)
{
	struct proof_route *route;
	bool wait = false;

	*ret_reason = judge_packet(client, frame, publish);
	if (*ret_reason == PROOF_CAPTURE)
		*ret_reason = judge_broker(client->broker);
	if (*ret_reason != PROOF_CAPTURE)
		return 0;
	route = proof_route_find(client->broker->routes, publish->topic);
	*ret_reason = PROOF_NO_MEMORY;
	if (route == NULL)
		return 0;
	*ret_reason = route->reason;
	if (*ret_reason == PROOF_CAPTURE && publish->qos > 0)
		*ret_reason = route->reason_qos1;
	if (*ret_reason == PROOF_CAPTURE && !pending_have_room(route))
		*ret_reason = PROOF_PENDING_FULL;
	if (*ret_reason == PROOF_CAPTURE)
		*ret_reason = judge_order(client, route, publish->qos, &wait);
	if (wait)
		return -EAGAIN;
	if (*ret_reason != PROOF_CAPTURE)
		return 0;
	if (client->acks != NULL && acks_full(client_acks(client)))
		return -EAGAIN;
	// Who does not read its acknowledgements gets no more of them.
	if (publish->qos > 0 && !output_has_room(client))
		return -EAGAIN;
	return capture(client, route, frame, publish, ret_reason);
}

// --- after a message has passed ------------------------------------------------------------------

void capture_passed(
	struct client *client, struct mqtt_bytes topic, uint8_t qos, enum proof_reason reason)
{
	const struct offload_broker_config *config = client->broker->config;
	struct offload *offload = client->offload;
	bool held = reason == PROOF_FENCE && config->fence == OFFLOAD_FENCE_PING;

	client->passed++;
	counter_inc(&offload->counters.passed[reason]);
	// QoS 2 is never captured: nothing can overtake it. What passes only because its topic is
	// held does not prolong the hold: the fence at its end covers it.
	if (qos == 2 || held || client->state == CLIENT_ENDED)
		return;
	if (client->fences == NULL) {
		client->fences = payload_alloc(offload->payloads, sizeof(struct fences));
		if (client->fences == NULL) {
			// Its order cannot be kept any more, so nothing of it is captured any more.
			client->disordered = true;
			return;
		}
		fences_init(client_fences(client));
	}
	if (topic.length == 0)
		fences_passed_unknown(client_fences(client));
	else
		fences_passed(client_fences(client),
			fence_key(proof_topic_hash(client->broker->routes, topic), qos),
			offload->now_us, config->capture.hold_us);
}
