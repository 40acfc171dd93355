// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See bed.h.

#include "bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

// --- the broker's leg ----------------------------------------------------------------------------

static struct tcp_pcb *up_of(const struct client *client)
{
	const struct bed_leg *leg = offload_client_link(client);

	return &leg->bed->up[leg->index];
}

static unsigned link_peek(struct client *client, struct tcp_span *ret_spans, unsigned max)
{
	return tcp_recv_peek(up_of(client), ret_spans, max);
}

static void link_consume(struct client *client, uint32_t n)
{
	tcp_recv_consume(up_of(client), n);
}

static bool link_eof(const struct client *client)
{
	return tcp_recv_eof(up_of(client));
}

static int link_send(struct client *client, const struct tcp_piece *pieces, unsigned count)
{
	return tcp_send(up_of(client), pieces, count);
}

static int link_send_copy(struct client *client, const void *data, size_t length)
{
	return tcp_send_copy(up_of(client), data, length);
}

static uint64_t link_queued(const struct client *client)
{
	return tcp_send_queued(up_of(client));
}

static void link_describe(
	const struct client *client, struct net_endpoint *ret_local, const char **ret_state)
{
	*ret_local = up_of(client)->remote;
	*ret_state = "ESTABLISHED";
}

// As attach does: ends of streams are carried through behind everything queued.
static void link_moved(struct client *client)
{
	const struct bed_leg *leg = offload_client_link(client);
	struct bed *bed = leg->bed;
	unsigned i = leg->index;

	if (offload_client_failed(client)) {
		bed->failed[i] = true;
		bed_close(bed, i);
		return;
	}
	if (!bed->up[i].shut && bed->down[i].eof && offload_client_read(client)) {
		offload_client_gone(client);
		bed->up[i].shut = true;
	}
	if (!bed->down[i].shut && bed->up[i].eof && offload_client_broker_read(client)) {
		offload_client_broker_gone(client);
		bed->down[i].shut = true;
	}
}

static const struct broker_link_ops link_ops = {
	.peek = link_peek,
	.consume = link_consume,
	.eof = link_eof,
	.send = link_send,
	.send_copy = link_send_copy,
	.queued = link_queued,
	.describe = link_describe,
	.moved = link_moved,
};

// --- the bed -------------------------------------------------------------------------------------

void bed_init(struct bed *bed)
{
	memset(bed, 0, sizeof(*bed));
	offload_broker_config_init(&bed->broker);
	bed->broker.name = "broker";
	bed->broker.knowledge = OFFLOAD_KNOWLEDGE_WIRE;
	bed->broker.authorization = OFFLOAD_AUTHORIZATION_OPEN;
	offload_config_init(&bed->config);
	bed->config.brokers = &bed->broker;
	bed->config.brokers_count = 1;
	bed->config.clients_max = BED_CLIENTS;
	bed->config.sessions_max = BED_CLIENTS;
	bed->config.subscriptions_max = 4096;
	bed->pool_config = (struct payload_pool_config){{4095, 4095, 1023, 511}, -1};
	bed->tcp = (struct tcp_stack){.pieces_max = 100000, .now_us = 1000 * US_IN_S};
}

void bed_start(struct bed *bed)
{
	random_init(&bed->rng, 1);
	assert_int_equal(payload_pool_create("bed", &bed->pool_config, &bed->payloads), 0);
	assert_int_equal(offload_create(&bed->config, &bed->tcp, bed->payloads, &bed->rng,
				 bed->tcp.now_us, &bed->offload),
		0);
	offload_advance(bed->offload, bed->tcp.now_us);
}

void bed_fini(struct bed *bed)
{
	for (unsigned i = 0; i < BED_CLIENTS; i++)
		if (bed->clients[i] != NULL)
			bed_close(bed, i);
	assert_int_equal(slab_used(bed->offload->deliveries), 0);
	assert_int_equal(slab_used(bed->offload->clients), 0);
	assert_true(list_empty(&bed->offload->kicked) && list_empty(&bed->offload->paused) &&
		    list_empty(&bed->offload->fencing));
	assert_int_equal(bed->offload->brokers[0].map->online, 0);
	assert_int_equal(bed->tcp.pieces, 0);
	offload_destroy(bed->offload);
	payload_pool_check(bed->payloads);
	payload_pool_destroy(bed->payloads); // asserts that all are back
}

