// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What the engine costs, by number of connections: nanoseconds a segment received (64 octets of
// text on a random connection, read, acknowledged), nanoseconds a subscriber of a message that goes
// to all of them, octets of memory. One core, no hugepages, no NIC: frames are freed where
// they would be sent. bench-tcp [--check] fails when 100,000 connections cost more than three
// times what 1,000 cost a segment, or when an idle one costs more than 512 octets, its share of the
// table included.

#include "base/payload.h"
#include "base/random.h"
#include "net/net.h"
#include "tcp/pcb.h"
#include "tcp/segment.h"
#include "tcp/tcp.h"

#include <rte_eal.h>
#include <rte_mbuf.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST	 32u
#define TEXT	 64u
#define SEGMENTS 400000u
#define FAN_OUTS 5u
#define AHEAD	 4u
#define PORTS	 60000u
#define ISN	 1000u
#define RATIO	 3.0
#define IDLE_MAX 512.0

struct bench {
	struct rte_mempool *tx, *rx;
	struct payload_pool *payloads;
	struct net_if netif;
	struct net *net;
	struct random rng;
	struct tcp_stack *stack;
	uint64_t now_us;
	struct tcp_pcb **pcbs;
	uint32_t *sent; // octets, by connection and as the client counts
	uint32_t count;
	uint64_t frames;
};

struct result {
	uint32_t connections;
	double segment_ns, fan_out_ns, ack_ns;
	double memory;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long size = 0, resident = 0;

	if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	struct bench *b = ctx;

	b->frames++;
	rte_pktmbuf_free(m);
}

static struct net_address address_of(uint32_t host)
{
	const uint8_t bytes[4] = {198, 18, (uint8_t)(host >> 8), (uint8_t)host};
	uint32_t ipv4;

	memcpy(&ipv4, bytes, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

static struct net_endpoint server(void)
{
	return (struct net_endpoint){.address = address_of(1), .port = 1883};
}

static struct net_endpoint client(uint32_t i)
{
	return (struct net_endpoint){
		.address = address_of(2 + i / PORTS), .port = (uint16_t)(1024 + i % PORTS)};
}

static void connect_one(struct bench *b, uint32_t i)
{
	const struct tcp_adoption adoption = {
		.self = {.endpoint = server(),
			.isn = ISN,
			.right_edge = ISN + 1 + 60000,
			.mss = 1460,
			.wscale = 3,
			.has_wscale = true,
			.timestamps = true},
		.peer = {.endpoint = client(i),
			.isn = ISN,
			.right_edge = ISN + 1 + 60000,
			.mss = 1460,
			.wscale = 7,
			.has_wscale = true,
			.timestamps = true},
	};
	struct net_path path;

	if (net_path_open(b->net, &adoption.self.endpoint.address, &adoption.peer.endpoint.address,
		    &path) ||
		tcp_adopt(b->stack, &adoption, &path, NULL, &b->pcbs[i]))
		abort();
}

// The clients' segment: text, and an ACK of everything that was sent to it.
static struct rte_mbuf *segment_make(struct bench *b, uint32_t i, uint32_t length)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->rx);
	const struct net_endpoint from = client(i);
	struct tcp_info info;
	struct tcp_segment seg;
	uint8_t *ip;
	unsigned header;

	tcp_pcb_info(b->pcbs[i], &info);
	seg = (struct tcp_segment){.source = from.port,
		.destination = 1883,
		.seq = ISN + 1 + b->sent[i],
		.ack = info.snd_nxt,
		.flags = TCP_FLAG_ACK | TCP_FLAG_PSH,
		.wnd = 60000 >> 7,
		.options = {
			.present = TCP_OPTION_TIMESTAMPS, .tsval = (uint32_t)(b->now_us / 1000)}};
	ip = rte_pktmbuf_mtod(m, uint8_t *);
	memset(ip, 0, 20);
	header = tcp_segment_encode(ip + 20, &seg);
	memset(ip + 20 + header, 'x', length);
	m->l3_len = 20;
	m->data_len = (uint16_t)(20 + header + length);
	m->pkt_len = m->data_len;
	b->sent[i] += length;
	return m;
}

static void read_all(struct bench *b)
{
	struct tcp_pcb *pcb;
	struct tcp_span span;
	uint32_t events;

	while ((pcb = tcp_ready_next(b->stack, &events)))
		while (tcp_recv_peek(pcb, &span, 1) > 0)
			tcp_recv_consume(pcb, span.length);
}

// One turn of a worker with a burst for these connections; what it took.
static uint64_t turn(struct bench *b, const uint32_t *who, uint32_t n, uint32_t length)
{
	struct net_delivery deliveries[BURST];
	uint64_t start;

	for (uint32_t i = 0; i < n; i++)
		deliveries[i] = (struct net_delivery){.kind = NET_DELIVERY_TCP,
			.m = segment_make(b, who[i], length),
			.source = client(who[i]).address,
			.destination = server().address,
			.netif = &b->netif};
	b->now_us += 100;
	// What was just written would be in the cache, as it is when a NIC wrote it.
	start = clock_ns();
	tcp_advance(b->stack, b->now_us);
	tcp_input_burst(b->stack, deliveries, n);
	read_all(b);
	tcp_flush(b->stack);
	return clock_ns() - start;
}

