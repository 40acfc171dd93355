// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See bed.h.

#include "bed.h"

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
	bed->name = "bed";
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
	ASSERT(payload_pool_create(bed->name, &bed->pool_config, &bed->payloads) == 0);
	ASSERT(offload_create(&bed->config, &bed->tcp, bed->payloads, &bed->rng, bed->tcp.now_us,
		       &bed->offload) == 0);
	offload_advance(bed->offload, bed->tcp.now_us);
}

void bed_fini(struct bed *bed)
{
	for (unsigned i = 0; i < BED_CLIENTS; i++)
		if (bed->clients[i] != NULL)
			bed_close(bed, i);
	// What sessions that are away are owed goes with them.
	ASSERT(slab_used(bed->offload->deliveries) == bed->offload->owed_count);
	ASSERT(slab_used(bed->offload->clients) == 0);
	ASSERT(list_empty(&bed->offload->kicked) && list_empty(&bed->offload->paused) &&
		list_empty(&bed->offload->fencing));
	ASSERT(bed->offload->brokers[0].map->online == 0);
	ASSERT(bed->tcp.pieces == 0);
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

static void bed_check(const struct bed *bed)
{
	if (!bed->unchecked)
		offload_check(bed->offload);
}

void bed_close(struct bed *bed, unsigned i)
{
	offload_client_close(bed->clients[i]);
	bed->clients[i] = NULL;
	tcp_double_close(&bed->down[i]);
	tcp_double_close(&bed->up[i]);
	bed_check(bed);
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
	offload_hear(bed->offload);
	offload_run(bed->offload);
	offload_learn(bed->offload);
	bed_check(bed);
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

static void settle(struct bed *bed)
{
	for (unsigned i = 0; i < BED_CLIENTS; i++) {
		if (bed->clients[i] == NULL)
			continue;
		tcp_double_settle(&bed->down[i]);
		tcp_double_settle(&bed->up[i]);
	}
}

void bed_turn(struct bed *bed)
{
	turn(bed);
	// What was kicked or paused meanwhile has its turn in the same instant, as in the worker's
	// loop, where the deadline is now.
	for (unsigned n = 0; n < 10000 && !list_empty(&bed->offload->kicked); n++)
		turn(bed);
	settle(bed);
}

void bed_turn_once(struct bed *bed)
{
	turn(bed);
	settle(bed);
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

	*ret_data = length > 0 ? pcb->got + pcb->got_read : NULL;
	pcb->got_read = pcb->got_length;
	return length;
}

const struct offload_counters *bed_counters(const struct bed *bed)
{
	return &bed->offload->counters;
}