void bed_open(struct bed *bed, unsigned i)
{
	ASSERT(bed->clients[i] == NULL);
	tcp_double_open(&bed->down[i], &bed->tcp);
	tcp_double_open(&bed->up[i], &bed->tcp);
	bed->legs[i] = (struct bed_leg){bed, i};
	bed->failed[i] = false;
	bed->clients[i] =
		offload_client_open(bed->offload, 0, &bed->down[i], &link_ops, &bed->legs[i]);
	ASSERT(bed->clients[i] != NULL);
	offload_client_run(bed->clients[i]);
}

void bed_close(struct bed *bed, unsigned i)
{
	offload_client_close(bed->clients[i]);
	bed->clients[i] = NULL;
	tcp_double_close(&bed->down[i]);
	tcp_double_close(&bed->up[i]);
	offload_check(bed->offload);
}

static void acknowledge(struct tcp_pcb *pcb, bool deaf)
{
	if (pcb->stack != NULL && !deaf)
		tcp_double_acknowledge(pcb, UINT64_MAX);
}

// A turn without the flush.
static void turn(struct bed *bed)
{
	offload_advance(bed->offload, bed->tcp.now_us);
	offload_run(bed->offload);
	offload_check(bed->offload);
	for (unsigned i = 0; i < BED_CLIENTS; i++) {
		if (bed->clients[i] == NULL)
			continue;
		acknowledge(&bed->down[i], bed->deaf[i]);
		acknowledge(&bed->up[i], bed->broker_deaf[i]);
		if (!bed->down[i].writable && !bed->up[i].writable)
			continue;
		bed->down[i].writable = bed->up[i].writable = false;
		offload_client_run(bed->clients[i]);
	}
}

void bed_turn(struct bed *bed)
{
	turn(bed);
	// What was kicked or paused meanwhile has its turn in the same instant, as in the worker's
	// loop, where the deadline is now.
	for (unsigned n = 0; n < 10000 && !list_empty(&bed->offload->kicked); n++)
		turn(bed);
	for (unsigned i = 0; i < BED_CLIENTS; i++) {
		if (bed->clients[i] == NULL)
			continue;
		tcp_double_settle(&bed->down[i]);
		tcp_double_settle(&bed->up[i]);
	}
}

void bed_wait(struct bed *bed, uint64_t us)
{
	uint64_t until = bed->tcp.now_us + us;

	while (bed->tcp.now_us < until) {
		uint64_t next;

		bed_turn(bed);
		next = offload_next_deadline(bed->offload);
		if (next <= bed->tcp.now_us)
			next = bed->tcp.now_us + 1;
		bed->tcp.now_us = next < until ? next : until;
	}
	bed_turn(bed);
}

// --- both ends -----------------------------------------------------------------------------------

static void arrives(
	struct bed *bed, struct tcp_pcb *pcb, unsigned i, const void *data, size_t length)
{
	if (bed->clients[i] == NULL)
		return;
	tcp_double_arrive(pcb, data, length);
	offload_client_run(bed->clients[i]);
	bed_turn(bed);
}

static void dribbles(
	struct bed *bed, struct tcp_pcb *pcb, unsigned i, const void *data, size_t length)
{
	for (size_t at = 0; at < length; at++)
		arrives(bed, pcb, i, (const uint8_t *)data + at, 1);
}

void client_sends(struct bed *bed, unsigned i, const void *data, size_t length)
{
	arrives(bed, &bed->down[i], i, data, length);
}

void broker_sends(struct bed *bed, unsigned i, const void *data, size_t length)
{
	arrives(bed, &bed->up[i], i, data, length);
}

void client_dribbles(struct bed *bed, unsigned i, const void *data, size_t length)
{
	dribbles(bed, &bed->down[i], i, data, length);
}

void broker_dribbles(struct bed *bed, unsigned i, const void *data, size_t length)
{
	dribbles(bed, &bed->up[i], i, data, length);
}

static void ends(struct bed *bed, struct tcp_pcb *pcb, unsigned i)
{
	pcb->eof = true;
	offload_client_run(bed->clients[i]);
	bed_turn(bed);
}

void client_ends(struct bed *bed, unsigned i)
{
	ends(bed, &bed->down[i], i);
}

void broker_ends(struct bed *bed, unsigned i)
{
	ends(bed, &bed->up[i], i);
}

