// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The configuration handed to the floors, each in its own structure. The daemon
// calls these once at start.

#include "control/config.h"

#include "base/clock.h"
#include "base/payload.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <stdlib.h>
#include <string.h>

#define MIB	       (1024ull * 1024)
#define FRAME_OVERHEAD 384ull // of a frame's mbuf and its place in a pool, in bytes

// Bytes of an object and of a class's share, in sixteenths of memory.payloads: small messages are
// many, and one large one takes several of the largest objects.
static const struct {
	uint32_t object, share;
} payload_classes[PAYLOAD_CLASSES] = {
	{160, 2},
	{992, 4},
	{4064, 4},
	{16352, 6},
};
#define PAYLOAD_SHARES 16

#define SHARE_MIN 64u

uint32_t config_share(const struct config *config, uint32_t total)
{
	uint64_t share = (uint64_t)total / config->workers + total / 8 + SHARE_MIN;

	return config->workers == 1 || share > total ? total : (uint32_t)share;
}

void config_to_payloads(const struct config *config, struct payload_pool_config *ret_payloads)
{
	*ret_payloads = (struct payload_pool_config){.socket = -1};
	for (unsigned i = 0; i < PAYLOAD_CLASSES; i++)
		ret_payloads->count[i] = config_share(
			config, (uint32_t)(config->memory.payloads / PAYLOAD_SHARES *
					   payload_classes[i].share / payload_classes[i].object));
}

// Room for a frame of the port: what its MTU needs, and no less than what af_packet copies at most.
static uint32_t frame_bytes(const struct port_config *port)
{
	uint32_t bytes = port->mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
	const char *framesz = strstr(port->device, "framesz=");
	uint32_t ring = framesz == NULL ? 0 : (uint32_t)strtoul(framesz + 8, NULL, 10);

	return ring > bytes ? ring : bytes;
}

uint16_t config_frame_room(const struct config *config)
{
	uint16_t largest = port_frame_room("", RTE_MBUF_DEFAULT_DATAROOM);

	for (unsigned i = 0; i < config->ports_count; i++) {
		const struct port_config *port = &config->ports[i].port;
		uint16_t room = port_frame_room(port->device, frame_bytes(port));

		largest = room > largest ? room : largest;
	}
	return largest;
}

// What the pools of all workers take, by generous bytes an object, and the EAL itself.
static uint64_t memory_estimate(const struct config *config)
{
	const struct config_memory *m = &config->memory;
	uint64_t frames = m->frames, pools;

	for (unsigned i = 0; i < config->ports_count; i++)
		frames += port_impair_frames(&config->ports[i].port);
	pools = m->payloads + m->payloads / 2 +
		frames * (config_frame_room(config) + FRAME_OVERHEAD) + m->connections * 4096ull +
		m->sessions * 512ull + m->subscriptions * 256ull + m->send_pieces * 32ull;

	// Each has a map of its own, tables of what was shown, and routes.
	pools += (config->brokers_count - 1) *
		 ((m->connections + m->sessions) * 512ull + m->subscriptions * 480ull + 32 * MIB);
	for (unsigned i = 0; i < config->brokers_count; i++)
		if (config->brokers[i].hooks)
			pools +=
				(m->connections + m->sessions) * 192ull + m->subscriptions * 400ull;
	if (config->mode == CONFIG_MODE_MONITOR)
		pools += 3 * m->connections * 128ull;
	// The margins of what is shared out; what each has whole: filters, messages to others.
	if (config->workers > 1)
		pools += config->workers * (pools / 8 + m->subscriptions * 192ull + 32 * MIB);
	return 64 * MIB + pools;
}

bool config_wants_shortcut(const struct config *config)
{
	return config->ports_count == 2 && config->ports[0].port.filter == PORT_FILTER_BRIDGE &&
	       config->ports[1].port.filter == PORT_FILTER_BRIDGE &&
	       port_shortcut_is_possible(
		       config->ports[0].port.device, config->ports[1].port.device);
}

// What is possible of what the port's key says.
static enum port_filter filter_of(const struct config *config, const struct port_config *port)
{
	if (!port_is_af_xdp(port->device) ||
		(port->filter == PORT_FILTER_BRIDGE && !config_wants_shortcut(config)))
		return PORT_FILTER_NONE;
	return port->filter;
}

void config_to_eal(const struct config *config, struct port_eal_device *devices,
	struct port_eal_config *ret_eal)
{
	for (unsigned i = 0; i < config->ports_count; i++) {
		const struct port_config *port = &config->ports[i].port;

		devices[i] = (struct port_eal_device){port->device, filter_of(config, port)};
	}
	*ret_eal = (struct port_eal_config){
		.devices = devices,
		.devices_count = config->ports_count,
		.memory_mb = memory_estimate(config) / MIB + 1,
		.control_core = config->control_core,
		.worker_cores = config->worker_cores,
		.workers = config->workers,
		.hugepages = config->memory.hugepages == CONFIG_HUGEPAGES_AUTO,
	};
}

