// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Sender's and receiver's half. Between them goes a pointer; the sender's half is
// memory that only the sender allocates and frees.

#include "offload/parcel.h"

#include "base/assert.h"
#include "offload/capture.h"
#include "offload/downstream.h"
#include "offload/exact.h"
#include "offload/judge.h"
#include "offload/keep.h"
#include "offload/pace.h"
#include "offload/peers.h"
#include "offload/promise.h"

#define PARCELS 1024u
// Kept for slow subscribers by one worker; the rest of the rings is for others.
#define KEPT_MAX 512u

#define REASON_NO_MATCHING_SUBSCRIBERS 0x10 // 3.4.2.1

struct parcel_copy {
	struct crossing_message message;
	struct parcel *parcel;
	// The receiver's.
	struct list link; // in peers.kept
	struct pace_wait wait;
	bool matched;
};

struct parcel {
	// Whose it is.
	uint32_t client_index;
	uint64_t client_serial;
	uint16_t packet_id;
	uint8_t type; // of the acknowledgement that waits, 0: none
	bool matched;
	unsigned missing; // workers that do not have it yet

	// The packet; read by the receivers.
	unsigned broker;
	enum mqtt_version version;
	bool expires;
	uint32_t expiry_s;
	uint64_t since_us; // of what was said of the receivers' subscribers, at the earliest
	uint32_t length;
	unsigned parts_count;
	struct payload *parts[MQTT_FRAME_PARTS_MAX];
	struct parcel_copy copies[CROSSING_WORKERS_MAX];
};

// --- the sender ----------------------------------------------------------------------------------

int parcels_create(struct slab **ret_slab)
{
	return slab_create("parcels", PARCELS, sizeof(struct parcel), ret_slab);
}

static void parcel_free(struct offload *offload, struct parcel *parcel)
{
	for (unsigned i = 0; i < parcel->parts_count; i++)
		payload_put(parcel->parts[i]);
	slab_give(offload->peers->parcels, parcel);
}

void parcels_abandon(struct offload *offload)
{
	for (uint32_t i = 0; i < slab_count(offload->peers->parcels); i++) {
		struct parcel *parcel = slab_at(offload->peers->parcels, i);

		if (parcel != NULL)
			parcel_free(offload, parcel);
	}
}

bool parcel_may(const struct client *client, uint32_t workers)
{
	const struct peers *peers = client->offload->peers;

	if (client->crossings >= PARCELS_OF_CLIENT ||
		slab_used(peers->parcels) == slab_count(peers->parcels))
		return false;
	for (unsigned to = 0; workers >> to != 0; to++)
		if ((workers >> to & 1) &&
			!crossing_has_room(peers->config.parcels, peers->config.self, to))
			return false;
	return true;
}

struct parcel *parcel_make(struct client *client, const struct proof_route *route,
	const struct mqtt_frame *frame, const struct mqtt_publish *publish)
{
	struct offload *offload = client->offload;
	struct tcp_piece pieces[MQTT_FRAME_PARTS_MAX];
	struct parcel *parcel = slab_take(offload->peers->parcels);
	struct payload *copy;
	unsigned count;

	if (parcel == NULL)
		return NULL;
	if (frame_pieces(offload, frame, pieces, &count, &copy) < 0) {
		slab_give(offload->peers->parcels, parcel);
		return NULL;
	}
	for (unsigned i = 0; i < count; i++)
		parcel->parts[i] = copy != NULL ? copy : payload_get(pieces[i].payload);
	parcel->parts_count = count;
	parcel->length = frame->length;
	parcel->client_index = slab_index(offload->clients, client);
	parcel->client_serial = client->serial;
	parcel->broker = (unsigned)(client->broker - offload->brokers);
	parcel->version = client->version;
	parcel->expires = publish->has_message_expiry;
	parcel->expiry_s = publish->message_expiry;
	parcel->since_us = route->standing.others_since_us;
	return parcel;
}

void parcel_drop(struct client *client, struct parcel *parcel)
{
	if (parcel != NULL)
		parcel_free(client->offload, parcel);
}

static void client_returned(struct client *client, const struct parcel *parcel)
{
	uint8_t reason = client->version == MQTT_VERSION_5 && !parcel->matched
				 ? REASON_NO_MATCHING_SUBSCRIBERS
				 : 0;

	client->crossings--;
	if (parcel->type == MQTT_PUBCOMP)
		exact_complete(client, parcel->packet_id);
	else if (parcel->type != 0 && client->acks != NULL &&
		 acks_crossed(client_acks(client), parcel->packet_id, parcel->type, reason))
		downstream_acks_flush(client);
	client_kick(client);
}

static void parcel_back(struct crossing_message *message, void *sender)
{
	struct parcel_copy *copy = container_of(message, struct parcel_copy, message);
	struct parcel *parcel = copy->parcel;
	struct offload *offload = sender;
	struct client *client;

	parcel->matched |= copy->matched;
	if (--parcel->missing > 0)
		return;
	client = slab_at(offload->clients, parcel->client_index);
	if (client != NULL && client->serial == parcel->client_serial)
		client_returned(client, parcel);
	parcel_free(offload, parcel);
}