size_t got_take(struct tcp_pcb *pcb, const uint8_t **ret_data)
{
	size_t length = pcb->got_length - pcb->got_read;

	*ret_data = pcb->got + pcb->got_read;
	pcb->got_read = pcb->got_length;
	return length;
}

static void hex(const char *what, const uint8_t *data, size_t length)
{
	fprintf(stderr, "%s (%zu):", what, length);
	for (size_t i = 0; i < length && i < 256; i++)
		fprintf(stderr, " %02x", data[i]);
	fprintf(stderr, "\n");
}

void expect_got(struct tcp_pcb *pcb, const void *data, size_t length, const char *file, int line)
{
	const uint8_t *bytes;
	size_t have = got_take(pcb, &bytes);

	if (have == length && (length == 0 || memcmp(bytes, data, length) == 0))
		return;
	hex("expected", data, length);
	hex("got", bytes, have);
	_fail(file, line);
}

const struct offload_counters *bed_counters(const struct bed *bed)
{
	return &bed->offload->counters;
}

// --- packets -------------------------------------------------------------------------------------

static void connect(struct bed *bed, unsigned i, enum mqtt_version version, const void *connack,
	size_t connack_length)
{
	char id[8];
	uint8_t packet[64];
	struct mqtt_connect connect = {
		.version = version,
		.clean_start = true,
		.keep_alive = 60,
		.receive_maximum = UINT16_MAX,
		.maximum_packet_size = UINT32_MAX,
	};
	size_t length;

	snprintf(id, sizeof(id), "c%u", i);
	connect.client_id = mqtt_bytes(id, strlen(id));
	length = mqtt_connect_encode(&connect, packet, sizeof(packet));
	bed_open(bed, i);
	client_sends(bed, i, packet, length);
	broker_gets(bed, i, packet, length);
	broker_sends(bed, i, connack, connack_length);
	client_gets(bed, i, connack, connack_length);
}

void connect_v4(struct bed *bed, unsigned i)
{
	connect(bed, i, MQTT_VERSION_3_1_1, BYTES("\x20\x02\x00\x00"));
}

void connect_v5(struct bed *bed, unsigned i)
{
	connect(bed, i, MQTT_VERSION_5, BYTES("\x20\x03\x00\x00\x00"));
}

static void subscribe(struct bed *bed, unsigned i, enum mqtt_version version, const char *filter,
	uint8_t qos, uint8_t id)
{
	const struct mqtt_subscribe_filter one = {
		.filter = mqtt_bytes(filter, strlen(filter)), .qos = qos};
	uint8_t property[2] = {0x0b, id}, packet[256];
	uint8_t suback[] = {0x90, 3, 0, 1, qos}, suback_v5[] = {0x90, 4, 0, 1, 0, qos};
	bool v5 = version == MQTT_VERSION_5;
	size_t length = mqtt_subscribe_encode(version, 1,
		mqtt_bytes(property, id != 0 ? sizeof(property) : 0), &one, 1, packet,
		sizeof(packet));

	client_sends(bed, i, packet, length);
	broker_gets(bed, i, packet, length);
	broker_sends(bed, i, v5 ? suback_v5 : suback, v5 ? sizeof(suback_v5) : sizeof(suback));
	client_gets(bed, i, v5 ? suback_v5 : suback, v5 ? sizeof(suback_v5) : sizeof(suback));
}

void subscribe_v4(struct bed *bed, unsigned i, const char *filter, uint8_t qos)
{
	subscribe(bed, i, MQTT_VERSION_3_1_1, filter, qos, 0);
}

void subscribe_v5(struct bed *bed, unsigned i, const char *filter, uint8_t qos, uint8_t id)
{
	subscribe(bed, i, MQTT_VERSION_5, filter, qos, id);
}

size_t publish_v4(uint8_t *out, const char *topic, uint8_t flags, const void *data, size_t length)
{
	const struct mqtt_publish publish = {
		.qos = (flags >> 1) & 3,
		.dup = flags & 8,
		.retain = flags & 1,
		.topic = mqtt_bytes(topic, strlen(topic)),
		.packet_id = (flags & 6) ? 0x7777 : 0,
	};

	return mqtt_publish_encode(MQTT_VERSION_3_1_1, &publish, mqtt_bytes(data, length), out,
		length + strlen(topic) + 16);
}
