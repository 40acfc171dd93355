// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A publisher: pace, window, PUBLISH, acknowledgements; its worker's thread.

#include "bench/publisher.h"

#include "base/assert.h"
#include "base/clock.h"
#include "bench/bench.h"
#include "bench/memory.h"
#include "bench/stamp.h"
#include "bench/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OUT_LIMIT	   16384u     // bytes that may wait in a connection's output
#define FLIGHT_SLOTS_TOTAL (1u << 22) // of all publishers
#define FLIGHT_SLOTS_MAX   (1u << 18) // of one
#define FLIGHT_SLOTS_MIN   1024u

static const struct bench *bench_of(const struct bench_publisher *publisher)
{
	return publisher->conn.worker->bench;
}

static uint32_t flight_capacity(const struct bench_options *o)
{
	uint32_t capacity = FLIGHT_SLOTS_TOTAL / o->publishers;

	if (capacity > FLIGHT_SLOTS_MAX)
		capacity = FLIGHT_SLOTS_MAX;
	if (o->messages && !o->warmup_s && capacity > o->messages)
		capacity = o->messages;
	if (capacity < FLIGHT_SLOTS_MIN)
		capacity = FLIGHT_SLOTS_MIN;
	return o->pace == BENCH_PACE_CLOSED && capacity < o->outstanding ? o->outstanding
									 : capacity;
}

void bench_publisher_init(
	struct bench_publisher *publisher, struct bench_worker *worker, uint32_t index)
{
	const struct bench *bench = worker->bench;
	uint32_t window = bench->options->inflight;

	memset(publisher, 0, sizeof(*publisher));
	bench_conn_init(&publisher->conn, worker, BENCH_CONN_PUBLISHER, index);
	publisher->topic_length = bench_plan_topic_write(
		&bench->plan, bench_plan_topic(&bench->plan, index), publisher->topic);
	bench_flight_init(&publisher->flight, flight_capacity(bench->options));
	if (!bench->options->qos)
		return;
	publisher->inflight = bench_memory_zeroed(window, sizeof(*publisher->inflight));
	publisher->free_ids = bench_memory_zeroed(window, sizeof(*publisher->free_ids));
	for (publisher->free_count = 0; publisher->free_count < window; publisher->free_count++)
		publisher->free_ids[publisher->free_count] = (uint16_t)(publisher->free_count + 1);
}

void bench_publisher_fini(struct bench_publisher *publisher)
{
	bench_flight_fini(&publisher->flight);
	free(publisher->inflight);
	free(publisher->free_ids);
	bench_conn_fini(&publisher->conn);
}

void bench_publisher_limit(struct bench_publisher *publisher, uint16_t receive_maximum)
{
	if (publisher->free_count > receive_maximum)
		publisher->free_count = receive_maximum;
}

// --- window --------------------------------------------------------------------------------------

static uint16_t id_take(struct bench_publisher *publisher)
{
	uint16_t id = publisher->free_ids[publisher->free_first];

	publisher->free_first =
		(publisher->free_first + 1) % bench_of(publisher)->options->inflight;
	publisher->free_count--;
	return id;
}

static void id_give(struct bench_publisher *publisher, uint16_t id)
{
	uint32_t window = bench_of(publisher)->options->inflight;

	publisher->inflight[id - 1].awaits = 0;
	publisher->free_ids[(publisher->free_first + publisher->free_count) % window] = id;
	publisher->free_count++;
}

// --- issuing -------------------------------------------------------------------------------------

uint64_t bench_publisher_due_us(const struct bench *bench, uint32_t publisher, uint64_t n)
{
	double phase = (double)publisher / bench->options->publishers;

	return bench->start_us + (uint64_t)((n + phase) * (US_IN_S / bench->options->rate));
}

// Whether pace and window allow a message, if there is room for it.
static bool publisher_may_issue(const struct bench_publisher *publisher)
{
	const struct bench_worker *worker = publisher->conn.worker;
	const struct bench_options *o = worker->bench->options;
	uint32_t issued = atomic_load_explicit(&publisher->issued, memory_order_relaxed);

	if (publisher->done || publisher->conn.state != BENCH_CONN_READY ||
		worker->phase != BENCH_PHASE_RUN || (o->qos && !publisher->free_count))
		return false;
	switch (o->pace) {
	case BENCH_PACE_RATE:
		return issued < publisher->due;
	case BENCH_PACE_CLOSED:
		return issued - atomic_load(&publisher->completed) - publisher->abandoned <
		       o->outstanding;
	case BENCH_PACE_FLOOD:
		return true;
	}
	return false;
}

// Writes the PUBLISH behind what waits to be sent.
static void publisher_put(
	struct bench_publisher *publisher, uint32_t sequence, uint32_t length, uint64_t issued_us)
{
	struct bench_worker *worker = publisher->conn.worker;
	const struct bench_options *o = worker->bench->options;
	struct bench_stamp stamp = {publisher->conn.index, sequence, issued_us};
	struct mqtt_publish publish = {
		.qos = o->qos,
		.topic = mqtt_bytes(publisher->topic, publisher->topic_length),
	};
	uint32_t size = MQTT_HEADER_MAX + 2 + publisher->topic_length + 2 + 1 + length;
	size_t written;

	bench_stamp_write(&stamp, worker->message, length);
	if (o->qos) {
		publish.packet_id = id_take(publisher);
		publisher->inflight[publish.packet_id - 1] =
			(struct bench_inflight){issued_us, o->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC};
	}
	written = mqtt_publish_encode(o->version, &publish, mqtt_bytes(worker->message, length),
		bench_conn_reserve(&publisher->conn, size), size);
	ASSERT(written);
	bench_conn_commit(&publisher->conn, written);
}

