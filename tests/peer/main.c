// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The floors of tcp-peer and its loop, which is a worker's without what stands above TCP. Prints
// "ready" when it serves.

#include "peer.h"

#include "base/clock.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BURST	  64
#define MEMORY_MB 256
#define SAMPLE_US 1000
#define NAP_US	  100
#define PIECES	  65536
// After the last connection the engine has FINs to send, and to answer.
#define LAST_WORDS_US (5 * US_IN_S)

static int start_eal(const struct options *options)
{
	const struct port_eal_config eal = {
		.devices = &(const struct port_eal_device){.name = options->device},
		.devices_count = 1,
		.memory_mb = MEMORY_MB,
		.control_core = options->core,
		.worker_cores = &options->core,
		.workers = 1,
	};

	return port_eal_init(&eal);
}

static int start_port(struct peer *peer)
{
	const struct options *options = &peer->options;
	const char *framesz = strstr(options->device, "framesz=");
	uint16_t room = framesz != NULL
				? (uint16_t)(strtoul(framesz + 8, NULL, 10) + RTE_PKTMBUF_HEADROOM)
				: 0;
	const struct port_config config = {
		.name = "peer",
		.device = options->device,
		.mtu = options->mtu,
		.impair_rx = options->impair_rx,
		.impair_tx = options->impair_tx,
	};
	int r = pools_create(&peer->pools, framesz != NULL, room);

	if (r == 0)
		r = port_open(&config, 1, &peer->pools.rx, &peer->port);
	return r < 0 ? r : port_start(peer->port);
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	port_tx(ctx, 0, m);
}

static void start_netif(struct peer *peer)
{
	const struct port_caps *caps = port_get_caps(peer->port);

	peer->netif = (struct net_if){
		.name = "peer",
		.mtu = port_mtu(peer->port),
		.caps = {.rx_checksum = caps->rx_checksum,
			.tx_ip_checksum = caps->tx_ip_checksum,
			.tx_tcp_checksum = caps->tx_tcp_checksum,
			.tso = caps->tso,
			.tso_ipv6 = caps->tso_ipv6,
			.multi_segment = caps->multi_segment},
		.tx_pool = peer->pools.tx,
		.tx_reserve = peer->pools.reserve,
		.tx = transmit,
		.ctx = peer->port,
	};
	port_mac(peer->port, peer->netif.mac);
}

static int start_net(struct peer *peer)
{
	const struct net_interface_config interface = {
		.netif = &peer->netif,
		.addresses = peer->options.addresses,
		.addresses_count = peer->options.addresses_count,
	};
	struct net_config config;
	const char *error = NULL;
	int r;

	start_netif(peer);
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	config.routes = &peer->options.gateway;
	config.routes_count = peer->options.gateways;
	config.neighbours = &peer->options.neighbour;
	config.neighbours_count = peer->options.neighbours;
	config.dad_transmits = 0; // alone on the wire, and soon asked for
	r = net_create(&config, &peer->rng, peer->now_us, &peer->net, &error);
	if (r < 0)
		fprintf(stderr, "net: %s\n", error != NULL ? error : strerror(-r));
	else
		net_timers(peer->net, peer->now_us); // from here on the addresses are ours
	return r;
}

static int start_tcp(struct peer *peer)
{
	struct options *options = &peer->options;
	int r;

	options->tcp.connections_max = 2 * options->connections_max + options->tcp.backlog + 64;
	options->tcp.pieces_max = PIECES;
	r = tcp_stack_create("tcp", &options->tcp, peer->net, peer->pools.payloads, &peer->rng,
		peer->now_us, &peer->tcp);
	for (unsigned i = 0; r == 0 && i < options->listens_count; i++) {
		const struct net_endpoint any = {.port = options->listens[i].port};
		struct tcp_pcb *listener;

		r = tcp_listen(peer->tcp, &any, &options->listens[i], &listener);
	}
	for (unsigned i = 0; r == 0 && i < options->connects_count; i++)
		r = app_connect(peer, &options->connects[i]);
	return r;
}

uint64_t monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * US_IN_S + (uint64_t)now.tv_nsec / 1000;
}

