// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One end: interface, net, engine, and its turn of the loop.

#include "host.h"

#include "base/payload.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <stdio.h>

#define BURST 32

static const uint32_t tx_sizes[SIM_POOL_SIZES] = {15, 127, 4095};
static const uint32_t payload_counts[SIM_POOL_SIZES][PAYLOAD_CLASSES] = {
	{63, 31, 31, 7},
	{255, 255, 127, 15},
	{2047, 1023, 1023, 255},
};

int sim_pools_create(struct sim_pools *pools)
{
	char name[32];

	pools->rx = rte_pktmbuf_pool_create("rx", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	if (!pools->rx)
		return -1;
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		snprintf(name, sizeof(name), "reserve%u", h);
		pools->reserve[h] =
			rte_pktmbuf_pool_create(name, 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
		if (!pools->reserve[h])
			return -1;
		for (unsigned s = 0; s < SIM_POOL_SIZES; s++) {
			struct payload_pool_config config = {.socket = -1};

			snprintf(name, sizeof(name), "tx%u%u", h, s);
			pools->tx[h][s] = rte_pktmbuf_pool_create(
				name, tx_sizes[s], 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
			for (unsigned c = 0; c < PAYLOAD_CLASSES; c++)
				config.count[c] = payload_counts[s][c];
			snprintf(name, sizeof(name), "pl%u%u", h, s);
			if (!pools->tx[h][s] ||
				payload_pool_create(name, &config, &pools->payloads[h][s]))
				return -1;
		}
	}
	return 0;
}

void sim_pools_destroy(struct sim_pools *pools)
{
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		for (unsigned s = 0; s < SIM_POOL_SIZES; s++) {
			payload_pool_destroy(pools->payloads[h][s]);
			rte_mempool_free(pools->tx[h][s]);
		}
		rte_mempool_free(pools->reserve[h]);
	}
	rte_mempool_free(pools->rx);
}

static void full_check(const struct rte_mempool *pool)
{
	if (rte_mempool_avail_count(pool) == pool->size)
		return;
	fprintf(stderr, "pool %s: %u of %u buffers are missing\n", pool->name,
		pool->size - rte_mempool_avail_count(pool), pool->size);
	abort();
}

void sim_pools_check(const struct sim_pools *pools)
{
	full_check(pools->rx);
	for (unsigned h = 0; h < SIM_HOSTS; h++) {
		full_check(pools->reserve[h]);
		for (unsigned s = 0; s < SIM_POOL_SIZES; s++) {
			full_check(pools->tx[h][s]);
			if (payload_pool_pressure(pools->payloads[h][s]) != 0) {
				fprintf(stderr, "host %u: payloads are missing\n", h);
				abort();
			}
		}
	}
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	struct sim_host *host = ctx;

	sim_device_send(host->sim, host->index, m);
}

static void net_start(struct sim_host *host, uint16_t mtu)
{
	const struct net_interface_address address = {.address = host->address, .prefix = 24};
	const struct net_interface_config interface = {
		.netif = &host->netif, .addresses = &address, .addresses_count = 1};
	struct net_config config;
	const char *error;

	host->netif.mtu = mtu;
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	SIM_CHECK(host->sim,
		net_create(&config, &host->rng, host->sim->now_us, &host->net, &error) == 0);
}

void sim_host_init(struct sim_host *host, struct sim *sim, unsigned index,
	const struct sim_host_config *config)
{
	const struct sim_pools *pools = sim->pools;
	const uint8_t ip[4] = {198, 18, 0, (uint8_t)(1 + index)};
	uint32_t ipv4;

	memcpy(&ipv4, ip, sizeof(ipv4));
	host->sim = sim;
	host->index = index;
	host->address = net_address_from_ipv4(ipv4);
	random_init(&host->rng, sim->seed ^ (index + 1));
	host->payloads = pools->payloads[index][config->payloads];
	host->netif = (struct net_if){
		.name = "sim",
		.raw_ip = true,
		.caps = config->caps,
		.tx_pool = pools->tx[index][config->tx],
		.tx_reserve = pools->reserve[index],
		.tx = transmit,
		.ctx = host,
	};
	net_start(host, config->mtu);
	SIM_CHECK(sim, tcp_stack_create("sim", &config->tcp, host->net, host->payloads, &host->rng,
			       sim->now_us, &host->stack) == 0);
	SIM_CHECK(sim, tcp_listen(host->stack,
			       &(struct net_endpoint){.address = host->address, .port = SIM_PORT},
			       NULL, &host->listener) == 0);
}

void sim_host_fini(struct sim_host *host)
{
	tcp_stack_destroy(host->stack);
	net_destroy(host->net);
}

// The NIC: what arrived is copied into receive buffers; without one it is lost.
static void receive(struct sim_host *host)
{
	struct sim *sim = host->sim;
	struct rte_mbuf *frames[BURST];
	struct net_delivery deliveries[BURST];
	struct rte_mbuf *m;
	unsigned n;

	do {
		n = 0;
		while (n < BURST &&
			(m = sim_wire_receive(&sim->wires[!host->index], sim->now_us))) {
			frames[n] = rte_pktmbuf_copy(m, sim->pools->rx, 0, UINT32_MAX);
			n += frames[n] != NULL;
			rte_pktmbuf_free(m);
		}
		if (n == 0)
			return;
		unsigned count =
			net_input(host->net, &host->netif, frames, n, sim->now_us, deliveries);

		for (unsigned i = 0; i < count; i++) {
			if (deliveries[i].kind == NET_DELIVERY_TCP)
				sim_tap_delivery(sim, host->index, deliveries[i].m);
			tcp_input(host->stack, &deliveries[i]);
			tcp_stack_check(host->stack);
		}
	} while (n == BURST);
}

static void accept_or_refuse(struct sim_host *host, struct tcp_pcb *pcb)
{
	unsigned pair = tcp_pcb_remote(pcb).port - SIM_CLIENTS;
	struct sim_app *app;

	SIM_CHECK(host->sim, pair < host->sim->pairs);
	SIM_CHECK(host->sim, tcp_pcb_listener(pcb) == host->listener);
	app = &host->sim->apps[host->index][pair];
	// A duplicate of an old SYN that outlived its connection.
	if (app->client || app->pcb || app->done) {
		tcp_refuse(pcb);
		return;
	}
	app->pcb = pcb;
	tcp_pcb_set_user(pcb, app);
	tcp_set_no_delay(pcb, random_below(&host->sim->rng, 2) == 0);
	if (app->mss != 0)
		tcp_set_mss(pcb, app->mss);
	app->opens = false;
	tcp_set_manual_ack(pcb, app->manual);
	tcp_accept(pcb);
}

void sim_host_turn(struct sim_host *host)
{
	struct sim *sim = host->sim;
	struct tcp_pcb *pcb;
	uint32_t events;

	tcp_advance(host->stack, sim->now_us);
	receive(host);
	while ((pcb = tcp_ready_next(host->stack, &events))) {
		if (events & TCP_EVENT_SYN) {
			accept_or_refuse(host, pcb);
			continue;
		}
		sim_app_events(tcp_pcb_user(pcb), events, sim->now_us);
	}
	for (unsigned p = 0; p < sim->pairs; p++)
		sim_app_turn(&sim->apps[host->index][p], sim->now_us);
	tcp_flush(host->stack);
	tcp_stack_check(host->stack);
}
