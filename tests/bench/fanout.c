// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What one message to many costs: a captured QoS 0 PUBLISH through offload and engine to N
// subscribers, and what their acknowledgements cost. Nothing of a kernel or a device is in it.
//
//   bench-fanout [rounds [scenario]]

#include "wire.h"

#include "base/assert.h"
#include "offload/offload.h"

#include <rte_cycles.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISH_MAX 16000u
#define STRIDE	    7919u // a prime

struct leg { // the broker's answers that the client has not been given yet
	uint8_t bytes[8];
	uint32_t length;
};

struct bench {
	struct wire wire;
	struct offload_broker_config broker;
	struct offload_config config;
	struct offload *offload;
	struct leg *legs;
};

static struct leg *leg_of(const struct client *client)
{
	return offload_client_link(client);
}

static unsigned link_peek(struct client *client, struct tcp_span *ret_spans, unsigned max)
{
	struct leg *leg = leg_of(client);

	ret_spans[0] = (struct tcp_span){leg->bytes, leg->length};
	return leg->length > 0;
}

static void link_consume(struct client *client, uint32_t n)
{
	struct leg *leg = leg_of(client);

	leg->length -= n;
	memmove(leg->bytes, leg->bytes + n, leg->length);
}

static bool link_eof(const struct client *client)
{
	return false;
}

static int link_send(struct client *client, const struct tcp_piece *pieces, unsigned count)
{
	return 0;
}

static int link_send_copy(struct client *client, const void *data, size_t length)
{
	return 0;
}

static uint64_t link_queued(const struct client *client)
{
	return 0;
}

static void link_moved(struct client *client)
{
}

static const struct broker_link_ops link_ops = {
	.peek = link_peek,
	.consume = link_consume,
	.eof = link_eof,
	.send = link_send,
	.send_copy = link_send_copy,
	.queued = link_queued,
	.moved = link_moved,
};

static void events_run(struct bench *bench)
{
	uint32_t events;
	struct tcp_pcb *pcb;

	while ((pcb = tcp_ready_next(bench->wire.stack, &events)))
		offload_client_run(tcp_pcb_user(pcb));
}

static void turn(struct bench *bench)
{
	events_run(bench);
	offload_run(bench->offload);
	wire_turn_end(&bench->wire);
}

static void client_says(
	struct bench *bench, unsigned i, const void *data, size_t length, const void *answer)
{
	struct leg *leg = &bench->legs[i];

	wire_turn_begin(&bench->wire, 10);
	offload_advance(bench->offload, bench->wire.now_us);
	wire_peer_sends(&bench->wire, i, data, length);
	turn(bench);
	leg->length = 2 + ((const uint8_t *)answer)[1];
	memcpy(leg->bytes, answer, leg->length);
	offload_client_run(tcp_pcb_user(bench->wire.peers[i].pcb));
	wire_turn_end(&bench->wire);
}

static void client_start(struct bench *bench, unsigned i, bool subscribes)
{
	uint8_t connect[] = "\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06"
			    "000000";
	const uint8_t subscribe[] = "\x82\x08\x00\x01\x00\x03t/+\x00";
	struct tcp_pcb *pcb = bench->wire.peers[i].pcb;
	char id[8];

	snprintf(id, sizeof(id), "%06u", i % 1000000);
	memcpy(connect + 14, id, 6);
	tcp_pcb_set_user(
		pcb, offload_client_open(bench->offload, 0, pcb, &link_ops, &bench->legs[i]));
	client_says(bench, i, connect, sizeof(connect) - 1, "\x20\x02\x00\x00");
	if (subscribes)
		client_says(bench, i, subscribe, sizeof(subscribe) - 1, "\x90\x03\x00\x01\x00");
	wire_acknowledge(&bench->wire);
	turn(bench);
}

static void start(struct bench *bench, const struct wire_config *config)
{
	*bench = (struct bench){0};
	wire_init(&bench->wire, config);
	wire_connect(&bench->wire);
	bench->legs = calloc(config->peers, sizeof(*bench->legs));
	offload_broker_config_init(&bench->broker);
	bench->broker.name = "broker";
	bench->broker.knowledge = OFFLOAD_KNOWLEDGE_WIRE;
	bench->broker.authorization = OFFLOAD_AUTHORIZATION_OPEN;
	offload_config_init(&bench->config);
	bench->config.brokers = &bench->broker;
	bench->config.brokers_count = 1;
	bench->config.clients_max = config->peers;
	ASSERT(bench->legs != NULL);
	ASSERT(offload_create(&bench->config, bench->wire.stack, bench->wire.payloads,
		       &bench->wire.rng, bench->wire.now_us, &bench->offload) == 0);
	client_start(bench, 0, false); // publishes
	// In an order that is not that of their connections, as after some hours.
	for (unsigned i = 1; i < config->peers; i++)
		client_start(bench, 1 + i * STRIDE % (config->peers - 1), true);
}

