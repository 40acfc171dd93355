// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A subscriber: asks for its topics, judges every PUBLISH; its worker's thread.

#include "bench/subscriber.h"

#include "base/assert.h"
#include "bench/bench.h"
#include "bench/memory.h"
#include "bench/publisher.h"
#include "bench/stamp.h"
#include "bench/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SUBSCRIBE_FILTERS_MAX 64u // of one packet

void bench_subscriber_init(
	struct bench_subscriber *subscriber, struct bench_worker *worker, uint32_t index)
{
	memset(subscriber, 0, sizeof(*subscriber));
	bench_conn_init(&subscriber->conn, worker, BENCH_CONN_SUBSCRIBER, index);
	subscriber->tracks_count = bench_plan_heard(&worker->bench->plan, index);
	subscriber->tracks =
		bench_memory_zeroed(subscriber->tracks_count, sizeof(*subscriber->tracks));
}

void bench_subscriber_fini(struct bench_subscriber *subscriber)
{
	for (uint32_t i = 0; i < subscriber->tracks_count; i++)
		bench_track_fini(&subscriber->tracks[i]);
	free(subscriber->tracks);
	bench_conn_fini(&subscriber->conn);
}

// --- asking --------------------------------------------------------------------------------------

bool bench_subscriber_ask(struct bench_subscriber *subscriber)
{
	const struct bench *bench = subscriber->conn.worker->bench;
	char names[SUBSCRIBE_FILTERS_MAX][BENCH_TOPIC_MAX];
	struct mqtt_subscribe_filter filters[SUBSCRIBE_FILTERS_MAX];
	uint32_t total = bench_plan_filters(&bench->plan, subscriber->conn.index);
	uint32_t count = 0, size = 16;
	size_t length;

	if (subscriber->filters_granted < subscriber->filters_asked)
		return true; // the last SUBSCRIBE is not answered yet
	while (count < SUBSCRIBE_FILTERS_MAX && subscriber->filters_asked < total) {
		uint32_t n = bench_plan_filter_write(&bench->plan, subscriber->conn.index,
			subscriber->filters_asked++, names[count]);

		filters[count] = (struct mqtt_subscribe_filter){
			.filter = mqtt_bytes(names[count], n), .qos = bench->options->qos};
		size += n + 3;
		count++;
	}
	if (!count)
		return false;
	length = mqtt_subscribe_encode(bench->options->version, 1, mqtt_bytes("", 0), filters,
		count, bench_conn_reserve(&subscriber->conn, size), size);
	ASSERT(length);
	bench_conn_commit(&subscriber->conn, length);
	return true;
}

static bool subscriber_suback(struct bench_subscriber *subscriber, struct mqtt_bytes body)
{
	const struct bench_options *o = subscriber->conn.worker->bench->options;
	struct mqtt_suback ack;
	enum mqtt_error error = mqtt_suback_decode(o->version, body, &ack);

	if (error || subscriber->filters_granted + ack.codes.length != subscriber->filters_asked) {
		bench_conn_lose(&subscriber->conn, "malformed SUBACK (%s)",
			error ? mqtt_error_name(error) : "number of codes");
		return false;
	}
	for (uint32_t i = 0; i < ack.codes.length; i++)
		if (ack.codes.data[i] != o->qos) {
			bench_conn_lose(&subscriber->conn,
				"asked to subscribe with QoS %u, the broker answered 0x%02x",
				o->qos, ack.codes.data[i]);
			return false;
		}
	subscriber->filters_granted += ack.codes.length;
	return true;
}

// --- judging -------------------------------------------------------------------------------------

// Finds the track of the message's publisher and takes the message apart. NULL when it is not a
// message of this run that this subscriber should get, exactly as it was sent.
static struct bench_track *subscriber_recognize(struct bench_subscriber *subscriber, uint32_t topic,
	struct mqtt_bytes message, struct bench_stamp *ret_stamp)
{
	const struct bench_plan *plan = &subscriber->conn.worker->bench->plan;
	uint32_t owner = bench_plan_topic_owner(plan, topic), expected = 0, n;

	if (owner != BENCH_PLAN_NOBODY) {
		n = bench_plan_heard_index(plan, subscriber->conn.index, owner);
		if (n == BENCH_PLAN_NOBODY)
			return NULL;
		expected = subscriber->tracks[n].next;
		if (!message.length)
			expected = bench_plan_next_of_size(plan, expected, 0);
	}
	if (!bench_stamp_read(message.data, message.length, owner, expected, ret_stamp))
		return NULL;
	if (owner != BENCH_PLAN_NOBODY && ret_stamp->publisher != owner)
		return NULL;
	if (bench_plan_size(plan, ret_stamp->sequence) != message.length)
		return NULL;
	n = bench_plan_heard_index(plan, subscriber->conn.index, ret_stamp->publisher);
	return n == BENCH_PLAN_NOBODY ? NULL : &subscriber->tracks[n];
}

