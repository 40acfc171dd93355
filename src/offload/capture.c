// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The fan-out, and what happens before and behind it at each QoS.

#include "offload/capture.h"

#include <rte_prefetch.h>

#include <errno.h>

#include "base/assert.h"
#include "offload/exact.h"
#include "offload/fencing.h"
#include "offload/hooks.h"
#include "offload/judge.h"
#include "offload/output.h"
#include "offload/pace.h"
#include "offload/parcel.h"
#include "offload/pass.h"
#include "offload/pending.h"
#include "offload/split.h"
#include "offload/upstream.h"

// Targets fetched ahead of their turn.
#define PREFETCH 4

// --- the fan-out ---------------------------------------------------------------------------------

// `publisher`: NULL when it is another worker's.
static void distribute(const struct client *publisher, enum mqtt_version version,
	const struct proof_route *route, const struct mqtt_frame *frame, struct message *message,
	struct pace *pace)
{
	const struct mqtt_publish *publish = message->publish;

	for (uint32_t i = 0; i < route->targets; i++) {
		const struct proof_target *target = proof_route_target(route, i);
		struct client *subscriber = target->owner;

		if (i + PREFETCH < route->targets) {
			const struct client *next = proof_route_target(route, i + PREFETCH)->owner;

			rte_prefetch0(next);
		}
		if (target->flags & ROUTE_DENIED)
			continue;
		if (target->flags & ROUTE_PENDING) {
			// The target stands for all of the client's subscriptions: No Local, too,
			// is judged when it is released.
			pending_hold(subscriber, frame, version, subscriber == publisher);
			continue;
		}
		if ((target->flags & ROUTE_NO_LOCAL) && subscriber == publisher)
			continue; // [MQTT-3.8.3-3]
		output_deliver(subscriber, message,
			target->qos < publish->qos ? target->qos : publish->qos, target->id);
		pace_look(pace, subscriber);
	}
	message->offload->work += route->targets;
}

void capture_distribute_others(struct offload *offload, enum mqtt_version version,
	const struct proof_route *route, const struct mqtt_frame *frame, struct message *message,
	struct pace *pace)
{
	DASSERT(message->offload == offload);
	distribute(NULL, version, route, frame, message, pace);
}

// [MQTT-4.6.0-2], [MQTT-4.6.0-3]: in the order of the PUBLISHes, behind what the broker still has
// to acknowledge.
static void acknowledge(struct client *client, uint16_t id, uint8_t type, uint8_t reason)
{
	uint8_t bytes[MQTT_ACK_MAX];

	if (client->acks != NULL)
		acks_captured(client_acks(client), id, type, reason);
	else
		output_control(
			client, bytes, mqtt_ack_encode(client->version, type, id, reason, bytes));
}

// Can the acknowledgement of one more be said? Who does not read them gets no more of them.
static bool may_acknowledge(const struct client *client)
{
	return (client->acks == NULL || !acks_full(client_acks(client))) && output_has_room(client);
}

// Delivers, here and elsewhere; all of it or nothing. What crosses to other workers is acknowledged
// with a packet of `type` (0: not) when all have it.
static enum proof_reason fan_out(struct client *client, struct proof_route *route,
	const struct mqtt_frame *frame, const struct mqtt_publish *publish, uint8_t type)
{
	struct parcel *parcel = NULL;
	enum proof_reason reason;
	struct message message;
	struct pace pace = {0};

	if (message_init(&message, client->offload, frame, publish) < 0)
		return PROOF_NO_MEMORY;
	reason = judge_memory(client->offload, route, frame, &message);
	if (reason == PROOF_CAPTURE && publish->qos > 0)
		reason = judge_kept(client, route);
	if (reason == PROOF_CAPTURE && route->workers != 0) {
		parcel = parcel_make(client, route, frame, publish);
		reason = parcel != NULL ? PROOF_CAPTURE : PROOF_NO_MEMORY;
	}
	if (reason == PROOF_CAPTURE) {
		distribute(client, client->version, route, frame, &message, &pace);
		pace_decide(&pace, client->offload, &client->wait);
		if (parcel != NULL)
			parcel_post(client, parcel, route->workers, type, publish->packet_id,
				route->heard);
		client->captured++;
		counter_inc(&client->offload->counters.captured[publish->qos]);
		pass_keep_alive(client);
	}
	message_fini(&message);
	return reason;
}

