// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A kernel: addresses, sockets, and a wire to Offramp and one from it.

#include "world.h"

#include "net/net.h"

#include <rte_mbuf.h>

#include <string.h>

#define BURST 32

struct net_address host_address(unsigned index)
{
	const uint8_t ip[4] = {198, 18, 0, (uint8_t)(1 + index)};
	uint32_t ipv4;

	memcpy(&ipv4, ip, sizeof(ipv4));
	return net_address_from_ipv4(ipv4);
}

static void transmit(void *ctx, struct rte_mbuf *m)
{
	struct host *host = ctx;
	struct world *world = host->world;

	tap_end(world, host->index, m);
	sim_wire_send(&host->out, m, world->pools->rx, world->now_us);
}

void host_init(struct host *host, uint16_t mtu, const struct tcp_config *tcp)
{
	struct world *world = host->world;
	const struct sim_pools *pools = world->pools;
	const struct net_interface_address own = {
		.address = host_address(host->index), .prefix = 24};
	const struct net_interface_config interface = {
		.netif = &host->netif, .addresses = &own, .addresses_count = 1};
	struct net_config config;
	const char *error;

	host->netif = (struct net_if){.name = "sim",
		.raw_ip = true,
		.mtu = mtu,
		.tx_pool = pools->tx[0][SIM_POOL_AMPLE],
		.tx_reserve = pools->reserve[0],
		.tx = transmit,
		.ctx = host};
	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	CHECK(world, net_create(&config, &world->rng, world->now_us, &host->net, &error) == 0);
	CHECK(world, tcp_stack_create("sim", tcp, host->net, pools->payloads[0][SIM_POOL_AMPLE],
			     &world->rng, world->now_us, &host->stack) == 0);
}

void host_fini(struct host *host)
{
	tcp_stack_destroy(host->stack);
	net_destroy(host->net);
	sim_wire_fini(&host->in);
	sim_wire_fini(&host->out);
}

// What arrived is copied into receive buffers; without one it is lost.
static void receive(struct host *host)
{
	struct world *world = host->world;
	struct rte_mbuf *m;

	while ((m = sim_wire_receive(&host->in, world->now_us))) {
		struct rte_mbuf *copy = rte_pktmbuf_copy(m, world->pools->rx, 0, UINT32_MAX);
		struct net_delivery delivery;

		rte_pktmbuf_free(m);
		if (copy &&
			net_input(host->net, &host->netif, &copy, 1, world->now_us, &delivery) > 0)
			tcp_input(host->stack, &delivery);
	}
}

static void events(struct host *host)
{
	struct world *world = host->world;
	struct tcp_pcb *pcb;
	uint32_t what;

	while ((pcb = tcp_ready_next(host->stack, &what))) {
		if (!(what & (TCP_EVENT_SYN | TCP_EVENT_COOKIE)))
			talker_events(tcp_pcb_user(pcb), what);
		else if (what & TCP_EVENTS_TERMINAL)
			tcp_abort(pcb);
		else if (tcp_pcb_remote(pcb).port >= PORT_FOREIGN)
			foreign_accept(world, pcb);
		else
			broker_accept(world, pcb);
	}
}

void host_turn(struct host *host)
{
	struct world *world = host->world;

	line_move(host);
	tcp_advance(host->stack, world->now_us);
	receive(host);
	events(host);
	for (unsigned i = 0; i < world->lives_count; i++)
		if (world->lives[i].talker.host == host)
			life_turn(&world->lives[i]);
	if (host->index == HOST_BROKER)
		broker_turn(world);
	for (unsigned i = 0; i < world->foreigns_count; i++)
		foreign_turn(&world->foreigns[i], host);
	tcp_flush(host->stack);
	tcp_stack_check(host->stack);
	if (world->now_us >= net_next_deadline(host->net))
		net_timers(host->net, world->now_us);
}

uint32_t host_pcbs(const struct host *host)
{
	struct tcp_usage usage;

	tcp_stack_usage(host->stack, &usage);
	return usage.pcbs;
}