static void stop(struct bench *bench)
{
	for (unsigned i = 0; i < bench->wire.config.peers; i++) {
		offload_client_close(tcp_pcb_user(bench->wire.peers[i].pcb));
		tcp_abort(bench->wire.peers[i].pcb);
	}
	offload_destroy(bench->offload);
	wire_fini(&bench->wire);
	free(bench->legs);
}

struct scenario {
	unsigned subscribers;
	unsigned size; // of the application message
	bool checksums, multi_segment, copies;
	bool cold;    // caches are lost between turns
	uint16_t mtu; // 0: 1500
};

// Fixed header and topic "t/1"; returns their length.
static unsigned publish_head(uint8_t *out, unsigned size)
{
	unsigned remaining = size + 5, n = 0;

	out[n++] = 0x30;
	if (remaining > 127) {
		out[n++] = (uint8_t)(remaining % 128 | 128);
		out[n++] = (uint8_t)(remaining / 128);
	} else {
		out[n++] = (uint8_t)remaining;
	}
	memcpy(out + n, "\x00\x03t/1", 5);
	return n + 5;
}

struct costs {
	struct wire_cost queue, send, acknowledge;
};

// Between turns the caches are somebody else's: on the machines this is for, the kernel's.
static void caches_lose(void)
{
	static volatile uint8_t others[4 << 20];

	for (size_t i = 0; i < sizeof(others); i += 64)
		others[i]++;
}

// One message, from its arrival to the last acknowledgement.
static void round_run(
	struct bench *bench, const uint8_t *publish, size_t length, bool cold, struct costs *costs)
{
	uint64_t t[5];

	wire_turn_begin(&bench->wire, 1000);
	offload_advance(bench->offload, bench->wire.now_us);
	if (cold)
		caches_lose();
	t[0] = rte_rdtsc_precise();
	wire_peer_sends(&bench->wire, 0, publish, length);
	events_run(bench);
	t[1] = rte_rdtsc_precise();
	wire_turn_end(&bench->wire);
	t[2] = rte_rdtsc_precise();
	if (cold)
		caches_lose();
	t[3] = rte_rdtsc_precise();
	wire_acknowledge(&bench->wire);
	turn(bench);
	t[4] = rte_rdtsc_precise();
	wire_cost_add(&costs->queue, t[1] - t[0]);
	wire_cost_add(&costs->send, t[2] - t[1]);
	wire_cost_add(&costs->acknowledge, t[4] - t[3]);
}

static void report(const struct scenario *scenario, const struct costs *costs)
{
	printf("%6u subscribers, %4u bytes%s%s%s%s: queue %6.1f, send %6.1f, acknowledge %6.1f ns\n",
		scenario->subscribers, scenario->size, scenario->checksums ? ", checksums" : "",
		scenario->multi_segment ? ", chains" : "",
		scenario->copies ? ", copying device" : "", scenario->cold ? ", cold" : "",
		wire_cost_ns(&costs->queue, scenario->subscribers),
		wire_cost_ns(&costs->send, scenario->subscribers),
		wire_cost_ns(&costs->acknowledge, scenario->subscribers));
	fflush(stdout);
}

static void run(const struct scenario *scenario, unsigned rounds)
{
	const struct wire_config config = {
		.peers = scenario->subscribers + 1,
		.caps = {.rx_checksum = true,
			.tx_ip_checksum = scenario->checksums,
			.tx_tcp_checksum = scenario->checksums,
			.multi_segment = scenario->multi_segment},
		.mtu = scenario->mtu != 0 ? scenario->mtu : 1500,
		.copies = scenario->copies,
		.timestamps = true,
	};
	uint8_t publish[PUBLISH_MAX];
	unsigned head = publish_head(publish, scenario->size);
	struct costs costs = {0};
	struct bench bench;
	uint64_t frames;

	ASSERT(head + scenario->size <= config.mtu - 52u); // in one segment
	start(&bench, &config);
	frames = bench.wire.frames;
	for (unsigned i = 0; i < rounds; i++) {
		memset(publish + head, (int)i, scenario->size);
		round_run(&bench, publish, head + scenario->size, scenario->cold, &costs);
	}
	ASSERT(bench.wire.frames - frames >= (uint64_t)rounds * scenario->subscribers);
	report(scenario, &costs);
	stop(&bench);
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{.subscribers = 100, .size = 64},
		{.subscribers = 1000, .size = 64},
		{.subscribers = 1000, .size = 64, .checksums = true},
		{.subscribers = 1000, .size = 1024},
		{.subscribers = 1000, .size = 1024, .multi_segment = true},
		{.subscribers = 1000, .size = 1024, .multi_segment = true, .copies = true},
		{.subscribers = 1000, .size = 64, .cold = true},
		{.subscribers = 10000, .size = 64},
	};
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
	int only = argc > 2 ? atoi(argv[2]) : -1;

	wire_eal_init();
	for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		if (only < 0 || (unsigned)only == i)
			run(&scenarios[i], rounds);
	return 0;
}