// The same where other workers have subscribers too.
static int capture_everywhere(struct client *client, struct proof_route *route,
	const struct mqtt_frame *frame, const struct mqtt_publish *publish,
	enum proof_reason *ret_reason)
{
	bool acknowledged = publish->qos > 0;

	if (!parcel_may(client, route->workers) || (acknowledged && !upstream_acks_ready(client)))
		return -EAGAIN;
	*ret_reason = fan_out(client, route, frame, publish, acknowledged ? MQTT_PUBACK : 0);
	if (*ret_reason == PROOF_CAPTURE && acknowledged)
		acks_crossing(client_acks(client), publish->packet_id, MQTT_PUBACK);
	else if (acknowledged)
		upstream_acks_release(client);
	return *ret_reason == PROOF_CAPTURE;
}

// Clients that are away get it from the broker, which acknowledges it.
static int split(struct client *client, struct proof_route *route, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason)
{
	struct message message;
	struct pace pace = {0};
	int rc;

	if (publish->qos > 0 && !upstream_acks_ready(client))
		return -EAGAIN;
	*ret_reason = PROOF_NO_MEMORY;
	if (message_init(&message, client->offload, frame, publish) < 0) {
		upstream_acks_release(client);
		return 0;
	}
	*ret_reason = judge_memory(client->offload, route, frame, &message);
	rc = *ret_reason == PROOF_CAPTURE ? split_pass(client, route, frame) : -ENOMEM;
	if (rc == 0) {
		if (publish->qos > 0)
			acks_passed(client_acks(client), publish->packet_id);
		distribute(client, client->version, route, frame, &message, &pace);
		pace_decide(&pace, client->offload, &client->wait);
		counter_inc(&client->offload->counters.split);
	} else {
		*ret_reason = PROOF_NO_MEMORY;
		upstream_acks_release(client);
	}
	message_fini(&message);
	return rc == 0;
}

#define REASON_NO_MATCHING_SUBSCRIBERS 0x10 // 3.4.2.1

static int capture(struct client *client, struct proof_route *route, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason)
{
	uint8_t reason = client->version == MQTT_VERSION_5 && !route->heard
				 ? REASON_NO_MATCHING_SUBSCRIBERS
				 : 0;

	switch (judge_order(client, route, publish->qos)) {
	case JUDGE_IN_ORDER:
		break;
	case JUDGE_UNPROVEN:
		*ret_reason = PROOF_FENCE;
		return fencing_begin(
			       client, fence_key(route->hash, publish->qos), route->topic, NULL)
			       ? -EAGAIN
			       : 0;
	case JUDGE_HELD:
		*ret_reason = PROOF_FENCE;
		return 0;
	}
	if (split_needed(client, route, publish->qos))
		return split(client, route, frame, publish, ret_reason);
	if (publish->qos > 0 && !may_acknowledge(client))
		return -EAGAIN;
	if (route->workers != 0)
		return capture_everywhere(client, route, frame, publish, ret_reason);
	*ret_reason = fan_out(client, route, frame, publish, 0);
	if (*ret_reason != PROOF_CAPTURE)
		return 0;
	if (publish->qos > 0)
		acknowledge(client, publish->packet_id, MQTT_PUBACK, reason);
	return 1;
}

// At QoS 2 it is taken now and delivered when it is released.
static int take(struct client *client, struct proof_route *route, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason)
{
	enum judge_order order = judge_order(client, route, publish->qos);

	*ret_reason = PROOF_FENCE;
	if (order == JUDGE_HELD)
		return 0;
	*ret_reason = PROOF_DUPLICATE;
	if (publish->dup)
		return 0;
	*ret_reason = PROOF_QOS2_FULL;
	if (!exact_has_room(client, frame))
		return 0;
	if (!may_acknowledge(client))
		return -EAGAIN;
	*ret_reason = PROOF_NO_MEMORY;
	if (!exact_take(client, frame, publish, order == JUDGE_IN_ORDER))
		return 0;
	acknowledge(client, publish->packet_id, MQTT_PUBREC, 0);
	pass_keep_alive(client);
	return 1;
}