static int start(struct peer *peer)
{
	int r;

	sigemptyset(&peer->signals);
	sigaddset(&peer->signals, SIGTERM);
	sigaddset(&peer->signals, SIGINT);
	sigprocmask(SIG_BLOCK, &peer->signals, NULL);
	pattern_init(&peer->pattern);
	random_init(&peer->rng, (uint64_t)time(NULL));
	peer->apps = calloc(peer->options.connections_max, sizeof(*peer->apps));
	if (peer->apps == NULL)
		return -ENOMEM;
	r = start_eal(&peer->options);
	if (r == 0)
		r = start_port(peer);
	peer->now_us = clock_now_us();
	peer->start_us = peer->now_us;
	peer->start_monotonic_us = monotonic_us();
	if (r == 0)
		r = start_net(peer);
	return r == 0 ? start_tcp(peer) : r;
}

// --- the loop ------------------------------------------------------------------------------------

static unsigned poll_port(struct peer *peer)
{
	struct net_delivery deliveries[BURST];
	struct rte_mbuf *frames[BURST];
	unsigned total = 0, count, delivered;

	do {
		count = port_rx(peer->port, 0, frames, BURST);
		delivered =
			net_input(peer->net, &peer->netif, frames, count, peer->now_us, deliveries);
		for (unsigned i = 0; i < delivered; i++)
			tcp_input(peer->tcp, &deliveries[i]);
		total += count;
	} while (count == BURST && total < 16 * BURST);
	return total;
}

static unsigned turn(struct peer *peer)
{
	struct tcp_pcb *pcb;
	uint32_t events;
	uint64_t before_us = peer->now_us;
	unsigned work;

	peer->now_us = clock_now_us();
	peer->pause_us = RTE_MAX(peer->pause_us, peer->now_us - before_us);
	tcp_advance(peer->tcp, peer->now_us);
	work = poll_port(peer);
	while ((pcb = tcp_ready_next(peer->tcp, &events)) != NULL)
		app_events(peer, pcb, events);
	tcp_flush(peer->tcp);
	if (peer->now_us >= net_next_deadline(peer->net))
		net_timers(peer->net, peer->now_us);
	port_flush(peer->port, 0);
	return work;
}

// Everything that was to be said is said: only listeners and TIME-WAITs are left.
static bool silent(const struct peer *peer)
{
	uint64_t time_wait = counter_read(&tcp_counters(peer->tcp).values[TCP_TIME_WAIT]);
	struct tcp_usage usage;

	tcp_stack_usage(peer->tcp, &usage);
	return usage.pcbs <= peer->options.listens_count + time_wait;
}

static bool enough(const struct peer *peer)
{
	return peer->options.connections != 0 && peer->ended >= peer->options.connections;
}

static void run(struct peer *peer)
{
	const struct timespec nap = {.tv_nsec = NAP_US * 1000}, at_once = {0};
	uint64_t sample_us = 0, enough_us = 0;

	peer->now_us = clock_now_us(); // the start was no pause
	for (;;) {
		if (turn(peer) == 0)
			nanosleep(&nap, NULL);
		if (peer->now_us < sample_us)
			continue;
		sample_us = peer->now_us + SAMPLE_US;
		app_sample(peer);
		if (sigtimedwait(&peer->signals, NULL, &at_once) > 0)
			return;
		if (enough(peer) && enough_us == 0)
			enough_us = peer->now_us;
		if (enough(peer) && (silent(peer) || peer->now_us - enough_us > LAST_WORDS_US))
			return;
	}
}

// False when something was kept for ever.
static bool stop(struct peer *peer)
{
	bool whole;

	tcp_stack_check(peer->tcp);
	tcp_stack_destroy(peer->tcp);
	net_destroy(peer->net);
	port_close(peer->port);
	whole = pools_destroy(&peer->pools);
	port_eal_cleanup();
	return whole;
}

int main(int argc, char **argv)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	bool whole;
	int r;

	if (peer == NULL)
		return EXIT_FAILURE;
	options_parse(argc, argv, &peer->options);
	r = start(peer);
	if (r < 0) {
		fprintf(stderr, "tcp-peer: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	puts("ready");
	fflush(stdout);
	run(peer);
	report_print(peer);
	whole = stop(peer);
	free(peer->apps);
	free(peer);
	return whole ? EXIT_SUCCESS : EXIT_FAILURE;
}