static double segments_measure(struct bench *b)
{
	uint64_t spent = 0;

	// A first round warms up what is warm in a worker that runs.
	for (uint32_t s = 0; s < 2 * SEGMENTS; s += BURST) {
		uint32_t who[BURST];

		if (s == SEGMENTS)
			spent = 0;
		for (uint32_t i = 0; i < BURST; i++)
			who[i] = random_below(&b->rng, b->count);
		// One segment a connection and burst: their numbers would depend on each other.
		for (uint32_t i = 1; i < BURST && b->count >= BURST; i++)
			for (uint32_t k = 0; k < i; k++)
				if (who[k] == who[i]) {
					who[i] = (who[i] + 1) % b->count;
					k = (uint32_t)-1;
				}
		spent += turn(b, who, b->count < BURST ? 1 : BURST, TEXT);
		if (b->count < BURST)
			s -= BURST - 1;
	}
	return (double)spent / SEGMENTS;
}

static double fan_out_measure(struct bench *b, double *ret_ack_ns)
{
	uint64_t spent = 0, acks = 0;

	for (unsigned round = 0; round < FAN_OUTS; round++) {
		struct payload *p = payload_alloc(b->payloads, 100);
		const struct tcp_piece piece = {.payload = p, .length = 100};
		uint64_t start = clock_ns();

		memset(p->data, 'x', 100);
		p->length = 100;
		for (uint32_t i = 0; i < b->count; i++) {
			if (i + AHEAD < b->count)
				tcp_prefetch(b->pcbs[i + AHEAD]);
			if (tcp_send(b->pcbs[i], &piece, 1))
				abort();
		}
		tcp_flush(b->stack);
		payload_put(p);
		spent += clock_ns() - start;
		for (uint32_t i = 0; i < b->count; i += BURST) {
			uint32_t who[BURST];
			uint32_t n = b->count - i < BURST ? b->count - i : BURST;

			for (uint32_t k = 0; k < n; k++)
				who[k] = i + k;
			acks += turn(b, who, n, 0);
		}
	}
	*ret_ack_ns = (double)acks / FAN_OUTS / b->count;
	return (double)spent / FAN_OUTS / b->count;
}

static struct result measure(struct bench *b, uint32_t count)
{
	struct result result = {.connections = count};
	struct tcp_config config;
	uint64_t before;

	tcp_config_init(&config);
	config.connections_max = count + 1;
	config.pieces_max = 4 * count + 1024;
	b->count = count;
	b->pcbs = calloc(count, sizeof(*b->pcbs));
	b->sent = calloc(count, sizeof(*b->sent));
	memset(b->pcbs, 0xff, count * sizeof(*b->pcbs)); // their pages are not the engine's
	before = resident_bytes();
	if (tcp_stack_create("bench", &config, b->net, b->payloads, &b->rng, b->now_us, &b->stack))
		abort();
	for (uint32_t i = 0; i < count; i++)
		connect_one(b, i);
	tcp_flush(b->stack);
	result.memory = (double)(resident_bytes() - before) / count;
	result.segment_ns = segments_measure(b);
	result.fan_out_ns = fan_out_measure(b, &result.ack_ns);
	tcp_stack_destroy(b->stack);
	free(b->pcbs);
	free(b->sent);
	return result;
}

static int bench_init(struct bench *b)
{
	const struct payload_pool_config payloads = {.count = {8191, 1023, 255, 31}, .socket = -1};
	const struct net_interface_address address = {.address = address_of(1), .prefix = 15};
	const struct net_interface_config interface = {
		.netif = &b->netif, .addresses = &address, .addresses_count = 1};
	struct net_config config;
	const char *error;

	b->now_us = 1000000000;
	random_init(&b->rng, 1);
	b->tx = rte_pktmbuf_pool_create("tx", 4095, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	b->rx = rte_pktmbuf_pool_create("rx", 1023, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	if (!b->tx || !b->rx || payload_pool_create("payloads", &payloads, &b->payloads))
		return -1;
	b->netif = (struct net_if){.name = "bench",
		.raw_ip = true,
		.mtu = 1500,
		.caps = {.tx_ip_checksum = true, .tx_tcp_checksum = true},
		.tx_pool = b->tx,
		.tx = transmit,
		.ctx = b};
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	return net_create(&config, &b->rng, b->now_us, &b->net, &error);
}

int main(int argc, char **argv)
{
	static const uint32_t counts[] = {10, 1000, 10000, 100000};
	char *eal[] = {"bench-tcp", "--no-huge", "--no-shconf", "-m", "128", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};
	bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
	struct bench bench = {0};
	struct result results[4];
	double ratio;

	if (rte_eal_init(sizeof(eal) / sizeof(eal[0]) - 1, eal) < 0 || bench_init(&bench)) {
		fprintf(stderr, "bench-tcp: no memory\n");
		return 1;
	}
	printf("%12s %14s %18s %12s %18s\n", "connections", "ns a segment", "ns a subscriber",
		"ns an ACK", "bytes a connection");
	for (unsigned i = 0; i < 4; i++) {
		struct result *r = &results[i];

		*r = measure(&bench, counts[i]);
		printf("%12u %14.0f %18.0f %12.0f %18.0f\n", r->connections, r->segment_ns,
			r->fan_out_ns, r->ack_ns, r->memory);
	}
	ratio = results[3].segment_ns / results[1].segment_ns;
	printf("100,000 connections cost %.2f times what 1,000 cost (at most %.1f); an idle one takes "
	       "%.0f bytes (at most %.0f), %zu of them struct tcp_pcb\n",
		ratio, RATIO, results[3].memory, IDLE_MAX, sizeof(struct tcp_pcb));
	return check && (ratio > RATIO || results[3].memory > IDLE_MAX);
}
