// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Held messages, and the match of one client's subscriptions alone.

#include "offload/pending.h"

#include "mqtt/topic.h"
#include "offload/held.h"
#include "offload/keep.h"
#include "offload/message.h"
#include "offload/output.h"

bool pending_has_room(const struct client *client)
{
	const struct slab *deliveries = client->offload->deliveries;

	return client->pending_count < client->broker->config->client.pending_messages &&
	       slab_used(deliveries) < slab_count(deliveries);
}

void pending_hold(struct client *subscriber, const struct mqtt_frame *frame,
	enum mqtt_version version, bool own)
{
	struct delivery *delivery = held_take(subscriber->offload, frame, version);

	if (delivery == NULL) {
		counter_inc(&subscriber->offload->counters.dropped[OFFLOAD_DROP_QUEUE_FULL]);
		return;
	}
	delivery->own = own;
	list_append(&subscriber->pending, &delivery->link);
	subscriber->pending_count++;
	counter_inc(&subscriber->offload->counters.held);
}

static void pending_drop(struct client *client, struct delivery *delivery)
{
	client->pending_count--;
	delivery_drop(client->offload, delivery);
}

static bool subscription_matches(
	struct offload *offload, const struct subscription *sub, struct mqtt_bytes topic)
{
	uint32_t length = subscription_filter(sub, offload->scratch, OFFLOAD_PACKET);

	return !sub->share && mqtt_filter_matches(mqtt_bytes(offload->scratch, length), topic);
}

static bool still_pending(const struct client *client, struct mqtt_bytes topic)
{
	list_for_each (link, &client->session->subscriptions) {
		const struct subscription *sub = container_of(link, struct subscription, link);

		if (sub->state == SUBSCRIPTION_PENDING &&
			subscription_matches(client->offload, sub, topic))
			return true;
	}
	return false;
}

// A held message that is being delivered.
struct release {
	struct client *client;
	struct message *message;
	bool own;		 // the client's own message
	bool one, takes_highest; // what overlapping subscriptions get
	bool any;		 // a subscription matches
	bool found;		 // one copy is to be sent: at `qos`, with `id`
	uint8_t qos;
	uint32_t id;
};

static void release_match(void *ctx, struct mqtt_trie_entry *entry)
{
	struct release *r = ctx;
	const struct subscription *sub = container_of(entry, struct subscription, entry);
	uint8_t published = r->message->publish->qos;
	uint8_t qos = sub->qos < published ? sub->qos : published;

	if (sub->session != r->client->session || sub->share ||
		sub->state == SUBSCRIPTION_UNCERTAIN)
		return;
	r->any = true;
	if (sub->no_local && r->own)
		return;
	if (!r->one) {
		output_deliver(r->client, r->message, qos, sub->id);
		return;
	}
	if (!r->found || (r->takes_highest && qos > r->qos))
		r->qos = qos;
	r->id = r->id != 0 ? r->id : sub->id; // of several one: it is too late to pass
	r->found = true;
}

// Delivers under the client's subscriptions as they are now; false when none matches.
static bool deliver_now(
	struct client *client, const struct delivery *delivery, struct message *message)
{
	const struct broker *broker = client->broker;
	struct release release = {
		.client = client,
		.message = message,
		.own = delivery->own,
		.one = proof_one_copy(broker->config->overlap, client->version),
		.takes_highest = proof_takes_highest(broker->config->overlap),
	};

	mqtt_trie_match(broker->map->trie, message->publish->topic, release_match, &release);
	if (release.found)
		output_deliver(client, message, release.qos, release.id);
	return release.any;
}

static void deliver_held(
	struct client *client, const struct delivery *delivery, const struct held_packet *packet)
{
	struct offload_counters *counters = &client->offload->counters;
	struct message message;

	if (message_init(&message, client->offload, &packet->frame, &packet->publish) < 0) {
		counter_inc(&counters->dropped[OFFLOAD_DROP_QUEUE_FULL]);
		return;
	}
	if (!deliver_now(client, delivery, &message))
		counter_inc(&counters->dropped[OFFLOAD_DROP_REFUSED]);
	message_fini(&message);
}

// False: it waits on.
static bool release_one(struct client *client, struct delivery *delivery)
{
	struct held_packet packet;

	held_open(delivery, &packet);
	if (still_pending(client, packet.publish.topic))
		return false;
	if (held_age(delivery, client->offload->now_us, &packet.publish))
		deliver_held(client, delivery, &packet);
	else
		counter_inc(&client->offload->counters.dropped[OFFLOAD_DROP_EXPIRED]);
	return true;
}

void pending_release(struct client *client)
{
	if (client->session == NULL) {
		pending_clear(client);
		return;
	}
	list_for_each_safe (link, &client->pending) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		// All that wait for another SUBACK are of other topics: their order is their own.
		if (release_one(client, delivery))
			pending_drop(client, delivery);
	}
}

// False: nobody keeps it.
static bool park_one(struct client *client, struct session *session, struct delivery *delivery)
{
	struct held_packet packet;
	struct message message;

	held_open(delivery, &packet);
	if (packet.publish.qos == 0 ||
		!held_age(delivery, client->offload->now_us, &packet.publish) ||
		message_init(&message, client->offload, &packet.frame, &packet.publish) < 0)
		return false;
	keep_held(client, session, &message);
	message_fini(&message);
	return true;
}

void pending_park(struct client *client, struct session *session)
{
	list_for_each_safe (link, &client->pending) {
		struct delivery *delivery = container_of(link, struct delivery, link);

		if (park_one(client, session, delivery))
			pending_drop(client, delivery);
	}
}

void pending_clear(struct client *client)
{
	list_for_each_safe (link, &client->pending) {
		counter_inc(&client->offload->counters.dropped[OFFLOAD_DROP_CLOSED]);
		pending_drop(client, container_of(link, struct delivery, link));
	}
}