// The first delivery of a message to this subscriber.
static void subscriber_delivered(struct bench_subscriber *subscriber,
	const struct bench_stamp *stamp, struct bench_publisher *publisher, uint32_t length)
{
	struct bench_worker *worker = subscriber->conn.worker;
	struct bench_stats *stats = &worker->stats;
	uint64_t issued_us = stamp->issued_us, now_us = worker->now_us;
	enum bench_flight_arrival arrival =
		bench_flight_arrive(&publisher->flight, stamp->sequence, &issued_us);

	counter_inc(&stats->delivered);
	if (arrival == BENCH_FLIGHT_LAST)
		bench_worker_credit(publisher, worker);
	if (arrival == BENCH_FLIGHT_UNKNOWN)
		stats->unmeasured++;
	if (issued_us < worker->bench->measure_us)
		return;
	// Bytes may be read before the message's own time on a machine that puts its clocks right.
	if (now_us < issued_us)
		now_us = issued_us;
	stats->measured_delivered++;
	stats->measured_bytes += length;
	stats->last_arrival_us = now_us;
	histogram_record(&stats->delivery, now_us - issued_us);
	if (arrival == BENCH_FLIGHT_LAST)
		histogram_record(&stats->distribution, now_us - issued_us);
}

static void subscriber_judge(
	struct bench_subscriber *subscriber, uint32_t topic, struct mqtt_bytes message)
{
	struct bench_stats *stats = &subscriber->conn.worker->stats;
	struct bench_publisher *publisher;
	struct bench_stamp stamp;
	struct bench_track *track = subscriber_recognize(subscriber, topic, message, &stamp);

	if (!track) {
		stats->corrupted++;
		return;
	}
	publisher = &subscriber->conn.worker->bench->publishers[stamp.publisher];
	if (stamp.sequence >= atomic_load(&publisher->issued)) {
		// Nothing of that number was sent. A short message does not carry all of its
		// number: it is one that came before.
		if (message.length < BENCH_STAMP_SIZE)
			stats->duplicated++;
		else
			stats->corrupted++;
		return;
	}
	switch (bench_track_see(track, stamp.sequence)) {
	case BENCH_TRACK_DUPLICATE:
		stats->duplicated++;
		return;
	case BENCH_TRACK_LATE:
		stats->reordered++;
		break;
	case BENCH_TRACK_IN_ORDER:
	case BENCH_TRACK_AHEAD:
		break;
	}
	subscriber_delivered(subscriber, &stamp, publisher, message.length);
}

static void subscriber_acknowledge(
	struct bench_subscriber *subscriber, uint8_t type, uint16_t packet_id)
{
	bench_conn_commit(&subscriber->conn,
		mqtt_ack_encode(subscriber->conn.worker->bench->options->version, type, packet_id,
			0, bench_conn_reserve(&subscriber->conn, MQTT_ACK_MAX)));
}

static bool subscriber_publish(struct bench_subscriber *subscriber,
	const struct mqtt_header *header, struct mqtt_bytes body)
{
	const struct bench *bench = subscriber->conn.worker->bench;
	struct mqtt_publish publish;
	uint32_t topic;
	enum mqtt_error error =
		mqtt_publish_decode(bench->options->version, header, body, &publish);

	if (error) {
		bench_conn_lose(&subscriber->conn, "received a malformed PUBLISH (%s)",
			mqtt_error_name(error));
		return false;
	}
	if (publish.qos)
		subscriber_acknowledge(subscriber, publish.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC,
			publish.packet_id);
	if (!bench_plan_topic_read(&bench->plan, publish.topic, &topic))
		subscriber->conn.worker->stats.unexpected++;
	else if (publish.qos != bench->options->qos)
		subscriber->conn.worker->stats.corrupted++;
	else
		subscriber_judge(subscriber, topic,
			mqtt_bytes(body.data + publish.head_length, publish.payload_length));
	return true;
}

bool bench_subscriber_packet(struct bench_subscriber *subscriber, const struct mqtt_header *header,
	struct mqtt_bytes body)
{
	struct mqtt_ack ack;

	switch (header->type) {
	case MQTT_PUBLISH:
		return subscriber_publish(subscriber, header, body);
	case MQTT_SUBACK:
		return subscriber_suback(subscriber, body);
	case MQTT_PUBREL:
		if (mqtt_ack_decode(subscriber->conn.worker->bench->options->version, header->type,
			    body, &ack) == MQTT_OK) {
			subscriber_acknowledge(subscriber, MQTT_PUBCOMP, ack.packet_id);
			return true;
		}
		break;
	}
	bench_conn_lose(&subscriber->conn, "received an unexpected or malformed %s",
		mqtt_type_name(header->type));
	return false;
}

uint64_t bench_subscriber_missing(const struct bench_subscriber *subscriber)
{
	const struct bench *bench = subscriber->conn.worker->bench;
	uint64_t missing = 0;

	for (uint32_t n = 0; n < subscriber->tracks_count; n++) {
		uint32_t publisher =
			bench_plan_heard_publisher(&bench->plan, subscriber->conn.index, n);

		missing += bench_track_missing(
			&subscriber->tracks[n], atomic_load(&bench->publishers[publisher].issued));
	}
	return missing;
}