int capture_publish(struct client *client, const struct mqtt_frame *frame,
	const struct mqtt_publish *publish, enum proof_reason *ret_reason)
{
	struct proof_route *route;

	// [MQTT-4.3.3-10]: until it is released it is acknowledged again, and never delivered
	// again.
	if (publish->qos == 2 && exact_find(client, publish->packet_id) != NULL) {
		if (!may_acknowledge(client))
			return -EAGAIN;
		acknowledge(client, publish->packet_id, MQTT_PUBREC, 0);
		return 1;
	}
	client->preparing = false;
	*ret_reason = judge_publish(client, frame, publish, true, &route);
	if (client->preparing)
		return -EAGAIN;
	if (*ret_reason != PROOF_CAPTURE)
		return 0;
	return publish->qos == 2 ? take(client, route, frame, publish, ret_reason)
				 : capture(client, route, frame, publish, ret_reason);
}

int capture_released(struct client *client, struct delivery *held, const struct held_packet *packet,
	enum proof_reason *ret_reason)
{
	const struct mqtt_publish *publish = &packet->publish;
	struct proof_route *route;

	*ret_reason = judge_publish(client, &packet->frame, publish, false, &route);
	if (*ret_reason != PROOF_CAPTURE)
		return 0;
	*ret_reason = PROOF_FENCE;
	if (!held->in_order && judge_order(client, route, publish->qos) != JUDGE_IN_ORDER)
		return fencing_begin(
			       client, fence_key(route->hash, publish->qos), route->topic, held)
			       ? -EAGAIN
			       : 0;
	if (!output_has_room(client))
		return -EAGAIN;
	if (route->workers != 0 && !parcel_may(client, route->workers))
		return -EAGAIN;
	*ret_reason = fan_out(client, route, &packet->frame, publish, MQTT_PUBCOMP);
	if (*ret_reason != PROOF_CAPTURE)
		return 0;
	return route->workers != 0 ? CAPTURE_CROSSING : CAPTURE_DONE;
}

#define REASON_NOT_AUTHORIZED 0x87 // 3.4.2.1, 3.5.2.1

bool capture_refuse(struct client *client, const struct mqtt_publish *publish)
{
	uint8_t reason = client->version == MQTT_VERSION_5 ? REASON_NOT_AUTHORIZED : 0;

	if (publish->qos > 0 && !may_acknowledge(client))
		return false;
	if (publish->qos > 0)
		acknowledge(client, publish->packet_id,
			publish->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, reason);
	counter_inc(&client->offload->counters.refused);
	return true;
}

// --- after a message has passed ------------------------------------------------------------------

// NULL: its order cannot be kept any more, so nothing of it is captured any more.
static struct fences *fences_get(struct client *client)
{
	if (client->fences == NULL) {
		client->fences = payload_alloc(client->offload->payloads, sizeof(struct fences));
		if (client->fences == NULL) {
			client->disordered = true;
			return NULL;
		}
		fences_init(client_fences(client));
	}
	return client_fences(client);
}

void capture_behind_all(struct client *client)
{
	struct fences *fences = fences_get(client);

	hooks_unlike(client);
	if (fences != NULL)
		fences_passed_unknown(fences);
}

static void capture_behind_for(struct client *client, uint64_t key, uint64_t hold_us)
{
	struct fences *fences = fences_get(client);

	if (fences != NULL)
		fences_passed(fences, key, client->offload->now_us, hold_us);
}

void capture_behind(struct client *client, uint64_t key)
{
	capture_behind_for(client, key, client->broker->config->capture.hold_us);
}

void capture_passed(
	struct client *client, struct mqtt_bytes topic, uint8_t qos, enum proof_reason reason)
{
	const struct offload_broker_config *config = client->broker->config;
	bool pings = config->fence == OFFLOAD_FENCE_PING, held = reason == PROOF_FENCE && pings;
	// What passes until the broker has answered is no mixed traffic.
	uint64_t hold_us = pings && proof_reason_is_brief(reason) ? 0 : config->capture.hold_us;

	client->passed++;
	counter_inc(&client->offload->counters.passed[reason]);
	// What passes only because its topic is held does not prolong the hold: the fence at its
	// end covers it.
	if (held || client->state == CLIENT_ENDED)
		return;
	if (topic.length == 0)
		capture_behind_all(client);
	else
		capture_behind_for(client,
			fence_key(proof_topic_hash(client->broker->routes, topic), qos), hold_us);
}