static void publisher_issue(struct bench_publisher *publisher)
{
	struct bench_worker *worker = publisher->conn.worker;
	const struct bench *bench = worker->bench;
	uint32_t sequence = atomic_load_explicit(&publisher->issued, memory_order_relaxed);
	uint32_t fanout = bench_plan_fanout(&bench->plan);
	uint64_t now_us = clock_now_us(), issued_us = now_us;

	if (bench->options->pace == BENCH_PACE_RATE)
		issued_us = bench_publisher_due_us(bench, publisher->conn.index, sequence);
	bench_flight_issue(&publisher->flight, sequence, fanout, issued_us);
	publisher_put(publisher, sequence, bench_plan_size(&bench->plan, sequence), issued_us);
	atomic_store(&publisher->issued, sequence + 1);

	counter_inc(&worker->stats.published);
	counter_add(&worker->stats.expected, fanout);
	if (issued_us < bench->measure_us)
		return;
	worker->stats.measured_published++;
	if (bench->options->pace == BENCH_PACE_RATE)
		histogram_record(&worker->stats.lag, now_us - issued_us);
	if (++publisher->measured == bench->options->messages)
		bench_publisher_finish(publisher);
}

void bench_publisher_run(struct bench_publisher *publisher)
{
	struct bench_conn *conn = &publisher->conn;
	bool flood = bench_of(publisher)->options->pace == BENCH_PACE_FLOOD;

	while (publisher_may_issue(publisher) && bench_conn_pending(conn) < OUT_LIMIT) {
		publisher_issue(publisher);
		if (!flood && bench_conn_pending(conn) >= OUT_LIMIT)
			bench_conn_flush(conn, false);
	}
	// A flood fills the output once a turn, so that all connections get theirs: it asks to be
	// told at once that there is still room.
	bench_conn_flush(conn, flood && publisher_may_issue(publisher));
}

void bench_publisher_finish(struct bench_publisher *publisher)
{
	struct bench_worker *worker = publisher->conn.worker;

	if (publisher->done)
		return;
	publisher->done = true;
	counter_inc(&worker->stats.publishers_done);
	bench_worker_notify(worker);
}

void bench_publisher_give_up(struct bench_publisher *publisher, uint64_t now_us)
{
	const struct bench_options *o = bench_of(publisher)->options;
	uint32_t issued = atomic_load(&publisher->issued);
	uint32_t completed = atomic_load(&publisher->completed);

	if (completed != publisher->completed_seen || issued == completed + publisher->abandoned) {
		publisher->completed_seen = completed;
		publisher->progress_us = now_us;
		return;
	}
	if (now_us - publisher->progress_us < o->drain_s * US_IN_S)
		return;
	// Older messages than the outstanding ones are complete or abandoned already.
	for (uint32_t n = issued > o->outstanding ? issued - o->outstanding : 0; n < issued; n++)
		if (bench_flight_abandon(&publisher->flight, n)) {
			publisher->abandoned++;
			publisher->conn.worker->stats.abandoned++;
		}
	publisher->progress_us = now_us;
	bench_publisher_run(publisher);
}

uint64_t bench_publisher_unsent(const struct bench_publisher *publisher)
{
	const struct bench_options *o = bench_of(publisher)->options;
	uint32_t issued = atomic_load(&publisher->issued);

	if (o->messages)
		return o->messages - publisher->measured;
	return o->pace == BENCH_PACE_RATE && publisher->due > issued ? publisher->due - issued : 0;
}

// --- acknowledgements ----------------------------------------------------------------------------

static void publisher_acknowledged(struct bench_publisher *publisher, uint16_t id, uint8_t reason)
{
	struct bench_worker *worker = publisher->conn.worker;
	uint64_t issued_us = publisher->inflight[id - 1].issued_us;

	counter_inc(&worker->stats.acknowledged);
	if (reason >= 0x80)
		worker->stats.refused++;
	if (issued_us >= worker->bench->measure_us && worker->now_us >= issued_us)
		histogram_record(&worker->stats.acknowledgement, worker->now_us - issued_us);
	id_give(publisher, id);
}

bool bench_publisher_packet(
	struct bench_publisher *publisher, const struct mqtt_header *header, struct mqtt_bytes body)
{
	const struct bench_options *o = bench_of(publisher)->options;
	struct bench_inflight *inflight;
	struct mqtt_ack ack;

	if (header->type != MQTT_PUBACK && header->type != MQTT_PUBREC &&
		header->type != MQTT_PUBCOMP) {
		bench_conn_lose(&publisher->conn, "received an unexpected %s",
			mqtt_type_name(header->type));
		return false;
	}
	if (mqtt_ack_decode(o->version, header->type, body, &ack) != MQTT_OK || !o->qos ||
		ack.packet_id > o->inflight ||
		publisher->inflight[ack.packet_id - 1].awaits != header->type) {
		bench_conn_lose(&publisher->conn, "received a %s of nothing that waits for one",
			mqtt_type_name(header->type));
		return false;
	}
	inflight = &publisher->inflight[ack.packet_id - 1];
	if (header->type == MQTT_PUBREC && ack.reason < 0x80) {
		inflight->awaits = MQTT_PUBCOMP;
		bench_conn_commit(&publisher->conn,
			mqtt_ack_encode(o->version, MQTT_PUBREL, ack.packet_id, 0,
				bench_conn_reserve(&publisher->conn, MQTT_ACK_MAX)));
		return true;
	}
	publisher_acknowledged(publisher, ack.packet_id, ack.reason);
	return true;
}