void config_to_shortcut(const struct config *config, struct port_station *stations,
	struct port_endpoint *brokers, struct port_shortcut_config *ret_shortcut)
{
	static const enum port_bridge modes[] = {
		[CONFIG_BRIDGE_LEARNING] = PORT_BRIDGE_LEARNING,
		[CONFIG_BRIDGE_STATIC] = PORT_BRIDGE_STATIC,
		[CONFIG_BRIDGE_HUB] = PORT_BRIDGE_HUB,
	};
	struct bridge_config bridge;

	bridge_config_init(&bridge);
	for (unsigned i = 0; i < config->stations_count; i++) {
		const struct bridge_station *from = &config->stations[i];

		stations[i] = (struct port_station){.vlan = from->vlan, .port = from->port};
		memcpy(stations[i].mac, from->mac, sizeof(stations[i].mac));
	}
	for (unsigned i = 0; i < config->brokers_count; i++) {
		const struct net_endpoint *from = &config->brokers[i].address;

		brokers[i].port = from->port;
		memcpy(brokers[i].address.bytes, from->address.bytes,
			sizeof(brokers[i].address.bytes));
	}
	*ret_shortcut = (struct port_shortcut_config){
		.mode = modes[config->bridge],
		.age_us = bridge.age_us,
		.stations = stations,
		.stations_count = config->stations_count,
		.brokers = brokers,
		.brokers_count = config->brokers_count,
	};
}

void config_to_net(const struct config *config, struct net_if *const *netifs,
	struct net_interface_config *interfaces, struct net_config *ret_net)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		interfaces[i] = (struct net_interface_config){
			.netif = netifs[i],
			.addresses = config->ports[i].addresses,
			.addresses_count = config->ports[i].addresses_count,
		};
	ret_net->interfaces = interfaces;
	ret_net->interfaces_count = config->ports_count;
	ret_net->routes = config->routes;
	ret_net->routes_count = config->routes_count;
	ret_net->neighbours = config->neighbours;
	ret_net->neighbours_count = config->neighbours_count;
	// An entry for how the frames of each end look.
	if (config->mode == CONFIG_MODE_MONITOR)
		ret_net->neighbours_max = 2 * config_share(config, config->memory.connections) + 64;
}

uint32_t config_flows_max(const struct config *config)
{
	return 3 * config_share(config, config->memory.connections);
}

void config_to_bridge(
	const struct config *config, struct net_if *const *netifs, struct bridge_config *ret_bridge)
{
	static const enum bridge_mode modes[] = {
		[CONFIG_BRIDGE_LEARNING] = BRIDGE_LEARNING,
		[CONFIG_BRIDGE_STATIC] = BRIDGE_STATIC,
		[CONFIG_BRIDGE_HUB] = BRIDGE_HUB,
	};

	ret_bridge->mode = modes[config->bridge];
	ret_bridge->netifs = netifs;
	ret_bridge->netifs_count = config->ports_count;
	ret_bridge->stations = config->stations;
	ret_bridge->stations_count = config->stations_count;
}

// Rounded up.
static uint32_t seconds_of(uint64_t us)
{
	return (uint32_t)((us + US_IN_S - 1) / US_IN_S);
}

void config_to_tcp(const struct config *config, struct tcp_config *ret_tcp)
{
	const struct tcp_config *from = &config->tcp;

	ret_tcp->connections_max = 3 * config_share(config, config->memory.connections);
	ret_tcp->pieces_max = config_share(config, config->memory.send_pieces);
	ret_tcp->receive_buffer = from->receive_buffer;
	ret_tcp->backlog = from->backlog;
	ret_tcp->rto_min_us = from->rto_min_us;
	ret_tcp->rto_max_us = from->rto_max_us;
	ret_tcp->rto_initial_us = from->rto_initial_us;
	ret_tcp->syn_retries = from->syn_retries;
	ret_tcp->retries = from->retries;
	ret_tcp->time_wait_us = from->time_wait_us;
	ret_tcp->fin_wait_us = from->fin_wait_us;
	ret_tcp->delayed_ack_us = from->delayed_ack_us;
	ret_tcp->connect_retries = from->connect_retries;
	ret_tcp->congestion = from->congestion;
	ret_tcp->keep_alive = (struct tcp_keep_alive){
		.idle_s = seconds_of(config->keep_alive.idle_us),
		.interval_s = seconds_of(config->keep_alive.interval_us),
		.probes = config->keep_alive.probes,
	};
}

void config_to_offload(const struct config *config, struct offload_config *ret_offload)
{
	ret_offload->brokers = config->brokers;
	ret_offload->brokers_count = config->brokers_count;
	ret_offload->clients_max = config_share(config, config->memory.connections);
	ret_offload->sessions_max = config_share(config, config->memory.sessions);
	ret_offload->subscriptions_max = config_share(config, config->memory.subscriptions);
	ret_offload->filters_max = config->memory.subscriptions;
}