// --- the receiver --------------------------------------------------------------------------------

struct opened {
	struct mqtt_frame frame;
	struct mqtt_publish publish;
	struct payload *parts[MQTT_FRAME_PARTS_MAX]; // copies of its own
};

static void opened_close(struct opened *opened)
{
	for (unsigned i = 0; i < opened->frame.parts_count; i++)
		payload_put(opened->parts[i]);
}

// In one piece it is read where it lies; in several, others will refer to them.
static bool parcel_open(
	struct offload *offload, const struct parcel *parcel, struct opened *ret_opened)
{
	struct mqtt_frame *frame = &ret_opened->frame;
	const struct payload *first = parcel->parts[0];
	enum mqtt_error error;

	*frame = (struct mqtt_frame){.length = parcel->length, .parts = ret_opened->parts};
	for (unsigned i = 0; parcel->parts_count > 1 && i < parcel->parts_count; i++) {
		const struct payload *part = parcel->parts[i];
		struct payload *copy = payload_alloc(offload->payloads, part->length);

		if (copy == NULL) {
			opened_close(ret_opened);
			return false;
		}
		memcpy(copy->data, part->data, part->length);
		copy->length = part->length;
		ret_opened->parts[frame->parts_count++] = copy;
		first = ret_opened->parts[0];
	}
	frame->head = mqtt_bytes(first->data, first->length);
	error = mqtt_header_decode(frame->head.data, frame->head.length, &frame->header);
	ASSERT(error == MQTT_OK);
	error = mqtt_publish_decode(
		parcel->version, &frame->header, mqtt_frame_body(frame), &ret_opened->publish);
	ASSERT(error == MQTT_OK);
	if (parcel->expires)
		ret_opened->publish.message_expiry = parcel->expiry_s;
	return true;
}

static enum crossing_run parcel_distribute(
	struct offload *offload, struct parcel_copy *copy, const struct opened *opened)
{
	struct broker *broker = &offload->brokers[copy->parcel->broker];
	struct proof_route *route = proof_route_find(broker->routes, opened->publish.topic);
	struct pace pace = {0};
	struct message message;

	// What has come up since it was captured changes nothing; memory must be there.
	if (route == NULL || route->reason == PROOF_NO_MEMORY || !judge_pending(route) ||
		message_init(&message, offload, &opened->frame, &opened->publish) < 0)
		return CROSSING_LATER;
	if (judge_memory(offload, route, &opened->frame, &message) != PROOF_CAPTURE ||
		(opened->publish.qos > 0 && !keep_has_room(offload, route))) {
		message_fini(&message);
		return CROSSING_LATER;
	}
	promise_arrived(broker, route, opened->publish.qos, copy->parcel->since_us);
	capture_distribute_others(
		offload, copy->parcel->version, route, &opened->frame, &message, &pace);
	if (opened->publish.qos > 0 && route->away > 0)
		keep_for_away(broker, &message, route->hash, copy->parcel->since_us);
	message_fini(&message);
	copy->matched = route->heard;
	if (!pace_decide(&pace, offload, &copy->wait) || offload->parcels_kept >= KEPT_MAX)
		return CROSSING_DONE;
	list_append(&offload->peers->kept, &copy->link);
	offload->parcels_kept++;
	return CROSSING_KEPT;
}

static enum crossing_run parcel_run(struct crossing_message *message, void *receiver)
{
	struct parcel_copy *copy = container_of(message, struct parcel_copy, message);
	struct offload *offload = receiver;
	enum crossing_run done;
	struct opened opened;

	if (offload->work >= OFFLOAD_TURN_WORK / 2 || !parcel_open(offload, copy->parcel, &opened))
		return CROSSING_LATER;
	done = parcel_distribute(offload, copy, &opened);
	opened_close(&opened);
	if (done != CROSSING_LATER)
		counter_inc(&offload->counters.crossed);
	return done;
}

void parcels_poll(struct offload *offload)
{
	list_for_each_safe (link, &offload->peers->kept) {
		struct parcel_copy *copy = container_of(link, struct parcel_copy, link);

		if (!pace_over(offload, &copy->wait))
			continue;
		list_remove(link);
		offload->parcels_kept--;
		crossing_return(offload->peers->config.parcels, &copy->message);
	}
}

// --- sending -------------------------------------------------------------------------------------

void parcel_post(struct client *client, struct parcel *parcel, uint32_t workers, uint8_t type,
	uint16_t packet_id, bool matched)
{
	struct peers *peers = client->offload->peers;

	parcel->type = type;
	parcel->packet_id = packet_id;
	parcel->matched = matched;
	client->crossings++;
	for (unsigned to = 0; workers >> to != 0; to++) {
		struct parcel_copy *copy = &parcel->copies[to];

		if (!(workers >> to & 1))
			continue;
		*copy = (struct parcel_copy){
			.message = {.run = parcel_run, .back = parcel_back},
			.parcel = parcel,
		};
		list_init(&copy->link);
		parcel->missing++;
		crossing_post(peers->config.parcels, peers->config.self, to, &copy->message);
	}
}
