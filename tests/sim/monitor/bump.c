// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Offramp, put together as the daemon does it, and a turn of its worker.

#include "world.h"

#include "attach/track.h"
#include "base/clock.h"
#include "base/payload.h"
#include "net/net.h"

#include <rte_mbuf.h>

#define NEIGHBOURS 64
#define STATIONS   64

static void net_start(struct world *world)
{
	struct bump *bump = &world->bump;
	struct net_interface_config interfaces[PORTS] = {0};
	struct net_config config;
	const char *error;

	for (unsigned i = 0; i < PORTS; i++) {
		bump->ports[i] = (struct bump_port){.world = world, .index = i};
		bump->list[i] = interfaces[i].netif = &bump->netifs[i];
		bump->netifs[i] = (struct net_if){.index = i,
			.mtu = 1500,
			.tx_pool = world->pools->tx[1][SIM_POOL_AMPLE],
			.tx_reserve = world->pools->reserve[1],
			.tx = line_send,
			.ctx = &bump->ports[i]};
		snprintf(bump->netifs[i].name, sizeof(bump->netifs[i].name), "port%u", i);
	}
	net_config_init(&config);
	config.interfaces = interfaces;
	config.interfaces_count = PORTS;
	config.neighbours_max = NEIGHBOURS;
	CHECK(world, net_create(&config, &world->rng, world->now_us, &bump->net, &error) == 0);
}

static void offload_start(struct world *world)
{
	struct bump *bump = &world->bump;

	bump->broker.name = "broker";
	bump->broker.address = bump->broker.listen =
		(struct net_endpoint){.address = host_address(HOST_BROKER), .port = PORT_BROKER};
	bump->broker.knowledge = OFFLOAD_KNOWLEDGE_WIRE;
	bump->broker.authorization = OFFLOAD_AUTHORIZATION_OPEN;
	if (world_has(world, END_TO_END, world->seed & 1))
		bump->broker.ack = OFFLOAD_ACK_END_TO_END;
	bump->config.brokers = &bump->broker;
	bump->config.brokers_count = 1;
	bump->config.sessions_max = 16;
	bump->config.subscriptions_max = 256;
	bump->config.filters_max = 256;
	CHECK(world, offload_create(&bump->config, bump->tcp, bump->payloads, &world->rng,
			     world->now_us, &bump->offload) == 0);
	CHECK(world, stack_create(&bump->config, bump->offload, bump->tcp, false, NULL,
			     world->now_us, &bump->stack) == 0);
}

void bump_start(struct world *world, const struct tcp_config *tcp, uint32_t flows_max)
{
	struct bump *bump = &world->bump;
	struct bridge_config bridge;
	const struct monitor_config monitor = {
		.netifs = bump->list, .netifs_count = PORTS, .flows_max = flows_max};

	net_start(world);
	bump->payloads = world->pools->payloads[1][SIM_POOL_AMPLE];
	CHECK(world, tcp_stack_create("sim", tcp, bump->net, bump->payloads, &world->rng,
			     world->now_us, &bump->tcp) == 0);
	offload_start(world);
	bridge_config_init(&bridge);
	bridge.mode = world_has(world, HUB, random_below(&world->rng, 8) == 0) ? BRIDGE_HUB
									       : BRIDGE_LEARNING;
	bridge.netifs = bump->list;
	bridge.netifs_count = PORTS;
	bridge.stations_max = STATIONS;
	CHECK(world, bridge_create("bridge", &bridge, &world->rng, &bump->bridge) == 0);
	CHECK(world, monitor_create("flows", &monitor, bump->stack, bump->net, bump->bridge,
			     world->now_us, &bump->monitor) == 0);
}

// Nothing is left of anybody.
static void empty_check(struct world *world)
{
	struct bump *bump = &world->bump;
	struct offload_usage usage;
	struct tcp_usage tcp;

	tcp_stack_usage(bump->tcp, &tcp);
	CHECK(world, tcp.pcbs == 0 && tcp.pieces == 0);
	CHECK(world, stack_usage(bump->stack).in_use == 0);
	offload_usage(bump->offload, &usage);
	CHECK(world, usage.clients.in_use == 0 && usage.deliveries.in_use == 0 &&
			     usage.sessions.in_use == 0 && usage.subscriptions.in_use == 0);
	CHECK(world, bump_flows(world) == 0);
}

void bump_stop(struct world *world)
{
	struct bump *bump = &world->bump;

	empty_check(world);
	offload_check(bump->offload);
	monitor_check(bump->monitor);
	net_check(bump->net);
	stack_destroy(bump->stack);
	monitor_destroy(bump->monitor);
	bridge_destroy(bump->bridge);
	offload_destroy(bump->offload);
	tcp_stack_destroy(bump->tcp);
	net_destroy(bump->net);
}

// A worker that is stopped for a while (SIGSTOP) finds everything waiting.
static bool is_stopped(const struct bump *bump, uint64_t now_us)
{
	return now_us >= bump->stopped_from_us && now_us < bump->stopped_until_us;
}

void bump_turn(struct world *world)
{
	struct bump *bump = &world->bump;
	uint64_t now_us = world->now_us;

	if (is_stopped(bump, now_us))
		return;
	tcp_advance(bump->tcp, now_us);
	offload_advance(bump->offload, now_us);
	line_turn(world);
	stack_run(bump->stack, now_us);
	offload_run(bump->offload);
	tcp_flush(bump->tcp);
	if (now_us >= net_next_deadline(bump->net))
		net_timers(bump->net, now_us);
	if (now_us >= monitor_next_deadline(bump->monitor))
		monitor_timers(bump->monitor, now_us);
	offload_learn(bump->offload);
	tcp_stack_check(bump->tcp);
	if (world->steps % 16 == 0) {
		monitor_check(bump->monitor);
		offload_check(bump->offload);
	}
}

uint64_t bump_next_us(const struct world *world)
{
	const struct bump *bump = &world->bump;
	uint64_t next = tcp_next_deadline(bump->tcp);

	next = least(next, net_next_deadline(bump->net));
	next = least(next, stack_next_deadline(bump->stack));
	next = least(next, offload_next_deadline(bump->offload));
	next = least(next, monitor_next_deadline(bump->monitor));
	for (unsigned h = 0; h < HOSTS; h++)
		next = least(next, sim_wire_next_us(&world->hosts[h].out));
	if (is_stopped(bump, world->now_us) && next < bump->stopped_until_us)
		next = bump->stopped_until_us;
	return next;
}

uint64_t bump_flows(const struct world *world)
{
	const uint64_t *flows = world->bump.monitor->counters.flows;

	return flows[TRACK_OPENING - 1] + flows[TRACK_ADOPTED - 1] + flows[TRACK_GONE - 1];
}
